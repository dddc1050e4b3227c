"""Networks of other people's, by MODULE:FUNCTION or FILE.py:FUNCTION, through the scripts: taken,
or refused in one line."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from networks import forget
from running import DIGITS, assert_refused, call, everything, fork, run, snapshot, succeed, wait_for

from model import MODELS, count_params, expect, template
from model.errors import UnreadableNetwork
from utils.errors import UserError
from utils.records.networks import load_network
from utils.records.results import read_result
from utils.training import progress

NET = """
import torch.nn.functional as F
from torch import nn

WIDTHS = [16, 24, 24]


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        a, b, c = WIDTHS
        self.stem, self.norm = nn.Conv2d(3, a, 3, padding=1, bias=False), nn.BatchNorm2d(a)
        self.one, self.norm1 = nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b)
        self.two, self.norm2 = nn.Conv2d(b, c, 3, padding=1), nn.BatchNorm2d(c)
        self.three = nn.Conv2d(c, b, 3, padding=1)
        self.classifier = nn.Linear(b, num_classes)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(self.norm1(self.one(x)))
        x = F.relu(x + self.three(F.relu(self.norm2(self.two(x)))))
        x = F.dropout(x, 0.1, self.training)
        return self.classifier(x.mean((2, 3)))
"""
MODEL = ["--model", "net.py:Net"]
SEARCH = [
    *MODEL,
    *DIGITS,
    "--epochs",
    5,
    "--warmup",
    1,
    "--prune-every",
    1,
    "--prune-step",
    4,
    "--batch-size",
    20,
]
PLOT = [*MODEL, "--dataset", "digits", "--runs", "uniform=uni", "own=own"]
ONCE = [*MODEL, *DIGITS, "--epochs", 1]


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A folder with a network, a search of it, sweeps and a base network."""
    folder = tmp_path_factory.mktemp("stocked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        forget()
        Path("net.py").write_text(NET)
        succeed("architecture_descent.py", "--save", "found", *SEARCH, "--iterations", 2)
        for seed in range(2):
            succeed(
                "ratio_swipe.py",
                "--save",
                f"own_{seed}",
                "--prune-fname",
                "found",
                "--ratios",
                0.5,
                1,
                *ONCE,
            )
            succeed(
                "ratio_swipe.py", "--save", f"uni_{seed}", "--uniform", "--ratios", 0.5, 1, *ONCE
            )
        succeed("train_norm.py", "--save", "base", *ONCE)
    return folder


pytestmark = pytest.mark.usefixtures("fresh")


def test_a_record_names_its_network_and_says_what_has_each_width(folder):
    record = json.loads(Path("prune_record/found.json").read_text())
    assert (record["model"], record["template"]) == ("net.py:Net", [16, 24, 24])
    assert record["layers"] == [["stem"], ["one", "three"], ["two"]]
    assert [len(entry["alpha"]) for entry in record["iterations"]] == [3, 3]
    assert record["iterations"][0]["rounds"] > 5


def test_every_script_takes_it(folder):
    found = read_result(Path("saved_plots/net.Net/own_0_50.json"))
    assert found["model"] == "net.py:Net" and found["params"] == count_params(
        "net.py:Net", found["filters"]
    ) <= count_params("net.py:Net", [8, 12, 12])
    state = torch.load("saved_models/net.Net/own_0@50.pt", weights_only=True)["network"]
    assert (
        sum(
            tensor.numel()
            for name, tensor in state.items()
            if "running" not in name and "batches" not in name
        )
        == found["params"]
    )
    table = succeed(
        "list_architecture.py",
        *MODEL,
        "--dataset",
        "digits",
        "--prune-fname",
        "found",
        "--ratios",
        0.5,
        1,
        "--plot",
    )
    assert " ".join(map(str, found["filters"])) in table
    succeed("plot_filters.py", *MODEL, "--dataset", "digits", "--prune-fname", "found")
    table = succeed("plot_ratio.py", *PLOT, "--axis", "latency", "--device", "cpu")
    assert table.count("own ") == 2
    out = succeed("fine_tune.py", "--save", "tuned", "--prune-fname", "base", *ONCE, "--ratio", 0.5)
    assert "pruned 32 of 64 filters by L1 norm: 8 12 12" in out
    assert succeed("check_model.py", *MODEL, "--dataset", "digits").splitlines()[-1] == "ready"
    assert {path.name for path in Path("saved_plots/net.Net").glob("*.png")} == {
        "digits_found_architectures.png",
        "digits_found_residual_filters.png",
        "digits_accuracy_latency.png",
    }


def test_a_network_of_ones_own_is_exported_and_loaded_by_its_name(folder):
    succeed("fine_tune.py", "--save", "tuned", "--prune-fname", "base", *ONCE, "--ratio", 0.5)
    for save in ("own_0", "tuned"):
        succeed(
            "export.py",
            *MODEL,
            "--dataset",
            "digits",
            "--save",
            save,
            "--ratio",
            0.5,
            "--out",
            save,
        )
        told = json.loads(Path(save, "architecture.json").read_text())
        assert told["model"] == "net.py:Net" and max(told["differences"].values()) <= 1e-5
        path = Path(f"saved_models/net.Net/{save}@50.pt")
        images = torch.randn(3, 3, 32, 32)
        torch.testing.assert_close(
            torch.export.load(f"{save}/network.pt2").module()(images),
            load_network(path, "net.py:Net")(images),
        )
        with pytest.raises(
            UserError,
            match=r"weights of net\.py:Net, which a file alone is not trusted to have imported",
        ):
            load_network(path)


def test_reading_records_and_results_never_imports(folder):
    Path("net.py").write_text("raise SystemExit('imported')\n")
    assert succeed("plot_ratio.py", *PLOT).count("own ") == 2
    listing = call("list_architecture.py", *MODEL, "--dataset", "digits", "--prune-fname", "found")
    assert_refused(listing, "net.py:Net", "SystemExit: imported")


@pytest.mark.parametrize("widths", ["[16, 32, 24]", "[16, 24, 16]"])
def test_the_record_of_a_network_whose_widths_have_changed_is_refused(widths, folder):
    Path("net.py").write_text(NET.replace("[16, 24, 24]", widths))
    before = snapshot(folder)
    for command in (
        ["list_architecture.py", "--prune-fname", "found"],
        ["plot_filters.py", "--prune-fname", "found"],
    ):
        assert_refused(
            call(*command, *MODEL, "--dataset", "digits"),
            "found.json",
            "net.py:Net",
            "they have changed",
        )
        forget()
    assert_refused(
        call("ratio_swipe.py", "--save", "more_0", "--prune-fname", "found", *ONCE),
        "found.json",
        "they have changed",
    )
    forget()
    assert_refused(
        call("architecture_descent.py", "--save", "found", *SEARCH, "--iterations", 3, "--resume"),
        "they have changed",
    )
    assert snapshot(folder) == before


def test_a_search_killed_and_resumed_ends_the_same(folder, monkeypatch):
    command, update = (
        ["architecture_descent.py", "--save", "run", *SEARCH, "--iterations", 2],
        progress.Progress.update,
    )
    succeed(*command)
    undisturbed = everything(folder)
    for path in [*Path("prune_record").glob("run*"), *Path("saved_models/net.Net").glob("run*")]:
        path.unlink()
    batches = deaths = 0

    def update_and_die(self, numbers):
        nonlocal batches
        batches += 1
        if batches == 4 + 3 * deaths % 7:
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, numbers)

    while status := wait_for(
        fork(
            *command,
            "--resume",
            prepare=lambda: monkeypatch.setattr(progress.Progress, "update", update_and_die),
        )
    ):
        assert status == -signal.SIGKILL and deaths < 40
        deaths += 1
    assert deaths >= 3 and everything(folder) == undisturbed


