"""Checks of an experiment before any of its jobs begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.experiment.jobs import is_pruned, iteration_of, sizes_of
from utils.records import paths
from utils.records.published import read_published_morph, read_published_scaling
from utils.settings import (
    DATASETS,
    PUBLISHED,
    Experiment,
    assigned,
    dataset_name,
    search_preset,
    training_preset,
)
from utils.settings.option import flag


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

    if "magnitude" in methods and not any(is_pruned(size, experiment) for size in sizes):
        raise UserError(
            f"--methods magnitude prunes to {'targets' if experiment.target else 'ratios'} below "
            f"--base-ratio {experiment.base_ratio:g}; "
            f"--{'target' if experiment.target else 'ratios'} has none"
        )
    for name in ("base_ratio", "base_seed"):
        if "magnitude" not in methods and (value := getattr(experiment, name)) != getattr(
            Experiment, name
        ):
            raise UserError(f"{flag(name)} {value:g} goes with --methods magnitude alone")


def check_networks(experiment: Experiment) -> None:
    """Raise UserError for networks that can't be. This loads torch, which --status does not
    need."""
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
