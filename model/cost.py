"""Adds up parameters and multiply-accumulates of layers, without building them."""


class Cost:
    """Running totals ``params`` and ``macs``.

    Every width may be a number or an array over many networks at once; the totals are then arrays too. ``when`` (a
    bool or an array of bools) says in which of the networks the layer exists. ``certain_only`` leaves out the layers
    whose existence depends on the widths: what remains never shrinks when a width grows, which gives the budget
    search of prepare_filters a bound it can bisect.
    """

    def __init__(self, certain_only: bool = False):
        self.certain_only = certain_only
        self.params = 0
        self.macs = 0

    def conv(self, inp, out, kernel: int, size: int, *, bias: bool, depthwise: bool = False, when=True) -> None:
        """A convolution with ``inp`` x ``out`` channels, square kernel, and an output of size x size pixels."""
        weights = (out if depthwise else inp * out) * kernel**2
        self.params = self.params + when * (weights + bias * out)
        self.macs = self.macs + when * (weights * size**2)

    def norm(self, width, *, when=True) -> None:
        """Batch norm: a scale and a shift per channel (its multiplications fold into the convolution before it)."""
        self.params = self.params + when * (2 * width)

    def linear(self, inp, out) -> None:
        """A fully connected layer with bias."""
        self.params = self.params + inp * out + out
        self.macs = self.macs + inp * out

    def shortcut(self, inp, out, stride: int, convcut: bool):
        """Where a residual block's shortcut is a convolution; see ``is_convolution``."""
        return is_convolution(inp, inp if self.certain_only else out, stride, convcut)


def is_convolution(inp, out, stride: int, convcut: bool):
    """Whether the shortcut from ``inp`` to ``out`` channels must be a convolution: the identity needs equal shapes."""
    return convcut | (stride != 1) | (inp != out)
