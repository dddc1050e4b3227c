"""The figures of a study: accuracy over parameters and over MACs, and over the iterations of the descent."""
from pathlib import Path

from utils.study.outcomes import Findings, Row
from utils.study.plan import UNIFORM

AXES = {"params": ("parameters (thousands)", "equal parameters", 1e3),
        "macs": ("multiply-accumulates per image (millions)", "equal MACs", 1e6)}


def draw_accuracy(findings: Findings, axis: str, path: Path) -> None:
    """All methods at all ratios: accuracy above, with its standard error as a band and the mean of each search as a small mark;
    below, the paired difference to uniform networks of equal ``axis`` with its 95 % interval."""
    from utils.figures import style
    rows = findings.rows("main")
    what, equal, unit = AXES[axis]
    fig, (top, bottom) = style.figure(2, 1, width=7.6, height=7.6, sharex=True, height_ratios=[3, 2])
    bottom.axhline(0, color="black", linewidth=1)
    for index, label in enumerate(dict.fromkeys(row.label for row in rows)):
        own = [row for row in rows if row.label == label]
        colour, marker = style.look(index)
        accuracy = [row.accuracy() for row in own]
        style.band(top, [row.mean(axis) for row in own], [(a.mean, a.mean - a.error, a.mean + a.error) for a in accuracy], index, label)
        marks = [(row.mean(axis), row.of_search(seed).mean("test")) for row in own for seed in row.searches]
        if marks:
            top.plot(*zip(*marks), linestyle="", marker=".", markersize=4, color=colour)
        gaps = [(row.mean(axis), gap) for row in own if row.group != UNIFORM and (gap := row.against(findings.uniform, axis))]
        bottom.errorbar([x for x, _ in gaps], [gap.mean for _, gap in gaps], [gap.half for _, gap in gaps], color=colour, marker=marker,
                        linestyle=style.DASHES[index % len(style.DASHES)], capsize=3)
    top.set(title=findings.part.title, ylabel="test accuracy, last epoch (%)")
    bottom.set_ylabel(f"difference to uniform at\n{equal}, 95 % interval\n(percentage points)")
    bottom.set_xlabel(what)
    style.plain_log(bottom, "x", unit)
    fig.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    style.save(fig, path)


def draw_descent(findings: Findings, path: Path) -> None:
    """The paired difference to uniform networks over the iterations: of searches by parameters at equal parameters, of those by
    MACs at equal MACs."""
    from matplotlib.ticker import MaxNLocator

    from utils.figures import style
    rows = findings.rows("descent", (findings.part.middle,))
    fig, axes = style.figure(width=7.2, height=4.8)
    axes.axhline(0, color="black", linewidth=1)
    shown, groups = [], list(dict.fromkeys(row.group for row in rows if row.iteration))
    for index, group in enumerate(groups, 1):
        axis = next(entry.axis for entry in findings.part.entries if entry.label == group)
        colour, marker = style.look(index)

        def gaps(own: list[Row], axis: str = axis) -> list[list[float]]:
            found = [(float(row.iteration or 0), *gap[:2]) for row in own if row.outcomes and (gap := row.against(findings.uniform, axis))]
            return [list(values) for values in zip(*found)] or [[], [], []]

        own = [row for row in rows if row.group == group]
        x, means, halves = gaps(own)
        shown.append(axes.errorbar(x, means, halves, color=colour, marker=marker, capsize=3, label=f"{group}, at {AXES[axis][1]}"))
        for seed, dash in zip(own[-1].searches, style.DASHES[:0:-1]):
            x, means, _ = gaps([row.of_search(seed) for row in own])
            shown += axes.plot(x, means, color=colour, linestyle=dash, linewidth=1, label=f"search {seed} alone")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title=f"{findings.part.title}, ratio {findings.part.middle:g}", xlabel="descent iteration",
             ylabel="difference to uniform, 95 % interval\n(percentage points)")
    fig.legend(handles=shown, loc="outside lower center", ncols=len(groups) or 1)  # a column of each
    style.save(fig, path)
