"""Makes the jobs of an experiment, a pure function of its settings. Each job is a command of the
README."""

from __future__ import annotations

from utils.errors import UserError
from utils.experiment.checks import check
from utils.experiment.job_maker import JobMaker
from utils.experiment.jobs import (
    FROM_BASE,
    LAST,
    TASK,
    Job,
    is_from_base,
    is_pruned,
    iteration_of,
    sizes_of,
)
from utils.records import paths
from utils.records.method import PRUNED
from utils.settings import (
    PUBLISHED,
    BaseNetwork,
    Experiment,
    Machine,
    Networks,
    Places,
    SearchSettings,
    Size,
    TrainingSettings,
    command_options,
    fine_tuning_preset,
    search_preset,
)
from utils.settings.compression import Compression, PruningSettings


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
        if is_pruned(method, size, experiment)
    ]
    return [*dict.fromkeys(needs.values()), *trainings]


class Planner(JobMaker):
    """Makes the jobs of one experiment."""

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
        if from_base := [method for method in FROM_BASE if is_from_base(method, asked)]:
            found |= dict.fromkeys(from_base, self.base())
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
            *self.options("architecture_descent.py", save),
            *["--morph"] * morph,
            *command_options(settings, preset.morphnet() if morph else preset, (*TASK, "morph")),
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
        """Return the job of the base network that magnitude and prune begin with."""
        save, network = self.base_name(), BaseNetwork(ratio=self.experiment.base_ratio)
        return self.job(
            "train_norm.py",
            save,
            save,
            network.ratio,
            *self.from_scratch(self.experiment.base_seed),
            command_options(network, BaseNetwork()),
            method="base",
        )

    def base_name(self) -> str:
        """Return the name of the base network; without a number it has the seed 0."""
        seed = self.experiment.base_seed
        return (self.experiment.base or self.named("base")) + (f"_{seed}" if seed else "")

    def training(self, method: str, seed: int, size: Size, needs: Job | None) -> Job:
        """Return the job of one training."""
        if method == "magnitude":
            return self.fine_tuning(seed, size, needs)
        if method == "prune":
            return self.pruning(seed, size, needs)
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
            [*command_options(networks, Networks()), *self.sized(size, "--ratios")],
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

    def pruning(self, seed: int, size: Size, base: Job | None) -> Job:
        """Return the job of one pruning, of the weights that were given or of the base network."""
        weights = self.experiment.weights or str(base.weights if base else "")
        preset = PruningSettings(dataset=self.experiment.dataset)
        standard = Compression(weights=weights, target="25%")
        without = ("seed", "weights", "target", "budget")
        given = self.given((preset, standard), "--prune-with", self.experiment.prune_with, *without)
        settings = self.with_overrides(preset, "--prune-with", {**given, "seed": seed})
        compression: Compression = self.with_overrides(standard, "--prune-with", given)

        save = f"{self.named('prune')}_{seed}"
        chosen = command_options(compression, standard, ("weights", "target"))
        return self.job(
            "prune.py",
            save,
            paths.at_size(save, size),
            size,
            settings,
            preset,
            ["--weights", weights, *self.sized(size, "--target"), *chosen],
            needs=base,
            method=pruned_method(compression),
            search=compression.prune_fname or (PUBLISHED if compression.morph else None),
            budget=self.budget,
            base=self.base_name() if base else None,
            compression=compression,
        )


def pruned_method(compression: Compression) -> str:
    """Return a pattern for the method in the result of a pruning."""
    widths = ""
    if compression.uniform:
        widths = r"\+uniform"
    elif compression.morph:
        widths = r"\+morphnet"
    elif compression.prune_fname:
        index = compression.descent_idx
        widths = r"\+" + (LAST if index is None else f"neuralscale_{index + 1}")
    return f"{PRUNED}{compression.criterion}{widths}"
