"""The study as data: which experiments it is made of, and which of them each of its tables compares."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from utils.experiment.jobs import Job, jobs_of
from utils.settings import Experiment, Machine, Places

FIRST_AND_LAST = ("neuralscale_1", "neuralscale_5")
BETWEEN = ("neuralscale_2", "neuralscale_3", "neuralscale_4")
SEARCH_SEEDS = (0, 1)
UNIFORM = "uniform"
FIRST = "iteration 1"  # as a table's baseline: of the same search


@dataclass(frozen=True)
class Entry:
    """An experiment, and in which tables its networks are. Those of one label differ in the seed of their search."""

    label: str
    experiment: Experiment
    tables: tuple[str, ...]
    search_seed: int | None = None

    def jobs(self, places: Places) -> list[Job]:
        """The jobs of its experiment, on the CPU, whose numbers are the same everywhere but for the last digits."""
        return jobs_of(self.experiment, places, Machine(device="cpu"))

    @property
    def axis(self) -> str:
        """What its search goes by: params or macs."""
        return "macs" if "budget=macs" in (self.experiment.search_with or ()) else "params"


@dataclass(frozen=True)
class Table:
    """A question, and the networks that answer it: those of the entries that are ``of`` it, or of another table."""

    of: str
    title: str
    ratios: tuple[float, ...] | None = None  # those shown; None: all
    baseline: str | None = None  # whose networks the others are held against too: a label, at the same iteration, or FIRST


@dataclass(frozen=True)
class Part:
    """One network on one data set: its tables, and its experiments in the order in which they are run."""

    key: str
    title: str
    settings: str  # in words
    tables: tuple[Table, ...]
    entries: tuple[Entry, ...]

    def on(self, data: str) -> Part:
        """The same with the images of the folder ``data``/<data set>, where there is one."""
        def found(experiment: Experiment) -> Experiment:
            folder = Path(data) / experiment.dataset
            return replace(experiment, dataset=str(folder)) if folder.is_dir() else experiment

        return replace(self, entries=tuple(replace(entry, experiment=found(entry.experiment)) for entry in self.entries))


@dataclass(frozen=True)
class Task:
    """What all experiments of a part have in common, and how they are named and made."""

    key: str
    common: dict[str, Any]
    ratios: tuple[float, ...]
    search_with: tuple[str, ...]

    def experiment(self, name: str, methods: tuple[str, ...], ratios: tuple[float, ...] | None = None, **more: Any) -> Experiment:
        return Experiment(name=f"{self.key}_{name}", methods=methods, ratios=ratios or self.ratios, **{**self.common, **more})

    def uniform(self, ratios: tuple[float, ...], tables: tuple[str, ...]) -> Entry:
        return Entry(UNIFORM, self.experiment("uniform", ("uniform",), ratios), tables)

    def searched(self, label: str, name: str, methods: tuple[str, ...], tables: tuple[str, ...], *search_with: str,
                 ratios: tuple[float, ...] | None = None, at: str = "", **more: Any) -> list[Entry]:
        """The networks of the search ``name``, once for each of its seeds; ``at`` tells experiments with one search apart."""
        found = []
        for seed in SEARCH_SEEDS:
            search = f"{self.key}_{name}_s{seed}"
            experiment = self.experiment(f"{name}_s{seed}{at}", methods, ratios, search=search,
                                         search_with=(*self.search_with, *search_with, f"seed={seed}"), **more)
            found.append(Entry(label, experiment, tables, seed))
        return found

    def morph(self, ratios: tuple[float, ...], tables: tuple[str, ...]) -> list[Entry]:
        """MorphNet (Taylor-FO), searched by ourselves."""
        found = []
        for seed in SEARCH_SEEDS:
            experiment = self.experiment(f"morph_s{seed}", ("morph",), ratios, morph_search=f"{self.key}_morphed_s{seed}",
                                         search_with=(*self.search_with, f"seed={seed}"))
            found.append(Entry("MorphNet (Taylor-FO)", experiment, tables, seed))
        return found

    def magnitude(self, base_ratio: float, tables: tuple[str, ...]) -> list[Entry]:
        """Pruned and fine-tuned, for as many epochs again as the base network was trained; a base network for each seed."""
        return [Entry("magnitude pruning, twice the epochs",
                      self.experiment("pruned", ("magnitude",), base_ratio=base_ratio, base_seed=seed, seeds=(seed,),
                                      tune_with=self.common["train_with"]), tables) for seed in self.common["seeds"]]


BY_MACS, BY_PARAMS = "NeuralScale by MACs", "NeuralScale by parameters"
HELD_AGAINST = ("main", "descent", "tries", "paper", "cheap")


def vgg_on_cifar10() -> Part:
    task = Task("vgg_c10", {"model": "vgg", "dataset": "CIFAR10", "seeds": (0, 1, 2, 3, 4), "limit_train": 10_000, "validate": 2_000,
                            "train_with": ("epochs=15", "batch-size=64")},
                (0.0625, 0.125), ("ratio=0.25", "iterations=5", "batch-size=64"))
    middle, wide, main, tries = (0.125,), (0.25,), ("main",), ("tries",)
    tables = (
        Table("main", "At one ratio", middle),
        Table("main", "All methods"),
        Table("descent", "Does descending help?", middle, FIRST),
        Table("tries", "What could make a search by MACs better?", (0.0625, 0.125), BY_MACS),
        Table("paper", "What could make a search by parameters better?", (0.0625, 0.125), BY_PARAMS),
        Table("cheap", "How cheap can a search be?", wide, BY_MACS))
    entries = [
        task.uniform((0.05, 0.0625, 0.125, 0.1875, 0.25, 0.375), HELD_AGAINST),
        *task.searched(BY_MACS, "macs", FIRST_AND_LAST, ("main", "descent", "tries"), "budget=macs"),
        *task.searched(BY_PARAMS, "params", FIRST_AND_LAST, ("main", "descent", "paper")),
        *task.morph((0.0625, 0.125, 0.25), main),
        *task.magnitude(0.25, main),
        *task.searched(BY_MACS, "macs", BETWEEN, ("descent", "tries"), "budget=macs", at="_between"),
        *task.searched(BY_PARAMS, "params", BETWEEN, ("descent",), ratios=middle, at="_between"),
        *task.searched(BY_MACS, "macs", FIRST_AND_LAST, ("main", "cheap"), "budget=macs", ratios=wide, at="_wide"),
        *task.searched(BY_PARAMS, "params", FIRST_AND_LAST, main, ratios=wide, at="_wide"),
        *task.searched("by MACs, cost exponent 1/2", "half", FIRST_AND_LAST, tries, "budget=macs", "cost-exponent=0.5"),
        *task.searched("by MACs, cost exponent 0", "zero", FIRST_AND_LAST, tries, "budget=macs", "cost-exponent=0"),
        *task.searched("by MACs, 4 times the images per round", "slow", FIRST_AND_LAST, tries, "budget=macs", "prune-every=200"),
        *task.searched("by MACs, fitted to the first half of the rows", "early", FIRST_AND_LAST, tries, "budget=macs", "fit-rows=0.5"),
        *task.searched("by MACs, cost at a round's end", "end", FIRST_AND_LAST, tries, "budget=macs", "cost-at=end"),
        *task.searched("by parameters, 4 times the images per round", "slow_params", FIRST_AND_LAST, ("paper",), "prune-every=200"),
        *task.searched("by parameters, fitted to the first half of the rows", "early_params", FIRST_AND_LAST, ("paper",), "fit-rows=0.5"),
        *task.searched("by MACs, from ratio 0.125", "narrow", FIRST_AND_LAST, ("cheap",), "budget=macs", "ratio=0.125", "prune-step=5",
                       ratios=wide),
        *task.searched("by MACs, with a third of the images", "few", FIRST_AND_LAST, ("cheap",), "budget=macs", "limit-train=3330",
                       ratios=wide),
        *task.searched("by MACs, from ratio 0.5", "wide", FIRST_AND_LAST, ("cheap",), "budget=macs", "ratio=0.5", "prune-step=20",
                       ratios=wide)]
    return Part("vgg_CIFAR10", "vgg on CIFAR10", "Images recompressed as JPEG: 10,000 to train on, 2,000 held out, 10,000 to test on; "
                "15 epochs in batches of 64, seeds 0 to 4; searches of 5 iterations from ratio 0.25: 10 epochs of warm-up, then 10 filters "
                "every 50 batches of 64", tables, tuple(entries))


def mobilenetv2_on_cifar100() -> Part:
    task = Task("mobilenetv2_c100", {"model": "mobilenetv2", "dataset": "CIFAR100", "seeds": (0, 1, 2, 3, 4), "limit_train": 8_000,
                                     "validate": 2_000, "train_with": ("epochs=20", "batch-size=64")},
                (0.125, 0.25), ("ratio=0.25", "iterations=5", "batch-size=64", "prune-every=10"))
    middle, main = (0.25,), ("main",)
    tables = (Table("main", "At one ratio", middle), Table("main", "All methods"),
              Table("descent", "Does descending help?", middle, FIRST))
    entries = [
        task.uniform((0.1, 0.125, 0.1875, 0.25, 0.375, 0.5), HELD_AGAINST),
        *task.searched(BY_MACS, "macs", FIRST_AND_LAST, ("main", "descent"), "budget=macs"),
        *task.searched(BY_PARAMS, "params", FIRST_AND_LAST, ("main", "descent")),
        *task.morph((0.125, 0.25), main),
        *task.magnitude(0.375, main),
        *task.searched(BY_MACS, "macs", BETWEEN, ("descent",), "budget=macs", ratios=middle, at="_between"),
        *task.searched(BY_PARAMS, "params", BETWEEN, ("descent",), ratios=middle, at="_between")]
    return Part("mobilenetv2_CIFAR100", "mobilenetv2 on CIFAR100", "A subset of the images: 80 of each class to train on, 20 held out, "
                "20 to test on; 20 epochs in batches of 64, seeds 0 to 4; searches of 5 iterations from ratio 0.25: 10 epochs of warm-up, "
                "then 10 filters every 10 batches of 64", tables, tuple(entries))


def digits() -> Part:
    """The same in minutes, on images that need no download."""
    task = Task("digits", {"model": "vgg", "dataset": "digits", "seeds": (0, 1), "limit_train": 600, "validate": 200,
                           "train_with": ("epochs=6", "batch-size=32")},
                (0.125,), ("ratio=0.125", "iterations=2", "warmup=3", "prune-every=1", "prune-step=5", "batch-size=32"))
    entries = [task.uniform((0.0625, 0.125, 0.1875), ("main", "descent")),
               *task.searched(BY_MACS, "macs", ("neuralscale_1", "neuralscale_2"), ("main", "descent"), "budget=macs")]
    tables = (Table("main", "At one ratio", (0.125,)), Table("main", "All methods"),
              Table("descent", "Does descending help?", (0.125,), FIRST))
    return Part("digits", "vgg on digits", "600 training images, 200 others held out; 6 epochs in batches of 32, seeds 0 and 1; searches "
                "of 2 iterations from ratio 0.125: 3 epochs of warm-up, then 5 filters after every batch", tables, tuple(entries))


STUDIES = {"full": (vgg_on_cifar10, mobilenetv2_on_cifar100), "digits": (digits,)}


def study(name: str, data: str) -> list[Part]:
    """The parts of a study, with the images below ``data`` where they lie there as folders."""
    return [part().on(data) for part in STUDIES[name]]
