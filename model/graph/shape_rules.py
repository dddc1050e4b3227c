"""Rules for operations that change the shape of a result: where its channels are afterwards."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from model.graph.channel_map import ChannelMap
from model.graph.channels import Input, Literal, MadeFrom, Piece, Value
from model.graph.sizes import channels_counted, fixes_counts

LIKE = {"view_as", "reshape_as"}


def dimensions(node: fx.Node, given: list[Any], name: str, rank: int) -> list[int] | None:
    """Return the dimensions that an argument names, as numbers or in a list.

    Returns None where it names none, or is computed.
    """
    listed = given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given
    said: Any = node.kwargs.get(name, node.kwargs.get("axis", listed))
    numbers = [
        dim
        for dim in (said if isinstance(said, (list, tuple)) else [said])
        if isinstance(dim, int) and not isinstance(dim, bool)
    ]
    return (
        [dim % rank for dim in numbers]
        if numbers and said in (numbers, tuple(numbers), numbers[0])
        else None
    )


def join(notes: ChannelMap, node: fx.Node) -> None:
    """Apply the rule for joins.

    Along the channels, these follow each other; along another dimension, old or new, the results
    have equal widths.
    """
    parts: Any = node.args[0] if node.args else node.kwargs["tensors"]
    if not isinstance(parts, (list, tuple)):
        raise notes.not_apart(node)

    rank, stacked = len(notes.shapes[node.name]), node.target is torch.stack
    [dim] = dimensions(node, list(node.args[1:2]), "dim", rank) or [0]
    tracked = sorted(notes.tracked(node), key=lambda part: part.name in notes.of_weights)
    axes = {notes.values[part.name].axis for part in tracked}
    if len(axes) != 1:
        raise notes.not_apart(node, "joins channels with what is none")
    [axis] = axes
    axis += stacked and dim <= axis

    if stacked or dim != axis:  # side by side: a channel of the result is that channel of each
        if len(tracked) < len(set(parts)):
            notes.fixes(
                node, f"{notes.operation(node)} joins them with what has as many channels always"
            )
        for part in tracked:
            notes.tie(tracked[0].name, part.name)
        zero = "all" if len(tracked) == len(set(parts)) else "none"
        pieces = notes.values[tracked[0].name].pieces
        return notes.set(
            node, Value(axis, pieces), MadeFrom([Input(part.name) for part in tracked], zero)
        )

    found, step, start = list[Piece](), MadeFrom([]), 0
    for part in parts:
        size = notes.shapes[part.name][axis]
        if part.name in notes.values:
            found += notes.values[part.name].pieces
            step.inputs.append(Input(part.name, start))
        else:
            found.append(
                Piece(
                    notes.widths.add(
                        size, fixed="what is joined to others has these channels always"
                    ),
                    size,
                )
            )
            step.solid.append((start, start + size))
        start += size
    notes.set(node, Value(axis, tuple(found)), step)


def reshape(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for a reshape.

    Channels stay a dimension, or are merged with the pixels behind them. Raises NotApart for
    anything else.
    """
    value, before, after = (
        notes.values[source.name],
        notes.shapes[source.name],
        notes.shapes[node.name],
    )
    if node.kwargs.keys() & {"shape", "size", "other"} or len(notes.tracked(node)) > 1 + (
        node.target in LIKE
    ):
        fixes_counts(notes, node)
        raise notes.not_apart(node, "has its sizes by name")

    # look for the dimension that has the channels, and maybe the pixels behind them
    outer, channels = math.prod(before[: value.axis]), value.channels
    for axis in range(len(after)):
        size = after[axis]
        if math.prod(after[:axis]) != outer or size < channels or size % channels:
            continue
        behind = [
            math.prod(before[value.axis + 1 : end])
            for end in range(value.axis + 1, len(before) + 1)
        ]
        if size // channels in behind:
            times = size // channels
            pieces = tuple(Piece(piece.width, piece.channels * times) for piece in value.pieces)
            notes.set(node, Value(axis, pieces), MadeFrom([Input(source.name, 0, 1, times)]))
            return literal(notes, node, given, axis)

    fixes_counts(notes, node)
    raise notes.not_apart(node, "puts them in another order")


def flat(notes: ChannelMap, node: fx.Node, source: fx.Node) -> None:
    """Apply the rule for nn.Flatten."""
    reshape(notes, node, source, [])


def literal(notes: ChannelMap, node: fx.Node, given: list[Any], axis: int) -> None:
    """Record a number of channels in the arguments, written there or computed from another
    result."""
    listed = len(given) == 1 and isinstance(given[0], (list, tuple))
    sizes = given[0] if listed else given
    if node.target in LIKE or (
        len(given) == 1
        and given[0] in [arg for arg in node.all_input_nodes if arg.name in notes.sizes]
    ):
        return shaped_like(notes, node, given[0], axis)

    if node.target in ("flatten", torch.flatten) or axis >= len(sizes):
        return fixes_counts(notes, node)
    allowed = sizes[axis] if sizes.count(sizes[axis]) == 1 else None
    fixes_counts(notes, node, allowed)
    if isinstance(allowed, fx.Node):
        goes_with(notes, node, allowed)

    # a -1 adapts itself
    if sizes[axis] != -1:
        notes.literals.append(Literal(node.name, (1, axis) if listed else (1 + axis,), node.name))


