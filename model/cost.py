"""Adds up parameters and multiply-accumulates of layers, without building them."""

from enum import Enum
from typing import Any, TypeAlias

Number: TypeAlias = Any  # a number, or an array over many networks at once


class Shortcuts(Enum):
    """The shortcuts of residual blocks that count as convolutions.

    The costs by FEWEST and by MOST never fall when a width grows, which gives the budget search
    bounds that it can bisect.
    """

    AS_BUILT = "those whose widths or stride ask for it"
    FEWEST = "those whose stride asks for it"
    MOST = "all"


class Cost:
    """Running totals ``params`` and ``macs``.

    ``when`` (a bool, or an array of bools) says in which networks a layer exists.
    """

    def __init__(self, shortcuts: Shortcuts | list[Number] = Shortcuts.AS_BUILT):
        # as a list: for each shortcut in turn whether it is a convolution, as in ``convolved`` of a
        # network counted before
        self.shortcuts = shortcuts
        self.convolved: list[Number] = []
        self.params: Number = 0
        self.macs: Number = 0

    def conv(
        self,
        inp: Number,
        out: Number,
        kernel: int,
        size: int,
        *,
        bias: bool,
        depthwise: bool = False,
        when: Number = True,
    ) -> None:
        """Add a convolution with ``inp`` x ``out`` channels, a square kernel and ``size`` x
        ``size`` outputs."""
        weights = (out if depthwise else inp * out) * kernel**2
        self.params = self.params + when * (weights + bias * out)
        self.macs = self.macs + when * (weights * size**2)

    def norm(self, width: Number, *, when: Number = True) -> None:
        """Add a batch norm: a scale and a shift per channel.

        Its multiplications fold into the convolution before it.
        """
        self.params = self.params + when * (2 * width)

    def linear(self, inp: Number, out: Number) -> None:
        """Add a fully connected layer with bias."""
        self.params = self.params + inp * out + out
        self.macs = self.macs + inp * out

    def shortcut(self, inp: Number, out: Number, stride: int, convcut: bool) -> Number:
        """Return where a residual block's shortcut is a convolution, and record it in
        ``convolved``."""
        if isinstance(self.shortcuts, list):
            convolved = self.shortcuts[len(self.convolved)]
        elif self.shortcuts is Shortcuts.AS_BUILT:
            convolved = is_convolution(inp, out, stride, convcut)
        else:
            convolved = is_convolution(
                inp, inp, stride, convcut or self.shortcuts is Shortcuts.MOST
            )
        self.convolved.append(convolved)
        return convolved


def is_convolution(inp: Number, out: Number, stride: int, convcut: bool) -> Number:
    """Return True where the shortcut from ``inp`` to ``out`` channels must be a convolution.

    The identity needs equal shapes.
    """
    return convcut | (stride != 1) | (inp != out)
