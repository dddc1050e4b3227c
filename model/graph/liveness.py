"""The effect of closed gates on a network: which channels are exactly zero, and which are
needed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from model.graph.channels import Input
from model.graph.reading import Reading


def mask_to_output(mask: Tensor, source: Input) -> Tensor:
    """Return the output channels that are made from channels in ``mask`` alone.

    ``mask`` has a bool for each channel of ``source``.
    """
    return mask.view(-1, source.taken).all(dim=1).repeat_interleave(source.given)


def mask_to_input(mask: Tensor, source: Input, channels: int) -> Tensor:
    """Return the channels of ``source`` from which a channel in ``mask`` is made.

    ``mask`` has a bool for each output channel; ``channels`` is the number of channels of
    ``source``.
    """
    made = channels // source.taken * source.given
    return (
        mask[source.start : source.start + made]
        .view(-1, source.given)
        .any(dim=1)
        .repeat_interleave(source.taken)
    )


def zeros(reading: Reading, closed: Callable[[str], Tensor | None]) -> dict[str, Tensor]:
    """Return for each node a mask of the channels that are zero whatever the images.

    ``closed(node)`` returns the channels that a node's gates close; other channels are zero where
    their operation makes zero from zeros.
    """
    zero: dict[str, Tensor] = {}
    for node in reading.graph.nodes:
        if node.name not in reading.values:
            continue

        step, channels = reading.steps[node.name], reading.values[node.name].channels
        covered, every, some = (torch.full((channels,), start) for start in (False, True, False))
        for source in step.inputs if step.zero_if != "none" else []:
            if not source.whole:
                made = mask_to_output(zero[source.name], source)
                part = slice(source.start, source.start + len(made))
                covered[part] = True
                every[part] &= made
                some[part] |= made

        # a channel that is made from nothing that was read is not known to be zero
        zero[node.name] = covered & (every if step.zero_if == "all" else some)
        if (gate := closed(node.name)) is not None:
            zero[node.name] |= gate
    return zero
