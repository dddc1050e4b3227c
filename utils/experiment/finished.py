"""Finds out which jobs are done, by the files they leave; files of other work are refused.

Only what this needs is read and checked, without torch: whoever draws or continues the work checks
everything.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from utils.errors import UserError
from utils.experiment.jobs import LAST, TASK, Job
from utils.records.files import is_number, read_json
from utils.records.methods import networks_of
from utils.records.paths import release_record
from utils.records.published import read_published_scaling
from utils.records.results import identity_of, refuse_other, unsaid
from utils.records.run import same_settings
from utils.records.searches import SearchRecord, budget_of, floors_of, read_search
from utils.records.shapes import recorded_size
from utils.settings import (
    PUBLISHED,
    Limit,
    SearchSettings,
    TrainingSettings,
    dataset_name,
    least_width,
    search_preset,
    stored,
)
from utils.settings.compression import Compression


def search_finished(job: Job, settings: SearchSettings) -> bool:
    """Return True if a search is done.

    A finished search may have any settings but those that were given; an unfinished one continues
    with its own. Raises UserError where it has others, and for a damaged record.
    """
    if not job.result.exists():
        return release_record(str(job.result.parent), job.result.stem).exists()

    # the settings that are asked for, and those of the record, or the defaults where it has none
    record, preset = read(job.result), search_preset(settings.dataset)
    wanted = {**named(settings), **stored(settings, TASK)}
    has = {
        **stored(preset.morphnet() if settings.morph else preset, TASK),
        **record["settings"],
        **{key: record.get(key) for key in TASK},
    }
    iterations = record.get("iterations")
    if not isinstance(iterations, list) or not is_number(has["iterations"], 1, 1000, whole=True):
        raise UserError(
            f"{job.result}: not the record of a search, or damaged; restore it or remove it"
        )

    # a finished search is continued to more iterations if so many were given; one with fewer would
    # be another search
    may_grow = "iterations" in job.given
    done = len(iterations) >= (settings.iterations if may_grow else has["iterations"])
    names = {*TASK, "morph", *(job.given if done else wanted)} & {*wanted}
    same_settings(
        job.result,
        {name: wanted[name] for name in names},
        {name: has.get(name) for name in names},
        ("iterations",) if may_grow else (),
        advice="give that with --search-with, or another --search",
    )
    return done


def best_of(job: Job, settings: TrainingSettings) -> float | None:
    """Return the best accuracy of a training, in %; None if it is not done.

    Raises UserError for the result of another training, and for a damaged one.
    """
    if not job.result.exists():
        return None
    result = read(job.result)
    # earlier versions did not store it
    origin = result["origin"] if isinstance(result.get("origin"), dict) else {"search": job.search}

    # sweeps compare in the same way; what is asked for here is known before data are read
    assert job.preset is not None
    says = {**result, "base": result.get("base", job.base), "search": origin.get("search")}
    refuse_other(
        job.result,
        says,
        asked_of(job, settings, result),
        unsaid(job.preset),
        work="of a training",
        advice="give that, or other --plot-dir and --model-dir",
    )
    refuse_network_of_another_search(job, origin)

    best: Any = result.get("best")
    if not is_number(best, 0, 100):
        raise UserError(
            f"{job.result}: not the result of a training, or damaged; restore it or remove it"
        )
    return float(best)


def asked_of(job: Job, settings: TrainingSettings, result: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked of a training, by the names in its result.

    What can't be known here is taken from the ``result``.
    """
    searched, of_search = search_of(job), bool(job.needs) and job.base is None
    method = (
        f"neuralscale_{number}"
        if job.method == LAST and (number := last_iteration(job, searched))
        else job.method
    )

    if re.fullmatch(method, str(result.get("method"))):
        method = result["method"]
    # where its search is not there, its result has the budget
    said = result.get("budget", "params") if of_search and not searched else "params"
    min_width, keep = floors_asked(job, searched, result)
    target = str(job.size.target) if isinstance(job.size, Limit) else None
    found = identity_of(
        settings,
        method,
        # of a target it follows from what the template costs, which needs torch
        result.get("ratio", 0) if isinstance(job.size, Limit) else job.size or 0,
        target=target,
        budget=job.budget or (searched.budget if searched else said),
        round_to=job.compression.round_to if job.compression else 1,
        min_width=min_width,
        keep=keep,
    )

    # a folder's images have the size that was given, or that of the search, or that of the first
    # image
    size = result["settings"].get("image_size")
    if settings.channels is not None:
        found["channels"] = settings.channels
    if settings.image_size is not None:
        found["image_size"] = recorded_size(settings.image_size)
    elif size is not None and not (searched and size == searched.image_size):
        found["image_size"] = None
    return {**found, "search": job.search, "base": job.base}


