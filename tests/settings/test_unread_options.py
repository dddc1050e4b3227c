"""Every option of every script is read: none is taken and ignored."""

import sys

import pytest
from running import DIGITS, ONCE, REPOSITORY, SCRIPTS, call, succeed

from utils.settings import Settings, command_options
from utils.settings.fields import field_specs
from utils.settings.parser import Parser

# Taken in common, so that one set of options goes with all scripts of one experiment: the folders,
# whichever of them a script needs; the test images of its trainings, of which a search has none, as
# its help says.
COMMON = {"record_dir", "plot_dir"}
OF_THE_NAME = {"model_args"}  # which the parser itself makes part of the network's name
OF_TRAININGS = {
    "architecture_descent.py": {"limit_test"},
    "imagenet_architecture_descent.py": {"limit_test"},
}
SEARCH = [
    *DIGITS,
    "--ratio",
    0.0625,
    "--epochs",
    3,
    "--warmup",
    0,
    "--prune-every",
    1,
    "--iterations",
    1,
    "--budget",
    "macs",
]  # --cost-exponent and --cost-at go with no other
RUNS = ["--dataset", "digits", "--runs", "a=done", "--axis", "latency"]
COMMANDS = {  # in this order; imagenet_* scripts are the same code with other defaults
    "architecture_descent.py": ["--save", "found", *SEARCH],
    "imagenet_architecture_descent.py": ["--save", "found_too", "--model", "resnet18", *SEARCH],
    "ratio_swipe.py": ["--save", "done_0", "--prune-fname", "found", "--ratios", 0.0625, *ONCE],
    "imagenet_ratio_swipe.py": [
        "--save",
        "done_0",
        "--prune-fname",
        "found_too",
        "--ratios",
        0.0625,
        "--model",
        "resnet18",
        *ONCE,
    ],
    "train_norm.py": ["--save", "base", "--ratio", 0.125, *ONCE],
    "fine_tune.py": ["--save", "tuned_0", "--prune-fname", "base", "--ratio", 0.0625, *ONCE],
    "prune.py": [
        *["--save", "small_0", "--weights", "saved_models/vgg/base.pt", "--target", "50%"],
        *["--prune-fname", "found"],
        *ONCE,
    ],
    "list_architecture.py": [
        "--dataset",
        "digits",
        "--prune-fname",
        "found",
        "--ratios",
        0.125,
        "--plot",
    ],
    "check_model.py": ["--dataset", "digits"],
    "plot_filters.py": ["--dataset", "digits", "--prune-fname", "found"],
    "plot_ratio.py": RUNS,
    "plot_ratio_warmup.py": RUNS,
    "plot_ratio_finetune.py": [*RUNS, "--ratio", 0.0625],
    "report.py": ["--save", "done", "--dataset", "digits"],
    "plot_training.py": ["done", "--dataset", "digits"],
    "export.py": ["--dataset", "digits", "--save", "base", "--ratio", 0.125, "--out", "out"],
    "val_format.py": ["--data", "."],
    "submit.py": [
        "--dataset",
        "digits",
        "--search",
        "found",
        "--morph-search",
        "s",
        "--methods",
        "neuralscale",
        "morph",
        "magnitude",
        "--ratios",
        0.0625,
        "--gpus",
        99,
    ],
    "study.py": ["--study", "digits", "--run", "--jobs", 0],
}
# an untrained one, by other options
AGAIN = {"export.py": ["--dataset", "digits", "--prune-fname", "found", "--ratio", 0.0625]}
# no archive here, nor so many GPUs, nor no job: that is seen when all has been read
REFUSED = {"val_format.py", "submit.py", "study.py"}


class Recorder:
    """Notes which options a script takes, and which settings the program then reads one by one.

    To check, print, compare or store all of them at once, as utils/settings does, is no use of any;
    to hand them on to another script as its ``arguments`` is.
    """

    def __init__(self):
        self.taken: set[str] = set()
        self.read: set[str] = set()

    def note(self, name: str) -> None:
        """Called by what the program's own line calls to read ``name``."""
        code = sys._getframe(2).f_code
        where, inside = code.co_filename, (f"{REPOSITORY}/utils/settings/", f"{REPOSITORY}/tests/")
        if where.startswith(f"{REPOSITORY}/") and (
            not where.startswith(inside) or code is command_options.__code__
        ):
            self.read.add(name)

    def install(self, monkeypatch) -> None:
        recorder, given, add_fields = self, Parser.given, Parser.add_fields

        class Given(dict):
            def __getitem__(self, name):
                recorder.note(name)
                return super().__getitem__(name)

            def get(self, name, *default):
                recorder.note(name)
                return super().get(name, *default)

        def read_field(self, name):
            recorder.note(name)
            return object.__getattribute__(self, name)

        def taking(self):
            recorder.taken |= {action.dest for action in self._actions if action.dest != "help"}
            return Given(given(self))

        def adding(self, defaults, *, only=None, **helps):
            recorder.taken |= {
                spec.name
                for spec in field_specs(type(defaults))
                if only is None or spec.name in only
            }
            add_fields(self, defaults, only=only, **helps)

        monkeypatch.setattr(Settings, "__getattribute__", read_field)
        monkeypatch.setattr(Parser, "given", taking)
        monkeypatch.setattr(Parser, "add_fields", adding)


def test_every_option_of_every_script_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorder, unread = Recorder(), {}
    recorder.install(monkeypatch)
    for script, given in COMMANDS.items():
        recorder.taken, recorder.read = set(), set()
        (call if script in REFUSED else succeed)(script, *given)
        if script in AGAIN:
            succeed(script, *AGAIN[script])
        assert recorder.taken
        unread[script] = (
            recorder.taken - recorder.read - COMMON - OF_THE_NAME - OF_TRAININGS.get(script, set())
        )
    assert {script: names for script, names in unread.items() if names} == {} and set(
        unread
    ) == set(SCRIPTS)


@pytest.mark.parametrize("script", OF_TRAININGS)
def test_help_says_that_a_search_tests_on_no_images(script):
    assert "accepted and not used: a search never looks at the test images" in " ".join(
        call(script, "--help").out.split()
    )


@pytest.mark.parametrize(
    ("script", "default"),
    [("train_norm.py", "1/3 2/3 5/6"), ("ratio_swipe.py", "1/3 2/3 5/6"), ("prune.py", "0.5 0.75 0.9"),
     ("fine_tune.py", "none")],
)  # fmt: skip
def test_help_says_where_the_learning_rate_falls(script, default):
    said = " ".join(call(script, "--help").out.split())
    assert f"it falls, as parts of the epochs (default: {default}" in said.replace(
        "the learning rate", "it"
    )
