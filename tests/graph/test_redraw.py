"""Layers at other widths are drawn from the distribution that their own initialisation shows."""

import math

import pytest
import torch
from torch import nn

from model.graph.blueprint import Blueprint
from model.graph.reinit import Initialisation

WIDTHS = [64, 64, 128]
KAIMING_IN = nn.init.kaiming_normal_
OTHERS = [(32, 100, 60), (96, 64, 300), (64, 64, 16)]


def network(init, bias=None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inp, out in zip([3, *WIDTHS], WIDTHS):
        layers += [
            nn.Conv2d(inp, out, 3, padding=1, bias=bias is not None),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        ]
    made = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], 10))
    for module in made:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            init(module.weight)
            if bias and module.bias is not None:
                bias(module.bias)
    return made


INITIALISATIONS = {
    "Kaiming, in": (
        lambda w: nn.init.kaiming_normal_(w, mode="fan_in"),
        lambda i, o, k: math.sqrt(2 / (i * k)),
    ),
    "Kaiming, out": (
        lambda w: nn.init.kaiming_normal_(w, mode="fan_out"),
        lambda i, o, k: math.sqrt(2 / (o * k)),
    ),
    "Kaiming, uniform": (
        lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
        lambda i, o, k: math.sqrt(2 / (i * k)),
    ),
    "default": (lambda w: None, lambda i, o, k: math.sqrt(1 / 3 / (i * k))),
    "Xavier": (nn.init.xavier_uniform_, lambda i, o, k: math.sqrt(2 / ((i + o) * k))),
    "N(0, 0.01)": (lambda w: nn.init.normal_(w, 0, 0.01), lambda i, o, k: 0.01),
    "truncated, 0.02": (lambda w: nn.init.trunc_normal_(w, std=0.02), lambda i, o, k: 0.02),
}


@pytest.mark.parametrize("widths", OTHERS, ids=str)
@pytest.mark.parametrize("name", INITIALISATIONS)
def test_a_weight_has_the_deviation_of_its_initialisation_at_the_new_widths(name, widths):
    init, expected = INITIALISATIONS[name]
    torch.manual_seed(0)
    blueprint = Blueprint(network(init), 10, 8)
    built = blueprint.build(network(init), list(widths), False)
    layers = [module for module in built.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    for layer, inp, out in zip(layers, [3, *widths], [*widths, 10], strict=True):
        wanted = expected(inp, out, 9 if isinstance(layer, nn.Conv2d) else 1)
        assert float(layer.weight.detach().std()) == pytest.approx(
            wanted, rel=0.05 + 3 / math.sqrt(layer.weight.numel())
        )


def test_default_biases_follow_the_inputs_of_their_layer_and_constants_stay():
    torch.manual_seed(0)
    default, zero = (lambda b: None), nn.init.zeros_
    for bias, expected in ((default, lambda fan: math.sqrt(1 / 3 / fan)), (zero, lambda fan: 0)):
        make = lambda bias=bias: network(lambda w: None, bias)  # noqa: E731
        built = Blueprint(make(), 10, 8).build(make(), [256, 256, 512], False)
        convs = [module for module in built.modules() if isinstance(module, nn.Conv2d)]
        for conv in convs:
            fan = conv.in_channels * 9
            assert float(conv.bias.detach().std()) == pytest.approx(expected(fan), rel=0.15)
            assert float(conv.bias.detach().abs().max()) <= 1.001 / math.sqrt(fan)
        head = next(module for module in built.modules() if isinstance(module, nn.Linear))
        # ten numbers before and after, for other inputs
        assert float(head.bias.detach().abs().max()) <= 1.001 / math.sqrt(512)
        for norm in (module for module in built.modules() if isinstance(module, nn.BatchNorm2d)):
            assert (
                (norm.weight == 1).all() and not norm.bias.any() and (norm.running_var == 1).all()
            )


def test_the_same_seed_gives_the_same_numbers():
    blueprint = Blueprint(network(KAIMING_IN), 10, 8)
    built = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        built.append(blueprint.build(network(KAIMING_IN), [20, 70, 90], False).state_dict())
    assert all(torch.equal(built[0][name], built[1][name]) for name in built[0])
    assert not torch.equal(built[0]["3.weight"], built[2]["3.weight"])


def test_a_layer_that_could_be_of_two_initialisations_is_as_most_are():
    torch.manual_seed(0)
    square = nn.init.kaiming_normal_(torch.empty(64, 64, 3, 3))  # its two fans are one
    # 32 numbers show little
    small = nn.init.kaiming_normal_(torch.empty(4, 8, 1, 1), mode="fan_out")
    for mode, fan in (("fan_in", 0), ("fan_out", 1)):
        others = [
            nn.init.kaiming_normal_(torch.empty(out, inp, 3, 3), mode=mode)
            for inp, out in ((3, 64), (64, 128), (128, 256))
        ]
        initialisation = Initialisation([*others, square, small])
        assert initialisation.fan(square, float(square.std())) == fan
    chance = nn.init.normal_(torch.empty(128, 1666), 0, 0.01)  # as if of a fan
    assert (
        Initialisation(
            [nn.init.normal_(torch.empty(64, n), 0, 0.01) for n in (50, 99, 300)] + [chance]
        ).fan(chance, 0.01)
        is None
    )
