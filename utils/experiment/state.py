"""The state of the jobs of an experiment, from their results, locks and logs, and from a
scheduler's queue."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from utils.experiment.finished import best_of, search_finished
from utils.experiment.jobs import Job
from utils.experiment.work import STOPPED, LogTail, read_log_tail
from utils.records.locks import is_locked
from utils.settings import SearchSettings

KINDS = ("finished", "running", "queued", "waiting", "failed")
LOST = "it ended without a word, as one that is killed does"


@dataclass
class Queued:
    """A job in a scheduler's queue."""

    id: str
    runs: bool
    reason: str  # the scheduler's reason why it does not run


Queue = Mapping[str, Queued]  # by the jobs' keys


@dataclass
class JobState:
    """The state of a job."""

    job: Job
    kind: str
    note: str = ""
    # in %: the best of a finished training, that of the last epoch of an unfinished one
    accuracy: float | None = None


def states_of(jobs: list[Job], queue: Queue) -> list[JobState]:
    """Return the state of each of ``jobs``. Raises UserError if other work is in a job's place."""
    found: dict[str, JobState] = {}
    for job in jobs:
        needed = found.get(job.needs.key) if job.needs else None
        found[job.key] = state_of(job, queue.get(job.key), needed)
    return list(found.values())


def state_of(job: Job, queued: Queued | None = None, needed: JobState | None = None) -> JobState:
    """Return the state of one job; ``needed`` is that of the job it needs."""
    if isinstance(job.settings, SearchSettings):
        if search_finished(job, job.settings):
            return JobState(job, "finished")
    elif (best := best_of(job, job.settings)) is not None:
        return JobState(job, "finished", "", best)

    log = read_log_tail(job.log)
    note, accuracy = progress(job, log) if log else "", log.accuracy if log else None

    # running or queued, here or on Slurm
    if is_locked(job.result) or (queued and queued.runs):
        return JobState(
            job,
            "running",
            (note or "starting") + (f", Slurm job {queued.id}" if queued else ""),
            accuracy,
        )
    if queued:
        return JobState(
            job,
            "queued",
            f"{note}{', ' * bool(note)}Slurm job {queued.id} ({queued.reason})",
            accuracy,
        )

    # not begun, stopped, or just begun
    if needed and needed.kind == "failed":
        return JobState(job, "waiting", f"needs {needed.job.name}, which failed", accuracy)
    if log is None or log.status in STOPPED or log.status == 0:
        return JobState(job, "waiting", f"stopped after {note}" if note else "", accuracy)
    if log.fresh:
        return JobState(job, "running", note or "starting", accuracy)

    reason = (
        LOST
        if log.status is None
        else f"killed by {signal_name(-log.status)}"
        if log.status < 0
        else log.reason
    )
    return JobState(job, "failed", reason, accuracy)


def signal_name(number: int) -> str:
    """Return the name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:  # Python has no names for those of real-time systems
        return f"signal {number}"


def progress(job: Job, log: LogTail) -> str:
    """Return how far a job is, from its log."""
    if log.epoch is None:
        return ""
    if isinstance(job.settings, SearchSettings):
        return f"iteration {log.iteration + 1} of {job.settings.iterations}, epoch {log.epoch}"
    return f"epoch {log.epoch} of {job.settings.epochs}"


def table(states: list[JobState]) -> str:
    """Return a table with a line for each job, and a summary."""
    width = max(len(state.job.name) for state in states)
    lines = [f"{'job':{width}} {'state':8} {'acc. %':>7}"]
    for state in states:
        accuracy = f"{state.accuracy:7.2f}" if state.accuracy is not None else f"{'-':>7}"
        note = f"{state.note}: {state.job.log}" if state.kind == "failed" else state.note
        lines.append(f"{state.job.name:{width}} {state.kind:8} {accuracy} {note}".rstrip())
    return "\n".join([*lines, summary(states)])


def end_unfinished(states: list[JobState], first: JobState) -> NoReturn:
    """Exit with status 1 and a line with a summary, and with the reason why the ``first`` is
    unfinished."""
    print(
        f"{Path(sys.argv[0]).name}: {summary(states)}; {first.job.name}: {first.note} "
        f"({first.job.log}). The same command goes on",
        file=sys.stderr,
    )
    raise SystemExit(1)


def summary(states: list[JobState]) -> str:
    """Return how many jobs there are in each state."""
    counts = {kind: sum(state.kind == kind for state in states) for kind in KINDS}
    return f"{len(states)} jobs: " + ", ".join(
        f"{number} {kind}" for kind, number in counts.items() if number
    )
