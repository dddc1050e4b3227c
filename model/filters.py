"""From a budget to the width of every layer (paper, section 3.3), one search for all networks and methods."""
from typing import Protocol

import numpy as np

from model.budget import Array, Budget, Law, largest_within
from model.cost import Shortcuts
from model.registry import BUDGETS, counted, network, template
from model.rounding import round_widths

SMALL_WIDTH = 10  # widths below it get search_extra filters more while searching


class Scaling(Protocol):
    """A power law: one alpha and one beta per layer."""

    @property
    def alpha(self) -> list[float]: ...

    @property
    def beta(self) -> list[float]: ...


def uniform_filters(name: str, ratio: float) -> list[int]:
    """The template with every width multiplied by ``ratio``: int(width * ratio), at least 1."""
    if not (np.isfinite(ratio) and ratio > 0):
        raise ValueError(f"the ratio must be a positive number, not {ratio}")
    return [max(1, int(width * ratio)) for width in template(name)]


def prepare_filters(name: str, ratio: float, *, num_classes: int = 10, image_size: int = 32,
                    scaling: Scaling | None = None, pruned_filters: list[int] | None = None, search: bool = False,
                    budget: str = "params", round_to: int = 1) -> list[int]:
    """The widths of network ``name`` at ``ratio``, within the budget of its uniform scaling.

    - neither ``scaling`` nor ``pruned_filters``: uniform scaling of the template; its parameters are the budget, or with
      ``budget="macs"`` its multiply-accumulates;
    - ``scaling`` (anything with alpha and beta, a value per layer): floor(alpha * tau ** beta), at least 1, at the
      largest tau whose network does not exceed the budget. Where no beta is positive there is no such tau: the
      shape alpha * budget ** beta is scaled by one common factor instead (a fit over too few rows is beta = 0);
    - ``pruned_filters`` (MorphNet): that shape, scaled by the largest common factor within the budget.

    ``round_to`` makes all widths multiples of it, within the same budget and as close to it as moving single layers gets.

    ``search`` adds search_extra filters to widths below 10, on top of the budget: in the search, a layer that starts
    with a handful of filters would end the iteration before there is anything to fit.

    Raises ValueError for an unknown budget, for a ratio, alpha or beta that is not a finite number, a ratio or width that is not positive,
    a negative alpha, or a wrong number of layers; where no widths that are multiples of ``round_to`` are within the budget.
    """
    filters = uniform_filters(name, ratio)
    if budget not in BUDGETS:
        raise ValueError(f"unknown budget {budget!r}; choose from {', '.join(BUDGETS)}")
    if round_to < 1:
        raise ValueError(f"widths can't be multiples of {round_to}")
    amount = BUDGETS[budget](name, filters, num_classes=num_classes, image_size=image_size)

    def cost(widths: Array, shortcuts: Shortcuts = Shortcuts.AS_BUILT) -> Array:
        found: Array = getattr(counted(name, widths, num_classes, image_size, shortcuts=shortcuts), budget)
        return found

    if scaling is not None or pruned_filters is not None:
        if pruned_filters is not None:
            alpha, beta = np.array(pruned_filters, float), np.ones(len(pruned_filters))
            if not (alpha >= 1).all():
                raise ValueError(f"every layer needs at least 1 filter: {list(pruned_filters)}")
        elif scaling is not None:
            alpha, beta = np.array(scaling.alpha, float), np.array(scaling.beta, float)
        if not len(alpha) == len(beta) == len(filters):
            raise ValueError(f"{name} has {len(filters)} layers; alpha has {len(alpha)}, beta {len(beta)}")
        if not (np.isfinite(alpha).all() and np.isfinite(beta).all() and (alpha >= 0).all()):
            raise ValueError("alpha and beta must be finite numbers, alpha not negative")

        filters = largest_within(Budget(amount, cost), Law.of(alpha, beta))
    if round_to != 1:
        filters = round_widths(filters, round_to, amount, cost)
    if search:
        extra = network(name).search_extra
        more = [extra] * len(filters) if isinstance(extra, int) else extra
        filters = [width + added if width < SMALL_WIDTH else width for width, added in zip(filters, more)]
    return filters
