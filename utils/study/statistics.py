"""Means and their uncertainty."""
import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

LEVEL = 0.95


class Estimate(NamedTuple):
    """A mean, its standard error (nan of one value) and the number of values."""

    mean: float
    error: float
    n: int


class Difference(NamedTuple):
    """A mean difference, half the width of its 95 % interval by Student's t (nan of one value), and the number of pairs."""

    mean: float
    half: float
    n: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return abs(self.mean) > self.half


def estimate(values: Sequence[float]) -> Estimate:
    """Of independent values, at least one."""
    n = len(values)
    return Estimate(fmean(values), stdev(values) / math.sqrt(n) if n > 1 else math.nan, n)


def difference(values: Sequence[float]) -> Difference:
    """Of paired differences, at least one."""
    from scipy.stats import t
    mean, error, n = estimate(values)
    return Difference(mean, float(t.ppf((1 + LEVEL) / 2, n - 1)) * error if n > 1 else math.nan, n)
