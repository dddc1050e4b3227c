"""Widths that hardware likes: multiples of a number, as close to a budget as moving single layers
gets them, never above it."""

from collections.abc import Callable

import numpy as np

from model.budget import Array, Layers
from model.errors import OverBudget

# by which the widths are scaled before they are rounded, the first guess
FACTORS = np.geomspace(2.0, 1 / 64, 1000)[None, :]


def round_widths(
    filters: list[int],
    multiple: int,
    amount: int,
    cost: Callable[[Array], Array],
    least: Array | None = None,
    fixed: Layers | None = None,
) -> list[int]:
    """Widths near ``filters`` that are positive multiples of ``multiple``, from ``least`` on, and
    cost at most ``amount``.

    Layers that are ``fixed`` have their ``least``, which need not be a multiple.

    The first guess is the dearest within the budget of the shape scaled by one factor and rounded
    to the nearest multiples. From there single layers move by one step, each time the move that
    comes closest to the budget, until none comes closer. (So what is left at the end goes to the
    layers that cost least; to hold every layer within a step of its share would leave up to a sixth
    of a small budget unused.)

    ``cost`` counts networks, (L, n) widths -> (n,). Raises OverBudget where even the smallest
    multiples cost more.
    """
    least = np.ones(len(filters)) if least is None else least
    fixed = np.zeros(len(filters), bool) if fixed is None else fixed
    # Of all multiples the cheapest: where there is no least, every shortcut that can be is an
    # identity.
    smallest = np.where(fixed, least, np.ceil(least / multiple) * multiple)[:, None]
    if (cheapest := int(cost(smallest)[0])) > amount:
        raise OverBudget(
            f"widths can't be multiples of {multiple} within this budget: "
            f"{told(smallest[:, 0])} cost {cheapest:,}, "
            f"the budget is {amount:,}"
        )

    scaled = np.maximum(1, np.rint(np.array(filters)[:, None] * FACTORS / multiple)) * multiple
    scaled = np.where(fixed[:, None], smallest, np.maximum(smallest, scaled))
    widths = dearest_within(amount, np.hstack([smallest, scaled]), cost)

    steps = (
        multiple * np.hstack([np.eye(len(filters)), -np.eye(len(filters))])[:, np.tile(~fixed, 2)]
    )
    while True:  # each turn costs more than the one before, and at most the budget
        moved = widths + steps
        following = dearest_within(
            amount, np.hstack([widths, moved[:, (moved >= smallest).all(axis=0)]]), cost
        )
        if (following == widths).all():
            return [int(width) for width in widths[:, 0]]
        widths = following


def told(widths: Array) -> str:
    """Widths for people: one number where all are equal."""
    alike = (widths == widths[0]).all()
    return (
        f"{widths[0]:.0f} filters in every layer"
        if alike
        else f"{' '.join(f'{width:.0f}' for width in widths)} filters"
    )


def dearest_within(amount: int, candidates: Array, cost: Callable[[Array], Array]) -> Array:
    """Of (L, n) widths those, (L, 1), that cost most without costing more than ``amount``: of
    equals the first."""
    costs = cost(candidates)
    found: Array = candidates[:, [np.argmax(np.where(costs <= amount, costs, -1))]]
    return found
