"""Rules for operations along dimensions: over pixels they keep channels apart, over channels they
do not."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from model.graph import operations as ops
from model.graph.channel_map import ChannelMap
from model.graph.channels import Input
from model.graph.shape_rules import dimensions


def reduce(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for a reduction.

    A mean over pixels keeps channels apart; one over channels reads all of them, and its result has
    no widths.
    """
    rank, axis, what = (
        len(notes.shapes[source.name]),
        notes.values[source.name].axis,
        notes.function(node),
    )

    if len(notes.tracked(node)) > 1 or any(isinstance(arg, fx.Node) for arg in given):
        raise notes.not_apart(node)

    # the dimensions
    place = 1 if what in ops.NORMS_ALONG else 0
    dims = dimensions(node, given[place : place + 1], "dim", rank)
    if dims is None and (len(given) > place or node.kwargs.keys() & {"dim", "axis"}):
        raise notes.not_apart(node)
    if dims is None or axis in dims:
        return notes.reads(node, source)

    zero = "all" if what in ops.ZERO_REDUCTIONS else "none"

    # the axis of the channels, if dimensions before it go
    kept = node.kwargs.get("keepdim", given[place + 1] if len(given) > place + 1 else False) is True
    if node.name in notes.shapes:
        notes.keeps(
            node,
            source,
            zero,
            axis
            if len(notes.shapes[node.name]) == rank
            else axis - sum(dim < axis for dim in dims),
        )
    else:  # max and min give the places too
        notes.parts[node.name] = (
            source,
            zero,
            axis if kept else axis - sum(dim < axis for dim in dims),
        )


def parts(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for a split.

    Along the pixels each part has all channels; parts of the channels fix their widths.
    """
    rank, axis = len(notes.shapes[source.name]), notes.values[source.name].axis
    unbind = node.target in (torch.unbind, "unbind")
    [dim] = dimensions(node, given[0 if unbind else 1 :][:1], "dim", rank) or [0]
    if dim == axis:
        raise notes.not_apart(node, "takes parts of them")
    notes.parts[node.name] = source, "all", axis - (unbind and dim < axis)


def softmax(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for softmax, which keeps channels apart along the pixels."""
    dims = dimensions(node, given[:1], "dim", len(notes.shapes[source.name]))
    if dims is None or notes.values[source.name].axis in dims:
        raise notes.not_apart(node, "is taken over them")
    notes.keeps(node, source, "none")


def normalize(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for F.normalize(x, p, dim).

    Along the channels, each one is divided by the norm of all, to which zeros add nothing.
    """
    dims = dimensions(node, given[1:2], "dim", len(notes.shapes[source.name])) or [1]
    notes.keeps(node, source)
    if notes.values[source.name].axis in dims:
        notes.steps[node.name].inputs.append(Input(source.name, whole=True))
