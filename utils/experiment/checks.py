"""Checks of an experiment before any of its jobs begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.experiment.jobs import FROM_BASE, Job, is_from_base, is_pruned, iteration_of, sizes_of
from utils.records import paths
from utils.records.published import read_published_morph, read_published_scaling
from utils.records.results import read_result
from utils.settings import (
    DATASETS,
    PUBLISHED,
    Experiment,
    Places,
    Target,
    assigned,
    dataset_name,
    search_preset,
    training_preset,
)
from utils.settings.compression import PruningSettings
from utils.settings.fields import flag


def check(experiment: Experiment) -> None:
    """Raise UserError for an experiment that can't be."""
    methods, sizes = experiment.methods, sizes_of(experiment, experiment.budget)
    if experiment.dataset not in DATASETS and not Path(experiment.dataset).is_dir():
        raise UserError(
            f"--dataset {experiment.dataset}: neither {', '.join(DATASETS)} nor a folder"
        )
    if len({paths.size_slug(size) for size in sizes}) < len(sizes):
        raise UserError(
            f"--ratios {' '.join(map(str, sizes))}: two of them share a file name, which has "
            "int(100 * ratio)"
        )

    # methods and the searches that they need
    searched = any(method.startswith("neuralscale") for method in methods)
    if searched != bool(experiment.search):
        raise UserError(
            "--methods neuralscale needs --search NAME, or --search published"
            if searched
            else f"--search {experiment.search} goes with --methods neuralscale"
        )
    if experiment.morph_search and (
        "morph" not in methods or experiment.morph_search == experiment.search
    ):
        raise UserError(
            f"--morph-search {experiment.morph_search} goes with --methods morph, and is "
            "another name than --search"
        )

    for method in methods:
        if any(is_pruned(method, size, experiment) for size in sizes):
            continue
        option = "target" if experiment.target else "ratios"
        whole = "100%" if method == "prune" else f"--base-ratio {experiment.base_ratio:g}"
        raise UserError(f"--methods {method} prunes to sizes below {whole}; --{option} has none")

    with_base = any(is_from_base(method, experiment) for method in FROM_BASE)
    for name in ("base", "base_ratio", "base_seed"):
        if not with_base and (value := getattr(experiment, name)) != getattr(Experiment, name):
            raise UserError(
                f"{flag(name)} {value} goes with --methods magnitude, or prune without --weights"
            )
    check_pruning(experiment)


def check_pruning(experiment: Experiment) -> None:
    """Raise UserError for prunings that can't be, or that nobody asked for."""
    if "prune" not in experiment.methods:
        if asked := [name for name in ("weights", "prune_with") if getattr(experiment, name)]:
            raise UserError(f"{flag(asked[0])} goes with --methods prune")
        return

    if not experiment.target:
        raise UserError("--methods prune prunes to targets: give --target 25%, say, not ratios")
    if (
        experiment.base_ratio != Experiment.base_ratio
        and set(experiment.methods) != {"prune"}
        and any(Target.parse(text).percent for text in experiment.target)
    ):
        raise UserError(
            f"--base-ratio {experiment.base_ratio:g} --target {' '.join(experiment.target)}: a "
            "part of the base network and of the template are different sizes; give numbers, as 50M"
        )


def check_networks(experiment: Experiment, jobs: list[Job], places: Places) -> None:
    """Raise UserError for networks that can't be. This loads torch, which --status does not
    need."""
    check_weights(jobs, places)
    model, dataset = experiment.model, dataset_name(experiment.dataset)
    images = images_of(experiment)
    from utils.data.channels import checked_channels  # with torch

    checked_channels(
        model,
        experiment.dataset,
        *sizes_of(experiment, experiment.budget),
        experiment.base_ratio,
        **images,
    )

    if experiment.search == PUBLISHED:
        iterations = len(read_published_scaling(model, dataset)["iterations"])
        if beyond := [
            method for method in experiment.methods if (iteration_of(method) or 0) > iterations
        ]:
            raise UserError(
                f"--methods {beyond[0]}: the published search has {iterations} iterations"
            )

    if "morph" in experiment.methods and not experiment.morph_search:
        try:
            read_published_morph(model, dataset)
        except UserError as error:
            raise UserError(
                f"--methods morph: {str(error).split(';')[0]}; search them with --morph-search NAME"
            ) from None


def check_weights(jobs: list[Job], places: Places) -> None:
    """Raise UserError for weights that can't be pruned, for widths of a search that is not there,
    and for a result that was begun with other weights."""
    from utils.compression.given import read_given  # with torch
    from utils.compression.goals import asked_widths

    fingerprints: dict[str, str] = {}
    for job in jobs:
        settings, compression = job.settings, job.compression
        if not compression or not isinstance(settings, PruningSettings):
            continue
        asked_widths(compression, settings.model, settings.dataset, places.record_dir)

        weights = compression.weights
        if job.needs and not Path(weights).exists():
            continue  # the base network is trained first
        if weights not in fingerprints:
            given = read_given(Path(weights), settings, compression.keep or ())
            fingerprints[weights] = given.fingerprint
        if job.result.exists():
            begun = dict(read_result(job.result)).get("weights")
            if begun != fingerprints[weights]:
                raise UserError(
                    f"{job.result}: was pruned from other weights than {weights} has; remove this "
                    f"result and {job.weights}, or give another --name"
                )


def images_of(experiment: Experiment) -> dict[str, Any]:
    """Return the image_size and the channels of its images, from the settings of its searches or
    its trainings; None where they have none."""
    found: dict[str, Any] = {"image_size": None, "channels": None}
    for preset, texts in (
        (search_preset, experiment.search_with),
        (training_preset, experiment.train_with),
    ):
        given = assigned(preset(experiment.dataset), texts or ())
        found |= {name: given[name] for name in found if found[name] is None and name in given}
    return found
