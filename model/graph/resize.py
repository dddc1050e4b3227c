"""Replaces tensors of a network in place: its own layers, at other widths or with fewer filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from model.graph.channel_map import ChannelMap
from model.graph.layer_kinds import update_sizes
from model.graph.own_numbers import is_statistic, repeated
from model.graph.reinit import Initialisation


def resize(
    network: nn.Module,
    notes: ChannelMap,
    channels: Callable[[str], int],
    units: Callable[[int], int],
) -> None:
    """Draw anew every tensor that has the channels of free widths.

    ``channels(node)`` returns the channels of a node's result, ``units(root)`` the units of a
    width.
    """
    tensors = tensors_of(network)
    shapes = {
        path: tuple(
            size if name is None else channels(name)
            for size, name in zip(notes.tensors[path].shape, dims)
        )
        for path, dims in notes.dims.items()
        if path in tensors
    }

    initialisation = Initialisation(
        tensors[path] for path in set(notes.path.values()) & tensors.keys()
    )
    new: dict[str, Tensor] = {}
    for path, shape in shapes.items():
        old, weight = tensors[path].detach(), path.rpartition(".")[0] + ".weight"
        # a bias is drawn as the weight of its layer is
        of = (
            (tensors[weight], shapes[weight])
            if path.endswith(".bias") and weight in shapes
            else (None, ())
        )
        if shape == old.shape and (of[0] is None or of[1] == of[0].shape):
            continue

        # constants and the like are repeated, everything else is drawn
        same: Tensor | None = old
        for dim, name in enumerate(notes.dims[path]):
            if name is not None and same is not None:
                same = (
                    None if is_statistic(notes, path) else repeated(notes, same, dim, name, units)
                )
        new[path] = (
            initialisation.redrawn(tensors[path], shape, *of)
            if same is None or shape == old.shape
            else same
        )

    replace(network, notes, new)


def replace(
    network: nn.Module, notes: ChannelMap, new: Mapping[str, Tensor]
) -> dict[Tensor, Tensor]:
    """Replace tensors, by their paths, wherever they are used, and update the sizes of layers.

    Parameters stay parameters, frozen ones frozen, and buffers buffers. Returns the new tensor for
    each old one.
    """
    tensors = tensors_of(network)
    put: dict[str, Tensor] = {}
    for path, tensor in new.items():
        old = tensors[path]
        put[path] = (
            nn.Parameter(tensor, requires_grad=old.requires_grad)
            if isinstance(old, nn.Parameter)
            else tensor
        )

    # tied weights stay tied
    for alias, path in notes.path.items():
        if path in put and alias in tensors:
            owner, _, name = alias.rpartition(".")
            setattr(module := network.get_submodule(owner), name, put[path])
            update_sizes(module)

    return {tensors[path]: tensor for path, tensor in put.items()}


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, tied ones by each of their names."""
    return {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
    }


def cut(
    network: nn.Module,
    notes: ChannelMap,
    left: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer | None,
) -> None:
    """Keep the channels ``left`` of each node (their numbers) in every weight that has them.

    Momentum is cut with the weights; gradients are dropped.
    """
    tensors, new = tensors_of(network), dict[str, Tensor]()
    for path in notes.dims.keys() & tensors.keys():  # a graph has only what its outputs depend on
        old = tensors[path]
        sliced = chosen(old.detach(), notes.dims[path], left)
        if sliced.shape != old.shape:
            new[path] = sliced
    renamed = replace(network, notes, new)

    if optimizer is None:
        return

    # the optimizer's state, and its list of parameters
    for path in new:
        if (old := tensors[path]) in optimizer.state:
            optimizer.state[renamed[old]] = {
                key: chosen(value, notes.dims[path], left)
                if isinstance(value, Tensor) and value.dim()
                else value
                for key, value in optimizer.state.pop(old).items()
            }
    for group in optimizer.param_groups:
        group["params"] = [renamed.get(parameter, parameter) for parameter in group["params"]]


def chosen(tensor: Tensor, dims: tuple[str | None, ...], left: Mapping[str, Tensor]) -> Tensor:
    """Return the channels ``left`` of a tensor whose dimensions have the channels of these nodes.

    The memory format stays.
    """
    channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    for dim, name in enumerate(dims):
        if name is not None and len(left[name]) < tensor.shape[dim]:
            tensor = tensor.index_select(dim, left[name])
    return tensor.contiguous(memory_format=torch.channels_last) if channels_last else tensor
