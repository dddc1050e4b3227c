"""The tables of a study, in Markdown: README and docs/study.md show what is printed."""

import math
from collections.abc import Iterable, Iterator
from statistics import fmean

from utils.settings import SearchSettings
from utils.study.cost import search_macs
from utils.study.missing import seconds_of
from utils.study.outcomes import Findings, Row, with_all_ratios
from utils.study.parts import FIRST, UNIFORM, Table
from utils.study.statistics import LEVEL, Difference, holm

HEAD = (
    "network",
    "ratio",
    "parameters",
    "MMACs",
    "accuracy",
    "n",
    "by search",
    "equal parameters",
    "equal MACs",
)
RULE = (
    "Accuracy: % of the test images after the last epoch, its mean and standard error over n seeds "
    "of the training. By search: the mean of each search. Equal parameters, equal MACs: percentage "
    "points above uniform networks of that size, whose accuracy is interpolated as in "
    "plot_ratio.py; of all ratios, their mean. ±: a 95 % interval, the wider of two: one is by the "
    "spread of the differences of these seeds, the other by the spread of trainings pooled over "
    "the part. Bold: clear of zero after Holm's correction for the number of differences in the "
    "part's table of all methods, or, where that does not have it, of the others in its own table. "
    "Held out: accuracy on the training images held out. Search, TMACs: what the forward passes of "
    "the search up to that iteration took, in 10^12 multiply-accumulates. -: no result yet, no "
    "uniform network as small or as large, or none that was trained for as many epochs."
)
AXES = ("params", "macs")
Cell = str | Difference | None


