"""Part 3: the paper's headline at its size. Trainings and searches run as processes side by side,
and go on by --resume in the next call."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from campaign.images import NAME
from campaign.scene import Scene
from campaign.store import Facts, Store
from utils.experiment.local import cores
from utils.experiment.work import begin, read_log_tail, threads
from utils.records import paths
from utils.records.files import read_json
from utils.records.results import read_result
from utils.records.searches import read_search

PART, MODEL = "headline", "vgg"
METHODS = {  # as the published results call them
    "uniform": ("--uniform",),
    "neuralscale_15": ("--prune-fname", "published"),
    "morphnet": ("--morph",),
}
BUDGETS = ("params", "macs")
KEEP_EVERY = 90.0  # seconds between copies of unfinished work
PATIENCE = 15.0  # seconds for a process to stop in
POLL = 0.2


@dataclass(frozen=True)
class Job:
    """A training or a search: its name in the store, its command, and its files."""

    name: str
    command: tuple[str, ...]
    log: Path
    result: Path
    unfinished: tuple[Path, ...]  # what it can go on from

    @property
    def is_search(self) -> bool:
        """True for a search."""
        return self.name.startswith("search")


def jobs_of(scene: Scene) -> list[Job]:
    """Return all trainings, seed by seed, and then the searches."""
    trainings = [
        training(scene, method, seed) for seed in range(scene.scale.seeds) for method in METHODS
    ]
    return trainings + [searching(scene, budget) for budget in BUDGETS]


def options(scene: Scene, save: str) -> tuple[str, ...]:
    """Return the options that all jobs have."""
    places = (("--record-dir", "records"), ("--plot-dir", "plots"), ("--model-dir", "models"))
    folders = [part for flag, name in places for part in (flag, str(scene.work / name))]
    subject = ("--model", MODEL, "--dataset", NAME, "--data", str(scene.data))
    return (*subject, "--save", save, *folders, "--device", scene.device, "--resume")


def training(scene: Scene, method: str, seed: int) -> Job:
    """Return the training of one method's network with one seed."""
    save, ratio = f"{method}_{seed}", scene.scale.headline_ratio
    command = ("ratio_swipe.py", *METHODS[method], "--ratios", f"{ratio:g}")
    models, name = str(scene.work / "models"), paths.at_size(save, ratio)
    return Job(
        f"train {method} {seed}",
        (*command, *options(scene, save), *scene.scale.more),
        paths.job_log(models, MODEL, name),
        paths.result_file(str(scene.work / "plots"), MODEL, save, ratio),
        (paths.unfinished_training(models, MODEL, name),),
    )


def searching(scene: Scene, budget: str) -> Job:
    """Return the search by a budget."""
    save, models, records = f"by_{budget}", str(scene.work / "models"), str(scene.records)
    command = ("architecture_descent.py", "--budget", budget)
    result = paths.search_record(records, save)
    return Job(
        f"search {budget}",
        (*command, *options(scene, save), *scene.scale.more_of_searches),
        paths.job_log(models, MODEL, paths.as_search(save)),
        result,
        (result, paths.unfinished_search(models, MODEL, save)),
    )


def headline(scene: Scene, store: Store, jobs: list[Job], left: Callable[[], float]) -> None:
    """Run jobs until they are done or time is up, and store each as it ends.

    Unfinished work is copied to the store now and then, for this process may be killed too.
    """
    store.unpack(scene.work)
    running: dict[Job, subprocess.Popen[bytes]] = {}
    begun = {job for job in jobs_of(scene) if any(path.exists() for path in job.unfinished)}
    waiting = sorted(jobs, key=lambda job: job not in begun)  # what was begun, first
    share = threads(max(1, cores() // scene.scale.at_once))
    kept = time.monotonic()
    try:
        while (waiting or running) and left() > scene.scale.closing:
            while waiting and len(running) < scene.scale.at_once:
                job = waiting.pop(0)
                running[job] = begin(list(job.command), job.log, share)
                begun.add(job)
            for job in [job for job, process in running.items() if process.poll() is not None]:
                ended(scene, store, job, running.pop(job).poll())
                begun.discard(job)
            if time.monotonic() - kept > KEEP_EVERY:
                keep_unfinished(scene, store, begun)
                kept = time.monotonic()
            time.sleep(POLL)
    finally:
        for job, status in stopped(running).items():
            if status == 0:
                ended(scene, store, job, status)
                begun.discard(job)
        keep_unfinished(scene, store, begun)


def stopped(running: dict[Job, subprocess.Popen[bytes]]) -> dict[Job, int | None]:
    """Ask all processes to stop, which leaves their last finished epoch, and return their exit
    statuses."""
    for process in running.values():
        process.terminate()
    until = time.monotonic() + PATIENCE
    for process in running.values():
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return {job: process.poll() for job, process in running.items()}


def ended(scene: Scene, store: Store, job: Job, status: int | None) -> None:
    """Store what a job has found, or why it failed, and say so."""
    if status != 0:
        lines = [line for line in job.log.read_text(errors="replace").splitlines() if line.strip()]
        reason = f"exit status {status}: {lines[-1][:300] if lines else 'it said nothing'}"
        store.keep(PART, job.name, {"error": reason})
        print(f"{job.name}: failed, {reason}", flush=True)
        return
    facts = found_by_search(scene, job) if job.is_search else found_by_training(job)
    store.keep(PART, job.name, facts)
    told = f"best {facts['best']:.2f} %" if "best" in facts else f"{len(facts['iterations'])} laws"
    print(f"{job.name}: finished, {told}, {facts['seconds']:.0f} s of training", flush=True)


def found_by_training(job: Job) -> Facts:
    """Return the facts of a finished training."""
    result = read_result(job.result)
    kept = ("method", "seed", "ratio", "filters", "params", "macs", "best", "last", "seconds")
    curve = [round(accuracy, 2) for accuracy in result["test_acc"]]
    facts: Facts = {key: result[key] for key in kept}  # type: ignore[literal-required]
    facts |= {"versions": result["versions"], "commit": result["commit"]}
    return {**facts, "epochs": len(curve), "test_acc": curve}


def found_by_search(scene: Scene, job: Job) -> Facts:
    """Return the facts of a finished search."""
    record = read_search(str(scene.records), job.result.stem, MODEL, NAME)
    iterations = record["iterations"]
    return {
        "budget": record["settings"]["budget"],
        "iterations": iterations,
        "seconds": sum(entry["seconds"] for entry in iterations),
        "versions": record["versions"],
        "commit": record["commit"],
    }


def keep_unfinished(scene: Scene, store: Store, begun: set[Job]) -> None:
    """Copy what unfinished jobs can go on from to the store, as far as it is small enough."""
    files: list[Path] = []
    for job in sorted(begun, key=lambda job: job.name):
        if job.log.exists():  # it ran in this call
            store.keep(PART, job.name, {"unfinished": progress(job)})
        files += [path for path in job.unfinished if path.is_file()]
        if job.is_search:
            files += paths.all_search_rows(str(scene.records), job.result.stem)
    for path in store.pack(scene.work, files):
        print(
            f"{path.name}: {os.path.getsize(path) / 2**20:.0f} MiB, too large to keep", flush=True
        )


def progress(job: Job) -> Facts:
    """Return how far an unfinished job is."""
    tail = read_log_tail(job.log)
    facts: Facts = {"epochs": (tail.epoch if tail else None) or 0}
    if job.is_search:
        there = read_json(job.result)["iterations"] if job.result.exists() else []
        facts["iterations"] = len(there)
    return facts
