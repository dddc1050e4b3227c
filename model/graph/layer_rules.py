"""Rules for layers and norms, as modules and as functions with weights of the network: the widths
of their results."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.conv import _ConvTransposeNd

from model.graph import operations as ops
from model.graph.channel_map import ChannelMap, Layer
from model.graph.channels import Input, Literal, MadeFrom, Piece, Value


def layer_of(module: Any, path: str) -> Layer:
    """Return a module as a Layer."""
    bias = None if module.bias is None else f"{path}.bias"
    return Layer(
        path,
        f"{path}.weight",
        bias,
        getattr(module, "groups", 1),
        isinstance(module, _ConvTransposeNd),
    )


def convolution(notes: ChannelMap, node: fx.Node, layer: Layer, source: fx.Node) -> None:
    """Apply the rule for a convolution.

    A dense one reads every channel and makes a width. A grouped one keeps its filters per group, so
    its input and output are tied.
    """
    # channels along another dimension than the first are none of its inputs
    value, shape = notes.values.get(source.name), notes.tensors[layer.weight].shape
    taken_from: fx.Node | None = source
    if value and value.axis != 1:
        notes.fix(source.name, f"{notes.operation(node)} works along them")
        value = taken_from = None

    inputs, filters = (
        (shape[0], shape[1] * layer.groups)
        if layer.transposed
        else (shape[1] * layer.groups, shape[0])
    )
    notes.calls.append((layer.weight, source.name if layer.transposed else node.name, 1))
    weight: tuple[fx.Node | None, ...] = (node,)
    if layer.groups == 1:
        width = notes.widths.add(filters, layer.name)
        notes.makers[node.name] = layer
        notes.set(
            node,
            Value(1, (Piece(width, filters),)),
            MadeFrom([Input(source.name, whole=True)] if value else [], "none"),
        )
        weight = (taken_from, node) if layer.transposed else (node, taken_from)
    elif value:
        taken, given = inputs // layer.groups, filters // layer.groups
        if layer.transposed or not in_groups(notes, value, taken):
            notes.fixes(node)
            weight = ()
        else:
            made = tuple(
                Piece(piece.width, piece.channels // taken * given) for piece in value.pieces
            )
            notes.set(node, Value(1, made), MadeFrom([Input(source.name, 0, taken, given)], "none"))
            notes.makers[node.name] = layer

    notes.assign(layer.weight, *weight)
    if layer.bias is not None:
        notes.assign(layer.bias, node)


def in_groups(notes: ChannelMap, value: Value, channels: int) -> bool:
    """Group every width into units of ``channels`` channels. Returns False if a group would span
    two widths."""
    if any(piece.channels % channels for piece in value.pieces):
        return False
    for piece in value.pieces:
        notes.widths.coarsen(piece, piece.channels // channels)
    return True


def linear(notes: ChannelMap, node: fx.Node, layer: Layer, source: fx.Node) -> None:
    """Apply the rule for a linear layer.

    Along the last dimension it reads every channel and makes a width; along others it keeps
    channels apart.
    """
    value, axis = notes.values.get(source.name), len(notes.shapes[node.name]) - 1
    notes.calls.append((layer.weight, node.name, axis))
    if value and value.axis != axis:
        notes.keeps(node, source, "none" if layer.bias else "all")
        notes.assign(layer.weight)
        return

    filters = len(notes.tensors[layer.weight])
    piece = Piece(notes.widths.add(filters, layer.name), filters)
    notes.makers[node.name] = layer
    notes.set(
        node,
        Value(axis, (piece,)),
        MadeFrom([Input(source.name, whole=True)] if value else [], "none"),
    )
    notes.assign(layer.weight, node, source)
    if layer.bias is not None:
        notes.assign(layer.bias, node)


# --- norms ----------------------------------------------------------------------------------------


def norm(notes: ChannelMap, node: fx.Node, module: Any, source: fx.Node) -> None:
    """Apply the rule for a norm module.

    Batch and instance norm work channel by channel, group norm by its groups, and layer norm takes
    all channels.
    """
    tensors = {
        name: tensor
        for name, tensor in [
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ]
        if tensor is not None and tensor.dim()
    }

    paths = [f"{node.target}.{name}" for name in tensors]
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        layer_norm(notes, node, source, len(module.normalized_shape), paths)
    else:
        by_group(
            notes,
            node,
            source,
            module.num_groups if isinstance(module, nn.GroupNorm) else None,
            paths,
        )


def by_group(
    notes: ChannelMap, node: fx.Node, source: fx.Node, groups: int | None, paths: list[str]
) -> None:
    """Apply the rule for a norm of each channel, or of each of ``groups`` groups of channels.

    Where a group has several channels, it needs tensors with as many channels. Raises NotApart.
    """
    value = notes.values[source.name]
    if value.axis != 1:
        raise notes.not_apart(node, "works along another dimension than that of the channels")

    per_group = value.channels // groups if groups else 1
    if groups == 1:
        notes.set(
            node, value, MadeFrom([Input(source.name, whole=True)], "none", [(0, value.channels)])
        )
    elif (groups and not paths) or not in_groups(notes, value, per_group):
        raise notes.not_apart(
            node,
            "has groups that go across them"
            if paths
            else "has a number of groups that no weights go by",
        )
    else:
        notes.set(node, value, MadeFrom([Input(source.name, 0, per_group, per_group)], "none"))

    notes.norms.add(node.name)
    for path in paths:
        notes.assign(path, node)


def layer_norm(
    notes: ChannelMap, node: fx.Node, source: fx.Node, dims: int, paths: list[str]
) -> int | None:
    """Apply the rule for a norm of all channels and pixels along the last ``dims`` dimensions.

    Returns which of these dimensions has channels of widths, None if none has. Raises NotApart.
    """
    value, first = notes.values[source.name], len(notes.shapes[source.name]) - dims
    if value.axis < first:
        notes.keeps(node, source, "none")
        return None

    if not paths:
        raise notes.not_apart(node, "has a number of channels that no weights go by")
    notes.set(
        node, value, MadeFrom([Input(source.name, whole=True)], "none", [(0, value.channels)])
    )
    notes.norms.add(node.name)
    for path in paths:
        notes.assign(path, *[node if first + d == value.axis else None for d in range(dims)])
    return value.axis - first


# --- the same as functions ------------------------------------------------------------------------

STATISTICS, AFFINE = ("running_mean", "running_var"), ("weight", "bias")
# the argument with the size, and then those with tensors
PLACES: dict[Any, tuple[str, ...]] = {
    F.linear: ("", *AFFINE),
    **dict.fromkeys(ops.CONVOLUTIONS, ("groups", *AFFINE)),
    **dict.fromkeys([F.prelu, torch.prelu], ("", "weight")),
    **dict.fromkeys([F.batch_norm, F.instance_norm], ("", *STATISTICS, *AFFINE)),
    **dict.fromkeys([torch.batch_norm, torch.instance_norm], ("", *AFFINE, *STATISTICS)),
    **dict.fromkeys([F.group_norm, torch.group_norm], ("num_groups", *AFFINE)),
    **dict.fromkeys([F.layer_norm, torch.layer_norm], ("normalized_shape", *AFFINE)),
    **dict.fromkeys([F.rms_norm, torch.rms_norm], ("normalized_shape", "weight")),
}


def argument(node: fx.Node, name: str, place: int, default: Any = None) -> Any:
    """Return an argument that was given by name or by place."""
    return node.kwargs.get(name, node.args[place] if len(node.args) > place else default)


def layer_function(notes: ChannelMap, node: fx.Node, what: Any, source: fx.Node) -> None:
    """Apply the rule for a layer or a norm that is called as a function, with tensors of the
    network.

    Raises NotApart where the tensors are computed.
    """
    said, *names = PLACES[what]
    first = 2 if said and said != "groups" else 1  # the place of the first tensor
    given = [argument(node, name, first + number) for number, name in enumerate(names)]
    paths = [
        notes.attributes.get(tensor.name, "") if isinstance(tensor, fx.Node) else ""
        for tensor in given
        if tensor is not None
    ]
    if source is not argument(node, "input", 0) or not all(path in notes.tensors for path in paths):
        raise notes.not_apart(node, "has weights that are computed")

    if what in ops.CONVOLUTIONS or what is F.linear:
        owner, _, called = paths[0].rpartition(".")
        layer = Layer(
            owner if owner and called == "weight" else paths[0],
            paths[0],
            paths[1] if len(paths) > 1 else None,
        )
        if what is F.linear:
            linear(notes, node, layer, source)
        else:
            convolution_function(notes, node, what, layer, source)
    elif source.name in notes.values:
        norm_function(notes, node, what, said, source, paths)


def convolution_function(
    notes: ChannelMap, node: fx.Node, what: Any, layer: Layer, source: fx.Node
) -> None:
    """Apply the rule for a convolution as a function; its number of groups changes with the
    widths."""
    groups = argument(node, "groups", 6, 1)
    if not isinstance(groups, int):
        raise notes.not_apart(node, "has a number of groups that is computed")

    convolution(
        notes, node, layer._replace(groups=groups, transposed=what in ops.TRANSPOSED), source
    )

    # groups are written in the graph as a number
    if groups > 1 and node.name in notes.values:
        per_group = notes.values[node.name].channels // groups
        notes.literals.append(
            Literal(
                node.name, ("groups",) if "groups" in node.kwargs else (6,), node.name, per_group
            )
        )


def norm_function(
    notes: ChannelMap, node: fx.Node, what: Any, said: str, source: fx.Node, paths: list[str]
) -> None:
    """Apply the rule for a norm as a function.

    The size it is given, groups or channels, becomes a number that changes with the widths.
    """
    place: Any = said if said in node.kwargs else 1

    if what in (F.prelu, torch.prelu):
        slopes(notes, node, source, paths[0])
    elif said == "num_groups":
        groups: Any = argument(node, said, 1)
        by_group(notes, node, source, groups, paths)
        if groups > 1:
            notes.literals.append(
                Literal(node.name, (place,), node.name, notes.values[node.name].channels // groups)
            )
    elif said == "normalized_shape":
        size: Any = argument(node, said, 1)
        if not isinstance(size, (list, tuple)):
            raise notes.not_apart(node, "has sizes that are computed")
        at = layer_norm(notes, node, source, len(size), paths)
        if at is not None:
            notes.literals.append(Literal(node.name, (place, at), node.name))
    else:
        by_group(notes, node, source, None, paths)


def slopes(notes: ChannelMap, node: fx.Node, source: fx.Node, path: str) -> None:
    """Apply the rule for PReLU, with one slope for all channels or one for each."""
    if notes.tensors[path].numel() > 1:
        if notes.values[source.name].axis != 1:
            raise notes.not_apart(node, "works along another dimension than that of the channels")
        notes.keeps(node, source)
        notes.assign(path, node)
    else:
        notes.keeps(node, source)
