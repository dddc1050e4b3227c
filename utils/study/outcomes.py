"""What has come out of a study so far: each finished training, and the rows of its tables."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean

from utils.errors import UserError
from utils.experiment.jobs import Job
from utils.experiment.state import states_of
from utils.figures.comparison import interpolated
from utils.records.results import read_result
from utils.settings import Places, SearchSettings
from utils.study.plan import UNIFORM, Entry, Part
from utils.study.statistics import Difference, Estimate, difference, estimate

IMAGES = ("images", "validation_images", "test_images")


@dataclass(frozen=True)
class Outcome:
    """One training; accuracies in % after its last epoch."""

    group: str  # the label of its entry
    iteration: int | None  # of a search, counted from 1
    search_seed: int | None
    seed: int
    ratio: float
    params: int
    macs: int
    filters: tuple[int, ...]
    test: float
    held_out: float
    search: str | None = None  # that its network comes from

    def pairs_with(self, other: Outcome) -> bool:
        """Whether the two have their ratio and their seeds in common: of the training and, where the other has one, of the search."""
        of_search = other.search_seed is None or self.search_seed == other.search_seed
        return of_search and (self.ratio, self.seed) == (other.ratio, other.seed)


@dataclass
class Row:
    """The trainings of one kind of network at one ratio, or at all of a table's (None)."""

    group: str
    iteration: int | None
    ratio: float | None
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.group if self.iteration is None else f"{self.group}, iteration {self.iteration}"

    @property
    def searches(self) -> list[int]:
        """The seeds of its searches."""
        return sorted({outcome.search_seed for outcome in self.outcomes if outcome.search_seed is not None})

    def of_search(self, seed: int) -> Row:
        """The networks of one search alone."""
        return Row(self.group, self.iteration, self.ratio, [outcome for outcome in self.outcomes if outcome.search_seed == seed])

    def by_seed(self) -> dict[int, list[Outcome]]:
        """The trainings of each seed that those of all searches have: the others would mix seeds with searches."""
        found: dict[int, list[Outcome]] = {}
        for outcome in self.outcomes:
            found.setdefault(outcome.seed, []).append(outcome)
        most = max(map(len, found.values()))
        return {seed: found[seed] for seed in sorted(found) if len(found[seed]) == most}

    def means(self, value: Callable[[Outcome], float | None]) -> list[float] | None:
        """A value for each seed of the training, the mean over the searches; None where one has no value."""
        values = [[value(outcome) for outcome in outcomes] for outcomes in self.by_seed().values()]
        known = [[number for number in seed if number is not None] for seed in values]
        return [fmean(numbers) for numbers in known] if known == values else None

    def mean(self, what: str) -> float:
        """Parameters, MACs or an accuracy: the mean of all."""
        return fmean(getattr(outcome, what) for outcomes in self.by_seed().values() for outcome in outcomes)

    def accuracy(self) -> Estimate:
        """The test accuracy, over the seeds of the training."""
        return estimate(self.means(lambda outcome: outcome.test) or [])

    def against(self, uniform: Uniform, axis: str, what: str = "test") -> Difference | None:
        """How much more accurate than uniform networks of equal ``axis``, paired by the seed; None where one is outside of their range."""
        def gap(outcome: Outcome) -> float | None:
            level = uniform.level(outcome, axis, what)
            return None if level is None else getattr(outcome, what) - level

        gaps = self.means(gap)
        return difference(gaps) if gaps else None

    def above(self, other: Row, what: str = "test") -> Difference | None:
        """How much more accurate than another row, paired by ratio and seeds of training and search; None where there are no pairs."""
        twins = {own: twin for own in self.outcomes for twin in other.outcomes if own.pairs_with(twin)}
        pairs = Row(self.group, self.iteration, self.ratio, list(twins))
        gaps = pairs.means(lambda own: getattr(own, what) - getattr(twins[own], what)) if twins else None
        return difference(gaps) if gaps else None


class Uniform:
    """The uniform networks of a part, which all others are held against."""

    def __init__(self, outcomes: Iterable[Outcome]):
        self.outcomes = [outcome for outcome in outcomes if outcome.group == UNIFORM]

    def level(self, outcome: Outcome, axis: str, what: str) -> float | None:
        """What a uniform network of the same seed and equal ``axis`` reaches, interpolated as in plot_ratio.py."""
        known = [(getattr(own, axis), getattr(own, what)) for own in self.outcomes if own.seed == outcome.seed]
        return interpolated(known, getattr(outcome, axis)) if len(known) > 1 else None


class Findings:
    """All finished trainings of a part. Raises UserError for results and records that are damaged, or of other work."""

    def __init__(self, part: Part, places: Places):
        self.part, self.places = part, places
        self.jobs: dict[str, Job] = {}  # all that are planned
        self.finished: list[Job] = []
        self.images: dict[str, object] = {}  # how many, as the first result says it
        self.entries = [(entry, self.outcomes_of(entry, places)) for entry in part.entries]
        self.uniform = Uniform(outcome for _, outcomes in self.entries for outcome in outcomes)

    def outcomes_of(self, entry: Entry, places: Places) -> list[Outcome]:
        """The finished trainings of an experiment."""
        found = []
        for state in states_of(entry.jobs(places), {}):
            job = state.job
            if job.key not in self.jobs and state.kind == "finished":
                self.finished.append(job)
            self.jobs[job.key] = job
            if state.kind == "finished" and not isinstance(job.settings, SearchSettings) and (job.method == "base") == entry.bases:
                found.append(self.outcome_of(entry, job))
        return found

    def outcome_of(self, entry: Entry, job: Job) -> Outcome:
        result = read_result(job.result)
        for key in IMAGES:
            if (number := result.get(key)) != (first := self.images.setdefault(key, number)):
                raise UserError(f"{job.result}: of {number} {key}, the results before it of {first}; one study is of one set of images")
        match = re.fullmatch(r"neuralscale_(\d+)", result["method"])
        return Outcome(entry.label, int(match[1]) if match else None, entry.search_seed, result["seed"], result["ratio"], result["params"],
                       result["macs"], tuple(result["filters"]), result["last"], result["val_acc"][-1], job.search)

    @property
    def begun(self) -> bool:
        """Whether anything has come out yet."""
        return any(outcomes for _, outcomes in self.entries)

    def rows(self, of: str | None, ratios: tuple[float, ...] | None = None) -> list[Row]:
        """The rows with at least one training, in the plan's order, by iteration and ratio.

        ``of`` is a table's, None: that of any; ``ratios`` are those wanted, None: all.
        """
        rows: dict[tuple[str, int | None, float | None], Row] = {}
        for entry, outcomes in self.entries:
            for outcome in outcomes if of in (None, *entry.tables) else []:
                if ratios is None or outcome.ratio in ratios:
                    key = outcome.group, outcome.iteration, outcome.ratio
                    rows.setdefault(key, Row(*key)).outcomes.append(outcome)
        order = [entry.label for entry in self.part.entries]
        return sorted(rows.values(), key=lambda row: (order.index(row.group), row.iteration or 0, row.ratio or 0))


def with_all_ratios(rows: list[Row]) -> list[Row]:
    """The same rows, and behind those of a kind of network at several ratios one of all: its differences are surer."""
    found: list[Row] = []
    for _, alike in groupby(rows, key=lambda row: (row.group, row.iteration)):
        own = list(alike)
        found += own
        if len(own) > 1 and own[0].group != UNIFORM:
            found.append(Row(own[0].group, own[0].iteration, None, [outcome for row in own for outcome in row.outcomes]))
    return found
