"""The tables of a study, in Markdown: what is printed is what README and docs/study.md show."""
import math
from collections.abc import Iterator

from utils.experiment.jobs import Job
from utils.settings import SearchSettings
from utils.study.outcomes import Findings, Row
from utils.study.plan import Table
from utils.study.run import seconds_of
from utils.study.statistics import Difference

HEAD = ("network", "ratio", "parameters", "MMACs", "accuracy", "n", "by search", "equal parameters", "equal MACs")
HELD = {"params": "held out, equal parameters", "macs": "held out, equal MACs"}
RULE = ("Accuracy: % of the test images after the last epoch; mean and standard error over the seeds of the training, of each the mean "
        "over the searches. By search: the mean of each. Equal parameters, equal MACs: percentage points above uniform networks of the "
        "same seed, interpolated as in plot_ratio.py, with the 95 % interval of the mean of these pairs; bold where it leaves out zero; "
        "-: outside the range of the uniform networks.")


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


def cells(findings: Findings, row: Row, held: str | None) -> tuple[str, ...]:
    """One line of a table."""
    accuracy, uniform = row.accuracy(), row.label == "uniform"
    gaps = ["-" if uniform else signed(row.against(findings.uniform, axis)) for axis in ("params", "macs")]
    if held:
        gaps.append("-" if uniform else signed(row.against(findings.uniform, held, "held_out")))
    error = "" if math.isnan(accuracy.error) else f" ± {accuracy.error:.2f}"
    searches = ", ".join(f"{mean:.2f}" for mean in row.by_search().values()) or "-"
    return (row.label, f"{row.ratio:g}", f"{row.mean('params') / 1e3:,.0f} k", f"{row.mean('macs') / 1e6:.2f}",
            f"{accuracy.mean:.2f}{error}", str(accuracy.n), searches, *gaps)


def table_of(findings: Findings, table: Table) -> str:
    """One table of a part; empty where nothing has come out for it."""
    rows = findings.rows(table)
    if not any(row.label != "uniform" for row in rows):
        return ""
    held = (HELD[table.held],) if table.held else ()
    return markdown([(*HEAD, *held), *(cells(findings, row, table.held) for row in rows)])


def cost_of(jobs: list[Job]) -> str:
    """How many searches and trainings are stored, and the time they took."""
    done = [job for job in jobs if job.result.exists()]
    searches = sum(isinstance(job.settings, SearchSettings) for job in done)
    hours = sum(map(seconds_of, done)) / 3600
    return f"{searches} searches and {len(done) - searches} trainings of {len(jobs)} planned, {hours:.1f} hours of one CPU core."


def told(findings: Findings, jobs: list[Job]) -> Iterator[str]:
    """All of a part, paragraph by paragraph."""
    yield f"## {findings.part.title}"
    yield f"{findings.part.settings[0].upper()}{findings.part.settings[1:]}. {cost_of(jobs)}"
    for table in findings.part.tables:
        if text := table_of(findings, table):
            yield f"### {table.title}"
            yield text
