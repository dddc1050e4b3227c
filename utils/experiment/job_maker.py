"""Makes single jobs: a job's command, its files and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from utils.errors import UserError
from utils.experiment.jobs import TASK, Job, budget_of_all, name_of
from utils.records import paths
from utils.settings import (
    Experiment,
    Limit,
    Machine,
    Places,
    Settings,
    Size,
    TrainingSettings,
    assigned,
    command_options,
    shortest,
    training_preset,
)

# the scripts whose trainings can be compiled: in others the network changes all the time
COMPILING = ("ratio_swipe.py", "train_norm.py", "fine_tune.py")


class JobMaker:
    """Makes jobs of one experiment, with what all their commands have in common."""

    def __init__(self, experiment: Experiment, places: Places, machine: Machine):
        self.experiment, self.places, self.machine = experiment, places, machine
        self.budget = budget_of_all(experiment, places.record_dir)
        shared = {
            name: getattr(experiment, name)
            for name in ("limit_train", "limit_test", "validate", "amp")
        }
        self.shared = {name: value for name, value in shared.items() if value}
        self.task = {"model": experiment.model, "dataset": experiment.dataset}

    def job(
        self,
        script: str,
        save: str,
        name: str,
        size: Size,
        settings: TrainingSettings,
        preset: TrainingSettings,
        networks: list[str],
        **more: Any,
    ) -> Job:
        """Return the job of a training with ``script``.

        Its command has options for the ``networks``, and for settings that differ from their
        ``preset``.
        """
        options = [
            *self.options(script, save),
            *networks,
            *command_options(settings, preset, (*TASK, "seed")),
        ]

        return Job(
            name,
            script,
            tuple(options),
            paths.result_file(self.places.plot_dir, settings.model, save, size),
            paths.job_log(self.places.model_dir, settings.model, name),
            settings,
            preset=preset,
            size=size,
            weights=paths.weights_file(self.places.model_dir, settings.model, name),
            **more,
        )

    def from_scratch(self, seed: int) -> tuple[TrainingSettings, TrainingSettings]:
        """Return the settings of a training from scratch, and their defaults."""
        preset = training_preset(self.experiment.dataset)
        given = self.given(preset, "--train-with", self.experiment.train_with, "seed")
        return self.with_overrides(preset, "--train-with", {**given, "seed": seed}), preset

    def given(
        self,
        preset: Settings | tuple[Settings, ...],
        flag: str,
        texts: tuple[str, ...] | None,
        *without: str,
    ) -> dict[str, Any]:
        """Return the settings that were given for a kind of job, by the names of fields. Raises
        UserError."""
        try:
            return {**self.shared, **assigned(preset, texts or (), (*TASK, *without))}
        except UserError as error:
            raise UserError(f"{flag} {error}") from None

    def with_overrides(self, preset: Any, flag: str, given: dict[str, Any]) -> Any:
        """Return ``preset`` with the settings that were given. Raises UserError."""
        try:
            return preset.with_overrides({**self.task, **given})
        except UserError as error:  # two settings that don't go together
            raise UserError(f"{flag}: {error}") from None

    def options(self, script: str, save: str) -> Iterator[str]:
        """Yield the options that every command has."""
        yield from (
            "--model",
            self.experiment.model,
            "--dataset",
            self.experiment.dataset,
            "--save",
            save,
        )
        yield from command_options(self.places, Places())
        yield from command_options(
            self.machine, Machine(), ("compile",) * (script not in COMPILING)
        )

    def sized(self, size: Size, ratio: str) -> list[str]:
        """Return the options for the size of a network; ``ratio`` is the one for ratios."""
        said = (
            ["--target", str(size.target)] if isinstance(size, Limit) else [ratio, shortest(size)]
        )
        return [*said, *(["--budget", self.budget] if self.budget else [])]

    def named(self, method: str) -> str:
        """Return the name of a method's runs."""
        return name_of(self.experiment, method)
