"""Running what of a study is missing."""

import statistics

from utils.errors import UserError
from utils.experiment.fetch import fetch
from utils.experiment.jobs import Job
from utils.experiment.local import LocalRunner, cores
from utils.experiment.state import JobState, end_unfinished, states_of, summary
from utils.experiment.work import threads
from utils.records.files import read_json
from utils.settings import Cluster, Places, SearchSettings
from utils.study.plan import Part


def jobs_in(parts: list[Part], places: Places) -> list[Job]:
    """The jobs of all experiments, in the order in which they are run; searches that several of
    them need once. Raises UserError."""
    in_turn = sorted(
        (entry for part in parts for entry in part.entries), key=lambda entry: entry.turn
    )
    jobs = [job for entry in in_turn for job in entry.jobs(places)]
    return list({job.key: job for job in jobs}.values())


def run_missing(parts: list[Part], places: Places, at_once: int | None) -> None:
    """Runs the jobs that have no result yet, so many at once: as many as there are cores, where
    that is None.

    Exit status 1 where one has failed. Raises UserError.
    """
    jobs = jobs_in(parts, places)
    states = states_of(jobs, {})
    refuse_without_weights(states)
    checked = Cluster(jobs=cores() if at_once is None else at_once)
    # other numbers of threads, other last digits
    slots = [{**threads(1), "OMP_NUM_THREADS": "1"}] * (checked.jobs or 1)
    fetch_images(states, places)
    print(summary(states), flush=True)
    LocalRunner(states, slots, lambda undone: time_left(jobs, undone, len(slots))).run()
    states = states_of(jobs, {})
    if left := [state for state in states if state.kind != "finished"]:
        end_unfinished(states, left[0])


def refuse_without_weights(states: list[JobState]) -> None:
    """Raises UserError where fine-tunings are left to do, and the weights of their base network,
    which are stored nowhere, are gone."""
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
                f"{base.result}: its weights, {base.weights}, are not here, and "
                f"{state.job.name} needs them; remove that "
                "result, and it is trained again, to the same weights"
            )


def fetch_images(states: list[JobState], places: Places) -> None:
    """Downloads what is needed and not there. Raises UserError, which says how else the images can
    be had."""
    try:
        fetch(states, places.data)
    except UserError as error:
        raise UserError(
            f"{str(error).split(';')[0]}; put it into a folder, as its archive or as <data "
            "set>/train/<class>/ and "
            "<data set>/test/<class>/, and say which with --data (make "
            "study-run DATA=folder)"
        ) from None


def time_left(jobs: list[Job], undone: list[Job], at_once: int) -> float | None:
    """Seconds that ``undone`` jobs may take: each as long as those of its kind, or as all; None
    where nothing is known yet."""
    took: dict[object, list[float]] = {}
    keys = {job.key for job in undone}
    for job in jobs:
        if job.key not in keys and job.result.exists():
            for kind in (kind_of(job), None):
                took.setdefault(kind, []).append(seconds_of(job))
    return (
        sum(statistics.median(took.get(kind_of(job)) or took[None]) for job in undone) / at_once
        if took
        else None
    )


def seconds_of(job: Job) -> float:
    """How long a finished job took, as it says itself. Raises UserError where it does not say
    that."""
    told = read_json(job.result)
    try:
        return float(
            sum(entry["seconds"] for entry in told["iterations"])
            if isinstance(job.settings, SearchSettings)
            else told["seconds"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{job.result}: does not say how many seconds it took ({error}); restore it or "
            "remove it"
        ) from None


def kind_of(job: Job) -> tuple[str, str, float | None]:
    """What jobs that take about as long have in common: the script, the network, and of a training
    the ratio."""
    return job.script, job.settings.model, job.ratio
