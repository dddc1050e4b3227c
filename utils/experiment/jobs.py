"""The jobs of an experiment, and their names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from utils.figures.labels import default_name
from utils.records import paths
from utils.settings import (
    Experiment,
    SearchSettings,
    TrainingSettings,
    dataset_name,
    networks_preset,
)

TASK = ("model", "dataset")  # every command has them
# the results of the last iteration's networks have this method, with the number of the iteration
LAST = r"neuralscale_\d+"
# methods whose trainings have the default names of another curve
CURVES = {"neuralscale": "neuralscale_15", "morph": "morphnet"}


@dataclass(frozen=True)
class Job:
    """A search or a training: one process, which continues where an earlier one was stopped."""

    name: str  # of its checkpoint and its log
    script: str
    options: tuple[str, ...]
    result: Path  # exists when the job is done, and is locked while it runs
    log: Path
    settings: SearchSettings | TrainingSettings
    given: frozenset[str] = frozenset()  # of a search: the settings that were given for it
    needs: Job | None = None
    # of a training:
    method: str = ""  # a pattern for the method in its result
    search: str | None = None  # the search that its network comes from
    budget: str | None = None  # the unit of its budget; None: that of its search, else parameters
    base: str | None = None  # of a fine-tuning, the name of its base network
    ratio: float | None = None
    weights: Path | None = None  # stored beside its result

    @property
    def command(self) -> list[str]:
        """The command as typed after python3."""
        return [self.script, *self.options, "--resume"]

    @property
    def key(self) -> str:
        """The job's name among the jobs of all models."""
        return f"{self.settings.model}/{self.name}"


def ratios_of(experiment: Experiment) -> tuple[float, ...]:
    """Return the experiment's ratios, or those of its data set."""
    return experiment.ratios or networks_preset(experiment.dataset).ratios


def name_of(experiment: Experiment, method: str) -> str:
    """Return the name of a method's runs, without their seeds.

    No name ends in _N, which would be taken for a seed.
    """
    iteration = iteration_of(method)
    called = (
        f"neuralscale_it{iteration}" if iteration and (experiment.name or iteration > 1) else method
    )
    name = (
        f"{experiment.name}_{called}"
        if experiment.name
        else default_name(
            CURVES.get(called, called), experiment.model, dataset_name(experiment.dataset)
        )
    )
    if method in ("base", "magnitude") and experiment.base_ratio != Experiment.base_ratio:
        name += f".{paths.percent(experiment.base_ratio)}"  # of another base network
    return name


def iteration_of(method: str) -> int | None:
    """Return the N, counted from 1, of neuralscale_N; None for other methods."""
    _, _, number = method.partition("neuralscale_")
    return int(number) if number else None
