"""The jobs of an experiment, a pure function of its settings: each is a command line of the
README."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.figures.labels import default_name
from utils.records import paths
from utils.records.methods import refuse_impossible
from utils.records.published import read_published_morph, read_published_scaling
from utils.settings import (
    DATASETS,
    PUBLISHED,
    BaseNetwork,
    Experiment,
    Machine,
    Networks,
    Places,
    SearchSettings,
    Settings,
    TrainingSettings,
    arguments,
    assigned,
    dataset_name,
    fine_tuning_preset,
    networks_preset,
    search_preset,
    shortest,
    training_preset,
)
from utils.settings.option import flag

TASK = ("model", "dataset")  # named in every command
# what results call the networks of the last iteration, whichever number that has
LAST = r"neuralscale_\d+"
# whose default names the trainings of a method have, if not its own
CURVES = {"neuralscale": "neuralscale_15", "morph": "morphnet"}


@dataclass(frozen=True)
class Job:
    """A search or a training: one process, which goes on where an earlier one was stopped."""

    name: str  # of its checkpoint and its log
    script: str
    options: tuple[str, ...]
    result: Path  # there when it is done, and locked while it works
    log: Path
    settings: SearchSettings | TrainingSettings
    given: frozenset[str] = frozenset()  # of a search: the settings that were given
    needs: Job | None = None
    method: str = ""  # of a training, what its result says it is, a pattern
    search: str | None = None  # where its network comes from
    # what its network is scaled to; None: what its search says, else parameters
    budget: str | None = None
    base: str | None = None  # of a fine-tuning, the name of its base network
    ratio: float | None = None  # of a training
    weights: Path | None = None  # what a training leaves beside its result

    @property
    def command(self) -> list[str]:
        """What one would type behind python3."""
        return [self.script, *self.options, "--resume"]

    @property
    def key(self) -> str:
        """Its name among the jobs of all models."""
        return f"{self.settings.model}/{self.name}"


def jobs_of(experiment: Experiment, places: Places, machine: Machine) -> list[Job]:
    """All jobs of an experiment: what others need, then its trainings, seed by seed. Raises
    UserError for what can't work."""
    check(experiment)
    planner = Planner(experiment, places, machine)
    needs = planner.needed()
    trainings = [
        planner.training(method, seed, ratio, needs.get(method))
        for seed in experiment.seeds
        for method in experiment.methods
        for ratio in ratios_of(experiment)
        if method != "magnitude" or ratio < experiment.base_ratio
    ]
    return [*dict.fromkeys(needs.values()), *trainings]


def ratios_of(experiment: Experiment) -> tuple[float, ...]:
    """Those given, or the data set's own."""
    return experiment.ratios or networks_preset(experiment.dataset).ratios


def check(experiment: Experiment) -> None:
    """Raises UserError for what no job of the experiment could mend."""
    methods, ratios = experiment.methods, ratios_of(experiment)
    if experiment.dataset not in DATASETS and not Path(experiment.dataset).is_dir():
        raise UserError(
            f"--dataset {experiment.dataset}: neither {', '.join(DATASETS)} nor a folder"
        )
    if len({paths.percent(ratio) for ratio in ratios}) < len(ratios):
        raise UserError(
            f"--ratios {' '.join(map(str, ratios))}: two of them share a file name, which has "
            "int(100 * ratio)"
        )
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
    if "magnitude" in methods and min(ratios) >= experiment.base_ratio:
        raise UserError(
            "--methods magnitude prunes to ratios below --base-ratio "
            f"{experiment.base_ratio:g}; --ratios has none"
        )
    for name in ("base_ratio", "base_seed"):
        if "magnitude" not in methods and (value := getattr(experiment, name)) != getattr(
            Experiment, name
        ):
            raise UserError(f"{flag(name)} {value:g} goes with --methods magnitude alone")


