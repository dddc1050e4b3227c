"""What closed gates do to a network that was read: where channels are exactly zero, and which are
needed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from model.graph.channels import Input
from model.graph.reading import Reading


def mask_to_output(mask: Tensor, source: Input) -> Tensor:
    """Of each channel that is made of ``source``, whether all that it takes are in ``mask``."""
    return mask.view(-1, source.taken).all(dim=1).repeat_interleave(source.given)


def mask_to_input(mask: Tensor, source: Input, channels: int) -> Tensor:
    """Of each channel of ``source``, of which there are so many, whether any that is made of it is
    in ``mask``."""
    made = channels // source.taken * source.given
    return (
        mask[source.start : source.start + made]
        .view(-1, source.given)
        .any(dim=1)
        .repeat_interleave(source.taken)
    )


def zeros(reading: Reading, closed: Callable[[str], Tensor | None]) -> dict[str, Tensor]:
    """For each node, which channels are zero whatever the images: where ``closed`` says so, of a
    node with gates, and what makes a zero of a zero."""
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
        zero[node.name] = covered & (every if step.zero_if == "all" else some)
        if (gate := closed(node.name)) is not None:
            zero[node.name] |= gate
    return zero
