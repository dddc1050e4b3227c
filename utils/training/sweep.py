"""Trains networks from scratch at every ratio or target, in the shapes that a search or a baseline
gives (paper, section 4)."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from model import build_model, count_params
from utils.data.channels import checked_channels
from utils.errors import UserError
from utils.records.method import Method
from utils.records.methods import method_of
from utils.records.paths import at_size, size_slug
from utils.records.results import Result
from utils.records.sizes import size_of, size_options, sizes_asked
from utils.settings import (
    PUBLISHED,
    Machine,
    Networks,
    Size,
    Storage,
    TrainingSettings,
    dataset_name,
    size_told,
    training_preset,
)
from utils.settings.commands import after_training, tell_next
from utils.training.compare import check_training
from utils.training.latency import rounding_told
from utils.training.prepare import check_memory, prepare
from utils.training.train import TrainingRun


def sweep(
    settings: TrainingSettings, networks: Networks, storage: Storage, machine: Machine | None = None
) -> list[Result]:
    """Train one network per ratio or target; finished ones are skipped. Raises UserError."""
    model = settings.model
    method = method_of(networks, model, dataset_name(settings.dataset), storage.record_dir)
    sizes = sizes_asked(networks, method.budget)
    image_size = settings.image_size or method.image_size
    channels = checked_channels(
        model,
        settings.dataset,
        *sizes,
        image_size=image_size,
        channels=settings.channels or method.channels,
        keep=method.keep,
    )
    refuse(settings, sizes, method)

    preset = training_preset(settings.dataset)
    names = [at_size(storage.save, size) for size in sizes]
    runs = [TrainingRun(settings, preset, storage, *of) for of in zip(sizes, names)]
    with ExitStack() as held:
        for run in runs:
            held.enter_context(run.exclusive())
        data, runner = prepare(
            settings,
            storage,
            machine,
            networks,
            default_size=method.image_size,
            channels=channels,
        )
        if line := method.other_size(data.image_size):
            print(line, flush=True)

        # refuse what can't be trained before anything is
        widths = [method.filters(size, **data.shape) for size in sizes]
        check_memory(max(count_params(model, filters, **data.shape) for filters in widths), runner)
        if storage.overwrite or not all(run.result.exists() for run in runs):
            check_training(model, data.shape, gated=False)

        # all at once: an interrupted sweep is continued with --resume alone
        for run in runs if storage.overwrite else []:
            run.discard()

        results = []
        for size, run, filters in zip(sizes, runs, widths):
            described = run.describe(method, filters, data)
            print(
                f"{size_told(size)}, {method.name}: filters {' '.join(map(str, filters))}\n  "
                f"{method.costs_line(described)}",
                flush=True,
            )
            if networks.round_to != 1 and not run.result.exists():
                print(f"  {rounding_told(method, described, runner)}", flush=True)
            build = partial(build_model, model, filters, convcut=method.convcut, **data.shape)
            results.append(run.train(build, data, runner))
    best = size_of(max(results, key=lambda result: result["last"]))
    tell_next(after_training(settings, storage.save, size_options(best), storage))
    return results


def refuse(settings: TrainingSettings, sizes: Sequence[Size], method: Method) -> None:
    """Raise UserError for a sweep that can't be, before any data is read."""
    # images held out must not have been searched on
    if (
        settings.validate
        and method.origin
        and method.origin["search"] != PUBLISHED
        and method.held_out != settings.validate
    ):
        raise UserError(
            f"--validate {settings.validate}: the search {method.origin['search']} held "
            f"{method.held_out or 'none'} out, and may have seen these images; give what it had, "
            "or search with --validate too"
        )

    if len({size_slug(size) for size in sizes}) < len(sizes):
        raise UserError(
            f"--ratios {' '.join(map(str, sizes))}: two of them share a file name, which has "
            "int(100 * ratio)"
        )
