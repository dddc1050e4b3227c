"""The initialisation of a layer at other widths: what its own initialisation shows, in another shape."""
import math
from collections.abc import Sequence

import torch
from torch import Tensor

GAINS = (math.sqrt(2), 1.0, math.sqrt(1 / 3), math.sqrt(1 / 6), math.sqrt(2 / 3))  # std * sqrt(fan) of the usual initialisations
CLOSE = 0.03  # relative, beside what chance does to a standard deviation


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """The inputs that one output of a weight of this shape sums, and the outputs that one input goes to."""
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def scale_for(weight: Tensor, shape: Sequence[int], std: float, count: int) -> float:
    """By what numbers of this standard deviation are to be multiplied when ``weight`` gets another shape.

    The usual initialisations have a variance of gain / fan; which fan, the numbers themselves show. Others (0.01, say)
    depend on no width.
    """
    if weight.dim() < 2:
        return 1.0
    tolerance = CLOSE + 3 / math.sqrt(2 * count)
    before, after = fans(weight.shape), fans(shape)
    average = [sum(both) / 2 for both in (before, after)]
    for old, new in ((before[0], after[0]), (before[1], after[1]), (average[0], average[1])):
        if any(abs(std * math.sqrt(old) / gain - 1) < tolerance for gain in GAINS):
            return math.sqrt(old / new)
    return 1.0


def redrawn(tensor: Tensor, shape: Sequence[int], weight: Tensor | None = None, weight_shape: Sequence[int] = ()) -> Tensor:
    """A tensor of another shape, drawn from the numbers of a freshly initialised one; of a constant, that constant.

    Drawn with replacement, whatever their distribution is, and scaled as the fan changes: its own, or for a bias that of
    the layer's ``weight``.
    """
    if tensor.is_meta:
        return tensor.new_empty(tuple(shape))
    values = tensor.detach().flatten()
    if not len(values) or bool((values == values[0]).all()):
        return tensor.new_full(tuple(shape), values[0].item() if len(values) else 0)
    drawn = values[torch.randint(len(values), (math.prod(shape),))].view(tuple(shape))
    if not tensor.is_floating_point():
        return drawn
    of, to = (tensor, shape) if weight is None else (weight, weight_shape)
    return drawn * scale_for(of, to, float(values.double().std()), len(values))
