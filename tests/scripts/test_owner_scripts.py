"""Networks given by name through the scripts: what is trained is what is recorded, and what their
owner's code trains; or one line."""

import json
from pathlib import Path

import pytest
import torch
from networks import forget
from running import DIGITS, ONCE, assert_refused, call, snapshot, succeed

from model import build_model, count_params, layer_names, template
from utils.records.files import read_tensors, write_tensors
from utils.records.networks import graph_of, load_network

NETS = '''
import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    """A layer norm over channels that lie last, a head that is shared by two sizes, a weighted sum, two norms of one half each."""

    def __init__(self, num_classes):
        super().__init__()
        self.patch, self.norm, self.up, self.down = nn.Conv2d(3, 16, 8, 8), nn.LayerNorm(16), nn.Linear(16, 24), nn.Linear(24, 16)
        self.weights = nn.Parameter(torch.tensor([1.0, 0.5]))
        self.both, self.head = nn.Conv2d(16, 8, 1), nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.patch(x).permute(0, 2, 3, 1)
        weights = torch.softmax(self.weights, 0)
        x = (weights[0] * x + weights[1] * self.down(F.gelu(self.up(self.norm(x))))).permute(0, 3, 1, 2)
        sizes = [torch.relu(self.both(z)).mean((2, 3)) for z in (x, F.avg_pool2d(x, 2))]
        return self.head(torch.cat(sizes, 1))


class Halves(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(8), nn.InstanceNorm2d(8, affine=True)
        self.more, self.head = nn.Conv2d(16, 12, 3, 2), nn.Linear(12, num_classes)

    def forward(self, x):
        one, two = self.stem(x).chunk(2, dim=1)
        return self.head(torch.relu(self.more(torch.relu(torch.cat([self.two(two), self.one(one)], 1)))).mean((2, 3)))


class Doubles(nn.Module):
    """A number of channels in its code, and something that it does in training alone."""

    def __init__(self, num_classes):
        super().__init__()
        self.stem, self.more, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, num_classes)

    def forward(self, x):
        x = torch.relu(self.more(torch.relu(self.stem(x)).view(-1, 8, 30, 30)))
        return self.head((2 * x if self.training else x).mean((2, 3)))


class Numbered(Doubles):
    def forward(self, x):
        return self.head(torch.relu(self.more(torch.relu(self.stem(x)).view(-1, 8, 30, 30))).mean((2, 3)))


class Idle(nn.Module):
    """A layer that nothing follows from, and a number that is no buffer."""

    def __init__(self, num_classes):
        super().__init__()
        self.stem, self.more, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, num_classes)
        self.idle, self.factor = nn.Linear(3, 5), torch.full((1,), 0.5)

    def forward(self, x):
        return self.head(torch.relu(self.more(torch.relu(self.stem(x)) * self.factor)).mean((2, 3)))

class Own(nn.Module):
    """A convolution that gives its weight to a function."""

    def __init__(self, inputs, filters):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(filters, inputs, 3, 3) / 9), nn.Parameter(torch.zeros(filters))

    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias, stride=2)


class Functional(nn.Module):
    """Modules of its own that call functions with their weights."""

    def __init__(self, num_classes):
        super().__init__()
        self.one, self.two, self.head = Own(3, 16), Own(16, 12), nn.Linear(12, num_classes)

    def forward(self, x):
        return self.head(torch.relu(self.two(torch.relu(self.one(x)))).mean((2, 3)))


class Bare(Functional):
    """The same functions in the network's own code, where no gate can be put: its graph is run while it is pruned."""

    def forward(self, x):
        x = torch.relu(F.conv2d(x, self.one.weight, self.one.bias, stride=2))
        x = torch.relu(F.conv2d(x, self.two.weight, self.two.bias, stride=2)).mean((2, 3))
        return F.linear(x, self.head.weight, self.head.bias)
'''
RATIO = ["--ratio", 0.5]


@pytest.fixture(autouse=True)
def nets(here, fresh):
    Path("nets.py").write_text(NETS)


