"""The study as data: which experiments it is made of, and which of them each of its tables
compares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from utils.experiment.jobs import Job
from utils.experiment.planner import jobs_of
from utils.records.paths import image_folder
from utils.settings import Experiment, Machine, Places

FIRST_AND_LAST = ("neuralscale_1", "neuralscale_5")
FIRST_ALONE, LAST_ALONE = FIRST_AND_LAST[:1], FIRST_AND_LAST[1:]
BETWEEN = ("neuralscale_3",)
SEARCH_SEEDS = (0, 1)
UNIFORM = "uniform"
FIRST = "iteration 1"  # as a table's baseline: of the same search
BASES = "uniform, base networks of pruning"


@dataclass(frozen=True)
class Entry:
    """An experiment, and in which tables its networks are. Those of one label differ in the seed of
    their search."""

    label: str
    experiment: Experiment
    tables: tuple[str, ...]
    search_seed: int | None = None
    turn: int = 0  # those of a lower one are run first, of all parts
    # whether its networks are the base networks of its experiment, not those that are pruned
    bases: bool = False

    def jobs(self, places: Places) -> list[Job]:
        """The jobs of its experiment, on the CPU, whose numbers are the same everywhere but for the
        last digits."""
        return jobs_of(self.experiment, places, Machine(device="cpu"))

    @property
    def axis(self) -> str:
        """What its search goes by: params or macs."""
        return "macs" if "budget=macs" in (self.experiment.search_with or ()) else "params"


@dataclass(frozen=True)
class Table:
    """A question, and the networks that answer it: those of the entries that are ``of`` it, or of
    another table."""

    of: str
    title: str
    ratios: tuple[float, ...] | None = None  # those shown; None: all
    # whose networks the others are held against too: a label, at the same iteration, or FIRST
    baseline: str | None = None
    costs: bool = False  # whether it says what the searches cost


@dataclass(frozen=True)
class Part:
    """One network on one data set: its tables, and its experiments in the order of the tables'
    rows."""

    key: str
    title: str
    settings: str  # in words
    middle: float  # the ratio that tables of one ratio are of
    tables: tuple[Table, ...]
    entries: tuple[Entry, ...]
    drawn: bool = True  # whether figures are

    @property
    def model(self) -> str:
        return self.entries[0].experiment.model

    def on(self, data: str) -> Part:
        """The same with the images that lie below ``data`` as a folder, where they do."""

        def found(experiment: Experiment) -> Experiment:
            folder = image_folder(experiment.dataset, data)
            return replace(experiment, dataset=str(folder)) if folder else experiment

        return replace(
            self,
            entries=tuple(
                replace(entry, experiment=found(entry.experiment)) for entry in self.entries
            ),
        )


@dataclass(frozen=True)
class Task:
    """What all experiments of a part have in common, and how they are named and made."""

    key: str
    common: dict[str, Any]
    ratios: tuple[float, ...]
    search_with: tuple[str, ...]

    def experiment(
        self,
        name: str,
        methods: tuple[str, ...],
        ratios: tuple[float, ...] | None = None,
        **more: Any,
    ) -> Experiment:
        return Experiment(
            name=f"{self.key}_{name}",
            methods=methods,
            ratios=ratios or self.ratios,
            **{**self.common, **more},
        )

    def uniform(
        self, ratios: tuple[float, ...], tables: tuple[str, ...], at: str = "", **more: Any
    ) -> Entry:
        return Entry(UNIFORM, self.experiment(f"uniform{at}", ("uniform",), ratios, **more), tables)

    def searched(
        self,
        label: str,
        name: str,
        methods: tuple[str, ...],
        tables: tuple[str, ...],
        *search_with: str,
        ratios: tuple[float, ...] | None = None,
        at: str = "",
        **more: Any,
    ) -> list[Entry]:
        """The networks of the search ``name``, once for each of its seeds; ``at`` tells experiments
        with one search apart."""
        found = []
        for seed in SEARCH_SEEDS:
            search = f"{self.key}_{name}_s{seed}"
            experiment = self.experiment(
                f"{name}_s{seed}{at}",
                methods,
                ratios,
                search=search,
                search_with=(*self.search_with, *search_with, f"seed={seed}"),
                **more,
            )
            found.append(Entry(label, experiment, tables, seed))
        return found

    def tried(
        self, label: str, name: str, methods: tuple[str, ...], table: str, *search_with: str
    ) -> list[Entry]:
        """A variant of a search, with the first seed of the search alone."""
        return self.searched(label, name, methods, (table,), *search_with)[:1]

    def morph(self, ratios: tuple[float, ...], tables: tuple[str, ...]) -> list[Entry]:
        """MorphNet (Taylor-FO), searched by ourselves."""
        found = []
        for seed in SEARCH_SEEDS:
            experiment = self.experiment(
                f"morph_s{seed}",
                ("morph",),
                ratios,
                morph_search=f"{self.key}_morphed_s{seed}",
                search_with=(*self.search_with, f"seed={seed}"),
            )
            found.append(Entry("MorphNet (Taylor-FO)", experiment, tables, seed))
        return found

    def bases(self, base_ratio: float, tables: tuple[str, ...]) -> list[Entry]:
        """The base networks that ``magnitude`` prunes: uniform ones, as any other, trained at
        another time."""
        return [
            replace(entry, label=BASES, bases=True) for entry in self.magnitude(base_ratio, tables)
        ]

    def magnitude(
        self,
        base_ratio: float,
        tables: tuple[str, ...],
        *tune_with: str,
        at: str = "",
        tuned: str = "",
    ) -> list[Entry]:
        """Pruned and fine-tuned, for as many epochs again as the base network was trained; a base
        network for each seed."""
        return [
            Entry(
                f"magnitude pruning, twice the epochs{tuned}",
                self.experiment(
                    f"pruned{at}",
                    ("magnitude",),
                    base_ratio=base_ratio,
                    base_seed=seed,
                    seeds=(seed,),
                    tune_with=(*self.common["train_with"], *tune_with),
                ),
                tables,
            )
            for seed in self.common["seeds"]
        ]


def later(turn: int, entries: Iterable[Entry]) -> list[Entry]:
    """The same entries, in another turn: first what answers the main questions, then what widens or
    repeats it."""
    return [replace(entry, turn=turn) for entry in entries]


BY_MACS, BY_PARAMS = "NeuralScale by MACs", "NeuralScale by parameters"
HELD_AGAINST = ("main", "descent", "tries", "paper", "cheap", "alike")


def vgg_on_cifar10() -> Part:
    task = Task(
        "vgg_c10",
        {
            "model": "vgg",
            "dataset": "CIFAR10",
            "seeds": (0, 1, 2, 3, 4),
            "limit_train": 10_000,
            "validate": 2_000,
            "train_with": ("epochs=15", "batch-size=64"),
        },
        (0.0625, 0.125),
        ("ratio=0.25", "iterations=5", "batch-size=64"),
    )
    middle, wide, main = 0.125, (0.25,), ("main",)
    again = ("again", "both")
    fresh: dict[str, Any] = {"at": "_again", "seeds": (5, 6, 7, 8, 9)}
    # what the variants of each share
    by_macs, by_params = (
        (LAST_ALONE, "tries", "budget=macs"),
        (FIRST_ALONE, "paper", "iterations=1"),
    )
    narrow = "by parameters, from ratio 0.125", "narrow"
    tables = (
        Table("main", "At one ratio", (middle,), costs=True),
        Table("main", "All methods"),
        Table("again", "By MACs again, with five other seeds of the training, 5 to 9", task.ratios),
        Table("both", "By MACs, all seeds together", task.ratios),
        Table(
            "alike",
            "Against uniform networks that were trained on the same kind of processor",
            wide,
            BASES,
        ),
        Table("descent", "Does descending help?", (middle,), FIRST, costs=True),
        Table("tries", "What could make a search by MACs better?", task.ratios, BY_MACS),
        Table("paper", "What could make a search by parameters better?", task.ratios, BY_PARAMS),
        Table("cheap", "How cheap can a search be?", wide, BY_PARAMS, costs=True),
    )
    entries = [
        task.uniform((0.05, 0.0625, 0.125, 0.1875, 0.25, 0.375), (*HELD_AGAINST, "both")),
        *task.searched(
            BY_MACS, "macs", FIRST_AND_LAST, ("main", "descent", "tries", "both"), "budget=macs"
        ),
        *task.searched(BY_PARAMS, "params", FIRST_AND_LAST, ("main", "descent", "paper")),
        *later(1, task.morph((0.0625, 0.125, 0.25), main)),
        *later(1, task.magnitude(0.25, main)),
        *later(1, task.bases(0.25, ("alike",))),
        *later(7, task.magnitude(0.25, main, "lr=0.01", at="_faster", tuned=", at 0.01")),
        *later(
            3,
            task.searched(
                BY_PARAMS,
                "params",
                FIRST_AND_LAST,
                ("main", "cheap", "alike"),
                ratios=wide,
                at="_wide",
            ),
        ),
        # what is wide by parameters goes this far in MACs
        *later(3, [task.uniform((0.5,), HELD_AGAINST, at="_wide")]),
        *later(
            5,
            task.searched(
                BY_MACS,
                "macs",
                FIRST_AND_LAST,
                ("main", "alike"),
                "budget=macs",
                ratios=wide,
                at="_wide",
            ),
        ),
        *later(
            5,
            task.searched(
                BY_MACS,
                "macs",
                BETWEEN,
                ("descent",),
                "budget=macs",
                ratios=(middle,),
                at="_between",
            )[:1],
        ),
        *later(
            5,
            task.searched(
                BY_PARAMS, "params", BETWEEN, ("descent",), ratios=(middle,), at="_between"
            )[:1],
        ),
        *task.tried("by MACs, cost exponent 1/2", "half", *by_macs, "cost-exponent=0.5"),
        *task.tried("by MACs, cost exponent 0", "zero", *by_macs, "cost-exponent=0"),
        *task.tried("by MACs, cost exponent 3/2", "more", *by_macs, "cost-exponent=1.5"),
        *task.tried(
            "by MACs, fitted to the first half of the rows", "early", *by_macs, "fit-rows=0.5"
        ),
        *task.tried("by MACs, cost at a round's end", "end", *by_macs, "cost-at=end"),
        *task.tried("by MACs, 4 times the images per round", "slow", *by_macs, "prune-every=200"),
        task.uniform((0.05, 0.0625, 0.125, 0.1875), again, **fresh),
        *task.searched(BY_MACS, "macs", LAST_ALONE, again, "budget=macs", **fresh),
        *later(
            6,
            task.tried(
                "by parameters, fitted to the first half of the rows",
                "early_params",
                *by_params,
                "fit-rows=0.5",
            ),
        ),
        *later(
            7,
            task.tried(
                "by parameters, 4 times the images per round",
                "slow_params",
                *by_params,
                "prune-every=200",
            ),
        ),
        *later(
            4,
            task.searched(
                *narrow, FIRST_ALONE, ("cheap",), "ratio=0.125", "prune-step=5", ratios=wide
            ),
        ),
        *later(
            8,
            task.searched(
                *narrow, LAST_ALONE, ("cheap",), "ratio=0.125", "prune-step=5", ratios=wide
            )[:1],
        ),
        *later(
            4,
            task.searched(
                "by parameters, with a third of the images",
                "few",
                FIRST_ALONE,
                ("cheap",),
                "limit-train=3330",
                "prune-every=17",
                "iterations=1",
                ratios=wide,
            ),
        ),
        *later(
            4,
            task.searched(
                "by parameters, from ratio 0.5",
                "wide",
                FIRST_ALONE,
                ("cheap",),
                "ratio=0.5",
                "prune-step=20",
                "iterations=1",
                ratios=wide,
            )[:1],
        ),
    ]
    return Part(
        "vgg_CIFAR10",
        "vgg on CIFAR10",
        "Images recompressed as JPEG: 10,000 to train on, 2,000 held out, 10,000 to test on; "
        "15 epochs in batches of 64, seeds 0 to 4 (5 to 9 where it says so); "
        "searches of 5 iterations from ratio 0.25: 10 epochs "
        "of warm-up, then 10 filters every 50 batches of 64",
        middle,
        tables,
        tuple(entries),
    )


ON_CIFAR100 = Task(
    "mobilenetv2_c100",
    {
        "model": "mobilenetv2",
        "dataset": "CIFAR100",
        "seeds": (0, 1, 2, 3, 4),
        "limit_train": 8_000,
        "validate": 2_000,
        "train_with": ("epochs=15", "batch-size=64"),
    },
    (0.125, 0.25),
    ("ratio=0.25", "iterations=5", "batch-size=64", "prune-every=10"),
)


def mobilenetv2_on_cifar100() -> Part:
    task, middle, main = ON_CIFAR100, 0.125, ("main",)
    tables = (
        Table("main", "At one ratio", (middle,), costs=True),
        Table("main", "All methods"),
        Table("descent", "Does descending help?", (middle,), FIRST, costs=True),
    )
    entries = [
        *later(2, [task.uniform((0.1, 0.125, 0.1875, 0.25, 0.375, 0.5), HELD_AGAINST)]),
        *later(
            2, task.searched(BY_MACS, "macs", FIRST_AND_LAST, ("main", "descent"), "budget=macs")
        ),
        *later(
            2,
            task.searched(
                BY_PARAMS, "params", FIRST_AND_LAST, ("main", "descent"), ratios=(middle,)
            ),
        ),
        *later(6, task.morph((middle,), main)),
        *later(6, task.magnitude(0.375, main)),
    ]
    return Part(
        "mobilenetv2_CIFAR100",
        "mobilenetv2 on CIFAR100",
        "A subset of the images: 80 of each class to train on, 20 held out, "
        "20 to test on; 15 epochs in batches of 64, seeds 0 to 4; searches of 5 "
        "iterations from ratio 0.25: 10 epochs of warm-up, "
        "then 10 filters every 10 batches of 64",
        middle,
        tables,
        tuple(entries),
        drawn=False,
    )


def mobilenetv2_for_longer() -> Part:
    """Whether a search loses there because all train for so short a time."""
    task, middle, main = ON_CIFAR100, 0.125, ("main",)
    longer: dict[str, Any] = {"at": "_long", "train_with": ("epochs=45", "batch-size=64")}
    entries = [
        *later(3, [task.uniform((0.1, 0.125), main, **longer)]),
        *later(
            3, task.searched(BY_PARAMS, "params", FIRST_ALONE, main, ratios=(middle,), **longer)[:1]
        ),
    ]
    return Part(
        "mobilenetv2_CIFAR100_long",
        "mobilenetv2 on CIFAR100, trained three times as long",
        "The same images and a search of before; 45 epochs in batches of 64, seeds 0 to 4",
        middle,
        (Table("main", "At one ratio", (middle,)),),
        tuple(entries),
        drawn=False,
    )


def digits() -> Part:
    """The same in minutes, on images that need no download."""
    task = Task(
        "digits",
        {
            "model": "vgg",
            "dataset": "digits",
            "seeds": (0, 1),
            "limit_train": 600,
            "validate": 200,
            "train_with": ("epochs=6", "batch-size=32"),
        },
        (0.125,),
        (
            "ratio=0.125",
            "iterations=2",
            "warmup=3",
            "prune-every=1",
            "prune-step=5",
            "batch-size=32",
        ),
    )
    entries = [
        task.uniform((0.0625, 0.125, 0.1875), ("main", "descent")),
        *task.searched(
            BY_MACS, "macs", ("neuralscale_1", "neuralscale_2"), ("main", "descent"), "budget=macs"
        ),
    ]
    tables = (
        Table("main", "At one ratio", (0.125,)),
        Table("main", "All methods"),
        Table("descent", "Does descending help?", (0.125,), FIRST),
    )
    return Part(
        "digits",
        "vgg on digits",
        "600 training images, 200 others held out; 6 epochs in batches of 32, seeds 0 and 1; "
        "searches "
        "of 2 iterations from ratio 0.125: 3 epochs of warm-up, then 5 filters "
        "after every batch",
        0.125,
        tables,
        tuple(entries),
    )


STUDIES = {
    "full": (vgg_on_cifar10, mobilenetv2_on_cifar100, mobilenetv2_for_longer),
    "digits": (digits,),
}


def study(name: str, data: str) -> list[Part]:
    """The parts of a study, with the images below ``data`` where they lie there as folders."""
    return [part().on(data) for part in STUDIES[name]]
