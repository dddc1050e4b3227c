"""One training step of a network, with everything that it changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from model.graph.blueprint import Blueprint
from model.graph.own_numbers import tensors_in
from utils.training.loop import sgd

IMAGES = 4


@dataclass
class StepResult:
    """The results of one training step; ``head`` are the logits that were trained."""

    head: Tensor
    loss: Tensor
    # by kind: gradients, parameters and buffers after the step
    tensors: dict[str, dict[str, Tensor | None]]
    frozen: dict[str, bool]
    random: bool


def step(network: nn.Module, blueprint: Blueprint, like: Tensor | None = None) -> StepResult:
    """Take one training step. Of several logits, those most ``like`` the given ones are trained.

    Raises ValueError if the network has no logits in training.
    """
    dtype = next(
        parameter.dtype for parameter in network.parameters() if parameter.is_floating_point()
    )
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, *blueprint.image_shape, generator=draw).to(dtype)
    labels = torch.arange(IMAGES) % blueprint.num_classes
    optimizer = sgd(network.train(), 0.1, 0.5, 5e-4)

    found = forward(network, images, 0, blueprint.num_classes)
    if not found:
        raise ValueError("no logits in training")

    # the logits to train
    number = (
        0
        if like is None
        else min(range(len(found)), key=lambda i: float((found[i].detach() - like).abs().max()))
    )

    # one step on these logits
    loss = F.cross_entropy(found[number], labels)
    loss.backward()
    gradients = {
        name: p.grad if p.grad is None else p.grad.clone()
        for name, p in network.named_parameters(remove_duplicate=False)
    }
    optimizer.step()

    own = own_tensors(network, gradients)
    frozen = {
        name: not p.requires_grad
        for name, p in network.named_parameters(remove_duplicate=False)
        if name in own["gradients"]
    }

    # is its forward pass random?
    with torch.no_grad():
        one, other = (
            forward(network, images, seed, blueprint.num_classes)[number] for seed in (1, 2)
        )
    return StepResult(
        found[number].detach(), loss.detach(), own, frozen, not torch.equal(one, other)
    )


def own_tensors(
    network: nn.Module, gradients: dict[str, Tensor | None]
) -> dict[str, dict[str, Tensor | None]]:
    """Return a network's gradients, parameters and buffers, without those of gates."""
    tensors: dict[str, dict[str, Tensor | None]] = {
        "gradients": gradients,
        "parameters": {
            name: p.detach().clone() for name, p in network.named_parameters(remove_duplicate=False)
        },
        "buffers": {
            name: b.detach().clone() for name, b in network.named_buffers(remove_duplicate=False)
        },
    }

    # gates are the project's own, and in no user's network
    gates = {
        f"{name}."
        for name, module in network.named_modules(remove_duplicate=False)
        if hasattr(module, "multipliers")
    }
    return {
        kind: {name: t for name, t in of.items() if not name.startswith(tuple(gates))}
        for kind, of in tensors.items()
    }


def forward(network: nn.Module, images: Tensor, seed: int, classes: int) -> list[Tensor]:
    """Return all logits of a network's output.

    Random numbers depend on the seed and on their own shape alone, so that networks that draw in
    different orders draw the same numbers.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

    with SameDraws(seed):
        output = network(images)
    return [tensor for tensor in tensors_in(output) if tensor.shape == (len(images), classes)]


class SameDraws(TorchDispatchMode):
    """Inside, each random operation of PyTorch starts from the same seed."""

    def __init__(self, seed: int):
        super().__init__()  # type: ignore[no-untyped-call]
        self.seed = seed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            torch.manual_seed(self.seed)
        return func(*args, **(kwargs or {}))


@contextmanager
def other_random_states_kept() -> Iterator[None]:
    """Restore the random state of Python and NumPy afterwards."""
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
