"""The elements of the second study: its questions, the arms that answer them, and the tests that
were set down before any run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from utils.settings import Experiment
from utils.study.parts import Entry, Part


@dataclass(frozen=True)
class Setup:
    """The images, and how networks are trained on them, that all arms of a question share."""

    key: str  # of the names of its runs
    model: str
    dataset: str
    train_with: tuple[str, ...]  # of trainings from scratch and of prunings alike
    limit_train: int | None = None
    # of a question about a trained network that is given: the one that is pruned
    base_ratio: float = 1.0
    base_epochs: int = 0


@dataclass(frozen=True)
class Arm:
    """One kind of network and training. Arms with equal ``size`` are compared with each other."""

    setup: Setup
    label: str
    name: str
    method: str
    seeds: tuple[int, ...]
    epochs: int
    size: str  # a ratio, or the target of networks that are within it
    budget: str | None = None  # what a target is of: params or macs
    # the seeds of the first study's searches, which its seeds use in turn
    searches: tuple[int, ...] = ()
    search: str = ""  # the name of those searches, without their seeds
    search_with: tuple[str, ...] = ()
    prune_with: tuple[str, ...] = ()
    bases: bool = False  # True for the base networks of its prunings, in place of these
    validate: int | None = None
    turn: int = 0  # arms of a higher turn are run later

    def entries(self) -> list[Entry]:
        """Return an experiment for each seed, so that the arms can be run seed by seed."""
        return [self.entry(place, seed) for place, seed in enumerate(self.seeds)]

    def entry(self, place: int, seed: int) -> Entry:
        """Return the experiment of one seed."""
        setup, search_seed = self.setup, None
        if self.searches:
            search_seed = self.searches[place % len(self.searches)]
        suffix = "" if search_seed is None else f"_s{search_seed}"

        experiment = Experiment(
            name=f"{setup.key}_{self.name}{suffix}",
            model=setup.model,
            dataset=setup.dataset,
            methods=(self.method,),
            seeds=(seed,),
            limit_train=setup.limit_train,
            validate=self.validate,
            **self.sized(),
            **self.searched(search_seed),
            **self.trained(seed, search_seed),
        )

        # the choice of the epochs comes before everything else
        turn = self.turn + place - (self.validate is not None) * len(self.seeds)
        return Entry(self.label, experiment, (self.name,), search_seed, turn, self.bases)

    @property
    def all_epochs(self) -> str:
        """The epochs of a training, those of its base before them."""
        of_base = f"{self.setup.base_epochs} + " if self.method == "prune" else ""
        return str(self.setup.base_epochs) if self.bases else f"{of_base}{self.epochs}"

    def sized(self) -> dict[str, Any]:
        """Return the settings for the size of its networks."""
        if self.budget:
            return {"target": (self.size,), "budget": self.budget}
        return {"ratios": (float(self.size),)}

    def searched(self, seed: int | None) -> dict[str, Any]:
        """Return the settings for the search of its networks, if they are trained from scratch."""
        if seed is None or self.method == "prune":
            return {}
        which = "morph_search" if self.method == "morph" else "search"
        name = f"{self.search}_s{seed}"
        return {which: name, "search_with": (*self.search_with, f"seed={seed}")}

    def trained(self, seed: int, search_seed: int | None) -> dict[str, Any]:
        """Return the settings for its trainings."""
        setup = self.setup
        if self.method != "prune":
            return {"train_with": (*setup.train_with, f"epochs={self.epochs}")}
        widths = () if search_seed is None else (f"prune-fname={self.search}_s{search_seed}",)
        return {
            "base": f"{setup.key}_base",
            "base_ratio": setup.base_ratio,
            "base_seed": seed,
            "train_with": (*setup.train_with, f"epochs={setup.base_epochs}"),
            "prune_with": (
                *(*setup.train_with, f"epochs={self.epochs}", *self.prune_with, *widths),
                *["descent-idx=0"] * bool(widths),
            ),
        }


@dataclass(frozen=True)
class Test:
    """A comparison that was set down before any run: does ``arm`` differ from ``against``?"""

    question: str
    arm: Arm
    against: Arm


@dataclass(frozen=True)
class Question:
    """A table: its arms, those of each size below the arm that they are held against."""

    key: str
    title: str
    arms: tuple[Arm, ...]
    tests: tuple[Test, ...] = ()
    bases: tuple[Arm, ...] = ()  # the networks that its arms begin with

    def baseline(self, arm: Arm) -> Arm:
        """Return the arm that another one is held against: the first uniform one of its size, or
        else the first arm of all, which is of that size in either unit."""
        alike = [one for one in self.arms if (one.size, one.method) == (arm.size, "uniform")]
        return (alike or self.arms)[0]

    def part(self, turn: int, before: Iterable[Arm] = ()) -> Part:
        """Return its experiments from a ``turn`` on, behind those of arms that come ``before``."""
        arms = (*before, *self.arms)
        entries = [
            replace(entry, turn=entry.turn + turn) for arm in arms for entry in arm.entries()
        ]
        return Part(self.key, self.title, "", 0.0, (), tuple(entries), drawn=False)
