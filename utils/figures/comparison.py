"""Curves compared: the gap to uniform scaling at equal parameters, MACs or latency, the table and the picture that show it."""
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.figures.curves import Curve, Subject, gather, measure_latency
from utils.settings import Comparison

AXES = {"params": "parameters", "macs": "MACs", "latency": "latency"}
MARGIN = 0.01  # a budget is met from below, in whole filters: the smallest network is a little smaller than the smallest uniform one
RULE = f"interpolated in the logarithm; up to {100 * MARGIN:g} % outside uniform's range, its end's; farther out, -"


class Gap(NamedTuple):
    """How much more accurate than uniform scaling, in percentage points: the mean, the lowest and the highest seed."""

    mean: float
    low: float
    high: float


def reference_of(curve: Curve, curves: list[Curve]) -> Curve | None:
    """The uniform curve that a curve is compared with: of its own side, published or the user's; else the published one."""
    uniform = {c.published: c for c in reversed(curves) if c.method == "uniform"}  # of several, the first
    return uniform.get(curve.published) or uniform.get(True)


def gaps(curve: Curve, reference: Curve, axis: str) -> dict[float, Gap]:
    """The gap at each ratio: to ``reference``'s mean where it has this curve's own x on ``axis``, not its ratio.

    The mean is interpolated linearly in ln x. A point up to 1 % outside the reference's range is compared with its end; one
    farther outside has no gap, and is left out.
    """
    known = [(getattr(point, axis), point.mean) for point in reference.points.values()]
    found = {}
    for ratio, point in curve.points.items():
        if (level := interpolated(known, getattr(point, axis))) is not None:
            found[ratio] = Gap(point.mean - level, min(point.accuracy) - level, max(point.accuracy) - level)
    return found


def interpolated(known: Sequence[tuple[float, float]], at: float) -> float | None:
    """The accuracy at ``at`` between ``known`` pairs of x and accuracy, linear in ln x; None more than 1 % outside their range."""
    x, accuracies = zip(*sorted(known))
    if not x[0] * (1 - MARGIN) <= at <= x[-1] * (1 + MARGIN):
        return None
    return float(np.interp(math.log(at), np.log(x), accuracies))


def compare_methods(subject: Subject, asked: Comparison, out: Path | None = None) -> None:
    """The paper's comparison: what was published of every method, and the user's runs, as a table and as the PNG ``out``."""
    known = subject.known("uniform", "morphnet", "magnitude", "neuralscale_1", "neuralscale_15")
    curves = gather(subject, known, runs=list(asked.runs or ()), published=asked.published)
    out = out or subject.folder / f"{subject.dataset}_accuracy_{asked.axis}.png"
    show(curves, subject, asked, f"{subject.model} on {subject.dataset}", out)


def show(curves: list[Curve], subject: Subject, asked: Comparison, title: str, path: Path) -> None:
    """Prints the table of the curves, and draws them as the PNG ``path``."""
    device = measure_latency(curves, subject, asked.device) if asked.axis == "latency" else ""
    print_table(curves, subject, asked.axis, device=device)
    draw(curves, asked.axis, title, path, device)


def print_table(curves: list[Curve], subject: Subject, axis: str = "params", *, ratio: float | None = None, device: str = "") -> None:
    """Parameters, MACs, latency (measured on ``device``), mean, std, n and gap to uniform at equal ``axis`` of every point.

    Of those at ``ratio`` alone, if given.
    """
    print(f"{subject.model} on {subject.dataset}: best test accuracy in %; gap: to uniform's mean at equal {AXES[axis]} ({RULE})")
    if any(curve.published for curve in curves):
        print("(published: mean of per-batch accuracies; an exact count, as in runs of this project, reads up to 0.3 lower)")
    if any(not curve.published and (reference := reference_of(curve, curves)) and reference.published for curve in curves):
        print("(there are no uniform runs of yours: the gap of your runs is to the published uniform networks)")
    timed = axis == "latency"
    if timed:
        print(f"(ms: latency of 100 images, {device})")
    width = max(6, *(len(curve.label) for curve in curves))
    milliseconds = f" {'ms':>8}" if timed else ""
    print(f"{'method':{width}} {'ratio':>6} {'parameters':>11} {'MMACs':>8}{milliseconds} {'mean':>7} {'std':>6} {'n':>3} {'gap':>7}")
    for curve in curves:
        reference = reference_of(curve, curves)
        gap = gaps(curve, reference, axis) if reference and reference is not curve else {}
        for at, point in curve.points.items():
            if ratio not in (None, at):
                continue
            std = f"{np.std(point.accuracy, ddof=1):6.2f}" if len(point.accuracy) > 1 else f"{'-':>6}"
            difference = f"{round(gap[at].mean, 2) + 0:+7.2f}" if at in gap else f"{'-':>7}"
            time = f" {point.latency:8.1f}" if timed else ""
            print(f"{curve.label:{width}} {at:6g} {point.params:11,} {point.macs / 1e6:8.1f}{time} {point.mean:7.2f} {std} "
                  f"{len(point.accuracy):3} {difference}")


def draw(curves: list[Curve], axis: str, title: str, path: Path, device: str = "") -> None:
    """Accuracy above, the gap to uniform at equal ``axis`` below, both against it: parameters, MACs or latency (on ``device``)."""
    from utils.figures import style  # matplotlib, which a table alone does without
    references = [reference_of(curve, curves) for curve in curves]
    has_gap = any(reference not in (None, curve) for curve, reference in zip(curves, references))
    fig, axes = style.figure(2 if has_gap else 1, 1, width=7.2, height=7.0 if has_gap else 4.6, sharex=True, squeeze=False,
                             height_ratios=[3, 2] if has_gap else None)
    top, bottom = axes[0, 0], axes[-1, 0]
    for index, (curve, reference) in enumerate(zip(curves, references)):
        accuracy = [(point.mean, min(point.accuracy), max(point.accuracy)) for point in curve.points.values()]
        style.band(top, [getattr(point, axis) for point in curve.points.values()], accuracy, index, curve.label)
        if has_gap and reference:
            gap = gaps(curve, reference, axis)
            style.band(bottom, [getattr(curve.points[ratio], axis) for ratio in gap], list(gap.values()), index, f"gap of {curve.label}")
    top.set(title=title, ylabel="best test accuracy (%)")
    if has_gap:
        bottom.set_ylabel(f"gap to uniform at\nequal {AXES[axis]}\n(percentage points)")
    bottom.set_xlabel({"params": "parameters (millions)", "macs": "multiply-accumulates per image (millions)",
                       "latency": f"latency of 100 images (ms, {device})"}[axis])
    if axis == "latency":
        style.plain_log(bottom, "x")
    elif axis == "macs":
        style.plain_log(bottom, "x", 1e6)
    else:
        style.millions(bottom)
    fig.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=2)  # below: the labels are too long to stand beside
    style.save(fig, path)