def floors_asked(
    job: Job, searched: "Searched | None", result: dict[str, Any]
) -> tuple[int, Sequence[str]]:
    """Return the --min-width and --keep of a training's network: those of its search, or of its
    script."""
    if searched:
        return searched.floors
    if job.compression:
        return floors_of_pruning(job.compression, job.settings.model, result)
    if job.script == "fine_tune.py" and "min_width" in result:  # earlier versions had none
        return least_width(job.settings.model, None), ()
    return (
        (result.get("min_width", 0), result.get("keep", []))
        if job.needs and job.base is None
        else (0, ())
    )


def floors_of_pruning(
    asked: Compression, model: str, result: dict[str, Any]
) -> tuple[int, Sequence[str]]:
    """Return the --min-width and --keep of a pruning: those given, or those of the search whose
    widths it has, which its result knows."""
    least, keep = asked.min_width, asked.keep
    if asked.prune_fname:
        return (
            result.get("min_width", 0) if least is None else least,
            result.get("keep", []) if keep is None else keep,
        )
    return least_width(model, None) if least is None else least, keep or ()


class Searched(NamedTuple):
    """The parts of a search's record that describe its networks."""

    iterations: int  # of the finished search
    budget: str
    image_size: int | list[int]
    floors: tuple[int, tuple[str, ...]]  # its --min-width and --keep


def search_of(job: Job) -> Searched | None:
    """Return a description of the search that a training's network is from, if there is a record of
    it.

    Raises UserError for a damaged one.
    """
    if not (
        job.needs and isinstance(job.needs.settings, SearchSettings) and job.needs.result.exists()
    ):
        return None
    record = read_record(job.needs.result, job.settings.model, job.needs.result.stat().st_mtime_ns)
    iterations = record["settings"].get(
        "iterations", search_preset(job.settings.dataset).iterations
    )
    return Searched(iterations, budget_of(record), record["image_size"], floors_of(record))


@lru_cache
def read_record(path: Path, model: str, changed: int) -> SearchRecord:
    """Return the record of a search, from memory unless it has ``changed``. Raises UserError."""
    return read_search(str(path.parent), path.stem, model, None)


@lru_cache
def found_by(path: Path, model: str, changed: int) -> list[tuple[object, object]]:
    """Return the iterations of a search with the fingerprints of their networks, from memory unless
    its record has ``changed``."""
    networks = networks_of(str(path.parent), path.stem, read_record(path, model, changed))
    return [(source["iteration"], source["fingerprint"]) for *_, source in networks]


def last_iteration(job: Job, searched: Searched | None) -> int | None:
    """Return the number, from 1, of the last iteration of the search that a network is from; None
    if it is not known."""
    if job.search == PUBLISHED:
        return len(
            read_published_scaling(job.settings.model, dataset_name(job.settings.dataset))[
                "iterations"
            ]
        )
    search = job.needs
    if (
        search
        and isinstance(search.settings, SearchSettings)
        and "iterations" in search.given
        and (searched or not release_record(str(search.result.parent), search.result.stem).exists())
    ):
        return search.settings.iterations
    return searched.iterations if searched else None


def refuse_network_of_another_search(job: Job, origin: dict[str, Any]) -> None:
    """Raise UserError for a training whose network is not one of its search, because that was run
    again."""
    source = origin.get("iteration"), origin.get("fingerprint")
    if not (source[1] and job.needs and search_of(job)):  # results of earlier versions have none
        return
    if source not in found_by(
        job.needs.result, job.settings.model, job.needs.result.stat().st_mtime_ns
    ):
        raise UserError(
            f"{job.result}: its network is of another search than {job.needs.result} is now, which "
            f"was searched again; remove this result and {job.weights}, and it is trained again, "
            "or restore that record"
        )


def read(path: Path) -> dict[str, Any]:
    """Return a record or a result. Raises UserError if it does not look like one."""
    content = read_json(path)
    if not (isinstance(content, dict) and isinstance(content.get("settings"), dict)):
        raise UserError(
            f"{path}: not what a search or a training leaves, or damaged; restore it or remove it"
        )
    return content


def named(settings: SearchSettings | TrainingSettings) -> dict[str, str]:
    """Return the entries that name the network and the data set."""
    return {"model": settings.model, "dataset": dataset_name(settings.dataset)}
