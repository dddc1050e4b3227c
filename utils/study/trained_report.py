"""Prints the second study, from its stored results alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from utils.errors import UserError
from utils.settings import Places
from utils.study.arms import Answer, Asked, Trained, above, answers, spread_of, trained
from utils.study.question import Arm, Question
from utils.study.tables import markdown
from utils.study.trained import CHOICE, FROM_TRAINED, PANELS, PLANNED_TESTS, QUESTIONS
from utils.study.trained_picture import draw_pruned

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
    "Above uniform: percentage points above the first row of this size, with the 95 % interval "
    "from the standard deviation within arms, pooled over all arms. TMACs: the "
    "multiply-accumulates, forward and backward, of one training, that of its base included, and "
    "with its search."
)


def report_trained(places: Places, pictures: Path) -> None:
    """Print the arms, the tests and the choice of the epochs, and draw the picture into the folder
    ``pictures``. Raises UserError if there is no result yet."""
    text = list(paragraphs(places))
    if not text:
        raise UserError(
            f"{places.plot_dir}: no result of this study yet; study.py --study trained --run "
            "makes them"
        )
    for paragraph in text:
        print(f"{paragraph}\n")

    [bases] = (trained(arm, places) for arm in FROM_TRAINED.bases)
    found = {arm: trained(arm, places) for arms in PANELS.values() for arm in arms}
    if any(one.begun for one in found.values()):
        draw_pruned(PANELS, found, bases, pictures / "study_pruned.png")


def paragraphs(places: Places) -> Iterator[str]:
    """Yield all paragraphs."""
    asked: list[Asked] = []
    for question in QUESTIONS:
        arms = {arm: trained(arm, places) for arm in question.arms}
        asked.append((question.tests, arms))
        if any(found.begun for found in arms.values()):
            yield from answered(question, arms, places)

    yield from tests_of(answers(asked, PLANNED_TESTS))
    choice = [found for arm in CHOICE if (found := trained(arm, places)).begun]
    if choice:
        yield "### How many epochs: uniform networks, accuracy on 5,000 training images held out"
        yield markdown([HEAD[:6], *(cells(found)[:6] for found in choice)])


def answered(question: Question, arms: dict[Arm, Trained], places: Places) -> Iterator[str]:
    """Yield the paragraphs of a question."""
    yield f"### {question.title}"
    yield RULE
    bases = [trained(arm, places) for arm in question.bases]
    yield table_of(question, bases, arms)

    finished, planned = (
        sum(len(found.results) for found in arms.values()),
        sum(found.planned for found in arms.values()),
    )
    results = [result for found in (*bases, *arms.values()) for result in found.results]
    hours = sum(result["seconds"] for result in results) / 3600
    processors = sorted({result["versions"]["device"] for result in results})
    yield (
        f"{finished} of {planned} planned trainings, {hours:.1f} hours of one CPU core. "
        f"{', '.join(processors)}."
    )


def table_of(question: Question, bases: list[Trained], arms: dict[Arm, Trained]) -> str:
    """Return a table with a row for each arm that has begun."""
    spread = spread_of(arms.values())
    lines = [(*cells(found), "-", *costs(found)) for found in bases if found.begun]
    for arm, found in arms.items():
        if not found.begun:
            continue
        gap, uniform = "-", arms[question.baseline(arm)]
        if spread and uniform.begun and found is not uniform:
            mean, half, _ = above(found, uniform, spread)
            gap = f"{mean:+.2f} ± {half:.2f}"
        lines.append((*cells(found), gap, *costs(found)))
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
        found.arm.all_epochs,
        f"{accuracy.mean:.2f}{error}",
    )


def costs(found: Trained) -> tuple[str, str]:
    """Return the cells of an arm's costs: of its training, and with its search."""
    return f"{found.training_macs / 1e12:.1f}", f"{found.total_macs / 1e12:.1f}"


def tests_of(found: list[Answer]) -> Iterator[str]:
    """Yield the tests that were set down before any run, as far as they can be answered."""
    if not found:
        return
    yield (
        f"### The tests that were set down first ({PLANNED_TESTS}, corrected by Holm's "
        "method, two-sided)"
    )
    lines = [
        (
            f"{answer.test.question}: {answer.test.arm.label} against {answer.test.against.label}",
            f"{answer.mean:+.2f} ± {answer.half:.2f}",
            f"{answer.p:.2g}",
            f"{answer.corrected:.2g}",
        )
        for answer in found
    ]
    yield markdown([("question", "difference", "p", "corrected p"), *lines])
