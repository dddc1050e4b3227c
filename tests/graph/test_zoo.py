"""Torchvision's classifiers of every family, taken as they are: counted, built at other widths,
gated, pruned and compacted."""

import copy
import random
from functools import cache

import numpy as np
import pytest
import torch
from compaction import assert_same_but_for_the_dead, closed, size, train
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models
from zoo import CLASSES, NAMES, image_size, make, make_shapes

from model.cost import Cost
from model.gate import gates_of
from model.graph.blueprint import Blueprint
from model.registry import build_model, count_macs, count_params, template
from utils.pruning import TaylorPruner
from utils.search.iteration import Pruning
from utils.training.loop import sgd

FAMILIES = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vgg11_bn",
    "vit_b_16",
    "wide_resnet50_2",
]
# others whose blocks, or their order, differ
OTHERS = ["mobilenet_v3_large", "squeezenet1_0", "vgg19"]


@cache
def blueprint_of(name: str) -> Blueprint:
    return Blueprint(make_shapes(name, random=False), CLASSES, image_size(name))


def test_a_network_is_counted_of_each_module_of_torchvisions_classifiers():
    def modules(names):
        return {models.get_model_builder(name).__module__ for name in names}

    assert modules(FAMILIES) == modules(NAMES) and set(FAMILIES + OTHERS) <= set(NAMES)


