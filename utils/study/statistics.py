"""Means and their uncertainty, with a correction for many comparisons."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev, variance
from typing import NamedTuple

LEVEL = 0.95


class Estimate(NamedTuple):
    """A mean, its standard error (nan for one value) and the number of values."""

    mean: float
    error: float
    n: int


class Spread(NamedTuple):
    """A standard deviation, and its degrees of freedom."""

    deviation: float
    freedom: int


class Difference(NamedTuple):
    """A mean difference, half the width of its 95 % interval, the number of pairs, and the p-value
    of no difference.

    For one pair, interval and p-value are nan.
    """

    mean: float
    half: float
    n: int
    p: float = math.nan


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of independent values, at least one."""
    n = len(values)
    return Estimate(fmean(values), stdev(values) / math.sqrt(n) if n > 1 else math.nan, n)


def pooled(groups: Iterable[Sequence[float]]) -> Spread | None:
    """Return the standard deviation within groups, pooled over them; None if no group has two
    values."""
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum(variance(group) * (len(group) - 1) for group in several)
    return Spread(math.sqrt(squares / freedom), freedom) if several else None


def interval(mean: float, error: float, freedom: int) -> tuple[float, float]:
    """Return half the width of the 95 % interval by Student's t, and the two-sided p-value, of a
    mean with its standard error."""
    from scipy.stats import t

    if error == 0:
        return 0.0, float(mean == 0)
    return float(t.ppf((1 + LEVEL) / 2, freedom)) * error, 2 * float(
        t.sf(abs(mean) / error, freedom)
    )


def difference(
    values: Sequence[float], spread: Spread | None = None, squares: float = 1.0
) -> Difference:
    """Return the mean of paired differences, at least one, with the wider of two intervals and the
    larger of two p-values.

    One is by the spread of these pairs. The other is by that of single trainings, ``spread``: the
    mean is a weighted sum of trainings, and ``squares`` is the sum of its squared weights.
    """
    mean, error, n = estimate(values)
    if n == 1:
        return Difference(mean, math.nan, n)
    half, p = interval(mean, error, n - 1)
    if spread:
        other_half, other_p = interval(mean, spread.deviation * math.sqrt(squares), spread.freedom)
        half, p = max(half, other_half), max(p, other_p)
    return Difference(mean, half, n, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of a family of comparisons, in their order, corrected by Holm's
    method."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
