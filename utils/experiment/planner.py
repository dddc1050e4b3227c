"""Makes the jobs of an experiment, a pure function of its settings. Each job is a command of the
README."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from utils.errors import UserError
from utils.experiment.checks import check
from utils.experiment.jobs import (
    LAST,
    TASK,
    Job,
    budget_of_all,
    is_pruned,
    iteration_of,
    name_of,
    sizes_of,
)
from utils.records import paths
from utils.settings import (
    PUBLISHED,
    BaseNetwork,
    Experiment,
    Limit,
    Machine,
    Networks,
    Places,
    SearchSettings,
    Settings,
    Size,
    TrainingSettings,
    arguments,
    assigned,
    fine_tuning_preset,
    search_preset,
    shortest,
    training_preset,
)


def jobs_of(experiment: Experiment, places: Places, machine: Machine) -> list[Job]:
    """Return all jobs of an experiment: those that others need, then its trainings, seed by seed.

    Raises UserError for an experiment that can't be.
    """
    check(experiment)
    planner = Planner(experiment, places, machine)
    needs = planner.needed()
    trainings = [
        planner.training(method, seed, size, needs.get(method))
        for seed in experiment.seeds
        for method in experiment.methods
        for size in sizes_of(experiment, planner.budget)
        if method != "magnitude" or is_pruned(size, experiment)
    ]
    return [*dict.fromkeys(needs.values()), *trainings]


class Planner:
    """Makes the jobs of one experiment."""

    def __init__(self, experiment: Experiment, places: Places, machine: Machine):
        self.experiment, self.places, self.machine = experiment, places, machine
        self.budget = budget_of_all(experiment, places.record_dir)
        shared = {
            name: getattr(experiment, name)
            for name in ("limit_train", "limit_test", "validate", "amp")
        }
        self.shared = {name: value for name, value in shared.items() if value}
        self.task = {"model": experiment.model, "dataset": experiment.dataset}

    def needed(self) -> dict[str, Job]:
        """Return the job that the trainings of each method need first, by method."""
        asked = self.experiment
        found: dict[str, Job] = {}
        if asked.search and asked.search != PUBLISHED:
            search = self.search(asked.search, morph=False)
            found |= {
                method: search for method in asked.methods if method.startswith("neuralscale")
            }
        if asked.morph_search:
            found["morph"] = self.search(asked.morph_search, morph=True)
        if "magnitude" in asked.methods:
            found["magnitude"] = self.base()
        return found

    def search(self, save: str, morph: bool) -> Job:
        """Return the job of a search."""
        preset = search_preset(self.experiment.dataset)
        given = self.given(preset, "--search-with", self.experiment.search_with, "morph")
        settings: SearchSettings = self.with_overrides(
            preset, "--search-with", given | ({"morph": True} if morph else {})
        )

        # the defaults of a --morph search differ
        options = [
            *self.options("architecture_descent.py", save, compile=False),
            *["--morph"] * morph,
            *arguments(settings, preset.morphnet() if morph else preset, (*TASK, "morph")),
        ]
        return Job(
            paths.as_search(save),
            "architecture_descent.py",
            tuple(options),
            paths.search_record(self.places.record_dir, save),
            paths.job_log(self.places.model_dir, settings.model, paths.as_search(save)),
            settings,
            frozenset(given),
        )

    def base(self) -> Job:
        """Return the job of the magnitude baseline's base network."""
        save, network = self.base_name(), BaseNetwork(ratio=self.experiment.base_ratio)
        return self.job(
            "train_norm.py",
            save,
            save,
            network.ratio,
            *self.from_scratch(self.experiment.base_seed),
            arguments(network, BaseNetwork()),
            method="base",
        )

    def base_name(self) -> str:
        """Return the name of the base network; without a number it has the seed 0."""
        seed = self.experiment.base_seed
        return self.named("base") + (f"_{seed}" if seed else "")

    def training(self, method: str, seed: int, size: Size, needs: Job | None) -> Job:
        """Return the job of one training."""
        if method == "magnitude":
            return self.fine_tuning(seed, size, needs)
        save = f"{self.named(method)}_{seed}"
        search = {"uniform": None, "morph": self.experiment.morph_search}.get(
            method, self.experiment.search
        )

        # the iteration must be one that its search will have
        iteration = iteration_of(method)
        if (
            iteration
            and needs
            and "iterations" in needs.given
            and isinstance(needs.settings, SearchSettings)
            and (iteration > (iterations := needs.settings.iterations))
        ):
            raise UserError(
                f"--methods {method}: {search} is a search of {iterations} iterations "
                "(--search-with iterations=N)"
            )

        networks = Networks(
            uniform=method == "uniform",
            morph=method == "morph",
            prune_fname=search,
            descent_idx=iteration - 1 if iteration else None,
        )
        return self.job(
            "ratio_swipe.py",
            save,
            paths.at_size(save, size),
            size,
            *self.from_scratch(seed),
            [*arguments(networks, Networks()), *self.sized(size, "--ratios")],
            needs=needs,
            method={"neuralscale": LAST, "morph": "morphnet"}.get(method, method),
            search=search or (PUBLISHED if method == "morph" else None),
            budget=self.budget,
        )

    def fine_tuning(self, seed: int, size: Size, needs: Job | None) -> Job:
        """Return the job of one fine-tuning of the magnitude baseline."""
        save = f"{self.named('magnitude')}_{seed}"
        preset = fine_tuning_preset(self.experiment.dataset)
        given = self.given(preset, "--tune-with", self.experiment.tune_with, "seed")
        settings: TrainingSettings = self.with_overrides(
            preset, "--tune-with", {**given, "seed": seed}
        )

        return self.job(
            "fine_tune.py",
            save,
            paths.at_size(save, size),
            size,
            settings,
            preset,
            ["--prune-fname", self.base_name(), *self.sized(size, "--ratio")],
            needs=needs,
            method="magnitude",
            budget=self.budget,
            base=self.base_name(),
        )

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
            *arguments(settings, preset, (*TASK, "seed")),
        ]

        return Job(
            name,
            script,
            tuple(options),
            paths.result_file(self.places.plot_dir, settings.model, save, size),
            paths.job_log(self.places.model_dir, settings.model, name),
            settings,
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
        self, preset: Settings, flag: str, texts: tuple[str, ...] | None, *without: str
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
            return preset.settled({**self.task, **given})
        except UserError as error:  # two settings that don't go together
            raise UserError(f"{flag}: {error}") from None

    def options(self, script: str, save: str, *, compile: bool = True) -> Iterator[str]:
        """Yield the options that every command has."""
        yield from (
            "--model",
            self.experiment.model,
            "--dataset",
            self.experiment.dataset,
            "--save",
            save,
        )
        yield from arguments(self.places, Places())
        yield from arguments(self.machine, Machine(), () if compile else ("compile",))

    def sized(self, size: Size, ratio: str) -> list[str]:
        """Return the options for the size of a network; ``ratio`` is the one for ratios."""
        said = (
            ["--target", str(size.target)] if isinstance(size, Limit) else [ratio, shortest(size)]
        )
        return [*said, *(["--budget", self.budget] if self.budget else [])]

    def named(self, method: str) -> str:
        """Return the name of a method's runs."""
        return name_of(self.experiment, method)
