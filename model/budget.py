"""Finds the largest network of a family that a budget allows. The widths of a family grow with tau
by a power law (paper, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.cost import Shortcuts
from model.errors import OverBudget

Array: TypeAlias = NDArray[np.float64]
Layers: TypeAlias = NDArray[np.bool_]  # some of the layers

FLAT = 1e-9  # a |beta| below this moves no width of any network that fits in a computer
WINDOW = 1e-3  # first step, in ln tau, of the walk down from the upper bound; doubles each time
MOST_BREAKPOINTS = 1 << 18  # bound of that walk, met only by laws that no search produces
ROUNDING = 8 * float(np.finfo(float).eps)  # of a logarithm, relative to the numbers it is made from
MOST_EXACT = 1 << 53  # up to here floats hold every whole number
LARGEST = math.exp(60)  # larger widths count as this one


@dataclass(frozen=True)
class Budget:
    """A limit of what a network may cost, in parameters or in multiply-accumulates.

    ``cost`` gives the costs, (n,), of n networks with widths (L, n): at least 1 for each filter. It
    may fall where widths grow.
    """

    amount: int
    cost: Callable[[Array, Shortcuts], Array]

    def exceeded(self, law: Law, log_tau: float, shortcuts: Shortcuts) -> bool:
        """Return True if a lower bound of the cost is above the budget.

        The bound never falls as tau grows: shrinking layers count with their fewest filters.
        """
        monotone = np.where(law.beta[:, None] < 0, law.least[:, None], law.widths(log_tau))
        return bool(self.cost(monotone, shortcuts)[0] > self.amount)


@dataclass(frozen=True)
class Law:
    """Widths floor(alpha * tau ** beta), at least ``least`` and at most ``most``; a layer that is
    ``fixed`` has its ``least`` at any tau."""

    alpha: Array  # (L,); 0 where fixed, and so is beta
    beta: Array  # (L,)
    least: Array  # (L,), from 1 on
    fixed: Layers
    most: Array | float = math.inf  # (L,), not below ``least``

    @classmethod
    def of(
        cls,
        alpha: Array,
        beta: Array,
        least: Array | None = None,
        fixed: Layers | None = None,
        most: Array | float = math.inf,
    ) -> Law:
        """Return the law of alpha and beta, each (L,).

        Equal betas scale all layers by one common factor, in exact arithmetic where alpha is whole.
        """
        least = np.ones(len(alpha)) if least is None else least
        fixed = np.zeros(len(alpha), bool) if fixed is None else fixed
        alpha, beta = (
            np.where(fixed, 0.0, alpha),
            np.where(fixed | (np.abs(beta) < FLAT), 0.0, beta),
        )

        free, powers = alpha[~fixed], beta[~fixed]
        if (
            len(free)
            and np.ptp(powers) == 0
            and ((free >= 1) & (free <= MOST_EXACT) & (free == np.floor(free))).all()
        ):
            return ShapeLaw(alpha, np.where(fixed, 0.0, 1.0), least, fixed, most)
        return cls(alpha, beta, least, fixed, most)

    @cached_property
    def log_alpha(self) -> Array:
        """The logarithm of alpha, (L,); -inf, which gives a width of ``least``, where it is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.alpha)

    def widths(self, log_tau: float | Array) -> Array:
        """Return the widths, (L, n), at n values of ln tau. They stay finite: no budget is as large
        as exp(60)."""
        exponent = self.log_alpha[:, None] + self.beta[:, None] * np.atleast_1d(log_tau)
        constant = np.floor(np.minimum(self.alpha, LARGEST))[:, None]
        scaled = np.where(
            self.beta[:, None] == 0, constant, np.floor(np.exp(np.clip(exponent, -60, 60)))
        )
        return self.within(scaled)

    def within(self, widths: Array) -> Array:
        """Return widths, (L, n), raised to the least and lowered to the most of their layers."""
        bounded: Array = np.maximum(self.least.astype(widths.dtype)[:, None], widths)
        if isinstance(self.most, float):
            return bounded
        return np.minimum(self.most.astype(widths.dtype)[:, None], bounded)

    @property
    def growing(self) -> Layers:
        """The layers that grow with tau, as bools (L,)."""
        return (self.beta > 0) & (self.alpha > 0)

    @property
    def common(self) -> bool:
        """True if all layers that are not fixed grow by one common factor."""
        return bool(self.growing.any() and (self.beta[~self.fixed] == 1).all())

    def scaled_from(self, log_tau: float) -> Law:
        """Return the law that scales the shape of this one at one tau by one common factor."""
        shape = np.exp(np.clip(self.log_alpha + self.beta * log_tau, -60, 60))
        return Law(
            np.where(self.fixed, 0.0, shape),
            np.where(self.fixed, 0.0, 1.0),
            self.least,
            self.fixed,
            self.most,
        )

    def networks(self, start: float, end: float) -> Array | None:
        """Return the widths, (L, n), of all networks from ln tau = start to end, by growing tau;
        None if there are too many.

        There is another network wherever a width changes. Two such points that rounding can't tell
        apart count as one: no network is between them.
        """
        ends = self.widths(np.array([start, end]))
        first, last = ends.min(axis=1), ends.max(axis=1)
        if (last - first).sum() > MOST_BREAKPOINTS:
            return None

        # the points, and how far rounding may have moved each
        points, errors = [np.array([start, end])], [np.zeros(2)]
        for layer in np.flatnonzero(last > first):
            logs = np.log(np.arange(first[layer], last[layer]) + 1)
            points.append((logs - self.log_alpha[layer]) / self.beta[layer])
            errors.append(
                ROUNDING * (1 + logs + abs(self.log_alpha[layer])) / abs(self.beta[layer])
            )

        found, error = np.concatenate(points), np.concatenate(errors)
        order = np.argsort(found)
        found, error = np.clip(found[order], start, end), error[order]

        # the intervals between them that are left beside these errors
        low, high = (
            np.maximum.accumulate(found + error)[:-1],
            np.minimum.accumulate((found - error)[::-1])[::-1][1:],
        )
        return self.widths(((low + high) / 2)[low < high])


