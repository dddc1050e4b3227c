"""The network that would be trained, held against the code of its owner: one training step of both,
and a made-up pruning.

Outputs alone say nothing of what a network does in training: what is frozen, which gradients are
scaled or cut off, which norms keep their statistics, what is dropped at random.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from model import Shape, is_imported
from model.gate import gates_of
from model.graph.blueprint import Blueprint
from model.graph.own_numbers import tensors_in
from model.graph.trace import random_state_kept
from model.graph.user_network import imported
from utils.errors import UserError
from utils.training.loop import sgd

IMAGES = 4
# relative to the largest number of its kind
TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-3}


def compare_training(name: str, shape: Shape, *, gated: bool) -> list[str]:
    """Compares a network given by name, as it would be trained at its own widths, with an untouched
    one of its owner's: lines that say whose code is run and how far the two are apart. None for a
    network of this project.

    Same weights, same draws, one training step: the loss, every gradient and which parameters get
    none, parameters and buffers after the step, what is frozen, what is random. With gates, also
    what is left when half of all filters are removed. Raises UserError, in a line that names what
    differs first.
    """
    if not is_imported(name):
        return []
    blueprint = imported(name).blueprint(**shape)
    with random_state_kept(), other_random_states_kept():
        network = imported(name).make(shape["num_classes"])
        ours = blueprint.rebuilt(copy.deepcopy(network), gated)
        dtype, difference = compare_steps(name, blueprint, network, ours)
        numbers = (
            f"{difference:.1e} of the largest number ({str(dtype).removeprefix('torch.')}, "
            f"allowed {TOLERANCES[dtype]:.0e})"
        )
        lines = [
            blueprint.told(),
            f"{'with gates, ' * gated}a training step differs from one of the owner's own code "
            f"by {numbers}",
        ]
        if gated:
            left, difference = compare_cut(name, blueprint, dtype)
            lines.append(
                f"closed half of the gates at small widths: {left:.0%} of the parameters are "
                "left, outputs and gradients differ "
                f"by {difference:.1e}"
            )
    return lines


def check_training(name: str, shape: Shape, *, gated: bool) -> None:
    """Compares before the first epoch; says so where it is not the owner's code that is trained.
    Raises UserError."""
    if lines := compare_training(name, shape, gated=gated):
        blueprint = imported(name).blueprint(**shape)
        if blueprint.why_graph_with_gates if gated else blueprint.why_graph:
            print(f"{name}: {lines[0]}", flush=True)


@dataclass
class Step:
    """What one training step of a network gave: ``head`` are the logits that were trained."""

    head: Tensor
    loss: Tensor
    # by what they are: gradients, parameters and buffers after the step
    tensors: dict[str, dict[str, Tensor | None]]
    frozen: dict[str, bool]
    random: bool


def compare_steps(
    name: str, blueprint: Blueprint, network: nn.Module, ours: nn.Module
) -> tuple[torch.dtype, float]:
    """The kind of numbers and the largest relative difference of one step of both. Raises UserError
    for more than rounding."""
    for dtype in TOLERANCES:
        try:
            taken = step(copy.deepcopy(ours).to(dtype), blueprint)
            theirs = step(copy.deepcopy(network).to(dtype), blueprint, taken.head)
            break
        except Exception as error:  # whatever its code raises: it may take numbers of 32 bits alone
            if dtype is torch.float32:
                raise UserError(
                    f"{name}: it can't be trained: a training step raised "
                    f"{type(error).__name__}: "
                    f"{' '.join(str(error).split())[:200]}"
                ) from None

    # What is trained at all, and what is random.
    for path, frozen in taken.frozen.items():
        if frozen != theirs.frozen[path]:
            raise differs(
                name,
                f"{path} is {'frozen' if theirs.frozen[path] else 'trained'} in its own code "
                "and "
                f"{'frozen' if frozen else 'trained'} here",
            )
    if taken.random != theirs.random:
        raise differs(
            name,
            f"its own code is {'' if theirs.random else 'not '}random in training, what is "
            "trained here is"
            f"{'' if taken.random else ' not'}",
        )

    # The numbers, in the order in which one follows from another.
    largest = compared(
        name,
        dtype,
        {"loss": taken.loss, "logits": taken.head},
        {"loss": theirs.loss, "logits": theirs.head},
        "{}",
    )
    for kind, told in (
        ("gradients", "the gradient of {}"),
        ("buffers", "{} after the step"),
        ("parameters", "{} after the step"),
    ):
        largest = max(
            largest, compared(name, dtype, taken.tensors[kind], theirs.tensors[kind], told)
        )
    for path, gradient in theirs.tensors["gradients"].items():
        if gradient is not None and path not in taken.tensors["gradients"]:
            raise differs(
                name, f"{path} is trained by its own code, and not there in what is trained here"
            )
    return dtype, largest


def step(network: nn.Module, blueprint: Blueprint, like: Tensor | None = None) -> Step:
    """One training step. Of several logits those are trained that are most ``like`` some."""
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
    number = (
        0
        if like is None
        else min(range(len(found)), key=lambda i: float((found[i].detach() - like).abs().max()))
    )
    loss = F.cross_entropy(found[number], labels)
    loss.backward()
    gradients = {
        name: p.grad if p.grad is None else p.grad.clone()
        for name, p in network.named_parameters(remove_duplicate=False)
    }
    optimizer.step()

    tensors: dict[str, dict[str, Tensor | None]] = {
        "gradients": gradients,
        "parameters": {
            name: p.detach().clone() for name, p in network.named_parameters(remove_duplicate=False)
        },
        "buffers": {
            name: b.detach().clone() for name, b in network.named_buffers(remove_duplicate=False)
        },
    }
    gates = {
        f"{name}."
        for name, module in network.named_modules(remove_duplicate=False)
        if hasattr(module, "multipliers")
    }
    own = {
        kind: {name: t for name, t in of.items() if not name.startswith(tuple(gates))}
        for kind, of in tensors.items()
    }
    frozen = {
        name: not p.requires_grad
        for name, p in network.named_parameters(remove_duplicate=False)
        if name in own["gradients"]
    }
    with torch.no_grad():
        one, other = (
            forward(network, images, seed, blueprint.num_classes)[number] for seed in (1, 2)
        )
    return Step(found[number].detach(), loss.detach(), own, frozen, not torch.equal(one, other))


def forward(network: nn.Module, images: Tensor, seed: int, classes: int) -> list[Tensor]:
    """All logits that a network gives, of one shape; whatever is drawn depends on the seed and its
    own shape alone, so that networks that draw in another order draw the same."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    with SameDraws(seed):
        output = network(images)
    return [tensor for tensor in tensors_in(output) if tensor.shape == (len(images), classes)]


