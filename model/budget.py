"""The largest network of a family that a budget allows. The family: widths that grow with tau by a power law."""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.cost import Shortcuts

Array: TypeAlias = NDArray[np.float64]

FLAT = 1e-9  # a |beta| below this moves no width of any network that fits in a computer
WINDOW = 1e-3  # first step, in ln tau, of the walk down from the upper bound; doubles each time
MOST_BREAKPOINTS = 1 << 18  # bound of that walk, met only by laws that no search produces
ROUNDING = 8 * float(np.finfo(float).eps)  # of a logarithm, relative to the numbers it is made from
MOST_EXACT = 1 << 53  # up to here floats hold every whole number


@dataclass(frozen=True)
class Budget:
    """What a network may cost, in parameters or in multiply-accumulates: at least 1 for each filter.

    ``cost`` counts networks, (L, n) widths -> (n,); it is not monotone in the widths.
    """

    amount: int
    cost: Callable[[Array, Shortcuts], Array]

    def exceeded(self, law: Law, log_tau: float, shortcuts: Shortcuts) -> bool:
        """Whether a bound of the cost that never falls as tau grows is above the budget: shrinking layers count as 1."""
        monotone = np.where(law.beta[:, None] < 0, 1.0, law.widths(log_tau))
        return bool(self.cost(monotone, shortcuts)[0] > self.amount)


@dataclass(frozen=True)
class Law:
    """Widths floor(alpha * tau ** beta), at least 1. ``log_alpha`` is -inf, a width of 1, where alpha is 0."""

    log_alpha: Array  # (L,)
    beta: Array  # (L,)

    @classmethod
    def of(cls, alpha: Array, beta: Array) -> Law:
        """The law of (L,) alpha and beta. One beta for all layers scales them by a common factor, exactly where alpha is whole."""
        beta = np.where(np.abs(beta) < FLAT, 0.0, beta)
        if np.ptp(beta) == 0 and ((alpha >= 1) & (alpha <= MOST_EXACT) & (alpha == np.floor(alpha))).all():
            return Shape.of_widths([int(width) for width in alpha])
        with np.errstate(divide="ignore"):
            return cls(np.log(alpha), beta)

    def widths(self, log_tau: float | Array) -> Array:
        """(L, n) widths at n values of ln tau. Those beyond exp(60) decide nothing, and stay finite."""
        exponent = self.log_alpha[:, None] + self.beta[:, None] * np.atleast_1d(log_tau)
        return np.maximum(1.0, np.floor(np.exp(np.clip(exponent, -60, 60))))

    @property
    def growing(self) -> NDArray[np.bool_]:
        return (self.beta > 0) & np.isfinite(self.log_alpha)

    def scaled_from(self, log_tau: float) -> Law:
        """The shape that this law has at one tau, scaled by one common factor."""
        return Law(np.clip(self.log_alpha + self.beta * log_tau, -60, 60), np.ones_like(self.beta))

    def networks(self, start: float, end: float) -> Array | None:
        """The networks, (L, n) widths, from ln tau = start to end, by growing tau; None where there are too many.

        They change where some width does. Such points that rounding can't tell apart are taken for one: no network is between
        them.
        """
        ends = self.widths(np.array([start, end]))
        first, last = ends.min(axis=1), ends.max(axis=1)
        if (last - first).sum() > MOST_BREAKPOINTS:
            return None

        # The points, and how far rounding may have moved each.
        points, errors = [np.array([start, end])], [np.zeros(2)]
        for layer in np.flatnonzero(last > first):
            logs = np.log(np.arange(first[layer], last[layer]) + 1)
            points.append((logs - self.log_alpha[layer]) / self.beta[layer])
            errors.append(ROUNDING * (1 + logs + abs(self.log_alpha[layer])) / abs(self.beta[layer]))
        found, error = np.concatenate(points), np.concatenate(errors)
        order = np.argsort(found)
        found, error = np.clip(found[order], start, end), error[order]

        # The intervals between them that are left beside these errors.
        low, high = np.maximum.accumulate(found + error)[:-1], np.minimum.accumulate((found - error)[::-1])[::-1][1:]
        return self.widths(((low + high) / 2)[low < high])


