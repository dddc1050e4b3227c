"""Experiments with trained networks that are pruned: submit.py --methods prune."""

import json
import re
import shlex
from pathlib import Path

import pytest
from running import DIGITS, EXPERIMENT, assert_refused, call, everything, forked, snapshot, succeed

from utils.experiment import local

ONCE = ["epochs=1", "batch-size=50"]
PRUNING = [*ONCE, "prune-rounds=2", "prune-part=1"]
A, B = "given/vgg/a.pt", "given/vgg/b.pt"
RESULT = Path("saved_plots/vgg/mine_prune_0_30pct-macs.json")
TASK = EXPERIMENT[:4]  # the network and the data set
MINE = [*EXPERIMENT, "--methods", "prune", "--target", "30%", "--seeds", 0, "--name", "mine"]


pytestmark = pytest.mark.usefixtures("folder", "one_thread")


@pytest.fixture(scope="module")
def stocked(tmp_path_factory) -> Path:
    """Two trained networks, a.pt and b.pt, and an experiment in which the first is pruned."""
    stock = tmp_path_factory.mktemp("stock")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(stock)
        patch.setattr(local, "begin", forked)
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in "ab":
            options = [
                "--ratio",
                0.0625,
                "--epochs",
                1,
                "--seed",
                ord(name),
                "--model-dir",
                "given",
            ]
            succeed("train_norm.py", *DIGITS, *options, "--save", name)
        succeed("submit.py", *MINE, "--weights", A, "--prune-with", *PRUNING)
    return stock


def commands(*options) -> list[str]:
    return succeed("submit.py", *options, "--dry-run").splitlines()


def test_a_base_network_is_trained_first_and_pruned_once_for_each_seed_and_target():
    base, *pruned = commands(
        *TASK,
        *("--methods", "prune", "--target", "25%", "300k", "--budget", "params"),
        *("--seeds", 0, 7, "--base-seed", 3, "--prune-with", "criterion=random", "epochs=4"),
    )
    assert (
        base
        == "python3 train_norm.py --model vgg --dataset digits --save vgg_standard_digits_3 --resume"
    )
    assert pruned == [
        f"python3 prune.py --model vgg --dataset digits --save vgg_prune_digits_{seed} "
        f"--weights saved_models/vgg/vgg_standard_digits_3.pt --target {target} --budget params "
        "--criterion random --epochs 4 --resume"
        for seed in (0, 7)
        for target in ("25%", "300k")
    ]


def test_given_weights_are_pruned_as_they_are():
    (command,) = commands(*MINE, "--weights", A, "--amp", "--prune-with", *PRUNING)
    assert f"--save mine_prune_0 --weights {A} --target 30% --budget macs " in command
    assert " --amp " in command


def test_an_experiment_ends_as_its_commands_do_typed_one_by_one(tmp_path, forking, monkeypatch):
    experiment = [
        *(*EXPERIMENT, "--methods", "magnitude", "prune", "--target", "60k", "--seeds", 1),
        *("--base-ratio", 0.0625, "--train-with", *ONCE, "--tune-with", *ONCE),
        *("--prune-with", *PRUNING),
    ]
    typed = commands(*experiment)
    assert len(typed) == 3
    for folder in ("typed", "submitted"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        if folder == "typed":
            for line in typed:
                succeed(*shlex.split(line)[1:])
        else:
            out = succeed("submit.py", *experiment)
            assert len(re.findall(r"^(?:prune|magnitude)\b.* 60k-macs ", out, re.M)) == 2

    found = [everything(tmp_path / folder / "saved_models") for folder in ("typed", "submitted")]
    typed, submitted = ({n: one for n, one in each.items() if n.endswith(".pt")} for each in found)
    assert typed == submitted and len(typed) == 3


def test_the_same_command_finds_all_done_and_status_says_so():
    run = [*MINE, "--weights", A, "--prune-with", *PRUNING]
    result, before = json.loads(RESULT.read_text()), snapshot("saved_models")
    assert result["method"] == "pruned_taylor" and result["target"] == "30%"
    listed = succeed("submit.py", *run, "--status").splitlines()[1]
    assert listed.split()[:2] == ["mine_prune_0@30pct-macs", "finished"]
    succeed("submit.py", *run)
    assert snapshot("saved_models") == before and json.loads(RESULT.read_text()) == result


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["criterion=magnitude"], "method = pruned_taylor"),
        (["uniform"], "method = pruned_taylor"),
        (["round-to=8"], "round_to = 1, not 8"),
        (["min-width=4"], "min_width = 0, not 4"),
        (["keep=0"], "keep = [], not ['0']"),
        (["lr=0.01"], "lr = 0.1, not 0.01"),
    ],
)
def test_a_pruning_of_another_kind_is_not_taken_for_the_one_asked_for(more, said):
    run = [*MINE, "--weights", A, "--prune-with", *PRUNING]
    assert_refused(call("submit.py", *run, *more, "--status"), RESULT, said)


def test_a_pruning_of_other_weights_is_not_taken_for_the_one_asked_for():
    before = snapshot(".")
    other = call("submit.py", *MINE, "--weights", B, "--prune-with", *PRUNING)
    assert_refused(other, RESULT, "other weights", B)
    assert snapshot(".") == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--methods", "prune"], "--target"),
        (["--methods", "prune", "--ratios", 0.5], "--target"),
        (["--methods", "prune", "--target", "100%"], "below 100%"),
        (["--methods", "uniform", "--weights", "a.pt"], "--weights goes with --methods prune"),
        (["--methods", "uniform", "--prune-with", "epochs=2"], "--prune-with goes with"),
        (
            ["--methods", "prune", "--target", "25%", "--weights", "no.pt"],
            "no.pt: there is no such",
        ),
        (
            ["--methods", "prune", "--target", "25%", "--weights", "a", "--base-seed", 1],
            "--base-seed 1",
        ),
        (["--methods", "prune", "--target", "25%", "--prune-with", "weights=a"], "weights=a"),
        (
            ["--methods", "prune", "--target", "25%", "--prune-with", "uniform", "morph"],
            "give one of",
        ),
        (["--methods", "prune", "--target", "25%", "--prune-with", "prune-fname=nix"], "nix"),
        (["--methods", "uniform", "prune", "--target", "25%", "--base-ratio", 0.5], "give numbers"),
    ],
)
def test_what_can_not_be_is_refused_in_a_line(options, said):
    assert_refused(call("submit.py", *TASK, *options), said)
    assert not list(Path("saved_models").rglob("vgg_*"))
