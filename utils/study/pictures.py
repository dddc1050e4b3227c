"""The figures of a study: accuracy against parameters and MACs, and over the iterations of the
descent."""

from itertools import groupby
from pathlib import Path

from utils.figures.curves import Curve
from utils.figures.drawing import AXIS_LABELS
from utils.figures.looks import Look, looks_of
from utils.study.outcomes import Findings, Row
from utils.study.parts import UNIFORM

AXES = {"params": "equal parameters", "macs": "equal MACs"}


def looks(rows: list[Row]) -> list[Look]:
    """Return the look of each row, as in plot_ratio.py's pictures."""
    return looks_of(
        [
            Curve(row.label, row.outcomes[0].method, False, budget=row.outcomes[0].budget)
            for row in rows
        ]
    )


def title(findings: Findings) -> str:
    """Return the title of a part's pictures: its networks, and the epochs of their training."""
    epochs = sorted({outcome.epochs for outcome in findings.uniform.outcomes})
    return f"{findings.part.title}, {' and '.join(map(str, epochs))} epochs"


def draw_accuracy(findings: Findings, axis: str, path: Path) -> None:
    """Draw all methods at all ratios.

    Above is the accuracy, with its standard error as a band and the mean of each search as a small
    mark; below is the difference to uniform networks of equal ``axis`` with its 95 % interval.
    """
    from utils.figures import style

    rows = findings.rows("main")
    fig, (top, bottom) = style.figure(
        2, 1, width=7.6, height=7.6, sharex=True, height_ratios=[3, 2]
    )
    bottom.axhline(0, color="black", linewidth=1)
    kinds = [list(own) for _, own in groupby(rows, key=lambda row: row.label)]

    for own, look in zip(kinds, looks([own[0] for own in kinds])):
        accuracy = [row.accuracy() for row in own]
        values = [(a.mean, a.mean - a.error, a.mean + a.error) for a in accuracy]
        style.band(top, [row.mean(axis) for row in own], values, look, own[0].label)

        # the mean of each search
        marks = [
            (row.mean(axis), row.of_search(seed).mean("test"))
            for row in own
            for seed in row.searches
        ]
        if marks:
            top.plot(*zip(*marks), linestyle="", marker=".", markersize=4, color=look.colour)

        # the difference to uniform
        gaps = [
            (row.mean(axis), gap)
            for row in own
            if row.group != UNIFORM and (gap := findings.against(row, axis))
        ]
        bottom.errorbar(
            [x for x, _ in gaps],
            [gap.mean for _, gap in gaps],
            [gap.half for _, gap in gaps],
            color=look.colour,
            marker=look.marker,
            linestyle=look.dash,
            capsize=3,
        )

    top.set(title=title(findings), ylabel="test accuracy, last epoch (%)")
    bottom.set_ylabel(f"difference to uniform at\n{AXES[axis]}, 95 % interval\n(percentage points)")
    sizes = [row.mean(axis) for row in rows]
    style.scale_x(bottom, min(sizes), max(sizes), AXIS_LABELS[axis])
    style.legend_below(fig, *top.get_legend_handles_labels())
    style.save(fig, path)


def draw_descent(findings: Findings, path: Path) -> None:
    """Draw the difference to uniform networks over the iterations: for searches by parameters at
    equal parameters, for searches by MACs at equal MACs."""
    from matplotlib.ticker import MaxNLocator

    from utils.figures import style

    rows = findings.rows("descent", (findings.part.middle,))
    fig, axes = style.figure(width=7.2, height=4.8)
    axes.axhline(0, color="black", linewidth=1)
    shown, groups = [], list(dict.fromkeys(row.group for row in rows if row.iteration))

    for group in groups:
        axis = next(entry.axis for entry in findings.part.entries if entry.label == group)
        own = [row for row in rows if row.group == group]
        [look] = looks(own[-1:])

        def gaps(own: list[Row], axis: str = axis) -> list[list[float]]:
            found = [
                (float(row.iteration or 0), *gap[:2])
                for row in own
                if row.outcomes and (gap := findings.against(row, axis))
            ]
            return [list(values) for values in zip(*found)] or [[], [], []]

        # all searches together, then each alone
        x, means, halves = gaps(own)
        shown.append(
            axes.errorbar(
                x,
                means,
                halves,
                color=look.colour,
                marker=look.marker,
                capsize=3,
                label=f"{group}, at {AXES[axis]}",
            )
        )
        for seed, dash in zip(own[-1].searches, (":", "-.", "--")):
            x, means, _ = gaps([row.of_search(seed) for row in own])
            shown += axes.plot(
                x,
                means,
                color=look.colour,
                linestyle=dash,
                linewidth=1,
                label=f"search {seed} alone",
            )

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(
        title=f"{title(findings)}, ratio {findings.part.middle:g}",
        xlabel="descent iteration",
        ylabel="difference to uniform, 95 % interval\n(percentage points)",
    )
    # a column for each group
    fig.legend(handles=shown, loc="outside lower center", ncols=len(groups) or 1)
    style.save(fig, path)