class SameDraws(TorchDispatchMode):
    """Inside, each random operation of PyTorch begins with the same seed."""

    def __init__(self, seed: int):
        super().__init__()  # type: ignore[no-untyped-call]
        self.seed = seed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            torch.manual_seed(self.seed)
        return func(*args, **(kwargs or {}))


def compared(
    name: str,
    dtype: torch.dtype,
    ours: Mapping[str, Tensor | None],
    theirs: Mapping[str, Tensor | None],
    told: str,
) -> float:
    """The largest difference, relative to the largest number of all. Raises UserError, naming the
    first tensor, for too large a one."""
    scale = max(
        (
            float(t.abs().max())
            for t in theirs.values()
            if t is not None and t.numel() and t.is_floating_point()
        ),
        default=0.0,
    )
    largest = 0.0
    for path, one in ours.items():
        if path not in theirs:
            continue  # a number in its code, which a graph has as a buffer
        other = theirs[path]
        if (one is None) != (other is None):
            raise differs(
                name,
                f"{told.format(path)} is {'none' if other is None else 'there'} in its own code "
                "and "
                f"{'none' if one is None else 'there'} here",
            )
        if one is None or other is None or not one.numel():
            continue
        if one.shape != other.shape:
            raise differs(
                name,
                f"{told.format(path)} has the shape {tuple(other.shape)} in its own code, "
                f"{tuple(one.shape)} here",
            )
        difference = float((one.double() - other.double()).abs().max()) / (scale or 1.0)
        if not difference <= TOLERANCES[dtype]:
            raise differs(
                name,
                f"{told.format(path)} differs from that of its own code by {difference:.1e} of "
                "the largest, allowed are "
                f"{TOLERANCES[dtype]:.0e}",
            )
        largest = max(largest, difference)
    return largest


def compare_cut(name: str, blueprint: Blueprint, dtype: torch.dtype) -> tuple[float, float]:
    """Closes half of the gates of a network of about a quarter of its widths, and removes their
    filters: the fraction of the parameters that is left, and how far outputs and gradients are
    apart. Raises UserError for more than rounding."""
    draw = torch.Generator().manual_seed(0)
    spread = torch.rand(len(blueprint.template), generator=draw).tolist()
    widths = [
        max(1, int(width * (0.1 + 0.4 * number)))
        for width, number in zip(blueprint.template, spread)
    ]
    network = (
        blueprint.build(imported(name).make(blueprint.num_classes), widths, True).to(dtype).eval()
    )
    images = torch.randn(IMAGES, *blueprint.image_shape, generator=draw).to(dtype)
    alive = [torch.arange(len(gate.weight)) % 2 == 0 for gate in gates_of(network)]
    for gate, living in zip(gates_of(network), alive):
        gate.weight.data.copy_(living)

    def gradients(network: nn.Module) -> tuple[Tensor, dict[str, Tensor | None]]:
        network.zero_grad()
        # what is kept in evaluation (a table of positions, say) is of tensors that were
        outputs = network.train().eval()(images)
        F.cross_entropy(outputs, torch.arange(IMAGES) % blueprint.num_classes).backward()
        gates = {id(gate.weight): living for gate, living in zip(gates_of(network), alive)}
        return outputs.detach(), {
            path: p.grad[gates[id(p)]] if p.grad is not None and id(p) in gates else p.grad
            for path, p in network.named_parameters()
        }

    before, full = sum(p.numel() for p in network.parameters()), gradients(network)
    cutter = blueprint.cutter(network, multiple=1)
    cutter.compact(alive, worthwhile=0)
    outputs, left = gradients(cutter.network)
    expected = {
        path: gradient if gradient is None else cutter.sliced(path, gradient)
        for path, gradient in full[1].items()
    }
    largest = compared(
        name,
        dtype,
        {"outputs": outputs},
        {"outputs": full[0]},
        "after closed filters were removed, what the {} are",
    )
    largest = max(
        largest,
        compared(
            name, dtype, left, expected, "after closed filters were removed, the gradient of {}"
        ),
    )
    return sum(p.numel() for p in cutter.network.parameters()) / before, largest


@contextmanager
def other_random_states_kept() -> Iterator[None]:
    """What Python and NumPy draw afterwards is what they would have drawn."""
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def differs(name: str, what: str) -> UserError:
    return UserError(
        f"{name}: what would be trained is not what its owner's code trains: {what}; "
        "check_model.py lists what was read"
    )
