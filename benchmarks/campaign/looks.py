"""Looks into runs of the project from outside: the filters that each round left, a kill at a batch,
and errors where a step waits for the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from model.graph.compaction import Compactor
from utils.compression.state import GoalPruner
from utils.pruning import TaylorPruner
from utils.training.loop import Totals
from utils.training.progress import Progress


class Killed(BaseException):
    """Raised to end a run as a kill does: nothing in the project handles it."""


@dataclass
class Rounds:
    """The filters (a bool each) that are left after each pruning round, by its number from 1."""

    left: dict[int, Tensor] = field(default_factory=dict)
    full: list[int] = field(default_factory=list)

    def add(self, number: int, alive: Tensor, full: list[int]) -> None:
        """Note a round. One that is repeated after a kill replaces the first."""
        self.left[number], self.full = alive.clone(), list(full)


@contextlib.contextmanager
def rounds_noted() -> Iterator[Rounds]:
    """Note each pruning round of the searches and prunings inside."""
    noted = Rounds()
    close_gates, close = TaylorPruner._close_gates, GoalPruner._close

    def of_search(pruner: TaylorPruner) -> None:
        noted.add(pruner.rounds + 1, pruner.alive, pruner.full_widths)
        close_gates(pruner)

    def of_pruning(pruner: GoalPruner) -> None:
        noted.add(pruner.done, pruner.alive, pruner.full)
        close(pruner)

    with (
        mock.patch.object(TaylorPruner, "_close_gates", of_search),
        mock.patch.object(GoalPruner, "_close", of_pruning),
    ):
        yield noted


@contextlib.contextmanager
def killed_at(batch: int) -> Iterator[None]:
    """End what runs inside after so many batches, with Killed."""
    update, seen = Progress.update, 0

    def count(progress: Progress, numbers: Callable[[], str]) -> None:
        nonlocal seen
        update(progress, numbers)
        seen += 1
        if seen == batch:
            raise Killed

    with mock.patch.object(Progress, "update", count):
        yield


@dataclass
class Watched:
    """The number of steps that were watched."""

    steps: int = 0


@contextlib.contextmanager
def waits_refused() -> Iterator[Watched]:
    """Let PyTorch raise an error where a training step or a search step waits for the device.

    A pruning round may wait, and so may the beginning and the end of an epoch.
    """
    watched = Watched()
    begin, update, check = Progress.__init__, Progress.update, Totals.check

    def refused() -> None:
        torch.cuda.set_sync_debug_mode("error")

    def allowed(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def work(*args: Any, **options: Any) -> Any:
            torch.cuda.set_sync_debug_mode("default")
            result = function(*args, **options)
            refused()
            return result

        return work

    def begin_epoch(progress: Progress, *args: Any) -> None:
        begin(progress, *args)
        refused()

    def end_step(progress: Progress, numbers: Callable[[], str]) -> None:
        watched.steps += 1
        allowed(update)(progress, numbers)  # a bar that is redrawn asks for the loss

    def end_epoch(totals: Totals, epoch: int) -> None:
        torch.cuda.set_sync_debug_mode("default")
        check(totals, epoch)

    try:
        with (
            mock.patch.object(TaylorPruner, "_round", allowed(TaylorPruner._round)),
            mock.patch.object(Compactor, "compact", allowed(Compactor.compact)),
            mock.patch.object(Progress, "__init__", begin_epoch),
            mock.patch.object(Progress, "update", end_step),
            mock.patch.object(Totals, "check", end_epoch),  # the first that reads the numbers
        ):
            yield watched
    finally:
        torch.cuda.set_sync_debug_mode("default")
