"""The widths of a network that is read from its graph: which channels of which results are of one
width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class UnionFind:
    """Disjoint sets of the numbers 0, 1, 2, ...; those that were joined have one root."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def new(self) -> int:
        """A number that is joined with no other yet."""
        self.parent.append(len(self.parent))
        return self.parent[-1]

    def root(self, member: int) -> int:
        """The number that stands for all that are joined with ``member``."""
        while self.parent[member] != member:
            self.parent[member] = member = self.parent[self.parent[member]]
        return member

    def join(self, one: int, other: int) -> None:
        """Makes one set of two; the root of ``one`` stands for it."""
        self.parent[self.root(other)] = self.root(one)


@dataclass(frozen=True)
class Piece:
    """Some neighbouring channels of a result, all of one width: unit after unit, equally many of
    each."""

    width: int
    channels: int


@dataclass(frozen=True)
class Value:
    """A result whose dimension ``axis`` has channels of widths, piece after piece."""

    axis: int
    pieces: tuple[Piece, ...]

    @property
    def channels(self) -> int:
        return sum(piece.channels for piece in self.pieces)


class Widths(UnionFind):
    """The widths found so far: what is tied becomes one.

    A width counts units: filters, or groups of filters that can only go together. One that is
    ``fixed`` says why. One without ``layers`` is of a weight alone, that something may still be
    multiplied with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.units: list[int] = []
        self.fixed: list[str] = []  # "" where it is free
        self.layers: list[list[str]] = []

    def add(self, units: int, layer: str = "", fixed: str = "") -> int:
        """A new width."""
        self.units.append(units)
        self.fixed.append(fixed)
        self.layers.append([layer] if layer else [])
        return self.new()

    def fix(self, pieces: Sequence[Piece], why: str) -> None:
        for root in {self.root(piece.width) for piece in pieces}:
            self.fixed[root] = self.fixed[root] or why

    def coarsen(self, piece: Piece, units: int) -> None:
        """Makes groups of the units of a width: there are no more than ``units`` of them in the
        piece."""
        root = self.root(piece.width)
        self.units[root] = math.gcd(self.units[root], units)

    def tie(self, one: Sequence[Piece], other: Sequence[Piece]) -> None:
        """Channel c of the one is of the same width as channel c of the other; both have equally
        many."""
        if [piece.channels for piece in one] != [piece.channels for piece in other]:
            self.fix([*one, *other], "summed with parts of another size")
            return
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
        """The widths that can be chosen, those that layers make, in the order in which the network
        has them."""
        roots = [width for width in range(len(self.parent)) if self.root(width) == width]
        return [width for width in roots if self.layers[width] and not self.fixed[width]]


class Input(NamedTuple):
    """What an operation takes of a result: channels side by side with its own from ``start`` on,
    ``taken`` of it for each ``given``; or, of a ``whole`` one, every channel for each of its
    own."""

    name: str
    start: int = 0
    taken: int = 1
    given: int = 1
    whole: bool = False


@dataclass
class Step:
    """How a result is made. A channel of it is zero where "all" or "any" of those it is made of
    are, or where "none" says so."""

    inputs: list[Input]
    zero_if: str = "all"
    # channels of no width, from one to before another
    solid: list[tuple[int, int]] = field(default_factory=list)


class Literal(NamedTuple):
    """A number written in a graph that stands for the channels of a result: argument ``place`` of
    ``node`` is those of ``of``, or how many groups of ``each`` channels these are."""

    node: str
    place: tuple[Any, ...]
    of: str
    each: int = 1
