"""Tries whether a network's own code can be run at other widths."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from model.gate import gates_of
from model.graph.hooks import hook_gates
from model.graph.resizable import Resizable
from model.graph.trace import own_line, random_state_kept

# relative to the largest output; in float32 the same operations in the same order differ by less
CLOSE = 1e-4
SEED = 0


def trial_widths(template: list[int]) -> Iterator[list[int]]:
    """Return widths unlike the network's own: about half of each, and one of each."""
    yield [
        units + 1 if units < 3 else (units + 1) // 2 + number % 2 * (units > 4)
        for number, units in enumerate(template)
    ]
    yield [2 if units == 1 else 1 for units in template]


@torch.no_grad()
def why_not_own_code(blueprint: Resizable, network: nn.Module) -> str:
    """Return why a network can't be run by its own code at other widths; "" where it can.

    At test widths it must give the outputs of its graph in evaluation, also for a single image, and
    logits in training.
    """
    with random_state_kept():
        for number, widths in enumerate(trial_widths(blueprint.template)):
            own = copy.deepcopy(network)
            blueprint.resized(own, widths)

            expected = None
            # an operation may not work with one channel: that is not the code's fault
            with contextlib.suppress(Exception):
                expected = outputs(blueprint.run_graph(own, widths), blueprint)
            if expected is None and number:
                continue

            try:
                if expected is not None and not alike(outputs(own, blueprint), expected):
                    return (
                        "its own code gives other outputs at other widths than its graph: it "
                        "goes by a number of channels"
                    )
                problem = "" if number else shapes_differ(own, blueprint)
            except Exception as error:  # whatever its code raises
                run = "trained" if own.training else "run"
                return (
                    f"its own code can't be {run} at other widths{own_line(error)} "
                    f"({described(error)})"
                )
            if problem:
                return problem
    return ""


@torch.no_grad()
def why_no_hooks(blueprint: Resizable, network: nn.Module) -> str:
    """Return why gates can't be put into a network that runs its own code; "" where they can.

    With every second gate closed it must give the outputs of its graph with gates.
    """
    if blueprint.hooks.missing:
        return f"no gate can be put before {blueprint.hooks.missing}, which is no module of its own"

    # the same network twice, with hooks and as a graph, half of its filters closed
    with random_state_kept():
        widths = next(trial_widths(blueprint.template))
        own = copy.deepcopy(network)
        blueprint.resized(own, widths)
        graph = blueprint.run_graph(copy.deepcopy(own), widths, gated=True)
        hook_gates(own, blueprint.reading, blueprint.hooks, blueprint.free, widths)
        for gated in (own, graph):
            for gate in gates_of(gated):
                gate.weight[1::2] = 0

        try:
            expected = outputs(graph, blueprint)
            if not alike(outputs(own, blueprint), expected):
                return "closed gates give other outputs in its own code than in its graph"
            return shapes_differ(own, blueprint)
        except Exception as error:  # whatever its code raises
            return f"its own code can't be run with gates{own_line(error)} ({described(error)})"


def outputs(
    network: nn.Module, blueprint: Resizable, images: int = 2, training: bool = False
) -> object:
    """Return a network's output for random images."""
    parameter = next(network.parameters())
    torch.manual_seed(SEED)
    batch = torch.randn(
        images, *blueprint.image_shape, dtype=parameter.dtype, device=parameter.device
    )
    return network.train(training)(batch)


def alike(given: object, expected: object) -> bool:
    """Return True if two outputs are the same up to rounding; on shapes alone, if these are."""
    if not (
        isinstance(given, Tensor) and isinstance(expected, Tensor) and given.shape == expected.shape
    ):
        return False
    if given.is_meta:
        return True
    largest = expected.nan_to_num().abs().max()
    return torch.allclose(given, expected, rtol=0, atol=CLOSE * float(largest), equal_nan=True)


def shapes_differ(network: nn.Module, blueprint: Resizable) -> str:
    """Return what is wrong with the outputs for one image and in training; "" if nothing is."""
    one, training = (
        outputs(network, blueprint, images=1),
        outputs(network, blueprint, training=True),
    )

    if not isinstance(one, Tensor) or one.shape != (1, blueprint.num_classes):
        return "its own code does not give logits for a single image"
    if not isinstance(training, Tensor) or training.shape != (2, blueprint.num_classes):
        kind = (
            f"a tensor {tuple(training.shape)}"
            if isinstance(training, Tensor)
            else f"a {type(training).__name__}"
        )
        return f"its own code gives {kind} in training, not logits alone"
    return ""


def described(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
