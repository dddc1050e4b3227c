"""The picture of the second study: a pruned network beside ones trained from scratch, at equal
multiply-accumulates, in three panels that differ in what else is equal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from utils.figures.looks import Look, look_of
from utils.study.arms import Trained
from utils.study.question import Arm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer


def draw_pruned(
    panels: dict[str, tuple[Arm, ...]], found: dict[Arm, Trained], base: Trained, path: Path
) -> None:
    """Draw the accuracy of the arms of each panel, with standard errors, at their MACs.

    ``panels`` has the arms by the panels' titles. Arms of one label are joined by a line. Those
    without a result are left out.
    """
    from utils.figures import style

    fig, axes = style.figure(1, len(panels), width=11.0, height=5.0, sharex=True, sharey=True)
    handles: dict[str, object] = {}
    for panel, (title, arms) in zip(axes, panels.items()):
        begun = [found[arm] for arm in arms if found[arm].begun]
        for label in dict.fromkeys(one.arm.label for one in begun):
            own = sorted(
                (one for one in begun if one.arm.label == label), key=lambda one: one.mean("macs")
            )
            handles[label] = draw_arm(panel, own, look_of_arm(own[0]), label)
        if base.begun:
            handles[base.arm.label] = panel.axhline(
                base.accuracy.mean, color="grey", linestyle=":", label=base.arm.label
            )
        panel.set_title(title, fontsize=10)

    axes[0].set_ylabel("test accuracy, last epoch (%)")
    sizes = [one.mean("macs") for arm, one in found.items() if one.begun and arm.budget == "macs"]
    for panel in axes:
        style.scale_x(panel, min(sizes), max(sizes), "multiply-accumulates")
        panel.set_xlim(0.8 * min(sizes), 1.2 * max(sizes))
    style.legend_below(fig, list(handles.values()), list(handles), longest=70)
    style.save(fig, path)


def draw_arm(axes: Axes, own: list[Trained], look: Look, label: str) -> ErrorbarContainer:
    """Draw the arms of one label, a point for each size, and return the handle of the legend."""
    accuracy = [one.accuracy for one in own]
    return axes.errorbar(
        [one.mean("macs") for one in own],
        [a.mean for a in accuracy],
        [0.0 if a.n == 1 else a.error for a in accuracy],
        color=look.colour,
        marker=look.marker,
        linestyle=look.dash,
        capsize=3,
        label=label,
    )


def look_of_arm(found: Trained) -> Look:
    """Return the look of an arm, that of its method in all pictures."""
    return look_of(found.results[0]["method"], found.arm.budget or "params")
