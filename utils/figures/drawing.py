"""The picture of a comparison: accuracy, and the gap to uniform, against the size of the
networks."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.figures.curves import Curve
from utils.figures.gaps import AXES, gaps, reference_of
from utils.figures.looks import looks_of

AXIS_LABELS = {
    "params": "parameters",
    "macs": "multiply-accumulates per image",
    "latency": "latency of 100 images",
}

HIGHEST = 101.0  # % of accuracy on the axis: all right, and its marker whole


class Frame(NamedTuple):
    """The part that a picture shows: the axis of the size, and accuracies in %."""

    low: float
    high: float
    bottom: float
    top: float

    def has(self, x: float, accuracy: float) -> bool:
        """Return True if a point lies in it."""
        return self.low <= x <= self.high and self.bottom <= accuracy <= self.top

    def crosses(self, curve: Curve, axis: str) -> bool:
        """Return True if a point of a curve, or of the lines between its points, lies in it."""
        x, means = zip(
            *sorted((math.log(getattr(point, axis)), point.mean) for point in curve.points.values())
        )
        between = np.linspace(x[0], x[-1], 1000)
        return any(
            self.has(math.exp(at), mean)
            for at, mean in [*zip(x, means), *zip(between, np.interp(between, x, means))]
        )


def spanned(numbers: Sequence[float], own: bool) -> tuple[float, float]:
    """Return the lowest and the highest number of percentage points, with a margin.

    The margin is larger around the user's ``own`` numbers.
    """
    part, least = (0.25, 1.0) if own else (0.05, 0.1)
    more = max(part * (max(numbers) - min(numbers)), least)
    return min(numbers) - more, max(numbers) + more


def seeds_of(curves: list[Curve]) -> list[float]:
    """Return the accuracies of all trainings, in %."""
    return [
        accuracy
        for curve in curves
        for point in curve.points.values()
        for accuracy in point.accuracy
    ]


def frame_of(curves: list[Curve], axis: str) -> Frame:
    """Return the frame of a picture of ``curves`` over ``axis``: around the user's own, if there
    are any."""
    own = [curve for curve in curves if not curve.published]
    x = [getattr(point, axis) for curve in own or curves for point in curve.points.values()]
    margin = max(1.25 if own else 1.05, (max(x) / min(x)) ** 0.05)
    low, high = spanned(seeds_of(own or curves), bool(own))
    return Frame(min(x) / margin, max(x) * margin, low, min(high, HIGHEST))


def within(curves: list[Curve], axis: str) -> tuple[list[Curve], Frame]:
    """Return the curves in a picture, and its frame.

    A printed line names the published curves outside of it.
    """
    frame = frame_of(curves, axis)
    shown = [curve for curve in curves if not curve.published or frame.crosses(curve, axis)]
    if left := [curve.label for curve in curves if curve not in shown]:
        print(f"(the picture is scaled to your runs; outside of it: {'; '.join(left)})")
    return shown, frame


def draw(curves: list[Curve], axis: str, title: str, path: Path, device: str = "") -> None:
    """Draw accuracy above, and the gap to uniform at equal ``axis`` below, as the PNG ``path``.

    Both are drawn against the axis: parameters, MACs or latency (on ``device``).
    """
    from utils.figures import style  # matplotlib, which a table alone does without

    references = {id(curve): reference_of(curve, curves) for curve in curves}
    shown, frame = within(curves, axis)
    has_gap = any(references[id(curve)] not in (None, curve) for curve in shown)

    fig, axes = style.figure(
        2 if has_gap else 1,
        1,
        width=7.2,
        height=7.0 if has_gap else 4.6,
        sharex=True,
        squeeze=False,
        height_ratios=[3, 2] if has_gap else None,
    )

    top, bottom = axes[0, 0], axes[-1, 0]
    gaps_of: dict[bool, list[float]] = {True: [], False: []}  # of published curves, of the user's

    # a band for each curve, and one for its gap
    for curve, look in zip(shown, looks_of(shown)):
        x = [getattr(point, axis) for point in curve.points.values()]
        accuracy = [
            (point.mean, min(point.accuracy), max(point.accuracy))
            for point in curve.points.values()
        ]
        style.band(top, x, accuracy, look, curve.label)
        if has_gap and (reference := references[id(curve)]):
            gap = gaps(curve, reference, axis)
            x = [getattr(curve.points[ratio], axis) for ratio in gap]
            style.band(bottom, x, list(gap.values()), look, f"gap of {curve.label}")
            gaps_of[curve.published] += [number for one in gap.values() for number in one]

    # scales and labels
    top.set(
        title=style.wrapped(title), ylabel="best test accuracy (%)", xlim=frame[:2], ylim=frame[2:]
    )
    if has_gap:
        bottom.set_ylabel(f"gap to uniform at\nequal {AXES[axis]}\n(percentage points)")
        if seen := gaps_of[False] or gaps_of[True]:
            bottom.set_ylim(spanned(seen, bool(gaps_of[False])))
    style.scale_x(
        bottom, *frame[:2], AXIS_LABELS[axis], (1.0, f"ms, {device}") if axis == "latency" else None
    )
    style.legend_below(fig, *top.get_legend_handles_labels())
    style.save(fig, path)
