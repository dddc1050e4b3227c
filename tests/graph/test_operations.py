"""Networks of a user's own: operations that compaction knows change no number; others leave the
search to masks."""

import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from compaction import (
    assert_same_but_for_the_dead,
    assert_same_outputs,
    batches,
    closed,
    size,
    train,
)
from networks import Function, GatedSandwich
from running import DIGITS, assert_refused, call, lasting, succeed
from torch import nn

from model import MODELS, VGG
from model.gate import GateLayer, gates_of, norm_and_gate
from model.graph.compaction import Compactor
from utils.pruning import TaylorPruner
from utils.records.paths import search_rows
from utils.records.searches import read_search
from utils.search.iteration import Pruning
from utils.training.loop import sgd

WIDTHS = [24, 32, 32, 40, 24]


class Custom(nn.Module):
    """Five convolutions with gates and the same activation, the middle one in a residual block;
    then ``flatten``."""

    def __init__(self, activation, flatten):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(inp, out, 3, padding=1) for inp, out in zip([3, *WIDTHS], WIDTHS)
        )
        self.norms = nn.ModuleList(norm_and_gate(width, True) for width in WIDTHS)
        self.activation, self.flatten, self.pool = activation, flatten, nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Linear(WIDTHS[-1], 16), activation, nn.Linear(16, 10))

    def layer(self, i: int, x):
        return F.max_pool2d(x, 2) if i < 0 else self.activation(self.norms[i](self.convs[i](x)))

    def forward(self, x):
        x = self.layer(1, self.layer(0, x))
        x = x + self.layer(2, x)
        x = self.layer(4, self.layer(3, x))
        return self.classifier(self.flatten(self.pool(x)))


def begin(compact: bool, activation, flatten) -> Pruning:
    torch.manual_seed(0)
    network = Custom(activation, flatten).double()
    compactor = Compactor(network) if compact else None
    traced = compactor.network if compact else network
    return Pruning(
        traced,
        sgd(network, 0.02, 0.5, 5e-4),
        traced,
        TaylorPruner(gates_of(network), 1, 6),
        compactor,
    )


FLATTEN = Function(lambda x: torch.flatten(x, 1))


@pytest.mark.parametrize(
    ("activation", "flatten"),
    [
        (nn.SiLU(), nn.Flatten()),
        (nn.SiLU(inplace=True), Function(lambda x: x.flatten(start_dim=1))),
        (nn.LeakyReLU(0.1), FLATTEN),
        (nn.Dropout(0.0), Function(lambda x: torch.flatten(x, start_dim=1))),
        (nn.Dropout2d(0.0), Function(lambda x: x.flatten(1))),
        (Function(F.relu), FLATTEN),
        (Function(torch.relu), FLATTEN),
        (Function(partial(F.relu6, inplace=True)), FLATTEN),
        (Function(F.silu), nn.Flatten(1, -1)),
        (Function(lambda x: F.leaky_relu(x, 0.2)), FLATTEN),
    ],
    ids=[
        "SiLU",
        "SiLU in place",
        "LeakyReLU",
        "Dropout",
        "Dropout2d",
        "relu",
        "torch.relu",
        "relu6",
        "silu",
        "leaky_relu",
    ],
)
@pytest.mark.filterwarnings("ignore:dropout2d")  # it is asked for features too
def test_a_compacted_search_of_a_custom_network_is_the_masked_search(activation, flatten):
    masked, compacted = (begin(compact, activation, flatten) for compact in (False, True))
    source = [(images[..., :8, :8], labels) for images, labels in batches(32, 60)]
    assert train(compacted, source) == train(masked, source)
    assert masked.pruner.rounds > 5 and compacted.pruner.history == masked.pruner.history
    assert size(compacted) < 0.7 * size(masked)
    assert_same_but_for_the_dead(masked, compacted)
    assert_same_outputs(masked, compacted)


def test_dropout_goes_on_in_a_compacted_network():
    state = begin(True, nn.Dropout(0.5), nn.Flatten())
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    alive = closed(state.network, [5, 8, 9, 17, 3])
    expected = state.network.eval()(images)
    assert state.compactor.compact(alive)
    torch.testing.assert_close(state.network(images), expected, rtol=0, atol=1e-12)
    state.network.train()
    assert not torch.equal(state.network(images), state.network(images))  # drawn afresh
    assert not state.network.activation(torch.zeros(9)).any()


class Tail(nn.Module):
    """Convolution, norm, gate, then an ``operation`` that flattens a map of 4 x 4 pixels, or
    not."""

    def __init__(self, operation):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), GateLayer(16)
        )
        self.operation = operation

    def forward(self, x):
        return self.operation(self.first(x))


