"""Numbers that a network computes from the shapes of its results: which depend on numbers of
channels."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

from model.graph.channel_map import ChannelMap

ASKED = {operator.getitem, "size"}  # these give a size as it is
NO_SIZE = {
    "dim",
    "ndimension",
    "is_floating_point",
    "is_complex",
    "is_contiguous",
    "element_size",
    "get_device",
    "type",
}


def number(notes: ChannelMap, node: fx.Node) -> None:
    """Record what a number, or a shape, depends on."""
    # a part of a shape
    source = node.all_input_nodes[0]
    if (
        node.target is operator.getitem
        and source.name in notes.sizes
        and isinstance(index := node.args[1], (int, slice))
    ):
        [of], dims = notes.counts[source.name], notes.sizes[source.name]
        there = dims[index] if isinstance(index, slice) else [dims[index]]
        if isinstance(index, slice):
            notes.sizes[node.name] = there
        notes.counts[node.name] = {of: set(there)}
        return

    # anything else
    found: dict[str, set[int]] = {}
    for arg in node.all_input_nodes:
        if arg.name in notes.shapes:
            found[arg.name] = set(_asked(node, len(notes.shapes[arg.name])))
        for of, dims_of in notes.counts.get(arg.name, {}).items():
            found.setdefault(of, set()).update(dims_of)

    notes.counts[node.name] = found
    if node.args[1:] == ("shape",) or (
        node.target == "size" and len(node.args) == 1 and not node.kwargs
    ):
        notes.sizes[node.name] = list(range(len(notes.shapes[source.name])))


def _asked(node: fx.Node, rank: int) -> list[int]:
    """Return the dimensions of a result that a number asked of it depends on."""
    if node.target == "size" and (len(node.args) > 1 or node.kwargs):
        said: Any = node.args[1] if len(node.args) > 1 else next(iter(node.kwargs.values()))
        return [said % rank] if isinstance(said, int) else list(range(rank))
    if node.args[1:] == ("shape",) or node.target in ("size", "numel", "nelement", "__len__"):
        return list(range(rank))
    return [] if node.target is getattr or node.target in NO_SIZE else list(range(rank))


def compares(notes: ChannelMap, node: fx.Node) -> bool:
    """Return True if a node asks whether results have the same shape, or as many channels.

    The channels are tied, so the answer stays.
    """
    numbers = [arg for arg in node.args if isinstance(arg, fx.Node) and arg.name in notes.counts]
    if node.target not in (operator.eq, operator.ne) or len(numbers) != 2 or len(node.args) != 2:
        return False

    counted = [channels_counted(notes, number) for number in numbers]
    dims = [
        [dims for of, dims in notes.counts[number.name].items() if of in notes.values]
        for number in numbers
    ]
    as_they_are = all(number.name in notes.sizes or number.target in ASKED for number in numbers)
    if not (as_they_are and all(len(of) == 1 for of in counted) and dims[0] == dims[1]):
        return False

    [one], [other] = counted
    if notes.values[one].channels != notes.values[other].channels:
        return False
    notes.tie(one, other)
    return True


def channels_counted(notes: ChannelMap, number: fx.Node) -> list[str]:
    """Return the results whose channels a number counts; a weight's are known once all is read."""
    return [
        of
        for of, dims in notes.counts.get(number.name, {}).items()
        if of in notes.values and notes.values[of].axis in dims
    ]


def fixes_counts(
    notes: ChannelMap, node: fx.Node, allowed: Any = None, numbers: list[fx.Node] | None = None
) -> None:
    """Fix the channels that a node's numbers count, for it depends on them.

    ``numbers`` are by default all that it takes; the one ``allowed`` is left out.
    """
    why = f"{notes.operation(node)} goes by their number"
    for number in node.all_input_nodes if numbers is None else numbers:
        if number is allowed:
            continue
        for of in channels_counted(notes, number):
            notes.fix(of, why)
        notes.counted += [
            (why, of, dims)
            for of, dims in notes.counts.get(number.name, {}).items()
            if of in notes.attributes
        ]


def fix_counted(notes: ChannelMap) -> None:
    """Fix the dimensions of weights that were counted, once it is known which have channels."""
    for why, of, dims in notes.counted:
        for dim, name in enumerate(notes.dims.get(notes.path.get(notes.attributes[of], ""), ())):
            if dim in dims and name is not None:
                notes.fix(name, why)
