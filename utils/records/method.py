"""A method: a way from a ratio or a target to the widths of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from model import BUDGETS, ImageSize, Shape, prepare_filters, template, uniform_filters
from model.errors import OverBudget, UnknownLayer
from utils.errors import UserError
from utils.powerlaw import PowerLaw
from utils.records.results import Origin, Result
from utils.records.shapes import shape_in
from utils.records.sizes import size_of
from utils.settings import Limit, Size, size_told
from utils.settings.target import about_ratio

if TYPE_CHECKING:
    from typing_extensions import Unpack


PRUNED = "pruned_"  # before the criterion, the method of a trained network that was pruned


@dataclass(frozen=True)
class Method:
    """A way from a ratio or a target to the widths of a network; ``name`` is its name in results.

    It scales by a law, or scales MorphNet's widths; with neither, it scales the template.
    """

    name: str
    model: str
    law: PowerLaw | None = None
    widths: list[int] | None = None
    convcut: bool = False
    origin: Origin | None = None
    budget: str = "params"  # the unit of its networks' budgets
    round_to: int = 1  # all widths are multiples of it
    min_width: int = 0  # the fewest filters of a layer
    keep: tuple[str, ...] = ()  # layers that have the template's widths
    held_out: int | None = None  # the number of images that its search held out
    # the images of its search; None without a search, or if its record does not have them
    image_size: ImageSize | None = None
    channels: int | None = None

    def filters(self, size: Size, **shape: Unpack[Shape]) -> list[int]:
        """Return the widths within the budget of a ratio, or within a target.

        Raises UserError if there are no such widths.
        """
        within: dict[str, Any] = (
            {"amount": self.amount(size, **shape), "convcut": self.convcut}
            if isinstance(size, Limit)
            else {"ratio": size}
        )
        try:
            return prepare_filters(
                self.model,
                **within,
                scaling=self.law,
                pruned_filters=self.widths,
                **shape,
                budget=self.budget,
                round_to=self.round_to,
                min_width=self.min_width,
                keep=self.keep,
            )
        except (OverBudget, UnknownLayer) as error:
            raise impossible(error, size, self.round_to, self.min_width, self.keep) from None

    def unrounded(self) -> Method:
        """Return the same with widths of any whole number."""
        return replace(self, round_to=1)

    def amount(self, size: Size, **shape: Unpack[Shape]) -> int:
        """Return the budget: the cost of a ratio's uniform network, or the target itself."""
        if isinstance(size, Limit):
            return max(1, size.target.amount(self.whole(**shape)))
        amount: int = BUDGETS[self.budget](self.model, uniform_filters(self.model, size), **shape)
        return amount

    def whole(self, **shape: Unpack[Shape]) -> int:
        """Return the cost of the template, of which a target in percent is a part."""
        cost: int = BUDGETS[self.budget](
            self.model, template(self.model), convcut=self.convcut, **shape
        )
        return cost

    def ratio(self, size: Size, **shape: Unpack[Shape]) -> float:
        """Return the scaling ratio of a size.

        That of a target is approximate, as costs grow with the square of the widths.
        """
        if not isinstance(size, Limit):
            return size
        return about_ratio(self.amount(size, **shape), self.whole(**shape))

    def other_size(self, image_size: ImageSize) -> str:
        """Return a line for images of another size than those of the method's search; "" if they
        are not."""
        if self.image_size in (None, image_size) or not self.origin:
            return ""
        return (
            f"images of {image_size} pixels, while those of the search {self.origin['search']} "
            f"were of {self.image_size}: its networks are scaled to the budget at {image_size}"
        )

    def costs_line(self, network: Result) -> str:
        """Return a line with the costs of one of its networks, and its part of the budget."""
        amount = self.amount(size_of(network), **shape_in(network))
        used, budget = (
            (network["macs"], f"{amount / 1e6:.1f} MMACs")
            if self.budget == "macs"
            else (network["params"], f"{amount:,}")
        )
        return (
            f"{network['params']:,} parameters, {network['macs'] / 1e6:.1f} MMACs; "
            f"{used / amount:.2%} of the budget {budget}{' parameters' * (self.budget == 'params')}"
        )


def impossible(
    error: ValueError, size: Size, round_to: int, min_width: int, keep: Sequence[str]
) -> UserError:
    """Return an error for widths that can't be, with advice."""
    if isinstance(error, UnknownLayer):
        return UserError(f"--keep: {error}")

    # the options, and what to change
    given = [f"--round-to {round_to}"] * (round_to != 1) + [f"--min-width {min_width}"] * (
        min_width > 0
    )
    given += [f"--keep {' '.join(keep)}"] * bool(keep)
    others = [
        "a larger target" if isinstance(size, Limit) else "a larger ratio",
        *["a smaller --round-to"] * (round_to != 1),
        *["a smaller --min-width"] * (min_width > 0),
        *["less to --keep"] * bool(keep),
    ]

    return UserError(
        f"{', '.join([*given, size_told(size)])}: {error}; use "
        f"{' or '.join(filter(None, [', '.join(others[:-1]), others[-1]]))}"
    )
