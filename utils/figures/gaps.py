"""The gap to uniform scaling at equal parameters, MACs or latency."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils.figures.curves import Curve
from utils.settings import Size
from utils.settings.target import BUDGET_NAMES

AXES = {**BUDGET_NAMES, "latency": "latency"}
# a budget is met from below, in whole filters, so the smallest network is a little smaller than the
# smallest uniform one
MARGIN = 0.01
RULE = (
    f"interpolated in the logarithm; up to {100 * MARGIN:g} % outside uniform's range, its "
    "end's; farther out, -"
)


class Gap(NamedTuple):
    """The difference to uniform scaling, in percentage points: the mean, the lowest and the highest
    seed."""

    mean: float
    low: float
    high: float


def reference_of(curve: Curve, curves: list[Curve]) -> Curve | None:
    """Return the uniform curve that a curve is compared with.

    It is of the same side, published or the user's, or else the published one. Of several, the
    first that was trained for as many epochs on as many images, or else the first.
    """
    uniform = [other for other in curves if other.method == "uniform"]
    sides = [other for other in uniform if other.published == curve.published] or [
        other for other in uniform if other.published
    ]
    return min(
        sides, key=lambda other: (other.trained != curve.trained, other.round_to), default=None
    )


def gaps(curve: Curve, reference: Curve, axis: str) -> dict[Size, Gap]:
    """Return the gap at each size to ``reference``'s mean at the curve's own x on ``axis``.

    The mean is interpolated linearly in ln x. A point up to 1 % outside the reference's range is
    compared with its end; one farther outside has no gap, and is left out.
    """
    known = [(getattr(point, axis), point.mean) for point in reference.points.values()]
    found: dict[Size, Gap] = {}
    for ratio, point in curve.points.items():
        if (level := interpolated(known, getattr(point, axis))) is not None:
            found[ratio] = Gap(
                point.mean - level, min(point.accuracy) - level, max(point.accuracy) - level
            )
    return found


def interpolated(known: Sequence[tuple[float, float]], at: float) -> float | None:
    """Return the accuracy at ``at``, interpolated linearly in ln x between ``known`` (x, accuracy).

    Returns None more than 1 % outside their range.
    """
    x, accuracies = zip(*sorted(known))
    if not x[0] * (1 - MARGIN) <= at <= x[-1] * (1 + MARGIN):
        return None
    return float(np.interp(math.log(at), np.log(x), accuracies))
