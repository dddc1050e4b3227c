"""The initialisation of layers at other widths: what their own initialisation shows, in another
shape."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

# std * sqrt(fan) of the usual initialisations: Kaiming's normal, Xavier's and LeCun's, PyTorch's
# default.
GAINS = (math.sqrt(2), 1.0, math.sqrt(1 / 3), math.sqrt(1 / 6), math.sqrt(2 / 3))
CLOSE = 0.03  # relative, beside what chance does to a standard deviation
IN, OUT, AVERAGE = 0, 1, 2


def fans(shape: Sequence[int]) -> tuple[float, float, float]:
    """The inputs that one output of a weight of this shape sums, the outputs that one input goes
    to, and their mean."""
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field, (shape[0] + shape[1]) * field / 2


def close(std: float, expected: float, count: int) -> bool:
    """Whether so many numbers with this standard deviation may well have been drawn with the
    expected one."""
    return abs(std / expected - 1) < CLOSE + 3 / math.sqrt(2 * count)


def deviation(tensor: Tensor) -> float:
    """Its standard deviation; 0 for a constant and for what are no real numbers."""
    values = tensor.detach()
    if (
        not tensor.is_floating_point()
        or tensor.numel() < 2
        or tensor.is_meta
        or bool((values == values.flatten()[0]).all())
    ):
        return 0.0
    return float(values.std())


class Initialisation:
    """How a freshly initialised network was initialised.

    The usual initialisations have a variance of gain / fan; which fan, the numbers show. Where one
    layer could be of several, or by chance of one that it isn't, it is as most layers of the
    network are. Others (0.01, say) depend on no width.
    """

    def __init__(self, tensors: Iterable[Tensor]):
        self.seen = [
            (std, tensor.numel(), fans(tensor.shape))
            for tensor in tensors
            if tensor.dim() > 1 and (std := deviation(tensor))
        ]

    def fan(self, weight: Tensor, std: float) -> int | None:
        """The fan by which a weight was drawn; None where by none."""
        found: dict[int | None, int] = {}
        mine = fans(weight.shape)
        for fan in (IN, OUT, AVERAGE):
            gains = [
                gain for gain in GAINS if close(std, gain / math.sqrt(mine[fan]), weight.numel())
            ]
            alike = [
                sum(
                    close(other, gain / math.sqrt(theirs[fan]), count)
                    for other, count, theirs in self.seen
                )
                for gain in gains
            ]
            if alike:
                found[fan] = max(alike)
        found[None] = sum(close(other, std, count) for other, count, _ in self.seen)
        return max(found, key=lambda fan: found[fan])  # the first of equals

    def scale(self, tensor: Tensor, weight: Tensor, shape: Sequence[int]) -> float:
        """By what a tensor is to be multiplied when ``weight``, itself or that of its layer, gets
        another shape."""
        std = deviation(tensor)
        if weight.dim() < 2 or not std:
            return 1.0
        if tensor is weight:
            fan = self.fan(weight, std)
        else:  # PyTorch's default for a bias goes by the inputs of its layer
            fan = (
                IN
                if close(std, math.sqrt(1 / 3 / fans(weight.shape)[IN]), tensor.numel())
                else None
            )
        return 1.0 if fan is None else math.sqrt(fans(weight.shape)[fan] / fans(shape)[fan])

    def redrawn(
        self,
        tensor: Tensor,
        shape: Sequence[int],
        weight: Tensor | None = None,
        weight_shape: Sequence[int] = (),
    ) -> Tensor:
        """A tensor of another shape, drawn from the numbers of a freshly initialised one; of a
        constant, that constant.

        Drawn with replacement, whatever their distribution is, and scaled as the fan changes: its
        own, or for a bias that of the layer's ``weight``. In its own shape it is only scaled.
        """
        if tensor.is_meta or not tensor.numel():
            return tensor.new_empty(tuple(shape))
        values = tensor.detach().flatten()
        if bool((values == values[0]).all()):
            return tensor.new_full(tuple(shape), values[0].item())
        if tuple(shape) != tuple(tensor.shape):
            values = values[torch.randint(len(values), (math.prod(shape),))]
        if not tensor.is_floating_point():
            return values.view(tuple(shape))
        scale = (
            self.scale(tensor, tensor, shape)
            if weight is None
            else self.scale(tensor, weight, weight_shape)
        )
        return (values * scale).view(tuple(shape))
