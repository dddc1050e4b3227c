"""Running what of a study is missing."""
import statistics
import sys

from utils.errors import UserError
from utils.experiment.jobs import Job, jobs_of
from utils.experiment.local import Here, cores
from utils.experiment.state import State, states_of, summary
from utils.experiment.work import threads
from utils.records.files import read_json
from utils.records.paths import weights_file
from utils.settings import Cluster, Machine, Places, SearchSettings
from utils.study.plan import Part


def jobs_in(part: Part, places: Places) -> list[Job]:
    """The jobs of all experiments, in their order; searches that several of them need once. Raises UserError."""
    jobs = [job for entry in part.entries for job in jobs_of(entry.experiment, places, Machine(device="cpu"))]
    return list({job.key: job for job in jobs}.values())


def run_missing(parts: list[Part], places: Places, at_once: int | None) -> None:
    """Runs the jobs that have no result yet, so many at once: as many as there are cores, where that is None.

    Exit status 1 where one has failed. Raises UserError.
    """
    jobs = [job for part in parts for job in jobs_in(part, places)]
    states = states_of(jobs, {})
    refuse_without_weights(states, places)
    checked = Cluster(jobs=cores() if at_once is None else at_once)
    slots = [threads(1)] * (checked.jobs or 1)  # with other numbers of threads the last digits differ
    print(summary(states), flush=True)
    Here(states, slots, lambda undone: time_left(jobs, undone, len(slots))).run()
    states = states_of(jobs, {})
    if left := [state for state in states if state.kind != "finished"]:
        print(f"study.py: {summary(states)}; {left[0].job.name}: {left[0].note} ({left[0].job.log}). The same command goes on",
              file=sys.stderr)
        raise SystemExit(1)


def refuse_without_weights(states: list[State], places: Places) -> None:
    """Raises UserError where fine-tunings are left to do, and the weights of their base network, which are stored nowhere, are gone."""
    for state in states:
        if state.kind != "finished" and (base := state.job.needs) and base.method == "base" and base.result.exists():
            weights = weights_file(places.model_dir, base.settings.model, base.name)
            if not weights.exists():
                raise UserError(f"{base.result}: its weights, {weights}, are not here, and {state.job.name} needs them; remove that "
                                "result, and it is trained again, to the same weights")


def time_left(jobs: list[Job], undone: list[Job], at_once: int) -> float | None:
    """Seconds that ``undone`` jobs may take: each as long as those of its kind, or as all; None where nothing is known yet."""
    took: dict[object, list[float]] = {}
    keys = {job.key for job in undone}
    for job in jobs:
        if job.key not in keys and job.result.exists():
            for kind in (kind_of(job), None):
                took.setdefault(kind, []).append(seconds_of(job))
    return sum(statistics.median(took.get(kind_of(job)) or took[None]) for job in undone) / at_once if took else None


def seconds_of(job: Job) -> float:
    """How long a finished job took, as it says itself."""
    told = read_json(job.result)
    return sum(entry["seconds"] for entry in told["iterations"]) if isinstance(job.settings, SearchSettings) else float(told["seconds"])


def kind_of(job: Job) -> tuple[str, str, str]:
    """What jobs that take about as long have in common: the script, the network, and of a training the ratio."""
    return job.script, job.settings.model, "" if isinstance(job.settings, SearchSettings) else job.result.stem.rpartition("_")[2]