def check_networks(experiment: Experiment) -> None:
    """The same for networks that can't be. It loads torch, which --status does without."""
    model, dataset = experiment.model, dataset_name(experiment.dataset)
    images = images_of(experiment)
    from utils.data.channels import channels_for  # with torch

    refuse_impossible(
        model,
        experiment.dataset,
        *ratios_of(experiment),
        experiment.base_ratio,
        image_size=images["image_size"],
        channels=channels_for(model, experiment.dataset, **images),
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
    """The image_size and the channels with which its images are read, as its settings say them,
    those of its searches before those of its trainings; None where they don't."""
    found: dict[str, Any] = {"image_size": None, "channels": None}
    for preset, texts in (
        (search_preset, experiment.search_with),
        (training_preset, experiment.train_with),
    ):
        given = assigned(preset(experiment.dataset), texts or ())
        found |= {name: given[name] for name in found if found[name] is None and name in given}
    return found


def name_of(experiment: Experiment, method: str) -> str:
    """What the runs of a method are called, without their seeds. No name ends in _N, which would be
    a seed."""
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
    """Of neuralscale_N the N, counted from 1."""
    _, _, number = method.partition("neuralscale_")
    return int(number) if number else None


class Planner:
    """Makes the jobs of one experiment."""

    def __init__(self, experiment: Experiment, places: Places, machine: Machine):
        self.experiment, self.places, self.machine = experiment, places, machine
        shared = {
            name: getattr(experiment, name)
            for name in ("limit_train", "limit_test", "validate", "amp")
        }
        self.shared = {name: value for name, value in shared.items() if value}
        self.task = {"model": experiment.model, "dataset": experiment.dataset}

    def needed(self) -> dict[str, Job]:
        """By method, what its trainings need first."""
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
        preset = search_preset(self.experiment.dataset)
        given = self.given(preset, "--search-with", self.experiment.search_with, "morph")
        settings: SearchSettings = self.settled(
            preset, "--search-with", given | ({"morph": True} if morph else {})
        )
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
        """The base network of the magnitude baseline."""
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
        """What the base network is called; one without a number has the seed 0."""
        seed = self.experiment.base_seed
        return self.named("base") + (f"_{seed}" if seed else "")

    def training(self, method: str, seed: int, ratio: float, needs: Job | None) -> Job:
        save = f"{self.named(method)}_{seed}"
        if method == "magnitude":
            preset = fine_tuning_preset(self.experiment.dataset)
            given = self.given(preset, "--tune-with", self.experiment.tune_with, "seed")
            settings: TrainingSettings = self.settled(
                preset, "--tune-with", {**given, "seed": seed}
            )
            return self.job(
                "fine_tune.py",
                save,
                paths.at_size(save, ratio),
                ratio,
                settings,
                preset,
                ["--prune-fname", self.base_name(), "--ratio", shortest(ratio), *self.budget()],
                needs=needs,
                method="magnitude",
                budget=self.experiment.budget,
                base=self.base_name(),
            )
        search = {"uniform": None, "morph": self.experiment.morph_search}.get(
            method, self.experiment.search
        )
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
            paths.at_size(save, ratio),
            ratio,
            *self.from_scratch(seed),
            [*arguments(networks, Networks()), "--ratios", shortest(ratio), *self.budget()],
            needs=needs,
            method={"neuralscale": LAST, "morph": "morphnet"}.get(method, method),
            search=search or (PUBLISHED if method == "morph" else None),
            budget=self.experiment.budget,
        )

    def job(
        self,
        script: str,
        save: str,
        name: str,
        ratio: float,
        settings: TrainingSettings,
        preset: TrainingSettings,
        networks: list[str],
        **more: Any,
    ) -> Job:
        options = [
            *self.options(script, save),
            *networks,
            *arguments(settings, preset, (*TASK, "seed")),
        ]
        return Job(
            name,
            script,
            tuple(options),
            paths.result_file(self.places.plot_dir, settings.model, save, ratio),
            paths.job_log(self.places.model_dir, settings.model, name),
            settings,
            ratio=ratio,
            weights=paths.weights_file(self.places.model_dir, settings.model, name),
            **more,
        )

    def from_scratch(self, seed: int) -> tuple[TrainingSettings, TrainingSettings]:
        """The settings of a training from scratch, and what they are by default."""
        preset = training_preset(self.experiment.dataset)
        given = self.given(preset, "--train-with", self.experiment.train_with, "seed")
        return self.settled(preset, "--train-with", {**given, "seed": seed}), preset

    def given(
        self, preset: Settings, flag: str, texts: tuple[str, ...] | None, *without: str
    ) -> dict[str, Any]:
        """The settings that were given for a kind of job, by the names of fields. Raises
        UserError."""
        try:
            return {**self.shared, **assigned(preset, texts or (), (*TASK, *without))}
        except UserError as error:
            raise UserError(f"{flag} {error}") from None

    def settled(self, preset: Any, flag: str, given: dict[str, Any]) -> Any:
        try:
            return preset.settled({**self.task, **given})
        except UserError as error:  # two that don't go together
            raise UserError(f"{flag}: {error}") from None

    def options(self, script: str, save: str, *, compile: bool = True) -> Iterator[str]:
        """What every command has."""
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

    def budget(self) -> list[str]:
        return ["--budget", self.experiment.budget] if self.experiment.budget else []

    def named(self, method: str) -> str:
        return name_of(self.experiment, method)