def markdown(lines: list[tuple[str, ...]]) -> str:
    """Return a table: the head, then the rows; all columns but the first are right-aligned."""
    width = [max(3, *(len(line[column]) for line in lines)) for column in range(len(lines[0]))]
    aligned = [
        [
            cell.ljust(size) if not column else cell.rjust(size)
            for column, (cell, size) in enumerate(zip(line, width))
        ]
        for line in lines
    ]
    rule = ["-" * width[0], *("-" * (size - 1) + ":" for size in width[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in [aligned[0], rule, *aligned[1:]])


def signed(difference: Difference | None, clear: bool = False) -> str:
    """Return a difference and its interval, +1.23 ± 0.45; bold if it is ``clear`` of zero."""
    if difference is None:
        return "-"
    if math.isnan(difference.half):
        return f"{difference.mean:+.2f}"
    text = f"{difference.mean:+.2f} ± {difference.half:.2f}"
    return f"**{text}**" if clear else text


def family(differences: Iterable[Difference]) -> dict[Difference, float]:
    """Return the p-value of each difference that has one, corrected for their number.

    Equal differences count once.
    """
    found = list(dict.fromkeys(one for one in differences if not math.isnan(one.p)))
    return dict(zip(found, holm([one.p for one in found])))


def main_family(findings: Findings) -> dict[Difference, float]:
    """Return the differences of the table of all methods."""
    rows = [row for row in with_all_ratios(findings.rows("main")) if row.group != UNIFORM]
    return family(gap for row in rows for axis in AXES if (gap := findings.against(row, axis)))


def written(findings: Findings, lines: list[tuple[Cell, ...]]) -> list[tuple[str, ...]]:
    """Return the lines of a table as text, with differences in bold that are clear of zero after
    Holm's correction.

    The correction is that of the table of all methods, so that a difference is bold in every table
    or in none. Differences that are not in it are corrected for those of their own table.
    """
    main = main_family(findings)
    corrected = main | family(
        cell for line in lines for cell in line if isinstance(cell, Difference) and cell not in main
    )
    return [
        tuple(
            cell
            if isinstance(cell, str)
            else signed(cell, cell is not None and corrected.get(cell, 1.0) < 1 - LEVEL)
            for cell in line
        )
        for line in lines
    ]


def cells(findings: Findings, row: Row) -> tuple[Cell, ...]:
    """Return the cells of a row that every table has."""
    accuracy = row.accuracy()
    gaps = ("-" if row.group == UNIFORM else findings.against(row, axis) for axis in AXES)

    if row.ratio is None:
        return (row.label, "all", *["-"] * 3, str(accuracy.n), "-", *gaps)

    error = "" if math.isnan(accuracy.error) else f" ± {accuracy.error:.2f}"
    searches = ", ".join(f"{row.of_search(seed).mean('test'):.2f}" for seed in row.searches) or "-"
    return (
        row.label,
        f"{row.ratio:g}",
        f"{row.mean('params') / 1e3:,.0f} k",
        f"{row.mean('macs') / 1e6:.2f}",
        f"{accuracy.mean:.2f}{error}",
        str(accuracy.n),
        searches,
        *gaps,
    )


def choosing(findings: Findings, table: Table, row: Row, rows: list[Row]) -> tuple[Cell, ...]:
    """Return the cells of a table with a baseline: the difference to it, in test and on images held
    out."""
    if table.baseline is None:
        return ()
    group, iterations = (
        (row.group, [1]) if table.baseline == FIRST else (table.baseline, [row.iteration, None])
    )

    base = next(
        (
            other
            for other in rows
            if other.group == group and other.ratio == row.ratio and other.iteration in iterations
        ),
        None,
    )

    if base is None or base is row or row.group == UNIFORM:
        return "-", "-"
    return findings.above(row, base), findings.above(row, base, "held_out")


def searching(findings: Findings, table: Table, row: Row) -> tuple[str, ...]:
    """Return the cell of a table with costs: those of a search up to a row's iteration, the mean
    over its searches."""
    if not table.costs:
        return ()
    searches = sorted({outcome.search for outcome in row.outcomes if outcome.search})
    macs = [
        search_macs(findings.places, search, findings.part.model, row.iteration or 1)
        for search in searches
    ]
    return (f"{fmean(macs) / 1e12:.2f}" if macs else "-",)


def table_of(findings: Findings, table: Table) -> str:
    """Return a table of a part; "" if there is nothing to compare yet."""
    rows = with_all_ratios(findings.rows(table.of, table.ratios))
    if not any(row.group not in (UNIFORM, table.baseline) for row in rows):
        return ""

    more: tuple[str, ...] = (
        (f"above {table.baseline}", "the same, held out") if table.baseline else ()
    )
    more += ("search, TMACs",) if table.costs else ()

    lines = [
        (
            *cells(findings, row),
            *choosing(findings, table, row, rows),
            *searching(findings, table, row),
        )
        for row in rows
    ]
    return markdown([(*HEAD, *more), *written(findings, lines)])


def filters_of(findings: Findings) -> str:
    """Return a table with the filters of each layer at the middle ratio, for each search or pruned
    base network; "" if all are uniform."""
    rows = findings.rows(None, (findings.part.middle,))
    if all(row.group == UNIFORM for row in rows):
        return ""
    lines = [
        (
            row.label,
            "-" if outcome.search_seed is None else str(outcome.search_seed),
            " ".join(map(str, outcome.filters)),
        )
        for row in rows
        for outcome in row.outcomes
    ]
    return markdown([("network", "search", "filters"), *dict.fromkeys(lines)])


def costs_sentence(findings: Findings) -> str:
    """Return a sentence on how many searches and trainings are stored, and the time they took."""
    searches = sum(isinstance(job.settings, SearchSettings) for job in findings.finished)
    hours = sum(map(seconds_of, findings.finished)) / 3600
    return (
        f"{searches} search{'es' * (searches != 1)} and {len(findings.finished) - searches} "
        f"trainings of {len(findings.jobs)} planned, {hours:.1f} hours of one CPU core."
    )


def spread_sentences(findings: Findings) -> str:
    """Return sentences on the spread of trainings of one network, and on the number of differences
    that are corrected for."""
    spread = findings.spread("test")
    return (
        ""
        if spread is None
        else (
            f" Trainings that differ in their seed alone spread by {spread.deviation:.2f} points "
            f"(standard deviation, pooled, {spread.freedom} degrees of freedom). The table of all "
            f"methods has {len(main_family(findings))} differences."
        )
    )


def paragraphs(findings: Findings) -> Iterator[str]:
    """Yield all paragraphs of a part."""
    yield f"## {findings.part.title}"
    yield f"{findings.part.settings}. {costs_sentence(findings)}{spread_sentences(findings)}"
    tables = [(table.title, table_of(findings, table)) for table in findings.part.tables]
    for title, text in [
        *tables,
        (f"Filters of each layer at ratio {findings.part.middle:g}", filters_of(findings)),
    ]:
        if text:
            yield f"### {title}"
            yield text