@pytest.mark.parametrize("name", ["Mixer", "Halves", "Numbered"])
def test_a_network_that_is_pruned_by_magnitude_is_the_one_that_is_recorded_and_exported(name):
    model = ["--model", f"nets.py:{name}"]
    succeed("train_norm.py", *model, "--save", "base", *ONCE)
    out = succeed("fine_tune.py", *model, "--save", "tuned", "--prune-fname", "base", *ONCE, *RATIO)
    assert ("its outputs are others: norms now take their means over fewer filters" in out) == (
        name == "Mixer"
    )
    assert ("its outputs differ by" in out) == (name != "Mixer")
    found = json.loads(Path(f"saved_plots/nets.{name}/tuned_50.json").read_text())
    path = Path(f"saved_models/nets.{name}/tuned@50.pt")
    state = read_tensors(path)["network"]
    network = load_network(path, f"nets.py:{name}")
    assert (
        sum(p.numel() for p in network.parameters())
        == found["params"]
        == count_params(f"nets.py:{name}", found["filters"])
    )
    assert state.keys() == network.state_dict().keys() and not any("gate" in key for key in state)
    assert (type(network).__name__ == name) == (name != "Numbered")
    succeed("export.py", *model, "--dataset", "digits", "--save", "tuned", *RATIO, "--out", "out")
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(
        torch.export.load("out/network.pt2").module()(images), network(images)
    )


def test_the_largest_filters_of_a_layer_that_is_used_twice_are_kept():
    succeed("train_norm.py", "--model", "nets.py:Mixer", "--save", "base", *ONCE)
    succeed(
        "fine_tune.py",
        "--model",
        "nets.py:Mixer",
        "--save",
        "tuned",
        "--prune-fname",
        "base",
        *ONCE,
        *RATIO,
        "--lr",
        1e-12,
    )
    base = read_tensors(Path("saved_models/nets.Mixer/base.pt"))["network"]
    tuned = read_tensors(Path("saved_models/nets.Mixer/tuned@50.pt"))
    [number] = [
        n for n, layers in enumerate([["patch", "down"], ["up"], ["both"]]) if "both" in layers
    ]
    kept = tuned["begun_with"]["kept"]
    assert [len(filters) for filters in kept] == tuned["filters"]
    norms = base["both.weight"].abs().flatten(1).sum(1)
    assert sorted(kept[number]) == sorted(norms.topk(tuned["filters"][number]).indices.tolist())
    torch.testing.assert_close(
        tuned["network"]["both.weight"], base["both.weight"][kept[number]][:, kept[0]]
    )


@pytest.mark.parametrize("name", ["Functional", "Bare"])
def test_the_largest_filters_are_kept_of_weights_that_are_given_to_functions(name):
    model = ["--model", f"nets.py:{name}"]
    succeed("train_norm.py", *model, "--save", "base", *ONCE)
    tuning = ["--save", "tuned", "--prune-fname", "base", *ONCE, *RATIO, "--lr", 1e-12]
    succeed("fine_tune.py", *model, *tuning)
    base = read_tensors(Path(f"saved_models/nets.{name}/base.pt"))["network"]
    tuned = read_tensors(Path(f"saved_models/nets.{name}/tuned@50.pt"))
    layers = [layers[0].split(".")[0] for layers in layer_names(f"nets.py:{name}")]
    kept = dict(zip(layers, tuned["begun_with"]["kept"]))
    for layer in ("one", "two"):
        norms = base[f"{layer}.weight"].abs().flatten(1).sum(1)
        assert sorted(kept[layer]) == sorted(norms.topk(len(kept[layer])).indices.tolist())
        assert len(kept[layer]) < len(norms)
    torch.testing.assert_close(
        tuned["network"]["two.weight"], base["two.weight"][kept["two"]][:, kept["one"]]
    )


@pytest.mark.parametrize(
    "command",
    [
        ["check_model.py"],
        ["architecture_descent.py", "--save", "x", "--iterations", 1, "--warmup", 0],
        ["ratio_swipe.py", "--save", "x", "--uniform"],
        ["train_norm.py", "--save", "x"],
    ],
    ids=lambda command: command[0],
)
def test_a_network_that_would_be_trained_otherwise_is_refused_and_nothing_is_written(
    command, tmp_path
):
    before = {
        path: content for path, content in snapshot(tmp_path).items() if "__pycache__" not in path
    }
    options = ["--dataset", "digits"] if command == ["check_model.py"] else ONCE
    assert_refused(
        call(*command, "--model", "nets.py:Doubles", *options),
        "nets.py:Doubles",
        "loss differs from that of its own code",
    )
    after = {
        path: content
        for path, content in snapshot(tmp_path).items()
        if not ("__pycache__" in path or path.endswith(".lock"))
    }
    assert after == before


