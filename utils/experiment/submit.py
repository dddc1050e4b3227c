"""The work of submit.py: runs the jobs of an experiment, shows their states, draws the results."""

import sys
import time

from utils.errors import UserError
from utils.experiment.fetch import fetch
from utils.experiment.jobs import Job, budget_of_all, iteration_of, name_of
from utils.experiment.local import LocalRunner, environments
from utils.experiment.slurm import queue_of, submit_to_slurm
from utils.experiment.state import JobState, end_unfinished, states_of, table
from utils.records.paths import search_record
from utils.records.searches import not_fitted, read_search
from utils.settings import (
    METHODS,
    PUBLISHED,
    Cluster,
    Comparison,
    Experiment,
    Folders,
    Places,
    dataset_name,
)

USUAL = {*METHODS, "neuralscale_1"}
RENEW = 2.0  # seconds
IDLE = 30.0  # seconds without a running job until nothing more is expected


def submit(jobs: list[Job], places: Places, cluster: Cluster) -> list[JobState]:
    """Run the unfinished jobs of an experiment, or submit them to Slurm, and return their states
    then.

    Raises UserError.
    """
    if cluster.slurm and cluster.cluster != "slurm":
        raise UserError("--slurm goes with --cluster slurm")
    if cluster.gpus and cluster.cluster != "local":
        raise UserError("--gpus is for this machine; on Slurm say --slurm gres=gpu:1")

    states = states_of(jobs, queue_of(places.model_dir))
    if cluster.cluster == "slurm":
        number = submit_to_slurm(jobs, cluster, places.model_dir)
        print(
            f"submitted {number} jobs; see how far they are with the same command and --status, "
            "or --watch"
        )
        return states_of(jobs, queue_of(places.model_dir))

    if queued := [state for state in states if state.kind == "queued"]:
        raise UserError(
            f"--cluster local: {len(queued)} jobs are in Slurm's queue, as "
            f"{queued[0].job.name}; wait, or scancel them"
        )

    slots = environments(cluster)
    fetch(states, places.data)
    LocalRunner(states, slots).run()
    return states_of(jobs, {})


def follow(jobs: list[Job], places: Places, *, renew: bool) -> list[JobState]:
    """Print the states of the jobs, with ``renew`` until no job runs or is about to; return the
    last."""
    shown, active = "", time.monotonic()
    while True:
        states = states_of(jobs, queue_of(places.model_dir))
        if (text := table(states)) != shown:
            print("\033[H\033[J" * (renew and sys.stdout.isatty()) + text, flush=True)
            shown = text

        if any(state.kind in ("running", "queued") for state in states):
            active = time.monotonic()
        if (
            not renew
            or all(state.kind == "finished" for state in states)
            or time.monotonic() - active > IDLE
        ):
            return states
        time.sleep(RENEW)


def report_experiment(
    states: list[JobState], experiment: Experiment, places: Places, *, ended: bool
) -> None:
    """Print the table and draw the figures of plot_ratio.py and plot_training.py, and write the
    page of report.py, if all jobs are done.

    Exits with status 1 if a job has failed, or with ``ended`` if one is unfinished.
    """
    left = [
        state for state in states if state.kind == "failed" or (ended and state.kind != "finished")
    ]
    if all(state.kind == "finished" for state in states):
        from utils.figures.comparison import compare_methods
        from utils.figures.curves import subject_of
        from utils.figures.page import typed, write_page
        from utils.figures.training import draw_training

        # with their usual names, plot_ratio.py finds them by itself
        usual = (
            not experiment.name and {*experiment.methods} <= USUAL and experiment.base_ratio == 1
        )
        runs = (
            None
            if usual
            else tuple(f"{method}={name_of(experiment, method)}" for method in experiment.methods)
        )

        budget = budget_of_all(experiment, places.record_dir)
        asked = Comparison(axis=budget or "params", runs=runs)
        subject = subject_of(experiment.model, experiment.dataset, places.plot_dir)
        compare_methods(subject, asked)
        draw_training(
            subject.model,
            subject.folder,
            [name_of(experiment, method) for method in experiment.methods],
            subject.folder / f"{subject.dataset}_training.png",
        )
        write_page(
            subject.model,
            [name_of(experiment, method) for method in experiment.methods],
            Folders(record_dir=places.record_dir, plot_dir=places.plot_dir),
            subject.folder / f"{subject.dataset}_report.html",
            dataset=subject.dataset,
            command=typed(),
        )
        tell_stand_ins(experiment, places)
    elif left:
        end_unfinished(states, left[0])


def tell_stand_ins(experiment: Experiment, places: Places) -> None:
    """Print which of the iterations that were trained have no fitted power law."""
    name = experiment.search
    # not one of the original release
    if name and name != PUBLISHED and search_record(places.record_dir, name).exists():
        record = read_search(
            places.record_dir, name, experiment.model, dataset_name(experiment.dataset)
        )

        used = [
            iteration_of(method) or len(record["iterations"])
            for method in experiment.methods
            if method.startswith("neuralscale")
        ]
        if reason := not_fitted(record, [iteration - 1 for iteration in used]):
            print(f"{name}: {reason}")
