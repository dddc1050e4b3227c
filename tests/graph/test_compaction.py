"""Removing what closed gates have made dead changes no other number: in float64 a compacted search
and a masked one record the same rows and end with the same weights, momentum and outputs."""

import pytest
import torch
from built_in import BUILT_IN
from compaction import (
    assert_same_but_for_the_dead,
    assert_same_outputs,
    batches,
    closed,
    size,
    train,
)
from networks import Function, GatedSandwich, parameters
from torch import nn

from model import MODELS, build_model, macs_per_filter
from model.errors import UnreadableNetwork
from model.gate import GateLayer, gates_of
from model.graph.compaction import MULTIPLE, Compactor
from utils.pruning import TaylorPruner
from utils.records.files import read_tensors, write_tensors
from utils.search.iteration import Pruning
from utils.training.loop import sgd

EVERYWHERE_EQUAL = [18] * 17  # for resnet18: every shortcut of stride 1 is an identity


def begin(
    name: str,
    filters: list[int],
    compact: bool,
    *,
    prune_fraction: float = 0.95,
    cost=None,
    **options,
) -> Pruning:
    torch.manual_seed(0)
    network = (
        build_model(name, filters, gated=True, **options)
        .double()
        .to(memory_format=torch.channels_last)
    )
    compactor = Compactor(network, options.get("image_size", 32)) if compact else None
    traced = compactor.network if compact else network
    record = BUILT_IN[name]
    pruner = TaylorPruner(gates_of(network), 1, record.per_round, prune_fraction, cost)
    return Pruning(traced, sgd(network, record.lr, 0.5, 5e-4), traced, pruner, compactor)


@pytest.mark.parametrize(
    ("name", "filters", "image_size", "convcut", "fraction"),
    [
        *[(name, BUILT_IN[name].widths, 32, False, 0.95) for name in MODELS],
        ("vgg", BUILT_IN["vgg"].widths, 64, False, 0.5),
        ("resnet18", EVERYWHERE_EQUAL, 32, False, 0.95),
        ("resnet18", EVERYWHERE_EQUAL, 64, False, 0.4),
        ("resnet18", EVERYWHERE_EQUAL, 32, True, 0.95),
        ("mobilenetv2", BUILT_IN["mobilenetv2"].widths, 64, False, 0.3),
        ("mobilenetv2", BUILT_IN["mobilenetv2"].widths, 32, True, 0.5),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value),
)
def test_a_compacted_search_is_the_masked_search(name, filters, image_size, convcut, fraction):
    masked, compacted = (
        begin(
            name, filters, compact, prune_fraction=fraction, image_size=image_size, convcut=convcut
        )
        for compact in (False, True)
    )
    widths = train(masked, batches(image_size))
    assert train(compacted, batches(image_size)) == widths
    assert masked.pruner.ended and compacted.pruner.ended
    # Pruned to 95 % a layer is down to its last filter first; the others end by the number of
    # rounds.
    assert (masked.pruner.rounds == masked.pruner.most_rounds) == (fraction < 0.95)
    assert compacted.pruner.history == masked.pruner.history
    assert torch.equal(compacted.pruner.alive, masked.pruner.alive)
    assert size(compacted) < size(masked)
    assert_same_but_for_the_dead(masked, compacted)
    assert_same_outputs(masked, compacted, image_size)