@pytest.mark.parametrize(
    "operation",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(16 * 16, 10)),
        nn.Sequential(FLATTEN, nn.Linear(16 * 16, 10)),
        nn.Sequential(FLATTEN, nn.BatchNorm1d(16 * 16)),
        nn.Sequential(FLATTEN, GateLayer(16 * 16)),
        nn.Sequential(Function(lambda x: x.view(x.size(0), -1)), nn.Linear(16 * 16, 10)),
        nn.Sequential(Function(lambda x: x.view(-1, 256)), nn.Linear(16 * 16, 10)),
        nn.Sequential(Function(lambda x: x.reshape(x.shape[0], 16 * 16)), nn.Linear(16 * 16, 10)),
        nn.Sequential(
            Function(lambda x: torch.reshape(x, (-1, 16, 16)).mean(-1)), nn.Linear(16, 10)
        ),
        Function(torch.flatten),  # images too: all channels stay
        nn.Flatten(0),
        Function(lambda x: x.flatten()),
    ],
    ids=[
        "module",
        "function",
        "norm",
        "gate",
        "view",
        "view to a number",
        "reshape",
        "to lines",
        "all",
        "module, all",
        "method, all",
    ],
)
def test_a_map_that_is_flattened_is_compacted_exactly(operation):
    torch.manual_seed(0)
    network, images = Tail(operation).double().eval(), torch.randn(4, 3, 4, 4, dtype=torch.float64)
    compactor = Compactor(network, 4, multiple=1)
    alive = [torch.arange(len(gate.weight)) % len(gate.weight) >= 7 for gate in gates_of(network)]
    for gate, living in zip(gates_of(network), alive):
        gate.weight.data.copy_(living)
    expected = network(images)
    compactor.compact(alive, worthwhile=0)
    torch.testing.assert_close(compactor.network(images), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "operation",
    [
        nn.Sequential(nn.Flatten(2), nn.Linear(16, 10)),  # along the pixels, not the channels
        nn.Sequential(nn.Flatten(2), nn.Linear(16, 10, bias=False)),
        nn.Sequential(Function(lambda x: torch.flatten(x, 2)), nn.Linear(16, 10)),
        nn.Sequential(nn.MaxPool2d((4, 1)), nn.AdaptiveAvgPool2d((1, 16)), nn.Linear(16, 10)),
    ],
    ids=["module, pixels", "no bias", "function, pixels", "columns"],
)
def test_a_linear_layer_along_pixels_keeps_channels_apart(operation):
    torch.manual_seed(0)
    network, images = (
        nn.Sequential(Tail(operation), nn.Flatten(2), nn.Conv1d(16, 5, 3)).double().eval(),
        torch.randn(4, 3, 4, 4).double(),
    )
    compactor, alive = Compactor(network, 4, multiple=1), closed(network, [9])
    expected = network(images)
    compactor.compact(alive, worthwhile=0)
    torch.testing.assert_close(compactor.network(images), expected, rtol=0, atol=1e-12)
    if network[0].operation[-1].bias is None:  # which makes a zero something else
        assert network[0].first[0].weight.shape[0] == 9


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (nn.PixelShuffle(2), "PixelShuffle"),
        (Function(lambda x: x.mean(1, keepdim=True) * x), None),
        (Function(lambda x: x.flip(1)), "flip"),
        (nn.LocalResponseNorm(3), "LocalResponseNorm"),
        (Function(lambda x: torch.cumsum(x, 1)), "cumsum"),
    ],
)
def test_what_is_not_known_to_keep_channels_apart_is_named_with_its_place_and_gets_them_all(
    operation, name
):
    torch.manual_seed(0)
    sandwich = (
        GatedSandwich(operation)
        if name != "PixelShuffle"
        else GatedSandwich(nn.Sequential(operation, nn.PixelUnshuffle(2)))
    )
    network, images = sandwich.double().eval(), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    compactor = Compactor(network, 8, multiple=1)
    reasons = [
        why for why in compactor.reading.widths.fixed if "not known to keep channels apart" in why
    ]
    assert bool(reasons) == bool(name) and all(
        why.startswith(name) and "operation" in why for why in reasons
    )
    alive = closed(network, [7])
    expected = network(images)
    compactor.compact(alive, worthwhile=0)
    torch.testing.assert_close(compactor.network(images), expected, rtol=0, atol=1e-12)


