"""Proofs that a network is read right: counted, built, gated, compacted and trained."""

import copy
import random

import torch
import torch.nn.functional as F
from compaction import closed
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model.cost import Cost
from model.gate import gates_of
from model.graph.blueprint import Blueprint

PIXELS = 16


def prove(make, pixels: int = PIXELS) -> Blueprint:
    """Check the network that ``make`` gives: counts, outputs at its own widths, gates, compaction,
    a training step.

    All in double precision where numbers are compared: outputs, and the gradients of all that is
    left.
    """
    torch.manual_seed(0)
    network = make()
    blueprint, images = Blueprint(make(), 10, pixels), torch.randn(3, 3, pixels, pixels)
    original = copy.deepcopy(network).eval()
    with torch.no_grad():
        assert torch.equal(
            blueprint.build(copy.deepcopy(network), blueprint.template, False).eval()(images),
            original(images),
        )
    draw = random.Random(0)
    for _ in range(3):
        widths, cost = (
            [max(1, int(width * draw.uniform(0.2, 1.5))) for width in blueprint.template],
            Cost(),
        )
        blueprint.count(cost, widths)
        built = blueprint.build(make(), widths, False).eval()
        assert sum(parameter.numel() for parameter in built.parameters()) == cost.params
        with FlopCounterMode(display=False) as flops:
            assert built(images[:1]).shape == (1, 10)
        assert flops.get_total_flops() // 2 == cost.macs
        prove_gates(blueprint, make, widths, images)
    return blueprint


def prove_gates(blueprint: Blueprint, make, widths: list[int], images: torch.Tensor) -> None:
    """Check that a closed gate is a filter removed, in outputs and in gradients."""
    network = blueprint.build(make(), widths, True).double().eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.3, 0.3)
    images = images.double()
    assert [len(gate.weight) for gate in gates_of(network)] == widths
    compactor = blueprint.cutter(network, multiple=1)
    alive = closed(network, [-(-width // 2) for width in widths])
    expected = network(images)
    expected.square().sum().backward()
    masked = {name: parameter.grad for name, parameter in network.named_parameters()}
    for gate, living in zip(gates_of(network), alive):
        assert not (gate.weight * gate.weight.grad)[~living].any()

    # Removed, what is left gives the same outputs, and has the same gradients.
    gates = {id(gate.weight): living for gate, living in zip(gates_of(network), alive)}
    network.zero_grad()
    compactor.compact(alive, worthwhile=0)
    given = compactor.network(images)
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-11)
    given.square().sum().backward()
    scale = max(float(gradient.abs().max()) for gradient in masked.values() if gradient is not None)
    for name, parameter in compactor.network.named_parameters():
        if masked[name] is None:
            assert parameter.grad is None
            continue
        living = gates.get(id(parameter), ...)
        torch.testing.assert_close(
            parameter.grad[living],
            compactor.sliced(name, masked[name])[living],
            rtol=0,
            atol=1e-10 * (1 + scale),
        )

    optimizer = torch.optim.SGD(compactor.network.parameters(), 1e-3)
    F.cross_entropy(compactor.network.train()(images), torch.tensor([1, 2, 3])).backward()
    optimizer.step()
    assert torch.isfinite(compactor.network.eval()(images)).all()
