"""Search iterations on noise, with closed filters masked or removed; and what is equal then."""

import torch
import torch.nn.functional as F
from networks import parameters
from torch import nn

from model.gate import gates_of
from utils.search.iteration import Pruning


def batches(image_size: int, number: int = 100):
    """Yield the same batches of noise at each call, as many as ``number``."""
    draw, images = torch.Generator().manual_seed(1), 4 if image_size == 32 else 3
    for _ in range(number):
        yield (
            torch.randn(images, 3, image_size, image_size, generator=draw, dtype=torch.float64),
            torch.randint(0, 10, (images,), generator=draw),
        )


def train(state: Pruning, source) -> list[list[int]]:
    """Train until ``source`` or the iteration ends; return the widths left after each batch."""
    widths = []
    for images, labels in source:
        state.network.zero_grad()
        F.cross_entropy(state.network(images), labels).backward()
        state.optimizer.step()
        go_on = state.after_step()
        widths.append(state.pruner.widths)
        if not go_on:
            break
    return widths


def tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters and buffers by their names."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def assert_same_but_for_the_dead(masked: Pruning, compacted: Pruning) -> None:
    """Check that what the compacted network still has is the masked network's: weights, momentum,
    running statistics."""
    whole, cut = tensors(masked.network), tensors(compacted.network)
    gates = {
        name
        for state, named in ((masked, whole), (compacted, cut))
        for name in named
        if any(named[name] is gate.weight for gate in gates_of(state.network))
        or name.endswith((".index", ".one"))
    }
    sliced = compacted.compactor.sliced
    assert (
        whole.keys() - gates == {name for name in cut if not name.startswith("selections.")} - gates
    )
    for name in whole.keys() - gates:
        old, new = whole[name], cut[name]
        alive = slice(None)
        if name.endswith(("running_mean", "running_var")):  # dead channels read what they like
            norm = compacted.network.get_submodule(name.rpartition(".")[0])
            alive = norm.gate.multipliers() == 1 if hasattr(norm, "gate") else alive
        torch.testing.assert_close(
            new[alive] if new.dim() else new,
            sliced(name, old)[alive] if new.dim() else old,
            rtol=0,
            atol=1e-9,
            msg=lambda m, name=name: f"{name}: {m}",
        )
        if isinstance(new, nn.Parameter):
            torch.testing.assert_close(
                compacted.optimizer.state[new]["momentum_buffer"],
                sliced(name, masked.optimizer.state[old]["momentum_buffer"]),
                rtol=0,
                atol=1e-9,
            )
    for one, other in zip(gates_of(masked.network), gates_of(compacted.network), strict=True):
        assert torch.equal(one.weight, other.weight)


def assert_same_outputs(
    one: Pruning, other: Pruning, image_size: int = 32, atol: float = 1e-9
) -> None:
    """Check that two networks give the same outputs for the first batch."""
    [(images, _)] = batches(image_size, 1)
    with torch.no_grad():
        torch.testing.assert_close(
            one.network.eval()(images), other.network.eval()(images), rtol=0, atol=atol
        )


def size(state: Pruning) -> int:
    """Count the parameters that are left in an iteration."""
    return parameters(state.network)


def closed(network: nn.Module, survivors: list[int]) -> list[torch.Tensor]:
    """Close all gates but the last ``survivors[l]`` of layer l; return which are open."""
    alive = []
    for gate, left in zip(gates_of(network), survivors, strict=True):
        alive.append(torch.arange(len(gate.weight)) >= len(gate.weight) - left)
        gate.weight.data.copy_(alive[-1])
    return alive
