"""Prints the second study, from its stored results alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

from utils.errors import UserError
from utils.settings import Places
from utils.study.arms import Trained, above, answers, spread_of, trained
from utils.study.tables import markdown
from utils.study.trained import ARMS, CHOICE, PLANNED_TESTS, TESTS, UNIFORM, Arm

HEAD = (
    "network and training",
    "n",
    "parameters",
    "MMACs",
    "epochs",
    "accuracy",
    "above uniform",
    "training, TMACs",
    "with search",
)
RULE = (
    "Accuracy: % of all test images after the last epoch, mean and standard error over n seeds. "
    "Above uniform: percentage points, with the 95 % interval from the standard deviation within "
    "arms, pooled over all arms. TMACs: the multiply-accumulates, forward and backward, of one "
    "training, and with its search. -: not there yet."
)


def report_trained(places: Places) -> None:
    """Print the choice of the epochs, the arms and the tests. Raises UserError if there is no
    result yet."""
    text = list(paragraphs(places))
    if not text:
        raise UserError(
            f"{places.plot_dir}: no result of this study yet; study.py --study trained --run "
            "makes them"
        )
    for paragraph in text:
        print(f"{paragraph}\n")


def paragraphs(places: Places) -> Iterator[str]:
    """Yield all paragraphs."""
    choice = [found for arm in CHOICE if (found := trained(arm, places)).begun]
    arms = {arm: trained(arm, places) for arm in ARMS}
    if choice:
        yield "### How many epochs: uniform networks, accuracy on 5,000 training images held out"
        yield markdown([HEAD[:6], *(cells(found)[:6] for found in choice)])

    if any(found.begun for found in arms.values()):
        yield "### vgg on all of CIFAR10, from scratch"
        yield RULE
        yield table_of(arms)

        finished, planned = (
            sum(len(found.results) for found in arms.values()),
            sum(found.planned for found in arms.values()),
        )
        hours = sum(result["seconds"] for found in arms.values() for result in found.results) / 3600
        yield (
            f"{finished} of {planned} planned trainings, {hours:.1f} hours of one CPU core. "
            f"{', '.join(processors(arms))}."
        )
        yield from tests_of(arms)


def table_of(arms: dict[Arm, Trained]) -> str:
    """Return a table with a row for each arm that has begun."""
    spread, uniform = spread_of(arms.values()), arms[UNIFORM]
    lines = []
    for found in arms.values():
        if not found.begun:
            continue
        gap = "-"
        if spread and uniform.begun and found is not uniform:
            mean, half, _ = above(found, uniform, spread)
            gap = f"{mean:+.2f} ± {half:.2f}"

        lines.append(
            (
                *cells(found),
                gap,
                f"{found.training_macs / 1e12:.1f}",
                f"{found.total_macs / 1e12:.1f}",
            )
        )
    return markdown([HEAD, *lines])


def cells(found: Trained) -> tuple[str, ...]:
    """Return the cells of an arm that every table has."""
    accuracy = found.accuracy
    error = "" if math.isnan(accuracy.error) else f" ± {accuracy.error:.2f}"

    return (
        found.arm.label,
        str(accuracy.n),
        f"{found.mean('params') / 1e3:,.0f} k",
        f"{found.mean('macs') / 1e6:.2f}",
        str(found.arm.epochs),
        f"{accuracy.mean:.2f}{error}",
    )


def tests_of(arms: dict[Arm, Trained]) -> Iterator[str]:
    """Yield the tests that were set down before any run, as far as they can be answered."""
    found = answers(TESTS, arms, PLANNED_TESTS)
    if found:
        yield (
            f"### The tests that were set down first ({PLANNED_TESTS}, corrected by Holm's "
            "method, two-sided)"
        )

        yield markdown(
            [
                ("question", "difference", "p", "corrected p"),
                *(
                    (
                        f"{answer.test.question}: {answer.test.arm.label} against "
                        f"{answer.test.against.label}",
                        f"{answer.mean:+.2f} ± {answer.half:.2f}",
                        f"{answer.p:.2g}",
                        f"{answer.corrected:.2g}",
                    )
                    for answer in found
                ),
            ]
        )


def processors(arms: dict[Arm, Trained]) -> list[str]:
    """Return the kinds of processors that trainings were run on."""
    return sorted(
        {result["versions"]["device"] for found in arms.values() for result in found.results}
    )