def multiply_accumulates(network: nn.Module, images: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as flops, sdpa_kernel(SDPBackend.MATH):
        assert network.eval()(images).shape == (len(images), CLASSES)
    return flops.get_total_flops() // 2


def random_widths(blueprint: Blueprint, number: int, low: float, high: float) -> np.ndarray:
    draw = random.Random(number)
    return np.array(
        [
            [max(1, int(width * draw.uniform(low, high))) for _ in range(number)]
            for width in blueprint.template
        ]
    )


# in training they give more than logits, so that their graph is run
GRAPHS = {"googlenet", "inception_v3"}


@pytest.mark.parametrize("name", FAMILIES + OTHERS)
def test_counts_are_those_of_the_built_network_which_is_its_owners_object(name):
    blueprint, pixels = blueprint_of(name), image_size(name)
    widths, cost = random_widths(blueprint, 2, 0.2, 1.3), Cost()
    blueprint.count(cost, widths)  # two networks at once, of which one is built
    column, original = (FAMILIES + OTHERS).index(name) % 2, make_shapes(name)
    built = blueprint.build(original, widths[:, column].tolist(), False)
    assert (built is original) == (name not in GRAPHS) and bool(blueprint.why_graph_with_gates) == (
        name in GRAPHS
    )
    assert sum(parameter.numel() for parameter in built.parameters()) == cost.params[column]
    images = torch.empty(1, 3, pixels, pixels, device="meta")
    assert multiply_accumulates(built, images) == cost.macs[column]


# --- at its own widths ----------------------------------------------------------------------------


# made of what others of FAMILIES are made of
OF_THE_SAME_PARTS = {"efficientnet_v2_s", "regnet_x_400mf", "vgg11", "wide_resnet50_2"}


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in OF_THE_SAME_PARTS])
@torch.no_grad()
def test_at_its_own_widths_it_is_the_network_itself(name):
    images = torch.randn(2, 3, image_size(name), image_size(name))
    torch.manual_seed(3)
    network = make(name)
    original = copy.deepcopy(network).eval()
    blueprint = blueprint_of(name)
    built = blueprint.build(network, blueprint.template, True).eval()
    weights = original.state_dict()
    same = [
        name
        for name, tensor in built.state_dict().items()
        if name in weights and torch.equal(tensor, weights[name])
    ]
    assert len(same) == sum(name in weights for name in built.state_dict()) > 0
    expected, given = original(images), built(images)
    # gates change the order of rounding
    torch.testing.assert_close(given, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    ungated = blueprint.build(original, blueprint.template, False).eval()
    assert torch.equal(ungated(images), expected)


def test_a_network_of_torchvision_is_a_model_like_any_other():
    name = "torchvision.models:resnet18"
    widths = [width // 4 for width in template(name)]
    assert template(name) == [64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512]
    # reads it, which draws nothing from what follows
    count_params(name, widths, num_classes=7, image_size=64)
    torch.manual_seed(5)
    network = build_model(name, num_classes=7, image_size=64)
    torch.manual_seed(5)
    other = models.resnet18(num_classes=7).state_dict()
    assert all(torch.equal(tensor, other[key]) for key, tensor in network.state_dict().items())
    small = build_model(name, widths, num_classes=7, image_size=64)
    assert sum(p.numel() for p in small.parameters()) == count_params(
        name, widths, num_classes=7, image_size=64
    )
    with FlopCounterMode(display=False) as flops:
        small(torch.zeros(1, 3, 64, 64))
    assert flops.get_total_flops() // 2 == count_macs(name, widths, num_classes=7, image_size=64)


# --- gates and compaction -------------------------------------------------------------------------

KINDS = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "vgg11_bn",
    "vit_b_16",
]
TOO_LARGE = {"swin_t", "vit_b_16"}  # whatever widths are chosen: most of theirs are fixed
# as mobilenet_v2, and as regnet_y_400mf and resnet18
ALIKE = {"mnasnet0_5", "resnext50_32x4d"}
# of a width, by the name of one of its layers: the layers that read it, and at which channel it
# begins there
READERS = {
    "resnet18": {
        "conv1": {
            "layer1.0.conv1": 0,
            "layer1.1.conv1": 0,
            "layer2.0.conv1": 0,
            "layer2.0.downsample.0": 0,
        },
        "layer1.0.conv1": {"layer1.0.conv2": 0},
        "layer4.0.conv2": {"layer4.1.conv1": 0, "fc": 0},
    },
    "squeezenet1_1": {
        "features.3.squeeze": {"features.3.expand1x1": 0, "features.3.expand3x3": 0},
        "features.3.expand3x3": {"features.4.squeeze": "features.3.expand1x1"},
    },
    "mobilenet_v2": {
        "features.18.0": {"classifier.1": 0},
        "features.2.conv.0.0": {"features.2.conv.2": 0},
        "features.2.conv.2": {"features.3.conv.0.0": 0, "features.4.conv.0.0": 0},
    },
    "alexnet": {
        "features.0": {"features.3": 0},
        "features.3": {"features.6": 0},
        "classifier.1": {"classifier.4": 0},
    },
    "densenet121": {
        "features.denseblock1.denselayer1.conv1": {"features.denseblock1.denselayer1.conv2": 0},
        "features.conv0": {
            **{f"features.denseblock1.denselayer{i}.conv1": 0 for i in range(1, 7)},
            "features.transition1.conv": 0,
        },
    },
    "vit_b_16": {
        "encoder.layers.encoder_layer_0.mlp.0": {"encoder.layers.encoder_layer_0.mlp.3": 0}
    },
    "convnext_tiny": {"features.1.0.block.3": {"features.1.0.block.5": 0}},
    "googlenet": {
        "inception5b.branch2.0.conv": {"inception5b.branch2.1.conv": 0},
        "inception5a.branch1.conv": {
            f"inception5b.{branch}": 0
            for branch in ("branch1.conv", "branch2.0.conv", "branch3.0.conv", "branch4.1.conv")
        },
    },
}


class Read:
    """A network at about an eighth of its widths, gated, in double precision."""

    def __init__(self, name: str, scale: float = 0.15):
        self.pixels = image_size(name)
        self.blueprint = blueprint_of(name)
        self.widths = [max(8, int(width * scale)) for width in self.blueprint.template]
        torch.manual_seed(1)
        self.network = (
            self.blueprint.build(make(name, random=False), self.widths, True).double().eval()
        )
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.uniform_(module.bias, 0, 0.3)  # what ReLU leaves nothing of shows nothing
            elif isinstance(module, nn.Linear) and not module.weight.any():
                nn.init.normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.5, 0.5)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.bias, -0.3, 0.3)
        self.images = torch.randn(2, 3, self.pixels, self.pixels, dtype=torch.float64)

    def layer(self, name: str) -> int:
        """The width that a layer makes."""
        return next(
            number for number, layers in enumerate(self.blueprint.layers()) if name in layers
        )


