"""The tables of a study, in Markdown: what is printed is what README and docs/study.md show."""
import math
from collections.abc import Iterator
from statistics import fmean

from utils.settings import SearchSettings
from utils.study.cost import search_macs
from utils.study.outcomes import Findings, Row, with_all_ratios
from utils.study.plan import FIRST, UNIFORM, Table
from utils.study.run import seconds_of
from utils.study.statistics import Difference

HEAD = ("network", "ratio", "parameters", "MMACs", "accuracy", "n", "by search", "equal parameters", "equal MACs")
RULE = ("Accuracy: % of the test images after the last epoch; mean and standard error over n seeds of the training, of each the mean "
        "over the searches. By search: the mean of each. Equal parameters, equal MACs: percentage points above uniform networks of the "
        "same seed, interpolated as in plot_ratio.py, and of all ratios their mean; above another row: paired with it, by ratio and the "
        "seeds of search and training. With the 95 % interval of the mean of these pairs, for these searches; bold where it leaves out "
        "zero, which chance alone does in one of twenty. Held out: the same on the images held out. Search: the multiply-accumulates of "
        "its forward passes up to that iteration. -: outside the range of the uniform networks, or not there yet.")


def markdown(lines: list[tuple[str, ...]]) -> str:
    """A table: the head, then the rows; all columns but the first to the right."""
    width = [max(3, *(len(line[column]) for line in lines)) for column in range(len(lines[0]))]
    aligned = [[cell.ljust(size) if not column else cell.rjust(size) for column, (cell, size) in enumerate(zip(line, width))]
               for line in lines]
    rule = ["-" * width[0], *("-" * (size - 1) + ":" for size in width[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in [aligned[0], rule, *aligned[1:]])


def signed(difference: Difference | None) -> str:
    """A difference and its interval, +1.23 ± 0.45; bold where that leaves out zero."""
    if difference is None:
        return "-"
    if math.isnan(difference.half):
        return f"{difference.mean:+.2f}"
    text = f"{difference.mean:+.2f} ± {difference.half:.2f}"
    return f"**{text}**" if difference.clear else text


def cells(findings: Findings, row: Row) -> tuple[str, ...]:
    """What every table says of a row."""
    accuracy = row.accuracy()
    gaps = ("-" if row.group == UNIFORM else signed(row.against(findings.uniform, axis)) for axis in ("params", "macs"))
    if row.ratio is None:
        return (row.label, "all", *["-"] * 3, str(accuracy.n), "-", *gaps)
    error = "" if math.isnan(accuracy.error) else f" ± {accuracy.error:.2f}"
    searches = ", ".join(f"{row.of_search(seed).mean('test'):.2f}" for seed in row.searches) or "-"
    return (row.label, f"{row.ratio:g}", f"{row.mean('params') / 1e3:,.0f} k", f"{row.mean('macs') / 1e6:.2f}",
            f"{accuracy.mean:.2f}{error}", str(accuracy.n), searches, *gaps)


def choosing(table: Table, row: Row, rows: list[Row]) -> tuple[str, ...]:
    """Of a table with a baseline: the difference to it, in test and on the images held out."""
    if table.baseline is None:
        return ()
    group, iterations = (row.group, [1]) if table.baseline == FIRST else (table.baseline, [row.iteration, None])
    base = next((other for other in rows if other.group == group and other.ratio == row.ratio and other.iteration in iterations), None)
    if base is None or base is row or row.group == UNIFORM:
        return "-", "-"
    return signed(row.above(base)), signed(row.above(base, "held_out"))


def searching(findings: Findings, table: Table, row: Row) -> tuple[str, ...]:
    """Of a table that says so: what the search of a row's networks took up to their iteration, the mean of the searches."""
    if not table.costs:
        return ()
    searches = sorted({outcome.search for outcome in row.outcomes if outcome.search})
    macs = [search_macs(findings.places, search, findings.part.model, row.iteration or 1) for search in searches]
    return (f"{fmean(macs) / 1e12:.2f}" if macs else "-",)


def table_of(findings: Findings, table: Table) -> str:
    """One table of a part; empty where nothing has come out yet that it compares."""
    rows = with_all_ratios(findings.rows(table.of, table.ratios))
    if not any(row.group not in (UNIFORM, table.baseline) for row in rows):
        return ""
    more: tuple[str, ...] = (f"above {table.baseline}", "the same, held out") if table.baseline else ()
    more += ("search, TMACs",) if table.costs else ()
    return markdown([(*HEAD, *more), *((*cells(findings, row), *choosing(table, row, rows), *searching(findings, table, row))
                                       for row in rows)])


def filters_of(findings: Findings) -> str:
    """The filters of each layer at the middle ratio, of each search, or base network that was pruned; empty where all are uniform."""
    rows = findings.rows(None, (findings.part.middle,))
    if all(row.group == UNIFORM for row in rows):
        return ""
    lines = [(row.label, "-" if outcome.search_seed is None else str(outcome.search_seed), " ".join(map(str, outcome.filters)))
             for row in rows for outcome in row.outcomes]
    return markdown([("network", "search", "filters"), *dict.fromkeys(lines)])


def cost_of(findings: Findings) -> str:
    """How many searches and trainings are stored, and the time they took."""
    searches = sum(isinstance(job.settings, SearchSettings) for job in findings.finished)
    hours = sum(map(seconds_of, findings.finished)) / 3600
    return (f"{searches} search{'es' * (searches != 1)} and {len(findings.finished) - searches} trainings of {len(findings.jobs)} planned, "
            f"{hours:.1f} hours of one CPU core.")


def told(findings: Findings) -> Iterator[str]:
    """All of a part, paragraph by paragraph."""
    yield f"## {findings.part.title}"
    yield f"{findings.part.settings}. {cost_of(findings)}"
    tables = [(table.title, table_of(findings, table)) for table in findings.part.tables]
    for title, text in [*tables, (f"Filters of each layer at ratio {findings.part.middle:g}", filters_of(findings))]:
        if text:
            yield f"### {title}"
            yield text
