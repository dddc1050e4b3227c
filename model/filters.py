"""Turns a budget into the width of every layer (paper, section 3.3), in one way for all networks
and methods.

The budget is what the uniform network of a ratio costs, or an amount: of parameters, or of
multiply-accumulates. The result is the largest network of a kind that is within it:

- uniform: the template times the ratio; within an amount, the template scaled by one common factor;
- a power law (NeuralScale): floor(alpha * tau ** beta), at least 1, at the largest tau that fits.
  Where no beta is positive (a fit over too few rows has beta = 0), the shape
  alpha * budget ** beta, scaled by one common factor;
- a shape (MorphNet): given widths, scaled by one common factor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Protocol

import numpy as np

from model.budget import Array, Budget, Law, Layers, largest_below, largest_within
from model.cost import Shortcuts
from model.images import COLOURS, ImageSize, Pixels, pixels_of
from model.layers import widths_of
from model.registry import BUDGETS, counted, expect, network, template
from model.rounding import round_widths

SMALL_WIDTH = 10  # widths below it get search_extra filters more while searching


class Scaling(Protocol):
    """A power law: an alpha and a beta for each layer."""

    @property
    def alpha(self) -> list[float]: ...

    @property
    def beta(self) -> list[float]: ...


def uniform_filters(name: str, ratio: float) -> list[int]:
    """Return the template with every width multiplied by ``ratio``: int(width * ratio), at least
    1. Raises ValueError for a ratio that is no positive number."""
    if not (np.isfinite(ratio) and ratio > 0):
        raise ValueError(f"the ratio must be a positive number, not {ratio}")
    return [max(1, int(width * ratio)) for width in template(name)]


def prepare_filters(
    name: str,
    ratio: float | None = None,
    *,
    amount: int | None = None,
    num_classes: int = 10,
    image_size: ImageSize = 32,
    channels: int = COLOURS,
    scaling: Scaling | None = None,
    pruned_filters: list[int] | None = None,
    search: bool = False,
    budget: str = "params",
    round_to: int = 1,
    min_width: int = 0,
    keep: Sequence[str] = (),
    own: list[int] | None = None,
    convcut: bool = False,
) -> list[int]:
    """Return the widths of the largest network within a budget: that of ``ratio``, or ``amount``.

    The network is uniform, unless ``scaling`` (anything with alpha and beta, a value per layer) or
    ``pruned_filters`` (a shape) is given. Layers in ``keep`` (names, in which * stands for any
    text) have their ``own`` widths, by default the template's. Others have at least ``min_width``
    filters, or their own where these are fewer. What this takes from the budget, the other layers
    get less. With ``round_to``, widths that are not kept are multiples of it.

    With ``search``, widths below 10 that are not kept get search_extra filters more, on top of the
    budget: a layer with a handful of filters would end an iteration before there is anything to
    fit. With ``convcut``, an ``amount`` is that of networks with a convolution in every shortcut.

    Raises ValueError for numbers that no network or law has, and unless one of ratio and amount is
    given; UnknownLayer for a name in ``keep`` that no layer has; OverBudget where the fewest
    filters that are allowed cost more than the budget.
    """
    check_numbers(ratio, amount, round_to, min_width)
    costs = CostModel(name, num_classes, pixels_of(image_size, channels), budget, convcut)
    own = template(name) if own is None else own

    # the fewest filters of each layer, and the layers that have these at any budget
    fixed = np.isin(np.arange(len(own)), widths_of(name, keep))
    least = np.where(fixed, own, np.clip(min_width, 1, own)).astype(float)

    if ratio is None:
        limit, filters = int(amount or 0), None
    else:
        filters, costs = uniform_filters(name, ratio), replace(costs, convcut=False)
        limit = int(costs.cost(np.array(filters)[:, None])[0])
        below = (filters < least) | (fixed & (filters != least))
        filters = None if below.any() else filters  # then it is scaled like a shape
    if scaling is not None or pruned_filters is not None or filters is None:
        shape = own if scaling is None and pruned_filters is None else pruned_filters
        law = law_of(name, scaling, shape, least, fixed)
        filters = largest_within(Budget(limit, costs.cost), law)
    if round_to != 1:
        filters = round_widths(filters, round_to, limit, costs.cost, least, fixed)
    return with_extra(name, filters, fixed) if search else filters


def check_numbers(ratio: float | None, amount: int | None, round_to: int, min_width: int) -> None:
    """Raise ValueError for numbers that no widths can have."""
    if (ratio is None) == (amount is None):
        raise ValueError("give a ratio or an amount, and not both")
    whole = isinstance(amount, Integral) and not isinstance(amount, bool)
    if ratio is None and not (whole and amount >= 1):  # type: ignore[operator]
        raise ValueError(f"the amount must be a positive whole number, not {amount!r}")
    if round_to < 1 or min_width < 0:
        raise ValueError(f"widths can't be multiples of {round_to}, at least {min_width}")


def law_of(
    name: str, scaling: Scaling | None, shape: list[int] | None, least: Array, fixed: Layers
) -> Law:
    """Return the law of a network's widths. Raises ValueError for one of other layers."""
    alpha, beta = shape_and_growth(scaling, shape)
    if not len(alpha) == len(beta) == len(least):
        raise ValueError(
            f"{name} has {len(least)} layers; alpha has {len(alpha)}, beta {len(beta)}"
        )
    return Law.of(alpha, beta, least, fixed)


