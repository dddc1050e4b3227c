"""The size that a network should have: 25%, 300k, 50M, 1.2G."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from utils.errors import UserError

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
BUDGET_NAMES = {"params": "parameters", "macs": "MACs"}  # what a budget counts, for people
SAID = "a target is a part of the network, as 25%, or a number, as 300k, 50M or 1.2G"


@dataclass(frozen=True)
class Target:
    """A size as it was given: ``number`` is in percent of a network if ``percent``, or else in
    parameters or MACs."""

    number: Decimal
    unit: str = ""
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target in ``text``. Raises UserError."""
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)(%|[kMG]?)", text.strip())
        if not match:
            near = (
                f"; is it {text.strip()[:-1]}{text.strip()[-1].swapcase()}"
                if re.fullmatch(r"\s*[\d.]+[Kmg]\s*", text)
                else ""
            )
            raise UserError(f"{text!r}: {SAID}{near}")

        number, unit = Decimal(match[1]), match[2]
        if unit == "%":
            if not 0 < number <= 6400:
                raise UserError(f"{text!r}: a part of the network is above 0 % and at most 6400 %")
            return cls(number.normalize(), "", percent=True)
        if not 1 <= number * UNITS[unit] <= 10**15 or number * UNITS[unit] % 1:
            raise UserError(f"{text!r}: {SAID}; this is no whole number from 1 on")
        return cls(number.normalize(), unit)

    def amount(self, whole: int) -> int:
        """Return the most parameters, or MACs, that a network may have if the given one has
        ``whole``."""
        return (
            int(self.number * whole / 100) if self.percent else int(self.number * UNITS[self.unit])
        )

    def __str__(self) -> str:
        """Return the target as it is typed: 25%, 50M."""
        return f"{self.number:f}{'%' if self.percent else self.unit}"

    @property
    def slug(self) -> str:
        """The target in file names: 25pct, 50M."""
        return f"{self.number:f}{'pct' if self.percent else self.unit}"


def about_ratio(amount: int, whole: int) -> float:
    """Return about the scaling ratio of a network that costs ``amount`` where the template costs
    ``whole``: costs grow with the square of the widths."""
    return round(float((amount / whole) ** 0.5), 6)


def check_target(text: str) -> str:
    """Return ``text`` as a target is stored: 025.0% is 25%. Raises UserError."""
    return str(Target.parse(text))


def check_distinct(texts: Sequence[str]) -> None:
    """Raise UserError if two targets are of the same size, or if there are none."""
    targets = [Target.parse(text) for text in texts]
    if len({(target.percent, target.number * UNITS[target.unit]) for target in targets}) < max(
        1, len(texts)
    ):
        raise UserError(
            f"--target {' '.join(texts)}: "
            + ("one of them is there twice" if texts else "there must be at least one")
        )


def people(amount: float) -> str:
    """Return an amount like a target, with three digits: 1.24M."""
    unit = next((unit for unit in ("G", "M", "k") if amount >= UNITS[unit]), "")
    return f"{amount / UNITS[unit]:.3g}{unit}"


@dataclass(frozen=True)
class Limit:
    """The most that a network may cost: a target, in the unit of ``budget``, params or macs."""

    target: Target
    budget: str

    @property
    def slug(self) -> str:
        """The limit in file names: 25pct-macs, 50M-params."""
        return f"{self.target.slug}-{self.budget}"

    @property
    def short(self) -> str:
        """The limit in a table: 25%-macs, 50M-params."""
        return f"{self.target}-{self.budget}"

    def __str__(self) -> str:
        """Return the limit in a sentence: 25% of the MACs, 50M parameters."""
        return f"{self.target}{' of the' * self.target.percent} {BUDGET_NAMES[self.budget]}"


# the size of a network: the scaling ratio of a uniform one, or a limit
Size: TypeAlias = float | Limit


def size_told(size: Size) -> str:
    """Return a size in a sentence: ratio 0.25, target 25% of the MACs."""
    return f"target {size}" if isinstance(size, Limit) else f"ratio {size:g}"


def size_shown(size: Size) -> str:
    """Return a size in a table: 0.25, 25%-macs."""
    return size.short if isinstance(size, Limit) else f"{size:g}"


def size_order(size: Size) -> tuple[object, ...]:
    """Return the key that sorts sizes: ratios first, then limits by their unit and number."""
    if not isinstance(size, Limit):
        return (0, "", False, size)
    target = size.target
    return (1, size.budget, target.percent, target.number * UNITS[target.unit])


def is_size(size: Size, asked: float | Target | None) -> bool:
    """Return True if a size is the one ``asked`` for: a ratio, or a target in either unit; None is
    any."""
    return asked is None or asked == (size.target if isinstance(size, Limit) else size)
