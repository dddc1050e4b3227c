"""Groups operations into classes of the source: a module's operations are a class if it is called
once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from torch import fx

from utils.export.source.literals import is_name
from utils.export.source.steps import Steps


@dataclass(eq=False)
class Block:
    """The operations and blocks of the module ``path`` in order, from its inputs to its output; ""
    is the whole network."""

    path: str
    kind: str
    inputs: list[fx.Node]
    output: fx.Node
    items: list[fx.Node | Block]

    def __hash__(self) -> int:
        return id(self)

    @property
    def blocks(self) -> list[Block]:
        """The blocks in it."""
        return [item for item in self.items if isinstance(item, Block)]


def inside(path: str, place: str) -> bool:
    """Return True if the module or weight ``path`` is below the module ``place``."""
    return not place or path.startswith(f"{place}.")


def relative(path: str, place: str) -> str:
    """Return a path below ``place`` relative to it."""
    return path[len(place) + 1 :] if place else path


def blocks_of(steps: Steps) -> Block:
    """Return the whole network as a block of blocks."""
    nodes = [node for node in steps.nodes if node.op != "get_attr"]
    calls = [call for node in nodes for call in steps.scopes[node]]
    of_path: dict[str, set[str]] = {}
    for call in calls:
        of_path.setdefault(call.split("@")[0], set()).add(call)

    builder = _Builder(
        steps,
        {call: calls.count(call) for call in set(calls)},
        {path for path, several in of_path.items() if len(several) > 1},
    )

    output = steps.output.args[0]
    assert isinstance(output, fx.Node)
    return Block("", "Network", [steps.images], output, builder.items(nodes, 0))


@dataclass
class _Builder:
    steps: Steps
    sizes: dict[str, int]  # operations in each call
    called_again: set[str]  # modules that are called more than once

    def items(self, nodes: list[fx.Node], depth: int) -> list[fx.Node | Block]:
        """Return the operations of one call of a module, with blocks for the modules that it
        calls."""

        def call_of(node: fx.Node) -> str | None:
            scope = self.steps.scopes[node]
            return scope[depth] if len(scope) > depth else None

        found: list[fx.Node | Block] = []
        for call, run in groupby(nodes, key=call_of):
            part = list(run)
            found += part if call is None else self.block(call, part, depth + 1)
        return found

    def block(self, call: str, nodes: list[fx.Node], depth: int) -> list[fx.Node | Block]:
        """Return a call of a module as one block, or its contents where that is not simple."""
        path, items, own = call.split("@")[0], self.items(nodes, depth), set(nodes)

        inputs = [
            source
            for node in nodes
            for source in node.all_input_nodes
            if source.op != "get_attr" and source not in own
        ]
        ends = [node for node in nodes if any(user not in own for user in node.users)]
        layers = [node for node in nodes if self.steps.layer(node)]
        weights = [
            source for node in nodes for source in node.all_input_nodes if source.op == "get_attr"
        ]

        is_simple = (
            len(ends) == 1
            and path not in self.called_again
            and len(nodes) == self.sizes[call]
            and (len(nodes) > 1 or layers)
            and all(inside(str(node.target), path) for node in [*layers, *weights])
        )
        if not is_simple:
            return items
        return [
            Block(
                path,
                self.steps.kinds.get(path, "Block"),
                list(dict.fromkeys(inputs)),
                ends[0],
                items,
            )
        ]


def every_block(block: Block) -> Iterable[Block]:
    """Yield a block and all blocks in it, inner ones first."""
    for inner in block.blocks:
        yield from every_block(inner)
    yield block


def is_chain(block: Block, steps: Steps, members: set[str]) -> bool:
    """Return True if a block passes its input from one of its layers to the next, and has no other
    ``members``."""
    last, names = block.inputs[0], []
    for item in block.items:
        if isinstance(item, Block):
            takes, gives, path = item.inputs, item.output, item.path
        else:
            if not steps.layer(item) or item.args != (last,) or item.kwargs:
                return False
            takes, gives, path = [last], item, str(item.target)
        if takes != [last]:
            return False

        name = relative(path, block.path)
        if not inside(path, block.path) or "." in name or name in names:
            return False
        names.append(name)
        last = gives

    numbers = [int(name) for name in names if name.isdigit()]
    if numbers:
        in_order = (
            len(numbers) == len(names)
            and numbers == sorted(numbers)
            and numbers[-1] < 2 * len(names) + 8
        )
    else:
        in_order = block.kind == "Sequential" and all(map(is_name, names))
    return (
        in_order
        and len(block.inputs) == 1
        and last is block.output
        and members == {f"{block.path}.{name}" for name in names}
    )
