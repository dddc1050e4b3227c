"""The elements of a study: its parts, their tables, and the experiments that these compare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from utils.experiment.jobs import Job
from utils.experiment.planner import jobs_of
from utils.records.paths import image_folder
from utils.settings import Experiment, Machine, Places

SEARCH_SEEDS = (0, 1)
UNIFORM = "uniform"
FIRST = "iteration 1"  # a table's baseline: of the same search
BASES = "uniform, base networks of pruning"


@dataclass(frozen=True)
class Entry:
    """An experiment, and the tables that have its networks.

    Entries of one label differ in the seed of their search.
    """

    label: str
    experiment: Experiment
    tables: tuple[str, ...]
    search_seed: int | None = None
    turn: int = 0  # entries of a lower turn are run first, over all parts
    # True for the base networks of its experiment, not those that are pruned
    bases: bool = False

    def jobs(self, places: Places) -> list[Job]:
        """Return the jobs of its experiment.

        They run on the CPU, whose numbers are the same everywhere but for the last digits.
        """
        return jobs_of(self.experiment, places, Machine(device="cpu"))

    @property
    def axis(self) -> str:
        """The unit of its search's budget: params or macs."""
        return "macs" if "budget=macs" in (self.experiment.search_with or ()) else "params"


@dataclass(frozen=True)
class Table:
    """A question, and the networks that answer it: those of the entries of the table ``of``."""

    of: str
    title: str
    ratios: tuple[float, ...] | None = None  # those shown; None: all
    # networks to compare with as well: a label, at the same iteration, or FIRST
    baseline: str | None = None
    costs: bool = False  # True if it has the costs of searches


@dataclass(frozen=True)
class Part:
    """One network on one data set: its tables, and its experiments in the order of the rows."""

    key: str
    title: str
    settings: str  # in words
    middle: float  # the ratio of tables of one ratio
    tables: tuple[Table, ...]
    entries: tuple[Entry, ...]
    drawn: bool = True  # True if it has figures

    @property
    def model(self) -> str:
        """The name of its network."""
        return self.entries[0].experiment.model

    def on(self, data: str) -> Part:
        """Return the same with its images as a folder below ``data``, if there is one."""

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
class PartBuilder:
    """Makes and names the experiments of a part, from what they have in common."""

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
        """Return an experiment of the part."""
        return Experiment(
            name=f"{self.key}_{name}",
            methods=methods,
            ratios=ratios or self.ratios,
            **{**self.common, **more},
        )

    def uniform(
        self, ratios: tuple[float, ...], tables: tuple[str, ...], at: str = "", **more: Any
    ) -> Entry:
        """Return the uniform networks."""
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
        """Return the networks of the search ``name``, once for each of its seeds.

        ``at`` distinguishes experiments with one search.
        """
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
        """Return a variant of a search, with the first seed of the search alone."""
        return self.searched(label, name, methods, (table,), *search_with)[:1]

    def morph(self, ratios: tuple[float, ...], tables: tuple[str, ...]) -> list[Entry]:
        """Return MorphNet (Taylor-FO), with searches of our own."""
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
        """Return the base networks that ``magnitude`` prunes.

        They are uniform like any other, but were trained at another time.
        """
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
        """Return pruned networks, fine-tuned for as many epochs as the base network was trained.

        There is a base network for each seed.
        """
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
    """Return the entries in another turn.

    Entries that answer the main questions come first, those that widen or repeat it later.
    """
    return [replace(entry, turn=turn) for entry in entries]
