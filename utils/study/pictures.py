"""The figures of a study: accuracy over parameters and over MACs, and over the iterations of the descent."""
import re
from pathlib import Path

from utils.study.outcomes import Findings, Row
from utils.study.plan import Table

AXES = {"params": ("parameters", "equal parameters"), "macs": ("multiply-accumulates per image", "equal MACs")}


def draw_accuracy(findings: Findings, table: Table, axis: str, path: Path) -> None:
    """Accuracy above, with its standard error as a band and the mean of each search as a small mark; below, the paired difference
    to uniform networks of equal ``axis`` with its 95 % interval."""
    from utils.figures import style
    rows = findings.rows(table)
    fig, (top, bottom) = style.figure(2, 1, width=7.6, height=7.6, sharex=True, height_ratios=[3, 2])
    bottom.axhline(0, color="black", linewidth=1)
    for index, label in enumerate(dict.fromkeys(row.label for row in rows)):
        own = [row for row in rows if row.label == label]
        colour, _ = style.look(index)
        accuracy = [row.accuracy() for row in own]
        style.band(top, [row.mean(axis) for row in own], [(a.mean, a.mean - a.error, a.mean + a.error) for a in accuracy], index, label)
        marks = [(row.mean(axis), mean) for row in own for mean in row.by_search().values()]
        if marks:
            top.plot(*zip(*marks), linestyle="", marker=".", markersize=4, color=colour)
        gaps = [(row.mean(axis), gap) for row in own if label != "uniform" and (gap := row.against(findings.uniform, axis))]
        if gaps:
            bottom.errorbar([x for x, _ in gaps], [gap.mean for _, gap in gaps], [gap.half for _, gap in gaps],
                            color=colour, marker=style.look(index)[1], linestyle=style.DASHES[index % len(style.DASHES)], capsize=3)
    top.set(title=findings.part.title, ylabel="test accuracy, last epoch (%)")
    bottom.set_ylabel(f"difference to uniform at\n{AXES[axis][1]}, 95 % interval\n(percentage points)")
    bottom.set_xlabel(f"{AXES[axis][0]} (thousands)" if axis == "params" else f"{AXES[axis][0]} (millions)")
    style.plain_log(bottom, "x", 1e3 if axis == "params" else 1e6)
    fig.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    style.save(fig, path)


def draw_descent(findings: Findings, table: Table, path: Path) -> None:
    """The paired difference to uniform networks over the iterations: of searches by parameters at equal parameters, of those by
    MACs at equal MACs."""
    from matplotlib.ticker import MaxNLocator

    from utils.figures import style
    groups: dict[str, list[tuple[int, Row]]] = {}
    for row in findings.rows(table):
        if match := re.fullmatch(r"(.*), iteration (\d+)", row.label):
            groups.setdefault(match[1], []).append((int(match[2]), row))
    fig, axes = style.figure(width=7.2, height=4.6)
    axes.axhline(0, color="black", linewidth=1)
    for index, (label, found) in enumerate(groups.items(), 1):
        axis = "macs" if "MACs" in label else "params"
        gaps = [(iteration, gap) for iteration, row in found if (gap := row.against(findings.uniform, axis))]
        colour, marker = style.look(index)
        axes.errorbar([x for x, _ in gaps], [gap.mean for _, gap in gaps], [gap.half for _, gap in gaps], color=colour, marker=marker,
                      capsize=3, label=f"{label}, at {AXES[axis][1]}")
        seeds = sorted({outcome.search_seed for _, row in found for outcome in row.outcomes if outcome.search_seed is not None})
        for seed, dash in zip(seeds, style.DASHES[:0:-1]):
            alone = [(iteration, Row(row.label, row.ratio, [o for o in row.outcomes if o.search_seed == seed])) for iteration, row in found]
            shown = [(x, gap.mean) for x, row in alone if row.outcomes and (gap := row.against(findings.uniform, axis))]
            axes.plot(*zip(*shown), color=colour, linestyle=dash, linewidth=1, label=f"{label}, search {seed} alone")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title=f"{findings.part.title}, ratio {table.ratios[0] if table.ratios else ''}", xlabel="descent iteration",
             ylabel="difference to uniform, 95 % interval\n(percentage points)")
    fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    style.save(fig, path)