def test_what_weights_that_are_used_twice_have_stays_and_the_rest_is_compacted():
    torch.manual_seed(0)
    conv, other = (nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
    tied = nn.Conv2d(16, 16, 3, padding=1)
    tied.weight = conv.weight
    for operation, shrinks in (
        (nn.Sequential(conv, nn.ReLU(), other), True),
        (nn.Sequential(conv, nn.ReLU(), conv), False),
        (nn.Sequential(conv, nn.ReLU(), tied), False),
    ):
        network = GatedSandwich(operation).double().eval()
        images, compactor = torch.randn(2, 3, 8, 8, dtype=torch.float64), Compactor(network, 8)
        alive = closed(network, [8])
        expected = network(images)
        compactor.compact(alive)
        torch.testing.assert_close(compactor.network(images), expected, rtol=0, atol=1e-12)
        assert (conv.weight.shape[1] == 8) == shrinks
        conv.weight = nn.Parameter(torch.randn(16, 16, 3, 3, dtype=torch.float64))
        conv.in_channels = conv.out_channels = 16
        tied.weight = conv.weight


@pytest.mark.parametrize(
    "operation", [Function(lambda x: x + x), Function(lambda x: torch.add(x, x, alpha=2))]
)
def test_a_sum_of_a_result_with_itself_is_known(operation):
    network = GatedSandwich(operation).eval()
    compactor, images = Compactor(network), torch.randn(2, 3, 8, 8)
    alive = closed(network, [8])
    expected = network(images)
    assert compactor.compact(alive)
    torch.testing.assert_close(compactor.network(images), expected)


# --- scripts --------------------------------------------------------------------------------------

SEARCH = [
    *DIGITS,
    "--model",
    "custom",
    "--ratio",
    0.0625,
    "--epochs",
    4,
    "--warmup",
    0,
    "--iterations",
    2,
    "--prune-every",
    1,
    "--prune-step",
    5,
    "--batch-size",
    20,
]
UNKNOWN = {"trace": lambda: Function(lambda x: x if x.sum() < 1e9 else -x)}
MIXING = {
    "PixelShuffle": lambda: nn.Sequential(nn.PixelShuffle(2), nn.PixelUnshuffle(2)),
    "flip": lambda: Function(lambda x: x.flip(1).flip(1)),
}


def custom(monkeypatch, folder, operation) -> None:
    """Makes a model ``custom``: VGG11 with an operation behind its first block."""

    def build(filters, *more):
        network = VGG.build([4 * -(-width // 4) for width in filters], *more)
        network.features[2] = nn.Sequential(nn.ReLU(), operation())
        return network

    monkeypatch.chdir(folder)
    monkeypatch.setitem(MODELS, "custom", "custom")
    monkeypatch.setitem(
        sys.modules,
        "custom",
        SimpleNamespace(
            TEMPLATE=VGG.TEMPLATE, LAYERS=VGG.LAYERS, SEARCH_EXTRA=0, build=build, count=VGG.count
        ),
    )


@pytest.fixture(params=UNKNOWN)
def unknown(request, tmp_path, monkeypatch) -> str:
    """What stands in the way of reading ``custom``."""
    custom(monkeypatch, tmp_path, UNKNOWN[request.param])
    return request.param


@pytest.mark.parametrize("operation", MIXING)
def test_a_search_of_a_network_with_an_operation_that_mixes_channels_is_compacted(
    operation, tmp_path, monkeypatch
):
    custom(monkeypatch, tmp_path, MIXING[operation])
    assert "masked" not in succeed("architecture_descent.py", "--save", "x", *SEARCH)
    succeed("architecture_descent.py", "--save", "y", *SEARCH, "--no-compact")
    for i in range(2):
        rows, masked_rows = (search_rows("prune_record", name, i).read_text() for name in "xy")
        assert rows == masked_rows


def test_a_search_of_a_network_with_an_unknown_operation_goes_on_with_masks_and_says_so_once(
    unknown,
):
    out = succeed("architecture_descent.py", "--save", "x", *SEARCH)
    assert [unknown in line for line in out.splitlines() if "masked" in line] == [True]
    assert "masked" not in succeed(
        "architecture_descent.py", "--save", "y", *SEARCH, "--no-compact"
    )
    record, masked = (
        lasting(read_search("prune_record", name, "custom", "digits")) for name in "xy"
    )
    assert record.pop("settings") | {"compact": False} == masked.pop("settings")
    assert (
        record == masked
        and len(record["iterations"]) == 2
        and record["iterations"][0]["rounds"] > 3
    )
    for i in range(2):
        rows, masked_rows = (search_rows("prune_record", name, i).read_text() for name in "xy")
        assert rows == masked_rows


def test_magnitude_pruning_of_a_network_with_an_unknown_operation_is_refused(unknown):
    succeed(
        "train_norm.py",
        "--save",
        "base",
        "--model",
        "custom",
        *DIGITS,
        "--ratio",
        0.125,
        "--epochs",
        1,
    )
    assert_refused(
        call(
            "fine_tune.py",
            "--save",
            "x",
            "--prune-fname",
            "base",
            "--model",
            "custom",
            *DIGITS,
            "--ratio",
            0.09375,
        ),
        unknown,
    )