def shaped_like(notes: ChannelMap, node: fx.Node, other: fx.Node, axis: int) -> None:
    """Apply the rule for a shape that is that of another result, or part of one."""
    of, dims = other.name, list(range(len(notes.shapes[node.name])))
    if other.name in notes.sizes:
        [of], dims = notes.counts[other.name], notes.sizes[other.name]

    value = notes.values.get(of)
    if value is None:
        notes.fix(node.name, f"{notes.operation(node)} has sizes that are there always")
    elif dims[axis] == value.axis and value.channels == notes.values[node.name].channels:
        notes.tie(node.name, of)
    else:
        for name in (of, node.name):
            notes.fix(name, f"{notes.operation(node)} goes by their number")

    if node.target in LIKE and value is not None:
        notes.steps[node.name].inputs.append(Input(of))
        notes.steps[node.name].zero_if = "none"


def goes_with(notes: ChannelMap, node: fx.Node, number: fx.Node) -> None:
    """Tie the channels of a result to those of the results that a number counts: there are as
    many."""
    pieces = notes.values[node.name].pieces
    roots = {notes.widths.root(piece.width) for piece in pieces}
    for of in channels_counted(notes, number):
        others = notes.values[of].pieces
        if {notes.widths.root(piece.width) for piece in others} == roots:
            continue
        if notes.values[of].channels == notes.values[node.name].channels:
            notes.tie(node.name, of)
        else:
            notes.fix(of, f"{notes.operation(node)} goes by their number")
            notes.fix(node.name, f"{notes.operation(node)} goes by the number of others")


def expand(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for expand: along the pixels alone, the channels stay."""
    axis = (
        len(notes.shapes[node.name])
        - len(notes.shapes[source.name])
        + notes.values[source.name].axis
    )
    whole = [arg for arg in node.all_input_nodes if arg.name in notes.shapes]
    if (
        notes.shapes[node.name][axis] != notes.values[source.name].channels
        or node.kwargs
        or len(notes.tracked(node)) < len(whole)
    ):
        fixes_counts(notes, node)
        raise notes.not_apart(node, "has sizes that are there always")

    notes.keeps(node, source, axis=axis)
    others = [other for other in notes.tracked(node) if other is not source]
    for other in others:  # expand_as
        notes.steps[node.name].inputs.append(Input(other.name))
        notes.steps[node.name].zero_if = "none"
        notes.tie(source.name, other.name)
    if not others:
        literal(notes, node, given, axis)


def permute(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for permute."""
    dims = dimensions(node, given, "dims", len(notes.shapes[source.name]))
    if dims is None:
        raise notes.not_apart(node)
    notes.keeps(node, source, axis=dims.index(notes.values[source.name].axis))


def transpose(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for transpose."""
    rank, axis = len(notes.shapes[source.name]), notes.values[source.name].axis
    dims = [*given, *node.kwargs.values()]
    if len(dims) != 2 or not all(isinstance(dim, int) for dim in dims):
        raise notes.not_apart(node)
    one, other = (dim % rank for dim in dims)
    notes.keeps(node, source, axis={one: other, other: one}.get(axis, axis))


def movedim(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for movedim."""
    rank, axis = len(notes.shapes[source.name]), notes.values[source.name].axis
    if len(given) != 2 or not all(isinstance(dim, int) for dim in given):
        raise notes.not_apart(node)
    order = list(range(rank))
    order.insert(given[1] % rank, order.pop(given[0] % rank))
    notes.keeps(node, source, axis=order.index(axis))


def squeeze(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for squeeze."""
    before, axis = notes.shapes[source.name], notes.values[source.name].axis
    dims = dimensions(node, given, "dim", len(before))
    # written out, so that a width of one filter is never squeezed
    if dims is None and not given and not node.kwargs:
        dims = [dim for dim, size in enumerate(before) if size == 1]
        node.args = (source, tuple(dims))
    if dims is None or axis in dims:
        raise notes.not_apart(node, "takes away the dimension that they lie along")
    notes.keeps(node, source, axis=axis - sum(dim < axis and before[dim] == 1 for dim in dims))


def unsqueeze(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for unsqueeze."""
    dims = dimensions(node, given, "dim", len(notes.shapes[node.name]))
    if dims is None:
        raise notes.not_apart(node)
    axis = notes.values[source.name].axis
    notes.keeps(node, source, axis=axis + (dims[0] <= axis))


def pick(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for a part of a result, x[...].

    A part of the pixels has all channels; a part of the channels fixes their widths.
    """
    index = list(given[0]) if isinstance(given[0], tuple) else [given[0]]
    if not all(
        part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in index
    ):
        raise notes.not_apart(node)

    # an index for each dimension
    rank = len(notes.shapes[source.name])
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index[at : at + 1] = [slice(None)] * (rank - sum(part is not None for part in index) + 1)
    index += [slice(None)] * (rank - sum(part is not None for part in index))

    # the dimension that the channels lie along before and after
    source_axis, axis = -1, 0
    for part in index:
        source_axis += part is not None
        if source_axis == notes.values[source.name].axis and part is not None:
            if part != slice(None):
                raise notes.not_apart(node, "takes parts of them")
            return notes.keeps(node, source, axis=axis)
        axis += not isinstance(part, int)


def pad(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Apply the rule for padding with zeros, or with the border, around the pixels."""
    rank, axis = len(notes.shapes[source.name]), notes.values[source.name].axis
    around: Any = given[0] if given else node.kwargs["pad"]
    behind = 2 * (rank - 1 - axis)
    if not isinstance(around, (list, tuple)) or any(
        size != 0 for size in around[behind : behind + 2]
    ):
        raise notes.not_apart(node, "adds to them, or takes of them")
    filled = [*given[2:], *([node.kwargs["value"]] if "value" in node.kwargs else [])]
    notes.keeps(node, source, "all" if not any(filled) else "none")
