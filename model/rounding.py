"""Rounds widths to multiples that suit the hardware, as close to a budget as possible, never
above."""

from collections.abc import Callable

import numpy as np

from model.budget import Array, Layers
from model.errors import OverBudget

# the first guess scales the widths by one of these before rounding
FACTORS = np.geomspace(2.0, 1 / 64, 1000)[None, :]


def round_widths(
    filters: list[int],
    multiple: int,
    amount: int,
    cost: Callable[[Array], Array],
    least: Array | None = None,
    fixed: Layers | None = None,
) -> list[int]:
    """Return multiples of ``multiple`` near ``filters``, at or above ``least``, within ``amount``.

    Layers that are ``fixed`` have their ``least``, which need not be a multiple.

    The first guess scales the shape by one factor and rounds to the nearest multiples; of all
    factors, it takes the network of the highest cost within the budget. From there one layer at a
    time moves by one step, always the move that comes closest to the budget, until none comes
    closer. What is left at the end thus goes to the layers that cost least; holding every layer
    within a step of its share would leave up to a sixth of a small budget unused.

    ``cost`` counts networks, (L, n) widths -> (n,). Raises OverBudget if even the smallest
    multiples cost more.
    """
    least = np.ones(len(filters)) if least is None else least
    fixed = np.zeros(len(filters), bool) if fixed is None else fixed
    # the cheapest multiples: without ``least``, every shortcut that can be is an identity
    smallest = np.where(fixed, least, np.ceil(least / multiple) * multiple)[:, None]
    if (cheapest := int(cost(smallest)[0])) > amount:
        raise OverBudget(
            f"widths can't be multiples of {multiple} within this budget: "
            f"{widths_text(smallest[:, 0])} cost {cheapest:,}, the budget is {amount:,}"
        )

    # the first guess
    scaled = np.maximum(1, np.rint(np.array(filters)[:, None] * FACTORS / multiple)) * multiple
    scaled = np.where(fixed[:, None], smallest, np.maximum(smallest, scaled))
    widths = dearest_within(amount, np.hstack([smallest, scaled]), cost)

    # one step up or down in each layer that is not fixed
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


def widths_text(widths: Array) -> str:
    """Return widths for a message: one number where all are equal."""
    alike = (widths == widths[0]).all()
    return (
        f"{widths[0]:.0f} filters in every layer"
        if alike
        else f"{' '.join(f'{width:.0f}' for width in widths)} filters"
    )


def dearest_within(amount: int, candidates: Array, cost: Callable[[Array], Array]) -> Array:
    """Return the widths (L, 1) among (L, n) that cost most within ``amount``; the first of
    equals."""
    costs = cost(candidates)
    found: Array = candidates[:, [np.argmax(np.where(costs <= amount, costs, -1))]]
    return found
