"""The results of a study so far: each finished training, and the rows of its tables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from statistics import fmean

from utils.errors import UserError
from utils.experiment.jobs import Job
from utils.experiment.state import states_of
from utils.figures.gaps import interpolated
from utils.records.results import read_result
from utils.settings import Places, SearchSettings
from utils.study.parts import UNIFORM, Entry, Part
from utils.study.statistics import Difference, Estimate, Spread, difference, estimate, pooled

# from a training to those it is compared with, and their weights
Reference = Callable[["Outcome"], "dict[Outcome, float] | None"]
IMAGES = ("images", "validation_images", "test_images")


@dataclass(frozen=True)
class Outcome:
    """One training, with accuracies in % after its last epoch."""

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
    search: str | None = None  # the search that its network comes from
    method: str = ""  # as in its result
    budget: str = "params"  # the unit of its network's budget
    epochs: int = 0  # of its training, and of its base network's if it has one

    def pairs_with(self, other: Outcome) -> bool:
        """Return True if two trainings have their ratio and their seeds in common: of the training,
        and of the search if the other has one."""
        of_search = other.search_seed is None or self.search_seed == other.search_seed
        return of_search and (self.ratio, self.seed) == (other.ratio, other.seed)


@dataclass
class Row:
    """The trainings of one kind of network at one ratio, or at all ratios of a table (None)."""

    group: str
    iteration: int | None
    ratio: float | None
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The label of its networks, with the iteration."""
        return self.group if self.iteration is None else f"{self.group}, iteration {self.iteration}"

    @property
    def searches(self) -> list[int]:
        """The seeds of its searches."""
        return sorted(
            {outcome.search_seed for outcome in self.outcomes if outcome.search_seed is not None}
        )

    def of_search(self, seed: int) -> Row:
        """Return the networks of one search alone."""
        return Row(
            self.group,
            self.iteration,
            self.ratio,
            [outcome for outcome in self.outcomes if outcome.search_seed == seed],
        )

    def by_seed(self) -> dict[int, list[Outcome]]:
        """Return the trainings of each seed that all searches have; others would mix seeds with
        searches."""
        found: dict[int, list[Outcome]] = {}
        for outcome in self.outcomes:
            found.setdefault(outcome.seed, []).append(outcome)
        most = max(map(len, found.values()))
        return {seed: found[seed] for seed in sorted(found) if len(found[seed]) == most}

    def mean(self, what: str) -> float:
        """Return the mean over all of parameters, MACs or an accuracy."""
        return fmean(
            getattr(outcome, what) for outcomes in self.by_seed().values() for outcome in outcomes
        )

    def accuracy(self) -> Estimate:
        """Return the test accuracy over the seeds of the training."""
        return estimate(
            [fmean(outcome.test for outcome in outcomes) for outcomes in self.by_seed().values()]
        )

    def difference_to(
        self, reference: Reference, what: str = "test", spread: Spread | None = None
    ) -> Difference | None:
        """Return the difference in accuracy to what each training is compared with, in pairs by the
        seed.

        None if a training has no ``reference``, and if some were trained for more epochs than
        others, for that would not compare networks. ``spread`` is that of single trainings (see
        ``statistics.difference``).
        """
        seeds = list(self.by_seed().values())
        share = 1 / sum(map(len, seeds))
        # the weight of each training in the mean difference
        weights: dict[Outcome, float] = defaultdict(float)
        gaps = []

        # the mean difference of each seed
        for outcomes in seeds:
            of_seed = []
            for own in outcomes:
                if (others := reference(own)) is None:
                    return None
                of_seed.append(
                    getattr(own, what)
                    - sum(part * getattr(other, what) for other, part in others.items())
                )
                weights[own] += share
                for other, part in others.items():
                    weights[other] -= share * part
            gaps.append(fmean(of_seed))

        alike = len({outcome.epochs for outcome in weights}) == 1
        return (
            difference(gaps, spread, sum(weight**2 for weight in weights.values()))
            if alike
            else None
        )

    def against(
        self, uniform: Uniform, axis: str, what: str = "test", spread: Spread | None = None
    ) -> Difference | None:
        """Return the difference in accuracy to uniform networks of equal ``axis``; None outside of
        their range, or if epochs differ."""
        return self.difference_to(lambda own: uniform.near(own, axis), what, spread)

    def above(
        self, other: Row, what: str = "test", spread: Spread | None = None
    ) -> Difference | None:
        """Return the difference in accuracy to another row, paired by ratio and seeds of training
        and search; None if there are no pairs."""
        twins = {
            own: twin for own in self.outcomes for twin in other.outcomes if own.pairs_with(twin)
        }
        pairs = Row(self.group, self.iteration, self.ratio, list(twins))
        return pairs.difference_to(lambda own: {twins[own]: 1.0}, what, spread) if twins else None