def test_two_files_of_one_name_share_no_work(folder):
    Path("other").mkdir()
    shutil.copy("net.py", "other/net.py")
    assert_refused(
        call(
            "ratio_swipe.py",
            "--save",
            "uni_0",
            "--uniform",
            "--ratios",
            0.5,
            "--model",
            "other/net.py:Net",
            *ONCE[2:],
        ),
        "uni_0_50.json",
        "net.py:Net",
    )
    # the same
    succeed(
        "ratio_swipe.py",
        "--save",
        "uni_0",
        "--uniform",
        "--ratios",
        0.5,
        "--model",
        "./other/../net.py:Net",
        *ONCE[2:],
    )


# --- refused --------------------------------------------------------------------------------------

FILES = {
    "no_import.py": "import nothing_of_this_name\n",
    "syntax.py": "def Net(num_classes:\n",
    "raises.py": "1 / 0\n",
    "exits.py": "raise SystemExit(3)\n",
    "others.py": """
import torch
from torch import nn
from torch.nn import functional as F

Number = 3


def NoClasses():
    return nn.Linear(3, 10)


def Raises(num_classes):
    raise RuntimeError("two\\nlines")


def NoModule(num_classes):
    return "a network"


class Base(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.classifier = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, num_classes)

    def forward(self, x):
        return self.classifier(self.middle(self.conv(x)).mean((2, 3)))

    def middle(self, x):
        return x


class Branches(Base):
    def middle(self, x):
        return x if x.sum() > 0 else -x


class Shuffles(Base):
    def middle(self, x):
        return F.pixel_shuffle(x, 2).repeat(1, 4, 1, 1)


class Sorts(Base):
    def middle(self, x):
        return x.sort(dim=1)[0]


class Doubles(Base):
    def middle(self, x):
        return 2 * x if self.training else x


class Maps(Base):
    def forward(self, x):
        return self.conv(x)


class Large(Base):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.pool = nn.AvgPool2d(40)

    def middle(self, x):
        return self.pool(x)


def Fixed(num_classes):
    return nn.Sequential(nn.Conv2d(3, num_classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
""",
}
REFUSED = {
    "nowhere.py:Net": ["there is no file nowhere.py"],
    "others.py:Missing": ["others.py has no Missing"],
    "others.py:Sort": ["has no Sort; is it Sorts"],
    "others.py:Number": ["Number is a int"],
    "others.py:NoClasses": ["can't be called as f(num_classes=10)", "num_classes"],
    "others.py:Raises": ["RuntimeError: two lines"],
    "others.py:NoModule": ["gives a str"],
    "others.py:Branches": ["torch.fx can't trace it", "others.py:"],
    "others.py:Shuffles": [
        "no width that could be chosen",
        "pixel_shuffle",
        "not known to keep channels apart",
    ],
    "others.py:Sorts": [
        "no width that could be chosen",
        "sort",
        "not known to keep channels apart",
    ],
    "others.py:Maps": ["gives (2, 16, 32, 32) for 2 images, not the logits (2, 10)"],
    "others.py:Large": ["AvgPool2d (pool) does not take what images of 32 pixels give it"],
    "others.py:Fixed": ["no width that could be chosen"],
    "no_import.py:Net": ["nothing_of_this_name"],
    "syntax.py:Net": ["SyntaxError"],
    "raises.py:Net": ["ZeroDivisionError"],
    "exits.py:Net": ["SystemExit"],
    "no_such_module:Net": ["no_such_module"],
    "torchvision.models:resnet19": ["has no resnet19; is it", "resnet18"],
    "torchvision.models": [f"is none of {', '.join(MODELS)}, nor MODULE:FUNCTION"],
    "net.py:": [f"is none of {', '.join(MODELS)}, nor MODULE:FUNCTION"],
    ":Net": ["is none of"],
    "net.py:a b": ["is none of"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line_before_any_data_is(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file, text in FILES.items():
        Path(file).write_text(text)
    before = snapshot(tmp_path)
    for command in (
        ["check_model.py"],
        ["architecture_descent.py", "--save", "x", "--data", "/nowhere/at/all"],
    ):
        assert_refused(call(*command, "--model", name, "--dataset", "CIFAR10"), *REFUSED[name])
        forget()
    assert {
        file: text for file, text in snapshot(tmp_path).items() if "__pycache__" not in file
    } == before


def test_it_is_told_whose_code_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("others.py").write_text(FILES["others.py"])
    # in training it does something else, as it likes
    out = succeed("check_model.py", "--model", "others.py:Doubles").splitlines()
    assert out[-1] == "ready" and sum("by its own code" in line for line in out) == 1
    Path("others.py").write_text(
        FILES["others.py"]
        .replace("2 * x if self.training else x", "x.view(-1, 16, 30, 30)")
        .replace("3, padding=1)", "3)")
    )
    forget()
    out = succeed("check_model.py", "--model", "others.py:Doubles").splitlines()
    assert (
        out[-1] == "ready"
        and sum(
            "its graph is run, not its own code" in line and "others.py:" in line for line in out
        )
        == 1
    )


def test_from_python_a_network_that_cannot_be_read_is_an_unreadable_network():
    for name in ("nowhere.py:Net", "torchvision.models:resnet19"):
        with pytest.raises(UnreadableNetwork, match=name):
            template(name)
    with pytest.raises(UnreadableNetwork, match="convcut"):
        count_params(
            "torchvision.models:resnet18", template("torchvision.models:resnet18"), convcut=True
        )


def test_a_network_with_numbers_for_one_size_is_read_at_that_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sized.py").write_text(
        NET.replace("nn.Linear(b, num_classes)", "nn.Linear(b * 256, num_classes)").replace(
            "x.mean((2, 3))", "x.view(-1, 24 * 16 * 16)"
        )
    )
    expect("sized.py:Net", 10, (32,))
    assert template("sized.py:Net") == [16, 24, 24]
    forget()
    assert template("sized.py:Net") == [16, 24, 24]  # found among the usual sizes


def test_nothing_was_published_for_it(folder):
    for script, options in (
        ("ratio_swipe.py", ["--save", "x", "--morph"]),
        ("submit.py", ["--methods", "morph"]),
    ):
        assert_refused(
            call(script, *options, *MODEL, "--dataset", "digits"),
            "no MorphNet widths were published for net.py:Net",
        )
    assert_refused(
        call("plot_ratio.py", *MODEL, "--dataset", "digits", "--plot-dir", "empty"),
        "nothing to draw for net.py:Net on digits",
        "net.Net_uni_digits",
    )


def test_the_imagenet_scripts_take_it_and_still_refuse_vgg(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(
        call("imagenet_ratio_swipe.py", "--model", "vgg", "--save", "x", "--uniform"),
        "vgg",
        "none of resnet18, mobilenetv2",
    )
    outcome = run(
        "imagenet_ratio_swipe.py",
        "--model",
        "torchvision.models:resnet18",
        "--save",
        "x",
        "--uniform",
        cwd=tmp_path,
    )
    assert_refused(outcome, "no TinyImageNet")  # it was read: the data are what is missing
