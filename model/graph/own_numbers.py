"""Tensors whose numbers are not drawn anew: frozen weights, buffers, and tensors that are the same
in every channel.

Examples are a blur kernel, a table of sines, a mask. At other widths they are repeated where every
channel has the same numbers; otherwise the width stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from model.graph.trace import random_state_kept
from model.graph.tracer import on_meta
from model.images import ImageSize, image_shape

if TYPE_CHECKING:
    from model.graph.channel_map import ChannelMap

STATISTICS = ("running_mean", "running_var")


def fix_own_numbers(notes: ChannelMap, never_trained: Container[str] = ()) -> None:
    """Fix the widths of tensors that are not trained and whose channels differ.

    These are frozen parameters, parameters ``never_trained`` though they are not frozen, and
    buffers other than the statistics of norms.
    """
    for path, dims in notes.dims.items():
        tensor = notes.tensors[path]
        if (tensor.requires_grad and path not in never_trained) or is_statistic(notes, path):
            continue

        kind = "is frozen" if isinstance(tensor, nn.Parameter) else "is a buffer"
        for dim, name in enumerate(dims):
            if name is not None and repeated(notes, tensor, dim, name) is None:
                why = (
                    f"{path} {'gets no gradient' if tensor.requires_grad else kind}, and its "
                    "channels differ"
                )
                notes.widths.fix(notes.values[name].pieces, why)


def without_gradient(network: nn.Module, images: int, image_size: ImageSize) -> set[str]:
    """Return the parameters that are not frozen and yet get no gradient, in evaluation.

    They are used without gradients, or detached. Only shapes are computed; where the network's code
    can't do that, the set is empty.
    """
    with random_state_kept():
        try:
            copied = on_meta(network, gradients=True)
            parameters = dict(copied.named_parameters())
            dtype = next(
                (
                    parameter.dtype
                    for parameter in parameters.values()
                    if parameter.is_floating_point()
                ),
                torch.float32,
            )
            output = copied(
                torch.zeros(images, *image_shape(image_size), device="meta", dtype=dtype)
            )

            # a sum of all outputs reaches every parameter that can have a gradient
            torch.stack(
                [tensor.sum() for tensor in tensors_in(output) if tensor.requires_grad]
            ).sum().backward()
        except Exception:  # whatever its code does with what has no numbers
            return set()

    return {
        name
        for name, parameter in parameters.items()
        if parameter.requires_grad and parameter.grad is None
    }


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Return the tensors in a network's output: itself, or those in a tuple, a list or a dict."""
    if isinstance(output, Tensor):
        yield output
    for part in (
        output.values()
        if isinstance(output, Mapping)
        else output
        if isinstance(output, (tuple, list))
        else ()
    ):
        yield from tensors_in(part)


def is_statistic(notes: ChannelMap, path: str) -> bool:
    """Return True if a buffer holds the statistics of a norm."""
    owner, _, name = path.rpartition(".")
    return name in STATISTICS and isinstance(notes.layers[owner], _NormBase)


def repeated(
    notes: ChannelMap,
    tensor: Tensor,
    dim: int,
    name: str,
    units: Callable[[int], int] | None = None,
) -> Tensor | None:
    """Return ``tensor`` with the channels of node ``name`` along ``dim``, ``units(root)`` for each
    width.

    Each unit of a free width has the numbers that all its units have. Returns None where these
    differ, or are not known.
    """
    if tensor.is_meta:
        return None

    found, start = [], 0
    for piece in notes.values[name].pieces:
        part, root = tensor.narrow(dim, start, piece.channels), notes.widths.root(piece.width)
        start += piece.channels

        # all units must be alike before one of them can be repeated
        if not notes.widths.fixed[root]:
            size, count = notes.per_unit(piece), notes.widths.units[root]
            first, last = part.narrow(dim, 0, size), part.narrow(dim, piece.channels - size, size)
            if count == 1 and not is_constant(first):
                return None  # of a single unit nobody knows what others would be like
            if not torch.equal(first, last) or not torch.equal(times(first, dim, count), part):
                return None
            part = times(first, dim, units(root)) if units else part
        found.append(part)
    return torch.cat(found, dim)


def times(tensor: Tensor, dim: int, number: int) -> Tensor:
    """Return ``number`` copies of ``tensor``, concatenated along ``dim``."""
    return tensor.repeat(*[number if d == dim else 1 for d in range(tensor.dim())])


def is_constant(tensor: Tensor) -> bool:
    """Return True if all numbers of a tensor are equal."""
    return bool((tensor == tensor.flatten()[0]).all()) if tensor.numel() else True
