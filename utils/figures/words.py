"""A comparison in words: for each of the user's methods one sentence, from the numbers."""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, variance

from utils.figures.curves import Curve
from utils.figures.gaps import AXES, gaps
from utils.settings import Size

CLEAR = 2.0  # standard errors from which on a difference is said to be more than chance


def in_words(
    curves: Sequence[Curve], references: Sequence[Curve | None], axis: str
) -> Iterator[str]:
    """Yield a sentence for each curve of the user's that is compared with uniform runs of the
    user's: its mean gap at equal ``axis``, and whether seeds alone explain it."""
    for curve, reference in zip(curves, references):
        if curve.published or not reference or reference.published or reference is curve:
            continue
        if not (gap := gaps(curve, reference, axis)):
            continue

        mean = fmean(found.mean for found in gap.values())
        side = f"{abs(mean):.2f} points {'above' if mean >= 0 else 'below'} uniform scaling"
        networks = f"mean of {len(gap)} size{'s' * (len(gap) > 1)}"
        error = standard_error(curve, list(gap), reference)
        yield f"{curve.label}: {side} at equal {AXES[axis]} ({networks}){verdict(mean, error)}"


def verdict(mean: float, error: float | None) -> str:
    """Return the part of the sentence that says whether seeds alone explain a mean gap with this
    standard error; None: there is one seed."""
    if error is None:
        return "; one seed, so chance is not ruled out"
    if abs(mean) > CLEAR * error:
        return f", more than seeds explain (standard error {error:.2f})"
    return f", no more than seeds may explain (standard error {error:.2f})"


def standard_error(curve: Curve, sizes: Sequence[Size], reference: Curve) -> float | None:
    """Return the standard error of a curve's mean gap over ``sizes``, by the standard deviation of
    single trainings, pooled over all points of both curves; None where none has two seeds.

    A gap at one size is that of a mean over the curve's seeds to about one mean over the
    reference's.
    """
    points = [*curve.points.values(), *reference.points.values()]
    several = [point.accuracy for point in points if len(point.accuracy) > 1]
    if not several:
        return None
    freedom = sum(len(accuracies) - 1 for accuracies in several)
    pooled = sum(variance(accuracies) * (len(accuracies) - 1) for accuracies in several) / freedom

    own = sum(1 / len(curve.points[size].accuracy) for size in sizes) / len(sizes) ** 2
    others = fmean(1 / len(point.accuracy) for point in reference.points.values()) / len(sizes)
    return math.sqrt(pooled * (own + others))
