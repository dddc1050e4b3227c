"""The jobs of an experiment, and their names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from utils.figures.labels import default_name
from utils.records import paths
from utils.records.searches import budget_of, read_search
from utils.settings import (
    PUBLISHED,
    Experiment,
    Limit,
    SearchSettings,
    Size,
    Target,
    TrainingSettings,
    assigned,
    dataset_name,
    networks_preset,
    search_preset,
)
from utils.settings.compression import Compression

TASK = ("model", "dataset")  # every command has them
# the results of the last iteration's networks have this method, with the number of the iteration
LAST = r"neuralscale_\d+"
FROM_BASE = ("magnitude", "prune")  # methods that begin with a trained network, and make it smaller
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
    preset: TrainingSettings | None = None  # of a training: the defaults of its script
    needs: Job | None = None
    # of a training:
    method: str = ""  # a pattern for the method in its result
    search: str | None = None  # the search that its network comes from
    budget: str | None = None  # the unit of its budget; None: that of its search, else parameters
    base: str | None = None  # of a fine-tuning or a pruning, the name of its base network
    compression: Compression | None = None  # of a pruning: how it is done
    size: Size | None = None
    weights: Path | None = None  # stored beside its result

    @property
    def command(self) -> list[str]:
        """The command as typed after python3."""
        return [self.script, *self.options, "--resume"]

    @property
    def key(self) -> str:
        """The job's name among the jobs of all models."""
        return f"{self.settings.model}/{self.name}"


def sizes_of(experiment: Experiment, budget: str | None) -> tuple[Size, ...]:
    """Return the experiment's targets, in the unit of ``budget``; else its ratios, or those of its
    data set."""
    if experiment.target:
        return tuple(Limit(Target.parse(text), budget or "macs") for text in experiment.target)
    return experiment.ratios or networks_preset(experiment.dataset).ratios


def is_from_base(method: str, experiment: Experiment) -> bool:
    """Return True if an experiment's networks of a method begin with a base network, which is
    trained first."""
    return method in experiment.methods and (method == "magnitude" or not experiment.weights)


def is_pruned(method: str, size: Size, experiment: Experiment) -> bool:
    """Return True if a network of this size is smaller than the one that a method begins with, as
    far as that can be seen without counting."""
    if method not in FROM_BASE:
        return True
    if not isinstance(size, Limit):
        return size < experiment.base_ratio
    # prune.py takes a part of the network that it is given, others a part of the template
    whole = 1.0 if method == "prune" else experiment.base_ratio**2
    return not size.target.percent or size.target.number < 100 * whole


def budget_of_all(experiment: Experiment, record_dir: str) -> str | None:
    """Return the unit of the budget of all networks of an experiment, None if they differ.

    It is the one that was given. Targets are to be compared: theirs is that of the search, else
    MACs.
    """
    if experiment.budget or not experiment.target:
        return experiment.budget
    search = experiment.search or experiment.morph_search
    if not search:
        return "macs"
    if search != PUBLISHED and paths.search_record(record_dir, search).exists():
        return budget_of(
            read_search(record_dir, search, experiment.model, dataset_name(experiment.dataset))
        )
    given = assigned(search_preset(experiment.dataset), experiment.search_with or ())
    budget: str = given.get("budget", SearchSettings.budget)
    return budget


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
    if method in ("base", *FROM_BASE) and experiment.base_ratio != Experiment.base_ratio:
        name += f".{paths.percent(experiment.base_ratio)}"  # of another base network
    return name


def iteration_of(method: str) -> int | None:
    """Return the N, counted from 1, of neuralscale_N; None for other methods."""
    _, _, number = method.partition("neuralscale_")
    return int(number) if number else None
