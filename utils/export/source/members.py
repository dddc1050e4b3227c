"""The constructor of a block: its members as lines that make them, with the numbers in them
apart."""

from __future__ import annotations

from collections.abc import Iterator
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
    """A number, or another value, in a constructor; blocks that are alike may differ in it."""

    name: str
    value: Any
    default: Any = UNSET
    is_width: bool = False


@dataclass
class Made:
    """An expression that makes a layer or a block: a name that is called with arguments."""

    name: str
    holes: list[Hole]
    keywords: list[str]  # the keyword of each argument; "" for a positional one
    parts: list[tuple[str, Made]] = field(default_factory=list)  # the children of a container

    def key(self) -> tuple[Any, ...]:
        """Return a key that expressions of one class share."""
        return (
            self.name,
            tuple(self.keywords),
            tuple((name, part.key()) for name, part in self.parts),
        )

    def every_hole(self) -> Iterator[Hole]:
        """Yield its holes, and those of its children."""
        yield from self.holes
        for _, part in self.parts:
            yield from part.every_hole()

    def lines(self, values: Iterator[str | None], indent: int) -> list[str]:
        """Return its source, as lines that are ``indent`` deep after the first.

        ``values`` has the values of its holes, None for a default.
        """
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

        # on one line if it fits
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
    "super": ("super().__init__(", ")"),  # their first and last characters
    "chain": ("nn.Sequential(", ")"),
    "named": ("nn.Sequential(OrderedDict(", "))"),
    "list": ("nn.ModuleList([", "])"),
}


def _ended(lines: list[str]) -> list[str]:
    """Return the lines, with a comma at the end."""
    return [*lines[:-1], f"{lines[-1]},"]


def layer(module: nn.Module, label: str) -> Made:
    """Return the expression for a layer of torch.nn. Raises NotWritableError."""
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
    """Return the keyword of an argument; "" for a positional one."""
    return "" if argument.default is UNSET else argument.name


def chain(parts: list[tuple[str, Made]]) -> Made:
    """Return the expression for layers that follow each other, under numbers or names."""
    if all(name.isdigit() for name, _ in parts):
        return Made("chain", [], [], _without_gaps(parts))
    if all(is_name(name) for name, _ in parts):
        return Made("named", [], [], parts)
    raise ValueError("neither numbers nor names")


def _without_gaps(parts: list[tuple[str, Made]]) -> list[tuple[str, Made]]:
    """Return numbered layers without gaps: missing ones do nothing."""
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
        """Return its source."""
        first, *rest = self.made.lines(values, 8)
        return [8 * " " + self.target.replace("{}", first, 1), *rest]


def tensor_line(place: str, name: str, tensor: Tensor, persistent: bool) -> Line:
    """Return the line for a weight or a buffer.

    It has zeros, which weights.pt fills; a constant that weights.pt does not have has its numbers.
    """
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


class Constructor:
    """The lines that make ``members``, by their paths below a block."""

    def __init__(self, members: dict[str, Member]):
        self.members = members
        self.lines: list[Line] = []
        self.lists: set[str] = set()  # the paths of numbered containers

        # layers in layers, such as the activation of a norm, are added at the end
        layers = [place for place in members if isinstance(members[place], Made)]
        later = [path for path in members if any(path.startswith(f"{it}.") for it in layers)]
        tree = tree_of({path: member for path, member in members.items() if path not in later})
        if numbered(tree):  # its class makes all of them first, in order
            self.lists.add("")
            made = Made("super", [], [], self.expression("", tree).parts)
            self.lines.append(Line("{}", made))
            self.rest("self", "", tree)
        else:
            self.fill("self", "", tree)
        for path in later:
            owner, _, name = path.rpartition(".")
            self.fill(self.get(owner), f"{owner}.", {name: members[path]})

    def fill(self, place: str, prefix: str, children: dict[str, Any]) -> None:
        """Add the lines that set ``children`` of ``place``."""
        for name, child in children.items():
            path = f"{prefix}{name}"
            if isinstance(child, tuple):
                self.lines.append(tensor_line(place, name, *child))
                continue
            target = (
                at(place, name) + " = {}"
                if is_name(name)
                else f'{place}.add_module("{name}", {{}})'
            )
            self.lines.append(Line(target, self.expression(path, child)))
            self.rest(at(place, name), path, child)

    def expression(self, path: str, child: Any) -> Made:
        """Return the expression that makes a layer, a block, or an empty container."""
        if isinstance(child, Made):
            return child
        if numbered(child):
            self.lists.add(path)
            in_order = sorted(child.items(), key=lambda item: int(item[0]))
            parts = [
                (name, self.expression(f"{path}.{name}".lstrip("."), part))
                for name, part in in_order
            ]
            return Made("list", [], [], _without_gaps(parts))
        return Made("nn.Module", [], [])

    def rest(self, place: str, path: str, child: Any) -> None:
        """Fill a container that has been made."""
        if isinstance(child, dict) and path in self.lists:
            for name, part in child.items():
                self.rest(at(place, name, True), f"{path}.{name}".lstrip("."), part)
        elif isinstance(child, dict):
            self.fill(place, f"{path}." * bool(path), child)

    def get(self, path: str) -> str:
        """Return the source that gets the member of a path."""
        place, before = "self", ""
        for name in path.split("."):
            in_list = before in self.lists or (
                name.isdigit()
                and isinstance(known := self.members.get(before), Made)
                and known.name == "chain"
            )
            place, before = at(place, name, in_list), f"{before}.{name}".lstrip(".")
        return place


def tree_of(members: dict[str, Member]) -> dict[str, Any]:
    """Return members by the parts of their paths, as dicts of dicts."""
    tree: dict[str, Any] = {}
    for path, member in members.items():
        *above, name = path.split(".")
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[name] = member
    return tree


def numbered(children: dict[str, Any]) -> bool:
    """Return True for modules under numbers, with few gaps."""
    return (
        bool(children)
        and all(name.isdigit() and not isinstance(part, tuple) for name, part in children.items())
        and max(map(int, children)) < 2 * len(children) + 100
    )


def is_sequence(lines: list[Line]) -> bool:
    """Return True if a constructor makes numbered layers, as nn.Sequential does."""
    return bool(lines) and lines[0].made.name == "super"
