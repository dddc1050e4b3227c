"""Compares the network that would be trained with its owner's code: one training step of both, and
a made-up pruning.

Outputs alone don't show what a network does in training: frozen parameters, gradients that are
scaled or cut off, norms that keep their statistics, numbers dropped at random.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import Shape, is_imported
from model.gate import gates_of
from model.graph.blueprint import Blueprint
from model.graph.trace import random_state_kept
from model.graph.user_network import imported
from utils.errors import UserError
from utils.training.one_step import IMAGES, other_random_states_kept, step

# relative to the largest number of its kind
TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-3}


def compare_training(name: str, shape: Shape, *, gated: bool) -> list[str]:
    """Compare a user's network, as it would be trained at its own widths, with an untouched one.

    One training step is taken with the same weights and random numbers. Compared are the loss,
    every gradient, the parameters that get none, parameters and buffers after the step, what is
    frozen and what is random. With gates, half of all filters are also removed, and outputs and
    gradients compared.

    Returns lines that say whose code is run and how far the two differ; none for a network of this
    project. Raises UserError, with the first difference.
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
            blueprint.whose_code(),
            f"{'with gates, ' * gated}a training step differs from one of the owner's own code "
            f"by {numbers}",
        ]

        if gated:
            left, difference = compare_cut(name, blueprint, dtype)
            lines.append(
                f"closed half of the gates at small widths: {left:.0%} of the parameters are left, "
                f"outputs and gradients differ by {difference:.1e}"
            )
    return lines


def check_training(name: str, shape: Shape, *, gated: bool) -> None:
    """Compare before the first epoch, and print a line if it is not the owner's code that is
    trained.

    Raises UserError.
    """
    if lines := compare_training(name, shape, gated=gated):
        blueprint = imported(name).blueprint(**shape)
        if blueprint.why_graph_with_gates if gated else blueprint.why_graph:
            print(f"{name}: {lines[0]}", flush=True)


def compare_steps(
    name: str, blueprint: Blueprint, network: nn.Module, ours: nn.Module
) -> tuple[torch.dtype, float]:
    """Return the number format and the largest relative difference of one step of both networks.

    Raises UserError for a difference beyond rounding.
    """
    for dtype in TOLERANCES:
        try:
            taken = step(copy.deepcopy(ours).to(dtype), blueprint)
            theirs = step(copy.deepcopy(network).to(dtype), blueprint, taken.head)
            break
        except Exception as error:  # its code may take numbers of 32 bits alone
            if dtype is torch.float32:
                raise UserError(
                    f"{name}: it can't be trained: a training step raised {type(error).__name__}: "
                    f"{' '.join(str(error).split())[:200]}"
                ) from None

    # what is trained at all, and what is random
    for path, frozen in taken.frozen.items():
        if frozen != theirs.frozen[path]:
            raise differs(
                name,
                f"{path} is {'frozen' if theirs.frozen[path] else 'trained'} in its own code and "
                f"{'frozen' if frozen else 'trained'} here",
            )
    if taken.random != theirs.random:
        raise differs(
            name,
            f"its own code is {'' if theirs.random else 'not '}random in training, what is trained "
            f"here is{'' if taken.random else ' not'}",
        )

    # the numbers, each before those that depend on it
    largest = compared(
        name,
        dtype,
        {"loss": taken.loss, "logits": taken.head},
        {"loss": theirs.loss, "logits": theirs.head},
        "{}",
    )
    for kind, text in (
        ("gradients", "the gradient of {}"),
        ("buffers", "{} after the step"),
        ("parameters", "{} after the step"),
    ):
        largest = max(
            largest, compared(name, dtype, taken.tensors[kind], theirs.tensors[kind], text)
        )

    for path, gradient in theirs.tensors["gradients"].items():
        if gradient is not None and path not in taken.tensors["gradients"]:
            raise differs(
                name, f"{path} is trained by its own code, and not there in what is trained here"
            )
    return dtype, largest


def compared(
    name: str,
    dtype: torch.dtype,
    ours: Mapping[str, Tensor | None],
    theirs: Mapping[str, Tensor | None],
    text: str,
) -> float:
    """Return the largest difference, relative to the largest number of all.

    Raises UserError, with the name of the tensor, for the first difference beyond rounding.
    """
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

        # a gradient that only one of them has
        other = theirs[path]
        if (one is None) != (other is None):
            raise differs(
                name,
                f"{text.format(path)} is {'none' if other is None else 'there'} in its own code "
                f"and {'none' if one is None else 'there'} here",
            )

        if one is None or other is None or not one.numel():
            continue
        if one.shape != other.shape:
            raise differs(
                name,
                f"{text.format(path)} has the shape {tuple(other.shape)} in its own code, "
                f"{tuple(one.shape)} here",
            )

        # the numbers themselves
        difference = float((one.double() - other.double()).abs().max()) / (scale or 1.0)
        if not difference <= TOLERANCES[dtype]:
            raise differs(
                name,
                f"{text.format(path)} differs from that of its own code by {difference:.1e} of the "
                f"largest, allowed are {TOLERANCES[dtype]:.0e}",
            )
        largest = max(largest, difference)
    return largest


def compare_cut(name: str, blueprint: Blueprint, dtype: torch.dtype) -> tuple[float, float]:
    """Close half of the gates of a network at about a quarter of its widths, and remove their
    filters.

    Returns the fraction of the parameters that is left, and the largest difference of outputs and
    gradients. Raises UserError for a difference beyond rounding.
    """
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
        # tensors kept in evaluation (a table of positions, for example) are of an earlier size
        outputs = network.train().eval()(images)
        F.cross_entropy(outputs, torch.arange(IMAGES) % blueprint.num_classes).backward()
        gates = {id(gate.weight): living for gate, living in zip(gates_of(network), alive)}
        return outputs.detach(), {
            path: p.grad[gates[id(p)]] if p.grad is not None and id(p) in gates else p.grad
            for path, p in network.named_parameters()
        }

    # before and after the filters are removed
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


def differs(name: str, what: str) -> UserError:
    """Return the error for a difference."""
    return UserError(
        f"{name}: what would be trained is not what its owner's code trains: {what}; "
        "check_model.py lists what was read"
    )