@pytest.mark.parametrize(
    ("name", "filters", "fraction"),
    # A chain, a residual stream, depthwise layers: what a filter costs of any other network is
    # held against built ones in tests/model/test_macs.py, and a search takes seconds.
    [
        ("vgg", BUILT_IN["vgg"].widths, 0.95),
        ("resnet18", BUILT_IN["resnet18"].widths, 0.95),
        ("resnet18", EVERYWHERE_EQUAL, 0.95),
        ("mobilenetv2", BUILT_IN["mobilenetv2"].widths, 0.5),
    ],
    ids=["vgg", "resnet18", "resnet18-equal", "mobilenetv2"],
)
def test_a_compacted_search_by_macs_is_the_masked_search(name, filters, fraction):
    cost = macs_per_filter(name, filters)
    masked, compacted, usual = (
        begin(name, filters, compact, prune_fraction=fraction, cost=by)
        for compact, by in ((False, cost), (True, cost), (True, None))
    )
    widths = train(masked, batches(32))
    assert train(compacted, batches(32)) == widths
    assert train(usual, batches(32, 4)) != widths[:4]
    assert masked.pruner.rounds >= 5 and compacted.pruner.history == masked.pruner.history
    assert torch.equal(compacted.pruner.alive, masked.pruner.alive)
    assert size(compacted) < size(masked)
    assert_same_but_for_the_dead(masked, compacted)
    assert_same_outputs(masked, compacted)


@pytest.mark.parametrize("name", MODELS)
def test_a_fresh_network_restored_from_a_file_is_the_one_that_was_saved(name, tmp_path):
    whole, interrupted, restored = (begin(name, BUILT_IN[name].widths, True) for _ in range(3))
    first, rest = list(batches(32, 5))[:3], list(batches(32, 5))[3:]
    train(whole, first)
    train(interrupted, first)
    assert size(interrupted) < size(restored)
    write_tensors(tmp_path / "state.pt", interrupted.state_dict())
    restored.load_state_dict(read_tensors(tmp_path / "state.pt"))
    assert size(restored) == size(interrupted)
    assert_same_outputs(restored, interrupted, atol=0)
    for state in (whole, restored):
        state.network.train()
    # goes on, momentum and running criterion included
    assert train(restored, rest) == train(whole, rest)
    assert restored.pruner.history == whole.pruner.history
    assert_same_outputs(restored, whole, atol=1e-12)


# --- what is kept ---------------------------------------------------------------------------------