def test_a_run_says_whose_code_is_run_where_that_is_not_its_owners():
    for name, told in (("Numbered", True), ("Halves", False)):
        out = succeed(
            "ratio_swipe.py",
            "--model",
            f"nets.py:{name}",
            "--save",
            "x_0",
            "--uniform",
            "--ratios",
            0.5,
            *ONCE,
        )
        assert (f"nets.py:{name}: its graph is run, not its own code" in out) == told


@pytest.mark.parametrize("gated", [False, True])
def test_weights_that_an_earlier_version_trained_from_the_graph_are_loaded_as_they_were(gated):
    """It stored what the graph had: no idle layers, numbers as buffers; of pruned ones gates, and
    what had to stay."""
    from model.gate import gates_of
    from model.graph.compaction import Compactor

    name, shape = "nets.py:Idle", {"num_classes": 10, "image_size": 32}
    network, kept = (
        graph_of(name, [8, 8] if gated else [5, 6], shape, gated=gated),
        [[0, 2, 3, 4, 7], [1, 2, 3, 4, 5, 6]],
    )
    begun_with = {"kept": kept} if gated else {}
    if gated:
        alive = [
            torch.zeros(8, dtype=torch.bool).index_fill(0, torch.tensor(filters), True)
            for filters in kept
        ]
        for gate, living in zip(gates_of(network), alive):
            gate.weight.data.copy_(living)
        (compactor := Compactor(network, 32, multiple=1)).compact(alive, worthwhile=0)
        network = compactor.network
    stored = {
        "model": name,
        "dataset": "digits",
        **shape,
        "convcut": False,
        "filters": [5, 6],
        "base_filters": [8, 8],
        "begun_with": begun_with,
        "network": network.state_dict(),
    }
    write_tensors(Path("old.pt"), stored)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(load_network("old.pt", name)(images), network.eval()(images))


def test_a_base_network_of_an_earlier_version_is_pruned():
    succeed("train_norm.py", "--model", "nets.py:Idle", "--save", "base", *ONCE)
    path = Path("saved_models/nets.Idle/base.pt")
    stored = read_tensors(path)
    network = graph_of("nets.py:Idle", [8, 8], {"num_classes": 10, "image_size": 32}, gated=False)
    stored["network"] = {
        name: stored["network"].get(name, tensor) for name, tensor in network.state_dict().items()
    }
    assert "factor" in stored["network"] and "idle.weight" not in stored["network"]
    write_tensors(path, stored)
    succeed(
        "fine_tune.py",
        "--model",
        "nets.py:Idle",
        "--save",
        "tuned",
        "--prune-fname",
        "base",
        *ONCE,
        *RATIO,
    )
    stored["network"].pop("more.weight")
    write_tensors(path, stored)
    assert_refused(
        call(
            "fine_tune.py",
            "--model",
            "nets.py:Idle",
            "--save",
            "more",
            "--prune-fname",
            "base",
            *ONCE,
            *RATIO,
        ),
        "base.pt",
    )


def test_the_unfinished_search_of_an_earlier_version_is_refused_in_a_line(monkeypatch):
    from utils.training import progress

    search = [
        "architecture_descent.py",
        "--model",
        "nets.py:Idle",
        "--save",
        "s",
        *DIGITS,
        "--epochs",
        3,
        "--warmup",
        1,
        "--iterations",
        1,
    ]
    with monkeypatch.context() as patch:
        patch.setattr(progress.Progress, "close", stop_after(2, progress.Progress.close))
        call(*search)
    [path] = Path("saved_models/nets.Idle").glob("*@search.pt")
    state = read_tensors(path)
    write_tensors(
        path,
        {
            **state,
            "kept": {
                "stem": torch.ones(8, dtype=torch.bool),
                "relu": torch.ones(8, dtype=torch.bool),
            },
        },
    )
    forget()
    assert_refused(
        call(*search, "--resume"), "begun by a version that ran the network's graph", "--overwrite"
    )


def stop_after(epochs: int, close):
    """Stops a run in its last of so many epochs, as Ctrl-C does."""
    done = []

    def closing(self, numbers):
        close(self, numbers)
        done.append(numbers)
        if len(done) == epochs:
            raise KeyboardInterrupt

    return closing


def test_widths_of_a_mixer_are_tied_as_they_are_read():
    assert template("nets.py:Mixer") == [16, 24, 8]
    assert type(build_model("nets.py:Mixer", [3, 5, 7])).__name__ == "Mixer"
