"""Classes: one for all blocks that differ in nothing but the numbers of their layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from utils.export.source.blocks import Block, every_block, inside, is_chain, relative
from utils.export.source.forward import MARK, Forward
from utils.export.source.literals import NotWritableError, literal
from utils.export.source.members import (
    Constructor,
    Hole,
    Line,
    Made,
    Member,
    chain,
    is_sequence,
    layer,
)
from utils.export.source.naming import RESERVED, class_name, identifier, unique, value_name
from utils.export.source.steps import Steps, is_kept

# layers whose weights functions may be given
WITH_WEIGHTS = (nn.Linear, nn.Conv2d, nn.Embedding, nn.LayerNorm)


@dataclass
class Class:
    """The source of blocks that are alike; they differ in the ``arguments``."""

    name: str
    paths: list[str]
    arguments: list[str]
    constructor: list[str]
    inputs: list[str]
    forward: list[str]
    base: str = "nn.Module"


@dataclass
class ModulePart:
    """A block before it has a class: its constructor and its forward pass."""

    block: Block
    lines: list[Line]
    forward: Forward

    def key(self) -> tuple[Any, ...]:
        """Return a key that blocks of one class share."""
        return (
            class_name(self.block.kind, self.block.path),
            tuple((line.target, line.made.key()) for line in self.lines),
            tuple(self.forward.inputs),
            tuple(self.forward.lines),
        )

    def holes(self) -> list[Hole]:
        """Return the numbers in which blocks of one class may differ."""
        return [
            *(hole for line in self.lines for hole in line.made.every_hole()),
            *self.forward.holes,
        ]


@dataclass
class Classes:
    """The classes of a network, inner ones first and the network's last, and the ``helpers`` they
    need."""

    steps: Steps
    found: list[Class] = field(default_factory=list)
    helpers: list[str] = field(default_factory=list)
    made: dict[Block, Made] = field(default_factory=dict)

    def write(self, network: Block, members: dict[str, Any]) -> None:
        """Write the classes. ``members`` maps the paths of all layers and weights to these."""
        blocks = list(every_block(network))
        owned = {block: self._members_of(block, blocks, members) for block in blocks}

        # blocks by height: those without other blocks come first; chains need no class
        height: dict[Block, int] = {}
        chains = {
            block
            for block in blocks
            if block is not network and is_chain(block, self.steps, set(owned[block]))
        }
        for block in blocks:
            height[block] = max((height[inner] for inner in block.blocks), default=0) + (
                block not in chains
            )

        taken = {"Network"} | RESERVED
        for level in range(max(height.values()) + 1):
            parts: dict[tuple[Any, ...], list[ModulePart]] = {}
            for block in (block for block in blocks if height[block] == level):
                if block in chains:
                    continue
                part = self._part(block, owned[block], members, chains)
                parts.setdefault(part.key(), []).append(part)
            for alike in parts.values():
                self._add(
                    alike,
                    "Network"
                    if alike[0].block is network
                    else unique(class_name(alike[0].block.kind, alike[0].block.path), taken),
                )

    def _members_of(self, block: Block, blocks: list[Block], members: dict[str, Any]) -> list[str]:
        """Return the paths of the layers, weights and blocks that a block has itself, in the
        network's order."""
        below = [path for path in members if inside(path, block.path)]
        inner = [
            other.path for other in blocks if other is not block and inside(other.path, block.path)
        ]
        nearest = [path for path in inner if not any(inside(path, other) for other in inner)]

        found = list[str]()
        for path in below:
            owner = next((place for place in nearest if inside(path, place)), path)
            if owner not in found:
                found.append(owner)
        return found + [path for path in nearest if path not in found]

    def _expression(
        self,
        path: str,
        place: str,
        members: dict[str, Any],
        blocks: dict[str, Block],
        chains: set[Block],
    ) -> Member:
        """Return the expression for a layer or a block in the one at ``place``; a tensor is
        itself."""
        if path not in blocks:
            if isinstance(member := members[path], tuple):
                return member
            try:
                return layer(member, value_name(relative(path, place), "layer"))
            except NotWritableError as error:
                raise NotWritableError(f"{type(member).__name__} ({path}): {error}") from None

        block = blocks[path]
        if block not in chains:
            return self.made[block]

        # a chain: its layers, one after the other
        inner = {other.path: other for other in block.blocks}
        paths = [item.path if isinstance(item, Block) else str(item.target) for item in block.items]
        parts = [
            (relative(path, block.path), self._expression(path, place, members, inner, chains))
            for path in paths
        ]
        return chain([(name, part) for name, part in parts if isinstance(part, Made)])

    def _part(
        self, block: Block, owned: list[str], members: dict[str, Any], chains: set[Block]
    ) -> ModulePart:
        """Return a block with its constructor and its forward pass."""
        inner = {other.path: other for other in block.blocks}
        made = Constructor(
            {
                relative(path, block.path): self._expression(
                    path, block.path, members, inner, chains
                )
                for path in owned
            }
        )

        forward = Forward(self.steps, block, made.get)
        self.helpers += [
            name for name in dict.fromkeys(forward.helpers) if name not in self.helpers
        ]
        return ModulePart(block, made.lines, forward)

    def _add(self, alike: list[ModulePart], name: str) -> None:
        """Add one class for parts that are alike."""
        first, holes = alike[0], [part.holes() for part in alike]
        columns = list(zip(*holes))
        members = {line.target.split(" ")[0].rpartition(".")[2] for line in first.lines}
        arguments, values, filled = merged(columns, members)

        texts = iter(values)
        made = [text for line in first.lines for text in line.text(texts)]
        # what remains is in the forward pass
        numbers, at_first = list(texts), len(columns) - len(first.forward.holes)
        kept = {
            number: filled[at_first + number]
            for number in range(len(numbers))
            if at_first + number in filled
        }

        made += [
            f"        self.{argument} = {argument}" for argument in dict.fromkeys(kept.values())
        ]
        forward = first.forward.lines
        for number, text in enumerate(numbers):
            shown = f"self.{kept[number]}" if number in kept else str(text)
            forward = [line.replace(f"{MARK}{number}{MARK}", shown) for line in forward]

        self.found.append(
            Class(
                name,
                [part.block.path for part in alike],
                list(arguments),
                made,
                first.forward.inputs,
                forward,
                "nn.Sequential" if is_sequence(first.lines) else "nn.Module",
            )
        )

        # blocks are made by a call with their own numbers
        for part, own in zip(alike, holes):
            given = [Hole(argument, own[column].value) for argument, column in arguments.items()]
            self.made[part.block] = Made(name, given, [""] * len(given))