def test_widths_are_rounded_up_to_multiples_of_8_with_dead_filters():
    torch.manual_seed(0)
    network = build_model("vgg", [40, 40, 33, 33, 12, 12, 24, 24], gated=True).double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    compactor = Compactor(network)
    alive = closed(network, [1, 8, 9, 33, 11, 8, 17, 24])
    with torch.no_grad():
        expected = network(images)
    assert MULTIPLE == 8
    assert compactor.compact(alive)
    # 11 of 12 stay 12, for there are no 16; 33 of 33 and 24 of 24 have nothing to lose.
    assert [
        module.out_channels
        for module in compactor.network.modules()
        if isinstance(module, nn.Conv2d)
    ] == [8, 8, 16, 33, 12, 8, 24, 24]
    norms = [module for module in compactor.network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert (
        [len(norm.gate.multipliers()) for norm in norms]
        == [len(norm.weight) for norm in norms]
        == [8, 8, 16, 33, 12, 8, 24, 24]
    )
    assert [len(filters) for filters in compactor.kept_filters()] == [8, 8, 16, 33, 12, 8, 24, 24]
    for filters, living in zip(compactor.kept_filters(), alive):
        assert living[filters].sum() == living.sum()  # all that are alive are there
    with torch.no_grad():
        torch.testing.assert_close(compactor.network(images), expected, rtol=0, atol=1e-12)
    assert not compactor.compact(alive)  # nothing more to remove


@pytest.mark.parametrize("name", MODELS)
def test_without_closed_gates_nothing_is_removed(name):
    network = build_model(name, BUILT_IN[name].widths, gated=True)
    compactor = Compactor(network)
    assert not compactor.compact(
        [torch.ones(width, dtype=torch.bool) for width in BUILT_IN[name].widths]
    )
    assert [len(filters) for filters in compactor.kept_filters()] == BUILT_IN[name].widths


def test_a_channel_of_a_residual_stream_stays_for_as_long_as_any_block_reads_it():
    torch.manual_seed(0)
    network = build_model("resnet18", [32] * 17, gated=True).double().eval()
    compactor, images = Compactor(network), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    first_half = torch.arange(32) < 16
    # Widths 0, 2 and 4: what the blocks 0, 1 and 2 read; block 2 has a convolution as shortcut, so
    # the stream ends there.
    for readers_closed, stem_filters in (((0,), 32), ((0, 2), 32), ((0, 2, 4), 16)):
        alive = [
            first_half if layer in readers_closed else torch.ones(32, dtype=torch.bool)
            for layer in range(17)
        ]
        for layer in readers_closed:
            gates_of(network)[layer].weight.data.copy_(first_half)
        with torch.no_grad():
            expected = compactor.network(images)
            compactor.compact(alive, worthwhile=0)
            torch.testing.assert_close(compactor.network(images), expected, rtol=0, atol=1e-12)
        assert compactor.network.stem.out_channels == stem_filters


# --- what is not known ----------------------------------------------------------------------------


def two_of(x):
    return torch.cat([x, x], dim=1)


@pytest.mark.parametrize(
    ("operation", "channels", "shrinks"),
    [
        (nn.GroupNorm(4, 16), 16, False),  # makes something of a zero, as what follows does
        (nn.GroupNorm(1, 16), 16, False),
        (nn.Sigmoid(), 16, False),
        (nn.Hardsigmoid(), 16, False),
        (Function(torch.exp), 16, False),
        (Function(lambda x: x[:, :8]), 8, False),
        (Function(lambda x: x.chunk(2, dim=1)[0]), 8, False),
        (Function(lambda x: x + 1), 16, False),
        # neither dense nor one filter per channel
        (nn.Conv2d(16, 16, 3, padding=1, groups=2), 16, False),
        (nn.Conv2d(16, 32, 3, padding=1, groups=16), 32, False),
        (Function(two_of), 32, True),
        (Function(lambda x: x * torch.sigmoid(x)), 16, True),
        (
            nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=4, bias=False), GateLayer(16)),
            16,
            True,
        ),
        (nn.ConvTranspose2d(16, 24, 2), 24, True),
        (nn.PReLU(16), 16, True),
        # this and what follows mix channels: they take all of them as they are
        (nn.Softmax(dim=1), 16, False),
        (nn.PixelShuffle(2), 4, False),
        (Function(lambda x: x.flip(1)), 16, False),
        (Function(lambda x: x.cumsum(1)), 16, False),
    ],
    ids=[
        "group norm",
        "one group",
        "sigmoid",
        "hardsigmoid",
        "exp",
        "slice",
        "chunk",
        "plus 1",
        "grouped",
        "depth multiplier",
        "cat",
        "swish",
        "groups and gate",
        "transposed",
        "prelu",
        "softmax",
        "shuffle",
        "flip",
        "cumsum",
    ],
)
def test_an_operation_that_is_known_is_compacted_exactly(operation, channels, shrinks):
    torch.manual_seed(0)
    network = GatedSandwich(operation, channels).double().eval()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    compactor = Compactor(network, 8, multiple=1)
    before = parameters(network)
    for left in (12, 8, 5):
        alive = closed(network, [left] * len(gates_of(network)))
        expected = network(images)
        compactor.compact(alive, worthwhile=0)
        torch.testing.assert_close(compactor.network(images), expected, rtol=0, atol=1e-12)
        assert (parameters(compactor.network) < before) == shrinks


def test_maps_flattened_into_features_are_compacted_block_by_block():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Sequential(
                nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), GateLayer(16)
            )
            self.classifier = nn.Linear(16 * 64, 10)

        def forward(self, x):
            return self.classifier(self.first(x).flatten(1))

    network = Flat().double().eval()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    compactor = Compactor(network, 8)
    alive = closed(network, [5])
    expected = network(images)
    assert compactor.compact(alive)
    assert network.first[0].weight.shape[0] == 8 and network.classifier.weight.shape == (10, 5 * 64)
    torch.testing.assert_close(compactor.network(images), expected, rtol=0, atol=1e-12)
    with pytest.raises(
        UnreadableNetwork,
        match=r"Linear \(classifier\) does not take what images of 32 pixels give it",
    ):
        Compactor(Flat(), 32)
