"""Widths that hardware likes: multiples of a number, as close to a budget as moving single layers gets them, never above it."""
from collections.abc import Callable

import numpy as np

from model.budget import Array

FACTORS = np.geomspace(2.0, 1 / 64, 1000)[None, :]  # by which the widths are scaled before they are rounded, the first guess


def round_widths(filters: list[int], multiple: int, amount: int, cost: Callable[[Array], Array]) -> list[int]:
    """Widths near ``filters`` that are positive multiples of ``multiple`` and cost at most ``amount``.

    The first guess is the dearest within the budget of the shape scaled by one factor and rounded to the nearest multiples. From
    there single layers move by one step, each time the move that comes closest to the budget, until none comes closer. (So what is
    left at the end goes to the layers that cost least; to hold every layer within a step of its share would leave up to a sixth of
    a small budget unused.)

    ``cost`` counts networks, (L, n) widths -> (n,). Raises ValueError where even the smallest multiples cost more.
    """
    smallest = np.full((len(filters), 1), float(multiple))  # of all multiples the cheapest: every shortcut that can be is an identity
    if (least := int(cost(smallest)[0])) > amount:
        raise ValueError(f"widths can't be multiples of {multiple} within this budget: {multiple} filters in every layer cost {least:,}, "
                         f"the budget is {amount:,}")
    scaled = np.maximum(1, np.rint(np.array(filters)[:, None] * FACTORS / multiple)) * multiple
    widths = dearest_within(amount, np.hstack([smallest, scaled]), cost)
    steps = multiple * np.hstack([np.eye(len(filters)), -np.eye(len(filters))])
    while True:  # each turn costs more than the one before, and at most the budget
        moved = widths + steps
        following = dearest_within(amount, np.hstack([widths, moved[:, (moved > 0).all(axis=0)]]), cost)
        if (following == widths).all():
            return [int(width) for width in widths[:, 0]]
        widths = following


def dearest_within(amount: int, candidates: Array, cost: Callable[[Array], Array]) -> Array:
    """Of (L, n) widths those, (L, 1), that cost most without costing more than ``amount``: of equals the first."""
    costs = cost(candidates)
    found: Array = candidates[:, [np.argmax(np.where(costs <= amount, costs, -1))]]
    return found
