"""What has come out of a study so far: each finished training, and the rows of its tables."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import fmean

from utils.experiment.finished import best_of
from utils.experiment.jobs import jobs_of
from utils.figures.comparison import interpolated
from utils.records.results import read_result
from utils.settings import Machine, Places, SearchSettings
from utils.study.plan import Entry, Part, Table
from utils.study.statistics import Difference, Estimate, difference, estimate


@dataclass(frozen=True)
class Outcome:
    """One training; accuracies in % after its last epoch."""

    label: str
    search_seed: int | None
    seed: int
    ratio: float
    params: int
    macs: int
    test: float
    held_out: float


@dataclass
class Row:
    """The trainings of one kind of network at one ratio."""

    label: str
    ratio: float
    outcomes: list[Outcome] = field(default_factory=list)

    def by_seed(self, value: Callable[[Outcome], float | None]) -> list[float]:
        """A value for each seed of the training: the mean over the searches that have one."""
        found: dict[int, list[float]] = {}
        for outcome in self.outcomes:
            if (number := value(outcome)) is not None:
                found.setdefault(outcome.seed, []).append(number)
        return [fmean(found[seed]) for seed in sorted(found)]

    def mean(self, what: str) -> float:
        """Parameters, MACs or an accuracy: the mean of all."""
        return fmean(getattr(outcome, what) for outcome in self.outcomes)

    def accuracy(self) -> Estimate:
        """The test accuracy, over the seeds of the training."""
        return estimate(self.by_seed(lambda outcome: outcome.test))

    def by_search(self) -> dict[int, float]:
        """The mean test accuracy of the networks of each search."""
        seeds = sorted({outcome.search_seed for outcome in self.outcomes if outcome.search_seed is not None})
        return {seed: fmean(outcome.test for outcome in self.outcomes if outcome.search_seed == seed) for seed in seeds}

    def against(self, uniform: Uniform, axis: str, what: str = "test") -> Difference | None:
        """How much more accurate than uniform networks of equal ``axis``, paired by the seed; None outside their range."""
        def gap(outcome: Outcome) -> float | None:
            level = uniform.level(outcome, axis, what)
            return None if level is None else getattr(outcome, what) - level

        gaps = self.by_seed(gap)
        return difference(gaps) if len(gaps) == len({outcome.seed for outcome in self.outcomes}) else None


class Uniform:
    """The uniform networks of a part, which all others are held against."""

    def __init__(self, outcomes: Iterable[Outcome]):
        self.outcomes = [outcome for outcome in outcomes if outcome.label == "uniform"]

    def level(self, outcome: Outcome, axis: str, what: str) -> float | None:
        """What a uniform network of the same seed and equal ``axis`` reaches, interpolated as in plot_ratio.py."""
        known = [(getattr(own, axis), getattr(own, what)) for own in self.outcomes if own.seed == outcome.seed]
        return interpolated(known, getattr(outcome, axis)) if len(known) > 1 else None


def label_of(entry: Entry, method: str) -> str:
    """What a network is called: its entry's label, and of which iteration it is."""
    match = re.fullmatch(r"neuralscale_(\d+)", method)
    return f"{entry.label}, iteration {match[1]}" if match else entry.label


def outcomes_of(entry: Entry, places: Places) -> list[Outcome]:
    """The finished trainings of an experiment. Raises UserError for a result that is damaged or of another training."""
    found = []
    for job in jobs_of(entry.experiment, places, Machine()):
        if isinstance(job.settings, SearchSettings) or job.method == "base" or best_of(job, job.settings) is None:
            continue
        result = read_result(job.result)
        found.append(Outcome(label_of(entry, result["method"]), entry.search_seed, result["seed"], result["ratio"], result["params"],
                             result["macs"], result["last"], result["val_acc"][-1]))
    return found


class Findings:
    """All finished trainings of a part."""

    def __init__(self, part: Part, places: Places):
        self.part = part
        self.entries = [(entry, outcomes_of(entry, places)) for entry in part.entries]
        self.uniform = Uniform(outcome for _, outcomes in self.entries for outcome in outcomes)

    @property
    def begun(self) -> bool:
        """Whether anything has come out yet."""
        return any(outcomes for _, outcomes in self.entries)

    def rows(self, table: Table) -> list[Row]:
        """The rows of a table that have at least one training: by what they are in the plan's order, iteration and ratio."""
        rows: dict[tuple[str, float], Row] = {}
        order: dict[str, int] = {}
        for entry, outcomes in self.entries:
            for outcome in outcomes if table.of in entry.tables else []:
                if table.ratios is None or outcome.ratio in table.ratios:
                    order.setdefault(entry.label, len(order))
                    order.setdefault(outcome.label, order[entry.label])
                    rows.setdefault((outcome.label, outcome.ratio), Row(outcome.label, outcome.ratio)).outcomes.append(outcome)
        return sorted(rows.values(), key=lambda row: (order[row.label], row.label, row.ratio))