def merged(
    columns: list[tuple[Hole, ...]], taken: set[str]
) -> tuple[dict[str, int], list[str | None], dict[int, str]]:
    """Return the arguments of a class, each with the first of its holes; for each hole a value, an
    argument, or None for a default; and the arguments of the holes that have one.

    Numbers that all blocks share are written out. Holes that are widths share an argument where
    these are equal throughout. ``columns`` has for each hole the values of the blocks; no argument
    gets a name in ``taken``.
    """

    def is_shared(hole: Hole, column: tuple[Hole, ...]) -> bool:
        return all(repr(other.value) == repr(hole.value) for other in column)

    # holes that differ between blocks, with those that always agree together
    groups: dict[Any, list[int]] = {}
    for number, column in enumerate(columns):
        if not is_shared(column[0], column):
            what: Any = "width" if column[0].is_width else column[0].name
            groups.setdefault((what, repr([hole.value for hole in column])), []).append(number)

    arguments, name_at = dict[str, int](), dict[int, str]()
    is_only_width = sum(what == "width" for what, _ in groups) == 1
    for (what, _), numbers in groups.items():
        name = unique(
            "channels"
            if what == "width" and is_only_width
            else identifier(columns[numbers[0]][0].name),
            taken,
        )
        arguments[name] = numbers[0]
        name_at |= {number: name for number in numbers}

    values = list[str | None]()
    for number, column in enumerate(columns):
        same_as_default = (
            type(column[0].default) is type(column[0].value)
            and column[0].default == column[0].value
        )
        shown = None if same_as_default else literal(column[0].value)
        values.append(name_at.get(number) or shown)
    return arguments, values, name_at


def members_of(steps: Steps, nodes: list[Any]) -> dict[str, Any]:
    """Return the layers that operations use, and the weights that belong to no layer, by their
    paths, in the network's order.

    A weight comes with True if a state_dict has it.
    """
    found: dict[str, Any] = {
        str(node.target): layer for node in nodes if (layer := steps.layer(node))
    }

    for node in nodes:
        path = str(node.target)
        if node.op != "get_attr" or any(inside(path, place) for place in found):
            continue
        owner = path.rpartition(".")[0]
        module = steps.network.get_submodule(owner)
        if owner and type(module) in WITH_WEIGHTS:
            found[owner] = module
        else:
            found[path] = (steps.tensor(node), is_kept(steps, node))

    order = {
        name: number
        for number, (name, _) in enumerate(steps.network.named_modules(remove_duplicate=False))
    }
    return dict(
        sorted(
            found.items(),
            key=lambda item: order.get(item[0], order.get(item[0].rpartition(".")[0], 0)),
        )
    )
