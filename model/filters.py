"""From a budget to the width of every layer (paper, section 3.3), one search for all networks and methods."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model.cost import Cost
from model.registry import count_params, network, template

FLAT = 1e-9  # a |beta| below this moves no width of any network that fits in a computer
WINDOW = 1e-3  # first step, in ln tau, of the walk down from the upper bound; doubles each time
MOST_BREAKPOINTS = 1 << 18  # bound of that walk, met only by laws that no search produces
SMALL_WIDTH = 10  # widths below it get SEARCH_EXTRA filters more while searching


def uniform_filters(name: str, ratio: float) -> list[int]:
    """The template with every width multiplied by ``ratio``: int(width * ratio), at least 1."""
    if not (np.isfinite(ratio) and ratio > 0):
        raise ValueError(f"the ratio must be a positive number, not {ratio}")
    return [max(1, int(width * ratio)) for width in template(name)]


def prepare_filters(name: str, ratio: float, *, num_classes: int = 10, image_size: int = 32, scaling=None,
                    pruned_filters: list[int] | None = None, search: bool = False) -> list[int]:
    """The widths of network ``name`` at ``ratio``, within the parameter budget of its uniform scaling.

    - neither ``scaling`` nor ``pruned_filters``: uniform scaling of the template; its parameters are the budget;
    - ``scaling`` (anything with alpha and beta, a value per layer): floor(alpha * tau ** beta), at least 1, at the
      largest tau whose network does not exceed the budget. Where no beta is positive there is no such tau: the
      shape alpha * budget ** beta is scaled by one common factor instead (a fit over too few rows is beta = 0);
    - ``pruned_filters`` (MorphNet): that shape, scaled by the largest common factor within the budget.

    ``search`` adds SEARCH_EXTRA filters to widths below 10, on top of the budget: in the search, a layer that starts
    with a handful of filters would end the iteration before there is anything to fit.

    Raises ValueError for a ratio, alpha or beta that is not a finite number, a ratio or width that is not positive,
    a negative alpha, or a wrong number of layers.
    """
    filters = uniform_filters(name, ratio)
    if scaling is not None or pruned_filters is not None:
        budget = count_params(name, filters, num_classes=num_classes, image_size=image_size)
        if pruned_filters is not None:
            alpha, beta = np.array(pruned_filters, float), np.ones(len(pruned_filters))
            if not (alpha >= 1).all():
                raise ValueError(f"every layer needs at least 1 filter: {list(pruned_filters)}")
        else:
            alpha, beta = np.array(scaling.alpha, float), np.array(scaling.beta, float)
        if not len(alpha) == len(beta) == len(filters):
            raise ValueError(f"{name} has {len(filters)} layers; alpha has {len(alpha)}, beta {len(beta)}")
        if not (np.isfinite(alpha).all() and np.isfinite(beta).all() and (alpha >= 0).all()):
            raise ValueError("alpha and beta must be finite numbers, alpha not negative")

        def params(widths: np.ndarray, bound: str = "exact") -> np.ndarray:
            cost = Cost(certain_only=bound == "lower")
            network(name).count(cost, widths, num_classes, image_size, bound == "upper")
            return cost.params

        filters = _largest_within(budget, alpha, beta, params)
    if search:
        extra = network(name).SEARCH_EXTRA
        filters = [width + extra if width < SMALL_WIDTH else width for width in filters]
    return filters


def _largest_within(budget: int, alpha: np.ndarray, beta: np.ndarray, params: Callable) -> list[int]:
    """The widths at the largest tau whose ``params`` do not exceed ``budget``.

    ``params`` maps widths (L, n) to n parameter counts. It is not monotone: two widths that become equal may turn a
    shortcut convolution into an identity. So the largest tau can't be found by bisection alone. Bisection finds a
    tau above which nothing fits, by the certain part of the count; from there the walk goes down over the
    breakpoints, the tau at which some width changes, and counts the networks between them exactly.
    """
    with np.errstate(divide="ignore"):
        log_alpha = np.log(alpha)  # -inf, a width of 1, where alpha is 0
    beta = np.where(np.abs(beta) < FLAT, 0.0, beta)
    growing = (beta > 0) & (alpha > 0)

    def shape_scaled() -> list[int]:
        shape = np.exp(_clipped(log_alpha + beta * np.log(budget)))
        return _largest_within(budget, shape, np.ones_like(beta), params)

    def widths(log_tau) -> np.ndarray:
        exponent = log_alpha[:, None] + beta[:, None] * np.atleast_1d(log_tau)
        return np.maximum(1.0, np.floor(np.exp(_clipped(exponent))))

    def exceeds(log_tau: float, bound: str) -> bool:
        monotone = np.where(beta[:, None] < 0, 1.0, widths(log_tau))
        return bool(params(monotone, bound)[0] > budget)

    def bisect(bound: str) -> tuple[float, float]:
        low, high = bottom, top
        while high - low > WINDOW / 100 and low < (middle := (low + high) / 2) < high:
            low, high = (low, middle) if exceeds(middle, bound) else (middle, high)
        return low, high

    if not growing.any():
        return shape_scaled()
    # At `bottom` every growing layer has 1 filter; at `top` one of them alone has more parameters than the budget.
    bottom = float(np.min(-log_alpha[growing] / beta[growing])) - 1
    top = float(np.min((np.log(budget + 1) + 1 - log_alpha[growing]) / beta[growing]))
    high = bottom if exceeds(bottom, "lower") else bisect("lower")[1]
    step, seen = WINDOW, 0
    while high >= bottom and seen <= MOST_BREAKPOINTS:
        start = high - step
        ends = widths([start, high])
        first, last = ends.min(axis=1), ends.max(axis=1)
        if (last - first).sum() > MOST_BREAKPOINTS:
            break
        points = [start, high]
        for layer in np.flatnonzero(last > first):
            points.extend((np.log(np.arange(first[layer], last[layer]) + 1) - log_alpha[layer]) / beta[layer])
        points = np.clip(np.sort(points), start, high)
        between = widths((points[1:] + points[:-1]) / 2)
        fits = np.flatnonzero(params(between) <= budget)
        if len(fits):
            return [int(width) for width in between[:, fits[-1]]]
        seen += len(points)
        high, step = start, 2 * step
    if not (beta == 1).all():
        return shape_scaled()  # the law fits this budget at no tau
    return [int(width) for width in widths(bisect("upper")[0])[:, 0]]


def _clipped(exponent: np.ndarray) -> np.ndarray:
    """Keeps exp() finite: widths beyond exp(60) or below exp(-60) decide nothing."""
    return np.clip(exponent, -60, 60)