class Uniform:
    """The uniform networks of a part, to which all others are compared."""

    def __init__(self, outcomes: Iterable[Outcome]):
        self.outcomes = [outcome for outcome in outcomes if outcome.group == UNIFORM]
        self.near = cache(self.next_to)  # the same for many tables

    def next_to(self, outcome: Outcome, axis: str) -> dict[Outcome, float] | None:
        """Return the uniform networks of the same seed that are next to equal ``axis``, with their
        weights in the accuracy there.

        It is interpolated as in plot_ratio.py; None outside of their range.
        """
        own = [other for other in self.outcomes if other.seed == outcome.seed]
        if len(own) < 2:
            return None
        found = {}
        # the weight of one: what is interpolated if it has 1 and all others have 0
        for one in own:
            part = interpolated(
                [(getattr(other, axis), float(other is one)) for other in own],
                getattr(outcome, axis),
            )
            if part is None:
                return None
            if part:
                found[one] = part
        return found


class Findings:
    """All finished trainings of a part.

    Raises UserError for results and records that are damaged, or of other work.
    """

    def __init__(self, part: Part, places: Places):
        self.part, self.places = part, places
        self.jobs: dict[str, Job] = {}  # all planned jobs
        self.finished: list[Job] = []
        self.images: dict[str, object] = {}  # their numbers in the first result
        self.entries = [(entry, self.outcomes_of(entry, places)) for entry in part.entries]
        self.uniform = Uniform(outcome for _, outcomes in self.entries for outcome in outcomes)
        self.spread = cache(self.spread_of)

    def spread_of(self, what: str) -> Spread | None:
        """Return the standard deviation of single trainings over seeds, pooled over all kinds of
        networks of the part at all ratios."""
        cells: dict[object, dict[int, float]] = defaultdict(dict)
        for _, outcomes in self.entries:
            for own in outcomes:
                cells[own.group, own.iteration, own.search_seed, own.ratio][own.seed] = getattr(
                    own, what
                )
        return pooled(list(cell.values()) for cell in cells.values())

    def against(self, row: Row, axis: str) -> Difference | None:
        """Return a row's difference in accuracy to uniform networks of equal ``axis``."""
        return row.against(self.uniform, axis, "test", self.spread("test"))

    def above(self, row: Row, other: Row, what: str = "test") -> Difference | None:
        """Return a row's difference to another row in ``what``."""
        return row.above(other, what, self.spread(what))

    def outcomes_of(self, entry: Entry, places: Places) -> list[Outcome]:
        """Return the finished trainings of an experiment."""
        found = []
        for state in states_of(entry.jobs(places), {}):
            job = state.job
            if job.key not in self.jobs and state.kind == "finished":
                self.finished.append(job)
            self.jobs[job.key] = job
            if (
                state.kind == "finished"
                and not isinstance(job.settings, SearchSettings)
                and (job.method == "base") == entry.bases
            ):
                found.append(self.outcome_of(entry, job))
        return found

    def outcome_of(self, entry: Entry, job: Job) -> Outcome:
        """Return a finished training. Raises UserError if it is on other images than those
        before."""
        result = read_result(job.result)
        for key in IMAGES:
            if (number := result.get(key)) != (first := self.images.setdefault(key, number)):
                raise UserError(
                    f"{job.result}: of {number} {key}, the results before it of {first}; one "
                    "study is of one set of images"
                )

        # fine-tunings have the epochs of their base network too
        match = re.fullmatch(r"neuralscale_(\d+)", result["method"])
        bases = [
            base for base in (job.needs,) if base and not isinstance(base.settings, SearchSettings)
        ]
        epochs = sum(training.settings.epochs for training in (job, *bases))

        return Outcome(
            entry.label,
            int(match[1]) if match else None,
            entry.search_seed,
            result["seed"],
            result["ratio"],
            result["params"],
            result["macs"],
            tuple(result["filters"]),
            result["last"],
            result["val_acc"][-1],
            job.search,
            result["method"],
            result.get("budget", "params"),
            epochs,
        )

    @property
    def begun(self) -> bool:
        """True if a training is finished."""
        return any(outcomes for _, outcomes in self.entries)

    def rows(self, of: str | None, ratios: tuple[float, ...] | None = None) -> list[Row]:
        """Return the rows with at least one training, in the plan's order, by iteration and ratio.

        ``of`` names a table, None any; ``ratios`` are those to return, None all.
        """
        rows: dict[tuple[str, int | None, float | None], Row] = {}
        for entry, outcomes in self.entries:
            for outcome in outcomes if of in (None, *entry.tables) else []:
                if ratios is None or outcome.ratio in ratios:
                    key = outcome.group, outcome.iteration, outcome.ratio
                    rows.setdefault(key, Row(*key)).outcomes.append(outcome)

        order = [entry.label for entry in self.part.entries]
        return sorted(
            rows.values(),
            key=lambda row: (order.index(row.group), row.iteration or 0, row.ratio or 0),
        )


def with_all_ratios(rows: list[Row]) -> list[Row]:
    """Return the rows, with one more after those of a kind of network at several ratios: one of all
    ratios, whose differences are more certain."""
    found: list[Row] = []
    for _, alike in groupby(rows, key=lambda row: (row.group, row.iteration)):
        own = list(alike)
        found += own
        if len(own) > 1 and own[0].group != UNIFORM:
            found.append(
                Row(
                    own[0].group,
                    own[0].iteration,
                    None,
                    [outcome for row in own for outcome in row.outcomes],
                )
            )
    return found
