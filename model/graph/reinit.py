"""The initialisation of layers at other widths, as the numbers of their own initialisation show
it."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

# std * sqrt(fan) for the usual initialisations: Kaiming's normal, Xavier's and LeCun's, PyTorch's
# default.
GAINS = (math.sqrt(2), 1.0, math.sqrt(1 / 3), math.sqrt(1 / 6), math.sqrt(2 / 3))
CLOSE = 0.03  # relative, beside what chance does to a standard deviation
IN, OUT, AVERAGE = 0, 1, 2


def fans(shape: Sequence[int]) -> tuple[float, float, float]:
    """Return the fans of a weight of this shape: the inputs that one output sums, the outputs that
    one input goes to, and their mean."""
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field, (shape[0] + shape[1]) * field / 2


def close(std: float, expected: float, count: int) -> bool:
    """Return True if ``count`` numbers with deviation ``std`` may well come from one of
    ``expected``."""
    return abs(std / expected - 1) < CLOSE + 3 / math.sqrt(2 * count)


def deviation(tensor: Tensor) -> float:
    """Return a tensor's standard deviation; 0 for a constant and for tensors without real
    numbers."""
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
    """The initialisation of a freshly made network, found from its numbers.

    The usual initialisations have a variance of gain / fan; the numbers show which fan. A layer
    that fits several of them, or fits one by chance, is taken to be as most layers of the network
    are. Other initialisations (0.01, for example) depend on no width.
    """

    def __init__(self, tensors: Iterable[Tensor]):
        self.seen = [
            (std, tensor.numel(), fans(tensor.shape))
            for tensor in tensors
            if tensor.dim() > 1 and (std := deviation(tensor))
        ]

    def fan(self, weight: Tensor, std: float) -> int | None:
        """Return the fan that a weight's initialisation depends on; None if on none."""
        found: dict[int | None, int] = {}
        mine = fans(weight.shape)
        for fan in (IN, OUT, AVERAGE):
            # the gains that fit this weight, and how many layers each of them fits
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

        # and how many layers have just this deviation, whatever their fans
        found[None] = sum(close(other, std, count) for other, count, _ in self.seen)
        return max(found, key=lambda fan: found[fan])  # the first of equals

    def scale(self, tensor: Tensor, weight: Tensor, shape: Sequence[int]) -> float:
        """Return the factor for ``tensor`` when ``weight``, itself or that of its layer, gets
        ``shape``."""
        std = deviation(tensor)
        if weight.dim() < 2 or not std:
            return 1.0
        if tensor is weight:
            fan = self.fan(weight, std)
        else:  # PyTorch's default for a bias depends on the inputs of its layer
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
        """Return a tensor of another shape, drawn from the numbers of a freshly made one.

        Drawn with replacement, whatever their distribution, and scaled as the fan changes: its own,
        or for a bias that of the layer's ``weight``. In its own shape it is only scaled; a constant
        stays the constant.
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