@dataclass(frozen=True)
class Shape(Law):
    """Whole widths scaled by one common factor, tau: floor(factor * width), at least 1, in exact arithmetic."""

    shape: tuple[int, ...] = ()

    @classmethod
    def of_widths(cls, shape: list[int]) -> Shape:
        return cls(np.log(np.array(shape, float)), np.ones(len(shape)), tuple(shape))

    def widths(self, log_tau: float | Array) -> Array:
        factors = [Fraction(math.exp(number)) for number in np.atleast_1d(log_tau)]
        return np.array([[max(1, math.floor(factor * width)) for factor in factors] for width in self.shape], float)

    def networks(self, start: float, end: float) -> Array | None:
        """As for any law. Widths change at factors n / width, and stay as they are there up to the next such factor."""
        shape, lowest, highest = np.array(self.shape, float), math.exp(start), math.exp(end)
        first, last = np.floor(shape * lowest), np.floor(shape * highest) + 1  # one more: the product is rounded
        if (last - first).sum() > MOST_BREAKPOINTS:
            return None
        whole = np.int64 if last.max() * shape.max() < MOST_EXACT else object
        layers, found = np.array(self.shape, whole)[:, None], [np.empty((len(shape), 0), whole)]
        for width, low, high in {*zip(self.shape, first, last)}:
            numerators = np.arange(max(1, int(low)), int(high) + 1).astype(whole)
            numerators = numerators[numerators / width >= lowest]
            found.append(numerators * layers // width)
        networks = np.maximum(1, np.hstack(found))
        return networks[:, np.unique(networks.sum(axis=0), return_index=True)[1]].astype(float)  # no width falls as the factor grows


def largest_within(budget: Budget, law: Law) -> list[int]:
    """The widths at the largest tau whose cost does not exceed the budget.

    The cost is not monotone: two widths that become equal may turn a shortcut convolution into an identity. So the
    largest tau can't be found by bisection alone. Bisection finds a tau above which nothing fits, by the certain part
    of the cost; from there a walk goes down. A law that fits at no tau, or has no layer that grows, gives its shape at
    tau = budget, scaled by one common factor.
    """
    if not law.growing.any():
        return largest_within(budget, law.scaled_from(np.log(budget.amount)))
    # At `bottom` every growing layer has 1 filter; at `top` one of them alone costs more than the budget.
    log_alpha, beta = law.log_alpha[law.growing], law.beta[law.growing]
    bottom, top = float(np.min(-log_alpha / beta)) - 1, float(np.min((np.log(budget.amount + 1) + 1 - log_alpha) / beta))
    high = bottom if budget.exceeded(law, bottom, Shortcuts.FEWEST) else bisect(budget, law, bottom, top, Shortcuts.FEWEST)[1]
    found = walk_down(budget, law, high, bottom)
    if found is None and (law.beta == 1).all():  # one common factor: it can only be a bound that is out of reach
        found = law.widths(bisect(budget, law, bottom, top, Shortcuts.MOST)[0])[:, 0]
    return largest_within(budget, law.scaled_from(np.log(budget.amount))) if found is None else [int(width) for width in found]


def bisect(budget: Budget, law: Law, low: float, high: float, shortcuts: Shortcuts) -> tuple[float, float]:
    """Two close values of ln tau, the bound of the cost within the budget at the first and above it at the second."""
    while high - low > WINDOW / 100 and low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if budget.exceeded(law, middle, shortcuts) else (middle, high)
    return low, high


def walk_down(budget: Budget, law: Law, high: float, bottom: float) -> Array | None:
    """The widths of the first network within the budget below ``high``: exact counts of all there are on the way."""
    step, seen = WINDOW, 0
    while high >= bottom and seen <= MOST_BREAKPOINTS:
        networks = law.networks(high - step, high)
        if networks is None:
            return None
        fits = np.flatnonzero(budget.cost(networks, Shortcuts.AS_BUILT) <= budget.amount)
        if len(fits):
            found: Array = networks[:, fits[-1]]
            return found
        seen += networks.shape[1]
        high, step = high - step, 2 * step
    return None
