"""Pruning in a training loop of the user's own."""

import copy

import pytest
import torch
import torch.nn.functional as F
from networks import EXCITED
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model.gate import GateLayer
from utils.compression.pruner import Pruner
from utils.errors import UserError

IMAGES = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 10


def network() -> nn.Module:
    namespace: dict = {}
    exec(EXCITED, namespace)
    torch.manual_seed(0)
    return namespace["Net"](10)


def macs(net: nn.Module) -> int:
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        copy.deepcopy(net).eval()(IMAGES[:1])
    return flops.get_total_flops() // 2


def train(net, optimizer, pruner, batches):
    for _ in range(batches):
        optimizer.zero_grad()
        F.cross_entropy(net(IMAGES), LABELS).backward()
        optimizer.step()
        pruner.step(optimizer)


@pytest.mark.parametrize("criterion", ["taylor", "magnitude", "random"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_a_network_is_pruned_in_its_owners_loop_and_stays_the_same_object(kind, criterion):
    net = network()
    whole, named = macs(net), {name for name, _ in net.named_parameters()}
    more = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    optimizer = kind(net.parameters(), lr=0.01, **more)
    pruner = Pruner(net, "30%", batches=6, rounds=4, image_size=16, criterion=criterion)

    train(net, optimizer, pruner, 5)
    assert not pruner.finished
    with pytest.raises(RuntimeError, match="5 of 6"):
        pruner.finish()
    train(net, optimizer, pruner, 3)  # the last ones without pruning
    assert pruner.finish() is net and type(net).__name__ == "Net"
    assert macs(net) == pruner.cost <= 0.3 * whole and min(pruner.widths) >= 2
    assert {name for name, _ in net.named_parameters()} == named
    assert not any(isinstance(module, GateLayer) for module in net.modules())

    # The optimizer has the parameters of the network, and their state.
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    assert held == {id(one) for one in net.parameters()}
    for one, state in optimizer.state.items():
        assert id(one) in held
        assert all(value.shape == one.shape for value in state.values() if value.dim())
    assert not net._forward_hooks


def test_the_scores_are_of_the_last_batches_alone():
    """No optimizer of a user's own clears the gradients of gates, which would add up."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    pruner = Pruner(net, "50%", batches=100, rounds=1, image_size=16)
    net.eval()  # every batch has the same gradients
    train(net, optimizer, pruner, 1)
    once = pruner._pruner.criterion.total.clone()
    train(net, optimizer, pruner, 1)
    assert torch.allclose(pruner._pruner.criterion.total, 2 * once)


def test_what_can_not_work_is_refused():
    with pytest.raises(UserError, match="nothing to prune"):
        Pruner(network(), "100%", batches=5, image_size=16)
    with pytest.raises(UserError, match="fewest filters"):
        Pruner(network(), "1%", batches=5, image_size=16)
    with pytest.raises(UserError, match="criterion 'size'"):
        Pruner(network(), "50%", batches=5, image_size=16, criterion="size")
    pruner = Pruner(net := network(), "50%", batches=5, image_size=16)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="make it before"):
        pruner.step(optimizer)


def test_widths_are_multiples_if_asked_for():
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    pruner = Pruner(net, "60%", batches=2, image_size=16, round_to=4, budget="params")
    train(net, optimizer, pruner, 2)
    assert all(width % 4 == 0 for width in pruner.widths)
    assert sum(one.numel() for one in net.parameters()) == pruner.cost
