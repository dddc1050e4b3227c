"""Comparison of curves: a table and a picture of accuracy against parameters, MACs or latency."""

from pathlib import Path

import numpy as np

from utils.figures.curves import Curve, Subject
from utils.figures.drawing import draw
from utils.figures.gaps import AXES, RULE, gaps, reference_of
from utils.figures.gather import gather, measure_latency
from utils.figures.labels import kind_of
from utils.figures.words import in_words
from utils.settings import Comparison, Limit, Target
from utils.settings.target import is_size, size_shown


def compare_methods(subject: Subject, asked: Comparison, out: Path | None = None) -> None:
    """Print the paper's comparison as a table, and draw it as the PNG ``out``.

    It has the published results of every method, and the user's runs.
    """
    known = subject.known("uniform", "morphnet", "magnitude", "neuralscale_1", "neuralscale_15")
    curves = gather(subject, known, runs=list(asked.runs or ()), published=asked.published)
    out = out or subject.folder / f"{subject.dataset}_accuracy_{asked.axis}.png"
    show(curves, subject, asked, subject.title, out)


def show(curves: list[Curve], subject: Subject, asked: Comparison, title: str, path: Path) -> None:
    """Print the table of the curves, and draw them as the PNG ``path``."""
    device = measure_latency(curves, subject, asked.device) if asked.axis == "latency" else ""
    print_table(curves, subject, asked.axis, device=device)
    for sentence in in_words(curves, [reference_of(one, curves) for one in curves], asked.axis):
        print(sentence)
    draw(curves, asked.axis, title, path, device)


def print_table(
    curves: list[Curve],
    subject: Subject,
    axis: str = "params",
    *,
    size: float | Target | None = None,
    device: str = "",
) -> None:
    """Print every point's parameters, MACs, latency, mean, std, n and gap to uniform.

    The gap is that at equal ``axis``; the latency was measured on ``device``. With ``size``, a
    ratio or a target in either unit, only the points of that size are printed.
    """
    references = [reference_of(curve, curves) for curve in curves]
    print(
        f"{subject.model} on {subject.dataset}: best test accuracy in %; gap: to uniform's mean "
        f"at equal {AXES[axis]} ({RULE})"
    )
    print_notes(curves, references)
    timed = axis == "latency"
    if timed:
        print(f"(ms: latency of 100 images, {device})")

    # a line for each point
    width = max(6, *(len(curve.label) for curve in curves))
    milliseconds = f" {'ms':>8}" if timed else ""
    targets = any(isinstance(at, Limit) for curve in curves for at in curve.points)
    wide = max(6, *(len(size_shown(at)) for curve in curves for at in curve.points))
    print(
        f"{'method':{width}} {'size' if targets else 'ratio':>{wide}} {'parameters':>11} "
        f"{'MMACs':>8}{milliseconds} {'mean':>7} {'std':>6} {'n':>3} {'gap':>7}"
    )
    for curve, reference in zip(curves, references):
        gap = gaps(curve, reference, axis) if reference and reference is not curve else {}
        for at, point in curve.points.items():
            if not is_size(at, size):
                continue
            std = (
                f"{np.std(point.accuracy, ddof=1):6.2f}" if len(point.accuracy) > 1 else f"{'-':>6}"
            )
            difference = f"{round(gap[at].mean, 2) + 0:+7.2f}" if at in gap else f"{'-':>7}"
            time = f" {point.latency:8.1f}" if timed else ""
            print(
                f"{curve.label:{width}} {size_shown(at):>{wide}} {point.params:11,} "
                f"{point.macs / 1e6:8.1f}{time} {point.mean:7.2f} {std} "
                f"{len(point.accuracy):3} {difference}"
            )


def print_notes(curves: list[Curve], references: list[Curve | None]) -> None:
    """Print what has to be known about the gaps of curves to their ``references``."""
    if any(curve.published for curve in curves):
        print(
            "(published: mean of per-batch accuracies; an exact count, as in runs of this "
            "project, reads up to 0.3 lower)"
        )
    if any(
        not curve.published and reference and reference.published
        for curve, reference in zip(curves, references)
    ):
        print(
            "(there are no uniform runs of yours: the gap of your runs is to the published "
            "uniform networks)"
        )

    if unlike := [
        curve.label
        for curve, reference in zip(curves, references)
        if reference and is_unlike(curve, reference)
    ]:
        print(
            "(no uniform runs of yours have their epochs and images, so their gap says little: "
            f"{'; '.join(unlike)})"
        )


def is_unlike(curve: Curve, reference: Curve) -> bool:
    """Return True if a user's run was trained for other epochs or on other images than the uniform
    runs.

    A magnitude baseline never counts as such: the epochs of a fine-tuning say nothing of its base
    network.
    """
    return (
        not reference.published
        and kind_of(curve.method) != "magnitude"
        and curve.trained != reference.trained
    )