read_of = cache(Read)  # its network is not to be changed


@pytest.fixture(params=KINDS)
def read(request) -> Read:
    return read_of(request.param)


@pytest.mark.parametrize("name", READERS)
@torch.no_grad()
def test_a_closed_gate_is_what_zeroing_all_that_reads_its_filter_is(name):
    read = read_of(name)
    whole = read.network(read.images)
    for maker, readers in READERS[name].items():
        width = read.layer(maker)
        gate = gates_of(read.network)[width]
        for channel in range(read.widths[width]):  # the first that is not dead of itself
            gate.weight[channel] = 0
            given = read.network(read.images)
            gate.weight[channel] = 1
            if (given - whole).abs().max() > 1e-13:
                break
        else:
            pytest.fail(f"{maker}: its gates change nothing")
        other = copy.deepcopy(read.network)
        for reader, begin in readers.items():
            weight = other.get_submodule(reader).weight
            begin = begin if isinstance(begin, int) else read.widths[read.layer(begin)]
            weight[:, begin + channel] = 0
        torch.testing.assert_close(given, other(read.images), rtol=0, atol=1e-11)
    assert torch.equal(read.network(read.images), whole)


def test_what_closed_gates_kill_is_compacted_and_hears_nothing(read):
    network = copy.deepcopy(read.network)
    before, compactor = (
        size(Pruning(network, None, network, None, None)),
        read.blueprint.cutter(network, multiple=1),
    )
    with torch.no_grad():
        assert not torch.allclose(
            network(read.images), torch.zeros(2, CLASSES, dtype=torch.float64)
        )
    alive = closed(network, [max(1, width // 2) for width in read.widths])
    expected = network(read.images)
    expected.square().sum().backward()
    gates = gates_of(network)
    assert all(gate.weight.grad is not None for gate in gates)
    criteria = torch.cat([(gate.weight * gate.weight.grad).square() for gate in gates])
    assert not criteria[~torch.cat(alive)].any() and criteria[torch.cat(alive)].any()
    network.zero_grad(set_to_none=True)
    compactor.compact(alive, worthwhile=0)
    torch.testing.assert_close(compactor.network(read.images), expected, rtol=0, atol=1e-10)
    assert sum(parameter.numel() for parameter in network.parameters()) < before


@pytest.fixture(params=[name for name in KINDS if name not in TOO_LARGE | ALIKE])
def searched(request) -> Read:
    return read_of(request.param)


def begin(read: Read, compact: bool) -> Pruning:
    network = copy.deepcopy(read.network)
    compactor = read.blueprint.cutter(network, multiple=2) if compact else None
    traced = compactor.network if compactor else network
    pruner = TaylorPruner(gates_of(network), 1, max(1, sum(read.widths) // 16), 0.9)
    return Pruning(traced.train(), sgd(network, 1e-4, 0.5, 5e-4), traced, pruner, compactor)


def test_a_compacted_search_is_the_masked_search(searched):
    read = searched
    masked, compacted = (begin(read, compact) for compact in (False, True))
    draw = torch.Generator().manual_seed(1)
    source = [
        (
            torch.randn(3, 3, read.pixels, read.pixels, generator=draw, dtype=torch.float64),
            torch.randint(0, 10, (3,), generator=draw),
        )
        for _ in range(5)
    ]
    assert train(masked, source) == train(compacted, source)
    assert masked.pruner.rounds >= 2 and compacted.pruner.history == masked.pruner.history
    assert torch.equal(compacted.pruner.alive, masked.pruner.alive)
    assert sum(p.numel() for p in compacted.network.parameters()) < sum(
        p.numel() for p in masked.network.parameters()
    )
    assert_same_but_for_the_dead(masked, compacted)
    with torch.no_grad():
        torch.testing.assert_close(
            compacted.network.eval()(read.images),
            masked.network.eval()(read.images),
            rtol=0,
            atol=1e-9,
        )