@dataclass(frozen=True)
class CostModel:
    """A network, its images, and the unit of a budget: what costs depend on beside the widths."""

    name: str
    num_classes: int
    pixels: int | Pixels
    budget: str
    convcut: bool

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown network or budget."""
        expect(self.name, self.num_classes, (self.pixels,))
        if self.budget not in BUDGETS:
            raise ValueError(f"unknown budget {self.budget!r}; choose from {', '.join(BUDGETS)}")

    def cost(self, widths: Array, shortcuts: Shortcuts = Shortcuts.AS_BUILT) -> Array:
        """Return the costs, (n,), of n networks with these widths, (L, n)."""
        found: Array = getattr(
            counted(self.name, widths, self.num_classes, self.pixels, self.convcut, shortcuts),
            self.budget,
        )
        return found


def with_extra(name: str, filters: list[int], fixed: Layers) -> list[int]:
    """Return the widths that a search begins with: small ones get the network's search_extra
    filters more."""
    extra = network(name).search_extra
    return [
        width + extra if width < SMALL_WIDTH and not kept else width
        for width, kept in zip(filters, fixed)
    ]


def largest_filters_within(
    amount: int,
    cost: Callable[[Array], Array],
    scaling: Scaling | None,
    shape: list[int] | None,
    *,
    least: list[int],
    most: list[int],
) -> list[int]:
    """Return the widths at the largest tau that cost at most ``amount``: of the law ``scaling``, or
    of ``shape`` scaled by one common factor.

    ``cost`` gives the costs, (n,), of n networks with widths (L, n). Layer l has ``least[l]`` to
    ``most[l]`` filters; what it would have beyond these goes to the others. Raises ValueError as
    prepare_filters does, and OverBudget where the fewest filters cost more.
    """
    alpha, beta = shape_and_growth(scaling, shape)
    if not len(alpha) == len(beta) == len(least) == len(most):
        raise ValueError(f"there are {len(most)} layers; the law has {len(alpha)}")
    low, high = np.array(least, float), np.array(most, float)
    return largest_below(amount, cost, Law.of(alpha, beta, low, low == high, high))


def shape_and_growth(
    scaling: Scaling | None, pruned_filters: list[int] | None
) -> tuple[Array, Array]:
    """Return alpha and beta, each (L,), of a law, or of widths that grow together. Raises
    ValueError for numbers that no law has."""
    if pruned_filters is not None:
        alpha, beta = np.array(pruned_filters, float), np.ones(len(pruned_filters))
        if not (alpha >= 1).all():
            raise ValueError(f"every layer needs at least 1 filter: {list(pruned_filters)}")
    else:
        assert scaling is not None
        alpha, beta = np.array(scaling.alpha, float), np.array(scaling.beta, float)
    if not (np.isfinite(alpha).all() and np.isfinite(beta).all() and (alpha >= 0).all()):
        raise ValueError("alpha and beta must be finite numbers, alpha not negative")
    return alpha, beta