@dataclass(frozen=True)
class ShapeLaw(Law):
    """A law that scales whole widths, alpha, by one common factor, tau, in exact arithmetic."""

    @property
    def shape(self) -> list[int]:
        """The widths at tau = 1."""
        return [int(width) for width in self.alpha]

    def widths(self, log_tau: float | Array) -> Array:
        """Return the widths, (L, n), at n values of ln tau."""
        factors = [Fraction(math.exp(number)) for number in np.atleast_1d(log_tau)]
        return self.within(
            np.array(
                [[float(math.floor(factor * width)) for factor in factors] for width in self.shape]
            )
        )

    def networks(self, start: float, end: float) -> Array | None:
        """Return the widths, (L, n), of all networks from ln tau = start to end, by growing tau;
        None if there are too many.

        Widths change at factors n / width, and stay as they are from there to the next such factor.
        """
        lowest, highest = math.exp(start), math.exp(end)
        # one more: the product is rounded
        first = np.floor(self.alpha * lowest)
        last = np.minimum(np.floor(self.alpha * highest) + 1, self.most)
        if (last - first).sum() > MOST_BREAKPOINTS:
            return None

        # at each such factor from the lowest on, all widths: in whole numbers, those of Python
        # where numpy's are too small
        whole = np.int64 if last.max() * self.alpha.max() < MOST_EXACT else object
        layers, found = (
            np.array(self.shape, whole)[:, None],
            [np.empty((len(self.alpha), 0), whole)],
        )
        for width, low, high in {*zip(self.shape, first, last)}:
            if width:  # it is not fixed
                numerators = np.arange(max(1, int(low)), int(high) + 1).astype(whole)
                numerators = numerators[numerators / width >= lowest]
                found.append(numerators * layers // width)

        # in the order of the factors, along which no width falls, and each network once
        networks = self.within(np.hstack(found))
        return networks[:, np.unique(networks.sum(axis=0), return_index=True)[1]].astype(float)


def largest_within(budget: Budget, law: Law) -> list[int]:
    """Return the widths at the largest tau whose cost does not exceed the budget.

    The cost may fall as tau grows: where two widths become equal, a shortcut's convolution may turn
    into an identity. So bisection alone can't find the largest tau. It finds a tau above which
    nothing fits, by a lower bound of the cost; from there a walk goes down. A law that fits at no
    tau, or has no layer that grows, gives its shape at tau = budget, scaled by one common factor.
    Raises OverBudget if that fits with no factor.
    """
    found: Array | None = law.least
    if not law.fixed.all():
        if not law.growing.any():
            return largest_within(budget, law.scaled_from(np.log(budget.amount)))

        # at `bottom` every growing layer has its least; at `top` one of them alone costs more than
        # the budget
        log_alpha, beta = law.log_alpha[law.growing], law.beta[law.growing]
        bottom, top = (
            float(np.min(-log_alpha / beta)) - 1,
            float(np.min((np.log(budget.amount + 1) + 1 - log_alpha) / beta)),
        )
        high = (
            bottom
            if budget.exceeded(law, bottom, Shortcuts.FEWEST)
            else bisect(budget, law, bottom, top, Shortcuts.FEWEST)[1]
        )

        found = walk_down(budget, law, high, bottom)
        if found is None and not law.common:
            return largest_within(budget, law.scaled_from(np.log(budget.amount)))
        if found is None:  # it can only be a bound that is out of reach, or there is none
            found = law.widths(bisect(budget, law, bottom, top, Shortcuts.MOST)[0])[:, 0]

    assert found is not None
    if (cost := int(budget.cost(found[:, None], Shortcuts.AS_BUILT)[0])) > budget.amount:
        raise OverBudget(
            f"the fewest filters that it may have cost {cost:,}, the budget is {budget.amount:,}"
        )
    return [int(width) for width in found]


def largest_below(amount: int, cost: Callable[[Array], Array], law: Law) -> list[int]:
    """Return the widths at the largest tau whose cost is at most ``amount``, of a law with a
    ``most``: all its networks are counted.

    ``cost`` gives the costs, (n,), of n networks with widths (L, n). A law that fits at no tau, or
    in which no layer grows, gives its shape at tau = amount, scaled by one common factor. Raises
    OverBudget if that fits with no factor.
    """
    networks = law.least[:, None]
    if law.growing.any():
        # below `bottom` the growing layers have their least, above `top` their most
        log_alpha, beta = law.log_alpha[law.growing], law.beta[law.growing]
        log_most = np.log(np.broadcast_to(law.most, law.alpha.shape)[law.growing] + 1)
        bottom = float(np.min(-log_alpha / beta)) - 1
        top = float(np.max((log_most - log_alpha) / beta)) + WINDOW
        found = law.networks(bottom, top)
        if found is None:
            raise OverBudget("it has more filters than can be scaled by a law")
        networks = found
    elif not law.fixed.all():
        return largest_below(amount, cost, law.scaled_from(np.log(amount)))

    costs = cost(networks)
    fits = np.flatnonzero(costs <= amount)
    if not len(fits) and not (law.common or law.fixed.all()):
        return largest_below(amount, cost, law.scaled_from(np.log(amount)))
    if not len(fits):
        raise OverBudget(
            f"the fewest filters that it may have cost {int(costs.min()):,}, not {amount:,}"
        )
    return [int(width) for width in networks[:, fits[-1]]]


def bisect(
    budget: Budget, law: Law, low: float, high: float, shortcuts: Shortcuts
) -> tuple[float, float]:
    """Return two close values of ln tau: the lower bound of the cost is within the budget at the
    first, and above it at the second."""
    while high - low > WINDOW / 100 and low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if budget.exceeded(law, middle, shortcuts) else (middle, high)
    return low, high


def walk_down(budget: Budget, law: Law, high: float, bottom: float) -> Array | None:
    """Return the widths, (L,), of the first network below ``high`` that is within the budget, by
    exact counts of all networks on the way; None if there is none, or too many to count."""
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
