"""How large a network is to be, as people say it: 25%, 300k, 50M, 1.2G."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from utils.errors import UserError

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
SAID = "a target is a part of the network, as 25%, or a number, as 300k, 50M or 1.2G"


@dataclass(frozen=True)
class Target:
    """A size, as it was said. ``number`` is in percent of the given network where ``percent``, else
    in parameters or MACs."""

    number: Decimal
    unit: str = ""
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target that ``text`` says. Raises UserError."""
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)(%|[kMG]?)", text.strip())
        if not match:
            near = (
                f"; is it {text.strip()[:-1]}{text.strip()[-1].swapcase()}"
                if re.fullmatch(r"\s*[\d.]+[KmgB]\s*", text)
                else ""
            )
            raise UserError(f"{text!r}: {SAID}{near.replace('B', '')}")
        number, unit = Decimal(match[1]), match[2]
        if unit == "%":
            if not 0 < number <= 6400:
                raise UserError(f"{text!r}: a part of the network is above 0 % and at most 6400 %")
            return cls(number.normalize(), "", percent=True)
        if not 1 <= number * UNITS[unit] <= 10**15 or number * UNITS[unit] % 1:
            raise UserError(f"{text!r}: {SAID}; this is no whole number from 1 on")
        return cls(number.normalize(), unit)

    def amount(self, whole: int) -> int:
        """The most parameters, or MACs, that a network may have, where the given one has
        ``whole``."""
        return (
            int(self.number * whole / 100) if self.percent else int(self.number * UNITS[self.unit])
        )

    def __str__(self) -> str:
        """As one types it: 25%, 50M."""
        return f"{self.number:f}{'%' if self.percent else self.unit}"

    @property
    def slug(self) -> str:
        """The same in names of files: 25pct, 50M."""
        return f"{self.number:f}{'pct' if self.percent else self.unit}"


def check_target(text: str) -> str:
    """``text`` as a target is stored: 025.0% is 25%. Raises UserError."""
    return str(Target.parse(text))


def people(amount: float) -> str:
    """An amount as a target would say it, in three digits: 1.24M."""
    unit = next((unit for unit in ("G", "M", "k") if amount >= UNITS[unit]), "")
    return f"{amount / UNITS[unit]:.3g}{unit}"
