"""Picks channels out of a result; a compacted network does so between layers that keep different
ones."""

from typing import Any

import torch
from torch import Tensor, nn


class Selection(nn.Module):
    """Picks the channels ``target`` from a result with the channels ``source``; zeros for those it
    lacks.

    Both are bools per channel of the full network. Shapes: (N, C, ...) -> (N, C', ...), where C and
    C' are their sums; or with the channels along another ``axis``.
    """

    def __init__(self, source: Tensor, target: Tensor, axis: int = 1):
        super().__init__()
        self.axis = axis
        self.register_buffer("index", _positions(source, target), persistent=False)
        self.register_buffer("back", _positions(target, source), persistent=False)
        self.complete = not (target & ~source).any(), not (source & ~target).any()

    def forward(self, x: Tensor) -> Tensor:
        return _Select.apply(x, self.index, self.back, self.complete, self.axis)


class _Select(torch.autograd.Function):
    """A selection whose backward pass is a selection too, several times faster than that of
    index_select."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, index: Tensor, back: Tensor, complete: tuple[bool, bool], axis: int
    ) -> Tensor:
        ctx.save_for_backward(back)
        ctx.complete, ctx.axis = complete[1], axis
        return _select(x, index, complete[0], axis)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        return _select(grad, ctx.saved_tensors[0], ctx.complete, ctx.axis), None, None, None, None


def _select(x: Tensor, index: Tensor, complete: bool, axis: int) -> Tensor:
    """Return channels ``index`` of x, and zeros where it is -1; there are none if ``complete``.

    A gather along the innermost dimension.
    """
    rows = x.movedim(axis, -1)
    picked = rows.gather(-1, index.clamp(min=0).expand(*rows.shape[:-1], -1))
    if not complete:
        picked *= index >= 0
    return picked.movedim(-1, axis).data  # no view to autograd: what follows may work in place


def _positions(source: Tensor, target: Tensor) -> Tensor:
    """Return the place of each channel of ``target`` among those of ``source``; -1 if absent."""
    position = source.cumsum(0) - 1
    position[~source] = -1
    return position[target]
