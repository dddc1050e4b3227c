"""Part 1: steps that must not wait for the device, and the memory that they take."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from campaign.images import NAME
from campaign.looks import waits_refused
from campaign.scene import Scene
from campaign.store import Facts
from model import build_model, uniform_filters
from utils.data import Data, load_data
from utils.records.paths import PROJECT
from utils.search.descent import searched_widths
from utils.search.iteration import residual_filters
from utils.settings import SearchSettings, TrainingSettings
from utils.training.device import Runner
from utils.training.train import train

REFUSED = "synchronizing"  # in what PyTorch raises for an operation that waits


def steps(scene: Scene, model: str, amp: bool) -> Facts:
    """Return where training and search steps wait, and the peak of their memory."""
    scale, runner = scene.scale, Runner(scene.device, amp)
    size = scale.watched_batch
    data = load_data(
        NAME,
        str(scene.few),
        scene.device,
        limit_train=scale.watched_batches * size,
        limit_test=size,
        batch_size=size,
    )
    works = {
        "training": partial(one_training, scene, model, data, runner),
        "search": partial(one_search, scene, model, data, runner),
    }
    facts: Facts = {"ratio": scale.watched_ratio, "batch_size": size}
    for name, work in works.items():
        facts[name] = {"memory": peak(scene, work), **(watched(work) if scene.on_gpu else {})}
    return facts


def one_training(scene: Scene, model: str, data: Data, runner: Runner) -> None:
    """Train a uniform network for two epochs."""
    scale = scene.scale
    settings = TrainingSettings(
        model=model, dataset=NAME, epochs=2, batch_size=scale.watched_batch, amp=runner.amp
    )
    filters = uniform_filters(model, scale.watched_ratio)
    train(settings, partial(build_model, model, filters, **data.shape), data, runner)


def one_search(scene: Scene, model: str, data: Data, runner: Runner) -> None:
    """Search for three epochs, two of which prune."""
    scale = scene.scale
    settings = SearchSettings(
        model=model,
        dataset=NAME,
        ratio=scale.watched_ratio,
        batch_size=scale.watched_batch,
        warmup=1,
        epochs=3,
        iterations=1,
        prune_every=3,
        prune_step=20,
        amp=runner.amp,
    )
    residual_filters(settings, 0, searched_widths(settings, None, data.shape), data, runner)


def peak(scene: Scene, work: Callable[[], None]) -> int | None:
    """Return the most bytes of the GPU that tensors took at once; None without a GPU."""
    if not scene.on_gpu:
        work()
        return None
    scene.tidy()
    torch.cuda.reset_peak_memory_stats(scene.device)
    work()
    return torch.cuda.max_memory_allocated(scene.device)


def watched(work: Callable[[], None]) -> Facts:
    """Return the number of steps in which PyTorch refused to wait, and where it had to: "" if
    nowhere."""
    where = ""
    with waits_refused() as seen:
        try:
            work()
        except RuntimeError as error:
            if REFUSED not in str(error):
                raise
            where = line_of(error)
    return {"steps": seen.steps, "waits": where}


def line_of(error: BaseException) -> str:
    """Return an error in one line, with the last line of the project that it passed."""
    own = [
        f"{Path(frame.filename).relative_to(PROJECT)}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(PROJECT) and "site-packages" not in frame.filename
    ]
    where = f" ({own[-1]})" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"
