"""From a budget to the width of every layer (paper, section 3.3), one search for all networks and
methods."""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Protocol

import numpy as np

from model.budget import Array, Budget, Law, largest_below, largest_within
from model.cost import Shortcuts
from model.images import COLOURS, ImageSize, pixels_of
from model.layers import widths_of
from model.registry import BUDGETS, counted, expect, network, template
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
    """The widths of network ``name`` at ``ratio``, within the budget of its uniform scaling; or of
    the largest network of its kind that costs at most ``amount``, given in place of the ratio: a
    number of parameters, or with ``budget="macs"`` of multiply-accumulates.

    - neither ``scaling`` nor ``pruned_filters``: uniform scaling of the template; its parameters
      are the budget, or with ``budget="macs"`` its multiply-accumulates. Within an ``amount`` it is
      the template scaled by one common factor;
    - ``scaling`` (anything with alpha and beta, a value per layer): floor(alpha * tau ** beta), at
      least 1, at the largest tau whose network does not exceed the budget. Where no beta is
      positive there is no such tau: the shape alpha * budget ** beta is scaled by one common factor
      instead (a fit over too few rows is beta = 0);
    - ``pruned_filters`` (MorphNet): that shape, scaled by the largest common factor within the
      budget.

    The layers of ``keep``, by their names, in which * stands for any text, have their ``own``
    widths, by default the template's, and the others at least ``min_width`` filters, or their own
    where these are fewer; the budget is the same, so the rest get less of it. (A uniform network
    that has less in some layer is the template scaled by one common factor, as ``pruned_filters``
    is.)

    ``round_to`` makes all widths that are not kept multiples of it, within the same budget and as
    close to it as moving single layers gets.

    ``search`` adds search_extra filters to widths below 10 that are not kept, on top of the budget:
    in the search, a layer that starts with a handful of filters would end the iteration before
    there is anything to fit.

    ``convcut``: an ``amount`` is of networks with a convolution in every shortcut.

    Raises ValueError for an unknown budget, for a ratio, alpha or beta that is not a finite number,
    a ratio or width that is not positive, a negative alpha, or a wrong number of layers, for an
    amount that is not a positive whole number, and where not one of ratio and amount is given;
    UnknownLayer for a name in ``keep`` that no layer has; OverBudget where the fewest filters that
    all this allows cost more than the budget.
    """
    if (ratio is None) == (amount is None):
        raise ValueError("give a ratio or an amount, and not both")
    pixels = pixels_of(image_size, channels)
    expect(name, num_classes, (pixels,))
    if budget not in BUDGETS:
        raise ValueError(f"unknown budget {budget!r}; choose from {', '.join(BUDGETS)}")
    if round_to < 1 or min_width < 0:
        raise ValueError(f"widths can't be multiples of {round_to}, at least {min_width}")
    filters, own = template(name), template(name) if own is None else own
    if ratio is not None:
        filters, convcut = uniform_filters(name, ratio), False
        limit = getattr(counted(name, filters, num_classes, pixels), budget)
    elif not isinstance(amount, Integral) or isinstance(amount, bool) or amount < 1:
        raise ValueError(f"the amount must be a positive whole number, not {amount!r}")
    else:
        limit = int(amount)
        if scaling is None and pruned_filters is None:
            pruned_filters = own

    def cost(widths: Array, shortcuts: Shortcuts = Shortcuts.AS_BUILT) -> Array:
        found: Array = getattr(
            counted(name, widths, num_classes, pixels, convcut, shortcuts), budget
        )
        return found

    # The fewest filters of each layer, and the layers that have these at any budget.
    fixed = np.isin(np.arange(len(own)), widths_of(name, keep))
    least = np.where(fixed, own, np.clip(min_width, 1, own)).astype(float)
    if (
        scaling is None
        and pruned_filters is None
        and ((filters < least) | (fixed & (filters != least))).any()
    ):
        pruned_filters = own

    if scaling is not None or pruned_filters is not None:
        alpha, beta = shape_and_growth(scaling, pruned_filters)
        if not len(alpha) == len(beta) == len(filters):
            raise ValueError(
                f"{name} has {len(filters)} layers; alpha has {len(alpha)}, beta {len(beta)}"
            )
        filters = largest_within(Budget(limit, cost), Law.of(alpha, beta, least, fixed))
    if round_to != 1:
        filters = round_widths(filters, round_to, limit, cost, least, fixed)
    if search:
        extra = network(name).search_extra
        filters = [
            width + extra if width < SMALL_WIDTH and not kept else width
            for width, kept in zip(filters, fixed)
        ]
    return filters


def largest_filters_within(
    amount: int,
    cost: Callable[[Array], Array],
    scaling: Scaling | None,
    shape: list[int] | None,
    *,
    least: list[int],
    most: list[int],
) -> list[int]:
    """The widths of the largest tau, of the law ``scaling`` or with ``shape`` scaled by a common
    factor, that cost at most ``amount``.

    ``cost`` counts widths (L, n) -> (n,). Layer l has ``least[l]`` to ``most[l]`` filters; what it
    would have beyond these goes to the others. Raises ValueError as prepare_filters does, and
    OverBudget where the fewest filters cost more.
    """
    alpha, beta = shape_and_growth(scaling, shape)
    if not len(alpha) == len(beta) == len(least) == len(most):
        raise ValueError(f"there are {len(most)} layers; the law has {len(alpha)}")
    low, high = np.array(least, float), np.array(most, float)
    return largest_below(amount, cost, Law.of(alpha, beta, low, low == high, high))


def shape_and_growth(
    scaling: Scaling | None, pruned_filters: list[int] | None
) -> tuple[Array, Array]:
    """alpha and beta, each (L,), of a law, or of widths that grow together. Raises ValueError for
    numbers of no law."""
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
