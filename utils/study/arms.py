"""The results of the second study: the trainings of each arm, their costs, and the tests that were
set down first."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from utils.experiment.state import states_of
from utils.records.results import Result, read_result
from utils.settings import Places, SearchSettings
from utils.study.cost import search_macs
from utils.study.question import Arm, Test
from utils.study.statistics import Estimate, Spread, estimate, holm, interval, pooled

FORWARD_AND_BACKWARD = 3  # a backward pass takes the multiply-accumulates of two forward passes


@dataclass
class Trained:
    """The finished trainings of an arm."""

    arm: Arm
    results: list[Result]
    planned: int
    search_macs: float = 0.0  # of the forward passes of a search, the mean over its searches

    @property
    def begun(self) -> bool:
        """True if a training is finished."""
        return bool(self.results)

    def mean(self, what: str) -> float:
        """Return the mean of a number of its results: params, macs or seconds."""
        # always one of Result's numbers
        return fmean(result[what] for result in self.results)  # type: ignore[literal-required]

    @cached_property
    def accuracies(self) -> list[float]:
        """The accuracy after the last epoch of each training, in %: on images held out if there are
        any, or else in test."""
        return [
            result["val_acc"][-1] if "val_acc" in result else result["last"]
            for result in self.results
        ]

    @property
    def accuracy(self) -> Estimate:
        """The mean accuracy over its trainings."""
        return estimate(self.accuracies)

    @property
    def training_macs(self) -> float:
        """The multiply-accumulates of one training, forward and backward; of one that begins with a
        trained network, its training included."""
        return FORWARD_AND_BACKWARD * fmean(
            result["images"] * self.forward_macs(result) for result in self.results
        )

    def forward_macs(self, result: Result) -> float:
        """Return the multiply-accumulates of all forward passes of a training, for each image."""
        epochs, macs = len(result["test_acc"]), result["macs"]
        if "before" not in result:
            return epochs * macs

        # while it is pruned, a network becomes smaller by the same factor in each round
        whole, part = result["before"]["macs"], result["settings"]["prune_part"]
        meanwhile = (whole - macs) / math.log(whole / macs)
        pruning = epochs * (part * meanwhile + (1 - part) * macs)
        return self.arm.setup.base_epochs * whole + pruning

    @property
    def total_macs(self) -> float:
        """The multiply-accumulates of one training and its search."""
        return self.training_macs + FORWARD_AND_BACKWARD * self.search_macs


def trained(arm: Arm, places: Places) -> Trained:
    """Return the results of an arm. Raises UserError for damaged results and records, and those of
    other work."""
    results, searches, planned = list[Result](), set[str](), 0
    for entry in arm.entries():
        for state in states_of(entry.jobs(places), {}):
            if isinstance(state.job.settings, SearchSettings):
                continue
            if (state.job.method == "base") != arm.bases:
                continue
            planned += 1
            if state.kind == "finished":
                results.append(read_result(state.job.result))
                searches |= {state.job.search} if state.job.search else set()
    iterations = 1  # the arms use no more of a search
    macs = [search_macs(places, search, arm.setup.model, iterations) for search in sorted(searches)]
    return Trained(arm, results, planned, fmean(macs) if macs else 0.0)


# the tests of a question, and the results of its arms
Asked = tuple[tuple[Test, ...], dict[Arm, Trained]]


@dataclass(frozen=True)
class Answer:
    """The outcome of a test.

    It is the difference of two means in percentage points, half its 95 % interval, and the
    two-sided p-value, alone and corrected by Holm's method for the number of tests that were set
    down.
    """

    test: Test
    mean: float
    half: float
    p: float
    corrected: float = 1.0


def spread_of(arms: Iterable[Trained]) -> Spread | None:
    """Return the standard deviation of single trainings within an arm, pooled over all arms."""
    return pooled([found.accuracies for found in arms if len(found.results) > 1])


def above(one: Trained, other: Trained, spread: Spread) -> tuple[float, float, float]:
    """Return by how much an arm is more accurate than another: the difference of the means, half
    its 95 % interval, and its p-value."""
    mean = one.accuracy.mean - other.accuracy.mean
    error = spread.deviation * (1 / one.accuracy.n + 1 / other.accuracy.n) ** 0.5
    return mean, *interval(mean, error, spread.freedom)


def answers(questions: Iterable[Asked], planned_tests: int) -> list[Answer]:
    """Return the outcomes of the tests whose arms have both begun.

    The correction counts all ``planned_tests``, also those still to come.
    """
    found = []
    for tests, arms in questions:
        spread = spread_of(arms.values())
        found += [
            Answer(test, *above(arms[test.arm], arms[test.against], spread))
            for test in tests
            if spread and arms[test.arm].begun and arms[test.against].begun
        ]

    # tests still to come count as p = 1, with which the correction is strictest
    corrected = holm([answer.p for answer in found] + [1.0] * (planned_tests - len(found)))
    return [
        Answer(answer.test, answer.mean, answer.half, answer.p, p)
        for answer, p in zip(found, corrected)
    ]
