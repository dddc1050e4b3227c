"""Runs the jobs of a study that have no result yet."""

import statistics

from utils.errors import UserError
from utils.experiment.fetch import fetch
from utils.experiment.jobs import Job
from utils.experiment.local import LocalRunner, cores
from utils.experiment.state import JobState, end_unfinished, states_of, summary
from utils.experiment.work import threads
from utils.records.files import read_json
from utils.settings import Cluster, Places, SearchSettings, Size
from utils.study.parts import Part


def jobs_in(parts: list[Part], places: Places) -> list[Job]:
    """Return the jobs of all experiments in the order in which they are run, each once.

    Raises UserError.
    """
    in_turn = sorted(
        (entry for part in parts for entry in part.entries), key=lambda entry: entry.turn
    )
    jobs = [job for entry in in_turn for job in entry.jobs(places)]
    return list({job.key: job for job in jobs}.values())


def run_missing(parts: list[Part], places: Places, at_once: int | None) -> None:
    """Run the jobs that have no result yet, ``at_once`` at a time; None is as many as there are
    cores.

    Exits with status 1 if one has failed. Raises UserError.
    """
    jobs = jobs_in(parts, places)
    states = states_of(jobs, {})
    refuse_without_weights(states)

    checked = Cluster(jobs=cores() if at_once is None else at_once)
    # with other numbers of threads, the last digits differ
    slots = [{**threads(1), "OMP_NUM_THREADS": "1"}] * (checked.jobs or 1)
    fetch_images(states, places)
    print(summary(states), flush=True)
    LocalRunner(states, slots, lambda undone: time_left(jobs, undone, len(slots))).run()

    states = states_of(jobs, {})
    if left := [state for state in states if state.kind != "finished"]:
        end_unfinished(states, left[0])


def refuse_without_weights(states: list[JobState]) -> None:
    """Raise UserError for a fine-tuning whose base network's weights are gone; they are stored
    nowhere else."""
    for state in states:
        base = state.job.needs  # or a search, which has no weights
        if (
            state.kind != "finished"
            and base
            and base.weights
            and base.result.exists()
            and not base.weights.exists()
        ):
            raise UserError(
                f"{base.result}: its weights, {base.weights}, are not here, and {state.job.name} "
                "needs them; remove that result, and it is trained again, to the same weights"
            )


def fetch_images(states: list[JobState], places: Places) -> None:
    """Download missing images. Raises UserError, with other ways to get them."""
    try:
        fetch(states, places.data)
    except UserError as error:
        raise UserError(
            f"{str(error).split(';')[0]}; put it into a folder, as its archive or as <data "
            "set>/train/<class>/ and <data set>/test/<class>/, and say which with --data (make "
            "study-run DATA=folder)"
        ) from None


def time_left(jobs: list[Job], undone: list[Job], at_once: int) -> float | None:
    """Return the seconds that ``undone`` jobs may take: each as long as those of its kind, or as
    all.

    Returns None if nothing is known yet.
    """
    took: dict[object, list[float]] = {}
    keys = {job.key for job in undone}
    for job in jobs:
        if job.key not in keys and job.result.exists():
            for kind in (job_kind(job), None):
                took.setdefault(kind, []).append(seconds_of(job))
    return (
        sum(statistics.median(took.get(job_kind(job)) or took[None]) for job in undone) / at_once
        if took
        else None
    )


def seconds_of(job: Job) -> float:
    """Return the seconds that a finished job took, from its result. Raises UserError if it has
    none."""
    record = read_json(job.result)
    try:
        return float(
            sum(entry["seconds"] for entry in record["iterations"])
            if isinstance(job.settings, SearchSettings)
            else record["seconds"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{job.result}: does not say how many seconds it took ({error}); restore it or "
            "remove it"
        ) from None


def job_kind(job: Job) -> tuple[str, str, Size | None]:
    """Return the kind of a job, by which jobs take about as long: script, network, and size of a
    training."""
    return job.script, job.settings.model, job.size
