"""How a block makes its layers: the tree of its members as lines of a constructor, with the numbers
in them apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from utils.export.source.layers import CHANNELS, UNSET, Argument, arguments, torch_class
from utils.export.source.literals import is_name
from utils.export.source.naming import at, identifier

WIDTH = 112  # characters in a line


@dataclass(frozen=True)
class Hole:
    """A number, or another value, in a constructor, and what it is: two of blocks that are alike
    may differ in it."""

    name: str
    value: Any
    default: Any = UNSET
    is_width: bool = False


@dataclass
class Made:
    """An expression that makes a layer or a block: a name that is called with arguments."""

    name: str
    holes: list[Hole]
    keywords: list[str]  # of each argument, its keyword; "" for one that goes by its place
    parts: list[tuple[str, Made]] = field(default_factory=list)  # of containers, their children

    def key(self) -> tuple[Any, ...]:
        return (
            self.name,
            tuple(self.keywords),
            tuple((name, part.key()) for name, part in self.parts),
        )

    def every_hole(self) -> Iterator[Hole]:
        yield from self.holes
        for _, part in self.parts:
            yield from part.every_hole()

    def lines(self, values: Iterator[str | None], indent: int) -> list[str]:
        """Its source, as lines that are ``indent`` deep behind the first; ``values`` of its holes,
        None for a default."""
        given = [
            f"{key}={value}" if key else value
            for key, value in zip(self.keywords, (next(values) for _ in self.holes))
            if value
        ]
        if self.name not in CONTAINERS:
            return [f"{self.name}({', '.join(given)})"]
        inner = [part.lines(values, indent + 4) for _, part in self.parts]
        opening, closing = CONTAINERS[self.name]
        if self.name == "named":
            inner = [
                [f"{name}={lines[0]}", *lines[1:]] for (name, _), lines in zip(self.parts, inner)
            ]
        whole = f"{opening}{', '.join(' '.join(lines) for lines in inner)}{closing}"
        if all(len(lines) == 1 for lines in inner) and indent + len(whole) <= WIDTH - 24:
            return [whole]
        body = [
            f"{' ' * (indent + 4)}{line}" if number == 0 else line
            for lines in inner
            for number, line in enumerate(_ended(lines))
        ]
        return [opening, *body, f"{' ' * indent}{closing}"]


CONTAINERS = {
    "super": ("super().__init__(", ")"),  # what begins and ends them
    "chain": ("nn.Sequential(", ")"),
    "named": ("nn.Sequential(OrderedDict(", "))"),
    "list": ("nn.ModuleList([", "])"),
}


def _ended(lines: list[str]) -> list[str]:
    return [*lines[:-1], f"{lines[-1]},"]


def layer(module: nn.Module, label: str) -> Made:
    """What makes a layer of torch.nn. Raises NotWritableError."""
    given = arguments(module)
    holes = [
        Hole(
            f"{label}_{CHANNELS.get(arg.name, arg.name)}",
            arg.value,
            arg.default,
            arg.name in CHANNELS,
        )
        for arg in given
    ]
    return Made(f"nn.{torch_class(module).__name__}", holes, [keyword(arg) for arg in given])


def keyword(argument: Argument) -> str:
    return "" if argument.default is UNSET else argument.name


def chain(parts: list[tuple[str, Made]]) -> Made:
    """Layers one after the other, under numbers or under names."""
    if all(name.isdigit() for name, _ in parts):
        return Made("chain", [], [], _without_gaps(parts))
    if all(is_name(name) for name, _ in parts):
        return Made("named", [], [], parts)
    raise ValueError("neither numbers nor names")


def _without_gaps(parts: list[tuple[str, Made]]) -> list[tuple[str, Made]]:
    """So that each has its number: what is not there does nothing."""
    there = {int(name): made for name, made in parts}
    return [
        (str(number), there.get(number) or Made("nn.Identity", [], []))
        for number in range(max(there) + 1)
    ]


@dataclass
class Line:
    """A line of a constructor: what it sets, and to what."""

    target: str
    made: Made

    def text(self, values: Iterator[str | None]) -> list[str]:
        first, *rest = self.made.lines(values, 8)
        return [8 * " " + self.target.replace("{}", first, 1), *rest]


def tensor_line(place: str, name: str, tensor: Tensor, persistent: bool) -> Line:
    """What makes a weight or a buffer: with zeros, which weights.pt fills; a constant that
    weights.pt has not, with its numbers."""
    label, keys = identifier(name), [""] * max(1, tensor.dim()) + ["dtype"]
    shape = [
        Hole(f"{label}_{axis}", size, is_width=True) for axis, size in enumerate(tensor.shape)
    ] or [Hole(f"{label}_shape", ())]
    dtype = Hole(f"{label}_dtype", tensor.dtype, torch.float32)
    if isinstance(tensor, nn.Parameter):
        target = (
            f"{at(place, name)} = nn.Parameter({{}})"
            if is_name(name)
            else f'{place}.register_parameter("{name}", nn.Parameter({{}}))'
        )
        return Line(target, Made("torch.zeros", [*shape, dtype], keys))
    if persistent:
        return Line(
            f'{place}.register_buffer("{name}", {{}})', Made("torch.zeros", [*shape, dtype], keys)
        )
    values = Hole(f"{label}_values", tensor.tolist())
    return Line(
        f'{place}.register_buffer("{name}", {{}}, persistent=False)',
        Made("torch.tensor", [values, dtype], ["", "dtype"]),
    )


# a layer or a block; or a tensor, and whether a state_dict has it
Member = Made | tuple[Tensor, bool]


def constructor(members: dict[str, Member]) -> tuple[list[Line], Callable[[str], str]]:
    """The lines that make ``members``, by their paths below a block; and what gets the member of a
    path."""
    tree: dict[str, Any] = {}
    later = [
        path
        for path in members
        if any(
            isinstance(members[place], Made) and path.startswith(f"{place}.") for place in members
        )
    ]
    for path, member in members.items():
        *above, name = path.split(".")
        place = tree
        for part in above if path not in later else ():
            place = place.setdefault(part, {})
        if path not in later:
            place[name] = member
    lines, lists = list[Line](), set[str]()

    def numbered(children: dict[str, Any]) -> bool:
        return (
            bool(children)
            and all(
                name.isdigit() and not isinstance(part, tuple) for name, part in children.items()
            )
            and max(map(int, children)) < 2 * len(children) + 100
        )

    def fill(place: str, prefix: str, children: dict[str, Any]) -> None:
        for name, child in children.items():
            path = f"{prefix}{name}"
            if isinstance(child, tuple):
                lines.append(tensor_line(place, name, *child))
                continue
            target = (
                at(place, name) + " = {}"
                if is_name(name)
                else f'{place}.add_module("{name}", {{}})'
            )
            lines.append(Line(target, expression(path, child)))
            rest(at(place, name), path, child)

    def expression(path: str, child: Any) -> Made:
        if isinstance(child, Made):
            return child
        if numbered(child):
            lists.add(path)
            in_order = sorted(child.items(), key=lambda item: int(item[0]))
            parts = [
                (name, expression(f"{path}.{name}".lstrip("."), part)) for name, part in in_order
            ]
            return Made("list", [], [], _without_gaps(parts))
        return Made("nn.Module", [], [])

    def rest(place: str, path: str, child: Any) -> None:
        """What a container that has been made is filled with."""
        if isinstance(child, dict) and path in lists:
            for name, part in child.items():
                rest(at(place, name, True), f"{path}.{name}".lstrip("."), part)
        elif isinstance(child, dict):
            fill(place, f"{path}." * bool(path), child)

    def get(path: str) -> str:
        place, before = "self", ""
        for name in path.split("."):
            in_list = before in lists or (
                name.isdigit()
                and isinstance(known := members.get(before), Made)
                and known.name == "chain"
            )
            place, before = at(place, name, in_list), f"{before}.{name}".lstrip(".")
        return place

    if numbered(tree):  # what its class makes first is all of them, in their order
        lists.add("")
        lines.append(Line("{}", Made("super", [], [], expression("", tree).parts)))
        rest("self", "", tree)
    else:
        fill("self", "", tree)
    for path in later:  # layers in layers: the activation that a norm has
        owner, _, name = path.rpartition(".")
        fill(get(owner), f"{owner}.", {name: members[path]})
    return lines, get


def is_sequence(lines: list[Line]) -> bool:
    """Whether a constructor makes numbered layers, as nn.Sequential does."""
    return bool(lines) and lines[0].made.name == "super"
