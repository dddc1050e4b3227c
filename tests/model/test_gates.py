"""A gate is one multiplier per filter: closed, it removes its filter and nothing else; its gradient
is dL/dg."""

import copy

import pytest
import torch
import torch.nn.functional as F
from built_in import BUILT_IN
from torch import nn

from model import MODELS, build_model
from model.gate import GateLayer, gates_of
from utils.training.loop import sgd


@pytest.fixture(params=MODELS)
def name(request) -> str:
    return request.param


def images(number: int = 4) -> torch.Tensor:
    return torch.randn(
        number, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )


def gated_network(name: str) -> nn.Module:
    """In float64, with batch norms that have seen data and whose scale and shift differ from filter
    to filter."""
    torch.manual_seed(0)
    network = build_model(name, BUILT_IN[name].few, gated=True).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, 0.0, 1.0)
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(8, 3, 32, 32, dtype=torch.float64))
    return network.eval()


def ungated_twin(name: str, gated: nn.Module) -> nn.Module:
    twin = build_model(name, BUILT_IN[name].few).double().eval()
    twin.load_state_dict(
        {key: value for key, value in gated.state_dict().items() if not key.endswith("gate.weight")}
    )
    return twin


@torch.no_grad()
def test_a_closed_gate_zeroes_its_filter_and_nothing_else(name):
    network, x = gated_network(name), images()
    ungated = ungated_twin(name, network)
    whole = network(x)
    torch.testing.assert_close(whole, ungated(x), rtol=0, atol=1e-12)
    for layer, (gate, place) in enumerate(
        zip(gates_of(network), BUILT_IN[name].gate_places(ungated), strict=True)
    ):
        channel = layer % BUILT_IN[name].few[layer]

        def without_it(module, inputs, output, channel=channel):
            output = output.clone()
            output[:, channel] = 0
            return output

        hook = place.register_forward_hook(without_it)
        expected = ungated(x)
        hook.remove()
        gate.weight[channel] = 0
        closed = network(x)
        gate.weight[channel] = 1
        torch.testing.assert_close(closed, expected, rtol=0, atol=1e-12)
        assert (closed - whole).abs().max() > 1e-9, f"gate {layer} changes nothing"
        assert torch.equal(network(x), whole)  # opened again: the same to the last bit


@torch.no_grad()
@pytest.mark.parametrize("layer", range(17))
def test_a_resnet_gate_covers_what_the_branch_reads_but_not_the_identity_shortcut(layer):
    network, x = gated_network("resnet18"), images()
    cut = ungated_twin("resnet18", network)
    gates_of(network)[layer].weight[1] = 0
    if layer == 16:
        cut.classifier.weight[:, 1] = 0
    else:
        block = cut.blocks[layer // 2]
        (block.conv2 if layer % 2 else block.conv1).weight[:, 1] = 0
        if layer % 2 == 0 and block.shortcut is not None:
            for module in block.shortcut.modules():
                if isinstance(module, nn.Conv2d):
                    module.weight[:, 1] = 0
    torch.testing.assert_close(network(x), cut(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_gate_gradients_are_finite_differences_of_the_loss(name, training):
    network, x, labels = gated_network(name), images(), torch.tensor([0, 3, 5, 9])

    # of a copy: in training a forward pass moves the running statistics
    def loss() -> torch.Tensor:
        return F.cross_entropy(copy.deepcopy(network).train(training)(x), labels)

    network.train(training)
    F.cross_entropy(network(x), labels).backward()
    step = 1e-6
    for layer, gate in enumerate(gates_of(network)):
        channel = layer % len(gate.weight)
        with torch.no_grad():
            gate.weight[channel] = 1 + step
            above = loss()
            gate.weight[channel] = 1 - step
            below = loss()
            gate.weight[channel] = 1
        assert gate.weight.grad[channel].item() == pytest.approx(
            ((above - below) / (2 * step)).item(), rel=1e-4, abs=1e-8
        )


def test_the_optimizer_trains_everything_but_the_gates(name):
    network = gated_network(name)
    gates = {id(gate.weight) for gate in gates_of(network)}
    trained = {
        id(p) for group in sgd(network, 0.1, 0.5, 5e-4).param_groups for p in group["params"]
    }
    assert gates and not gates & trained
    assert gates | trained == {id(p) for p in network.parameters()}


def test_an_optimizer_step_leaves_open_and_closed_gates_as_they_are(name):
    network = gated_network(name).train()
    gates = gates_of(network)
    for gate in gates:
        gate.weight.data[0] = 0
    optimizer = sgd(network, 0.1, 0.5, 5e-4)
    for _ in range(2):
        F.cross_entropy(network(images()), torch.tensor([0, 3, 5, 9])).backward()
        optimizer.step()
    assert all(gate.weight.tolist() == [0.0] + [1.0] * (len(gate.weight) - 1) for gate in gates)


def test_a_gate_multiplies_channels_of_maps_and_of_vectors():
    gate = GateLayer(3)
    gate.weight.data = torch.tensor([1.0, 0.0, 2.0])
    assert gate(torch.ones(2, 3)).tolist() == [[1, 0, 2]] * 2
    assert gate(torch.ones(2, 3, 4, 5)).mean(dim=(2, 3)).tolist() == [[1, 0, 2]] * 2
    assert gate(torch.ones(3)).tolist() == [1, 0, 2]
