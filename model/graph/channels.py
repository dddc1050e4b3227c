"""The widths of a network, and which channels of which results belong to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class UnionFind:
    """Disjoint sets of the numbers 0, 1, 2, ...; the members of a set have one root."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def new(self) -> int:
        """Return a number that is in a set of its own."""
        self.parent.append(len(self.parent))
        return self.parent[-1]

    def root(self, member: int) -> int:
        """Return the number that stands for the set of ``member``."""
        while self.parent[member] != member:
            self.parent[member] = member = self.parent[self.parent[member]]
        return member

    def join(self, one: int, other: int) -> None:
        """Join two sets into one; its root is that of ``one``."""
        self.parent[self.root(other)] = self.root(one)


@dataclass(frozen=True)
class Piece:
    """Neighbouring channels of a result that belong to one width, unit after unit, with equally
    many for each unit."""

    width: int
    channels: int


@dataclass(frozen=True)
class Value:
    """A result whose dimension ``axis`` has channels that belong to widths, piece after piece."""

    axis: int
    pieces: tuple[Piece, ...]

    @property
    def channels(self) -> int:
        return sum(piece.channels for piece in self.pieces)


class WidthGroups(UnionFind):
    """The widths found so far; widths that are tied become one.

    A width counts units: filters, or groups of filters that can only be removed together. ``fixed``
    has the reason for each width that is fixed. A width without ``layers`` comes from a weight
    alone, and may still be tied to that of a layer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.units: list[int] = []
        self.fixed: list[str] = []  # "" where it is free
        self.layers: list[list[str]] = []

    def add(self, units: int, layer: str = "", fixed: str = "") -> int:
        """Add a width and return its number."""
        self.units.append(units)
        self.fixed.append(fixed)
        self.layers.append([layer] if layer else [])
        return self.new()

    def fix(self, pieces: Sequence[Piece], why: str) -> None:
        """Fix the widths of these pieces, for the reason ``why``."""
        for root in {self.root(piece.width) for piece in pieces}:
            self.fixed[root] = self.fixed[root] or why

    def coarsen(self, piece: Piece, units: int) -> None:
        """Group the units of a width so that the piece has at most ``units`` of them."""
        root = self.root(piece.width)
        self.units[root] = math.gcd(self.units[root], units)

    def tie(self, one: Sequence[Piece], other: Sequence[Piece]) -> None:
        """Tie two sequences of pieces with equally many channels: channel c of both is of one
        width.

        Pieces of different sizes are fixed instead.
        """
        if [piece.channels for piece in one] != [piece.channels for piece in other]:
            self.fix([*one, *other], "summed with parts of another size")
            return

        # layers first: a width goes by the name of the layer that makes it
        for a, b in zip(one, other):
            first, second = sorted(
                (self.root(a.width), self.root(b.width)),
                key=lambda root: (not self.layers[root], root),
            )
            if first != second:
                self.join(first, second)
                self.units[first] = math.gcd(self.units[first], self.units[second])
                self.fixed[first] = self.fixed[first] or self.fixed[second]
                self.layers[first] += self.layers[second]

    def free(self) -> list[int]:
        """Return the widths that can be chosen, those that layers make, in the network's order."""
        roots = [width for width in range(len(self.parent)) if self.root(width) == width]
        return [width for width in roots if self.layers[width] and not self.fixed[width]]


class Input(NamedTuple):
    """The channels of a result that an operation takes.

    They line up with the operation's own channels from ``start`` on: ``taken`` of them make
    ``given`` of its own. If ``whole``, each of its own channels depends on all of them.
    """

    name: str
    start: int = 0
    taken: int = 1
    given: int = 1
    whole: bool = False


@dataclass
class MadeFrom:
    """The way in which a result is made.

    A channel of it is zero where "all" or "any" of the channels that it is made from are zero;
    ``zero_if`` "none": nothing is known.
    """

    inputs: list[Input]
    zero_if: str = "all"
    # (first, end) of channels that belong to no width
    solid: list[tuple[int, int]] = field(default_factory=list)


class Literal(NamedTuple):
    """A number in a graph that stands for the channels of a result.

    Argument ``place`` of ``node`` is the number of channels of ``of``, or the number of groups of
    ``each`` channels in it.
    """

    node: str
    place: tuple[Any, ...]
    of: str
    each: int = 1
