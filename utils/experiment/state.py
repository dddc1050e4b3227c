"""How far the jobs of an experiment are: told by their results, locks and logs, and by a
scheduler's queue."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from utils.experiment.finished import best_of, search_finished
from utils.experiment.jobs import Job
from utils.experiment.work import STOPPED, Told, told
from utils.records.locks import is_locked
from utils.settings import SearchSettings

KINDS = ("finished", "running", "queued", "waiting", "failed")
LOST = "it ended without a word, as one that is killed does"


@dataclass
class Queued:
    """A job in a scheduler's queue."""

    id: str
    runs: bool
    reason: str  # why it does not, as the scheduler says it


Queue = Mapping[str, Queued]  # by the jobs' keys


@dataclass
class State:
    """How far a job is."""

    job: Job
    kind: str
    note: str = ""
    # in %: of a finished training the best, of another that of its last epoch
    accuracy: float | None = None


def states_of(jobs: list[Job], queue: Queue) -> list[State]:
    """The state of each of ``jobs``. Raises UserError where other work stands in a job's place."""
    found: dict[str, State] = {}
    for job in jobs:
        needed = found.get(job.needs.key) if job.needs else None
        found[job.key] = state_of(job, queue.get(job.key), needed)
    return list(found.values())


def state_of(job: Job, queued: Queued | None = None, needed: State | None = None) -> State:
    """The state of one job; ``needed`` is that of the job it needs."""
    if isinstance(job.settings, SearchSettings):
        if search_finished(job, job.settings):
            return State(job, "finished")
    elif (best := best_of(job, job.settings)) is not None:
        return State(job, "finished", "", best)
    log = told(job.log)
    note, accuracy = progress(job, log) if log else "", log.accuracy if log else None
    if is_locked(job.result) or (queued and queued.runs):
        return State(
            job,
            "running",
            (note or "starting") + (f", Slurm job {queued.id}" if queued else ""),
            accuracy,
        )
    if queued:
        return State(
            job,
            "queued",
            f"{note}{', ' * bool(note)}Slurm job {queued.id} ({queued.reason})",
            accuracy,
        )
    if needed and needed.kind == "failed":
        return State(job, "waiting", f"needs {needed.job.name}, which failed", accuracy)
    if log is None or log.status in STOPPED or log.status == 0:
        return State(job, "waiting", f"stopped after {note}" if note else "", accuracy)
    if log.fresh:
        return State(job, "running", note or "starting", accuracy)
    reason = (
        LOST
        if log.status is None
        else f"killed by {signal_name(-log.status)}"
        if log.status < 0
        else log.reason
    )
    return State(job, "failed", reason, accuracy)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # Python has no names for those of real-time systems
        return f"signal {number}"


def progress(job: Job, log: Told) -> str:
    """How far it is, as its log says it."""
    if log.epoch is None:
        return ""
    if isinstance(job.settings, SearchSettings):
        return f"iteration {log.iteration + 1} of {job.settings.iterations}, epoch {log.epoch}"
    return f"epoch {log.epoch} of {job.settings.epochs}"


def table(states: list[State]) -> str:
    """A line for each job, and how many are how far."""
    width = max(len(state.job.name) for state in states)
    lines = [f"{'job':{width}} {'state':8} {'acc. %':>7}"]
    for state in states:
        accuracy = f"{state.accuracy:7.2f}" if state.accuracy is not None else f"{'-':>7}"
        note = f"{state.note}: {state.job.log}" if state.kind == "failed" else state.note
        lines.append(f"{state.job.name:{width}} {state.kind:8} {accuracy} {note}".rstrip())
    return "\n".join([*lines, summary(states)])


def end_unfinished(states: list[State], first: State) -> NoReturn:
    """Exit status 1, and a line that says how far the jobs are, and why the ``first`` of those that
    are left is."""
    print(
        f"{Path(sys.argv[0]).name}: {summary(states)}; {first.job.name}: {first.note} "
        f"({first.job.log}). The same command goes on",
        file=sys.stderr,
    )
    raise SystemExit(1)


def summary(states: list[State]) -> str:
    counts = {kind: sum(state.kind == kind for state in states) for kind in KINDS}
    return f"{len(states)} jobs: " + ", ".join(
        f"{number} {kind}" for kind, number in counts.items() if number
    )
