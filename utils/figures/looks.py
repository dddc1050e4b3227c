"""The looks of curves: one colour for each method in all pictures; curves of one method differ in
dash and marker."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from utils.figures.labels import kind_of

Dash = str | tuple[float, tuple[float, ...]]
LONG: Dash = (0, (6, 1.5, 1, 1.5, 1, 1.5))
MARKERS = "osD^vP*X<>hd"
DASHES: list[Dash] = ["-", "--", "-.", LONG]
PUBLISHED = ":"  # beside the user's own runs

# Okabe & Ito's colours, which colour-blind readers can tell apart; their lightness differs too
METHODS: dict[str, tuple[str, str, Dash]] = {
    "uniform": ("#000000", "o", "-"),
    "convcut": ("#0072B2", "s", "--"),
    "morphnet": ("#CC79A7", "D", "-."),
    "magnitude": ("#8C6D1F", "X", LONG),
    "pruned_taylor": ("#5E3C99", "P", "-"),
    "pruned_magnitude": ("#B2ABD2", "X", "--"),
    "pruned_random": ("#A6611A", "h", "-."),
}
# by the unit of the budget, and by iteration: True is iteration 1
SEARCHED: dict[tuple[str, bool], tuple[str, str, Dash]] = {
    ("params", True): ("#56B4E9", "^", "--"),
    ("params", False): ("#009E73", "v", "-"),
    ("macs", True): ("#E69F00", "<", "--"),
    ("macs", False): ("#D55E00", ">", "-"),
}
OTHER: tuple[str, str, Dash] = ("#7F7F7F", "*", "-")
# warm-ups of no epochs, of 10 and of 60
SHORTEST, USUAL, LONGEST = "#DCC80A", SEARCHED["params", False][0], "#4B2A8B"


class Look(NamedTuple):
    """A curve's colour, marker and dash, and whether its markers are filled."""

    colour: str
    marker: str
    dash: Dash = "-"
    filled: bool = True


class Drawn(Protocol):
    """The attributes of a curve that its look depends on."""

    method: str
    published: bool
    budget: str
    warmup: int | None


def look_of(method: str, budget: str = "params", warmup: int | None = None) -> Look:
    """Return the look of a method, by its name in results, with networks scaled to ``budget``.

    ``warmup`` is given in comparisons of warm-ups: from yellow to purple as it grows.
    """
    if warmup is not None and kind_of(method) in ("neuralscale", "warmup"):
        step = int(math.sqrt(2 * warmup))
        return Look(shade(warmup), MARKERS[(1 + step) % len(MARKERS)], DASHES[step % len(DASHES)])
    if kind_of(method) == "neuralscale":
        return Look(
            *SEARCHED[
                "macs" if budget == "macs" else "params",
                method.partition("+")[0] == "neuralscale_1",
            ]
        )
    return Look(*METHODS.get(kind_of(method), OTHER))


def shade(warmup: int) -> str:
    """Return the colour of a warm-up; that of 10 epochs is NeuralScale's in other pictures."""
    longer = warmup > 10
    ends = (USUAL, LONGEST) if longer else (SHORTEST, USUAL)
    part = (
        min(1.0, math.log(warmup / 10) / math.log(6))
        if longer
        else math.log1p(warmup) / math.log(11)
    )
    numbers = ([int(end[at : at + 2], 16) for at in (1, 3, 5)] for end in ends)
    return "#" + "".join(
        f"{round(first + part * (last - first)):02X}" for first, last in zip(*numbers)
    )


def looks_of(curves: Iterable[Drawn]) -> list[Look]:
    """Return the look of each curve.

    Published curves are dotted and hollow beside the user's own; several of one method differ.
    """
    curves = list(curves)
    beside, drawn, found = any(not curve.published for curve in curves), Counter[str](), []
    for curve in curves:
        look = look_of(curve.method, curve.budget, curve.warmup)
        if curve.published and beside:
            found.append(look._replace(dash=PUBLISHED, filled=False))
        else:
            found.append(variant(look, drawn[look.colour]))
            drawn[look.colour] += 1
    return found


def variant(look: Look, number: int) -> Look:
    """Return the look of the curve ``number`` of a method, counted from 0."""
    marker = MARKERS[(MARKERS.index(look.marker) + number) % len(MARKERS)]
    return look._replace(
        marker=marker, dash=DASHES[(DASHES.index(look.dash) + number) % len(DASHES)]
    )
