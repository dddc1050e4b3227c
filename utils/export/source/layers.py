"""Layers of torch.nn, with the arguments to make them again."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from model.graph.whole import spells_out
from utils.export.source.literals import NotWritableError

UNSET = object()  # the default of an argument that has to be given
# the place of a layer, its initialisation, and old names of other arguments
NOT_STORED = {"device", "dtype", "init", "min_value", "max_value"}
# arguments that are widths, and their names among a class's own arguments
CHANNELS = {
    "in_channels": "in",
    "out_channels": "out",
    "in_features": "in",
    "out_features": "out",
    "num_features": "channels",
    "num_channels": "channels",
    "normalized_shape": "channels",
    "num_parameters": "channels",
    "groups": "groups",
    "embed_dim": "channels",
}


@dataclass(frozen=True)
class Argument:
    """An argument of a layer, and its default."""

    name: str
    value: Any
    default: Any = UNSET


def torch_class(module: nn.Module) -> type[nn.Module]:
    """Return the class of torch.nn whose forward pass a layer has: its own, or one whose forward
    pass it inherits or spells out.

    For a norm with an activation, that is the norm's. Raises NotWritableError.
    """
    kind = type(module)
    for base in kind.__mro__:
        if getattr(nn, base.__name__, None) is base and base is not nn.Module:
            own = {
                name
                for between in kind.__mro__[: kind.__mro__.index(base)]
                for name in vars(between)
            }
            other = {name for name in own if callable(getattr(base, name, None))} - {
                "__init__",
                "reset_parameters",
                "extra_repr",
            }

            same = is_timm_norm(module) or (other == {"forward"} and spells_out(module))
            if not other or same:
                return base
            break
    raise NotWritableError(f"{kind.__qualname__} is no layer of torch.nn")


def is_timm_norm(module: nn.Module) -> bool:
    """Return True for a norm of timm's, which calls torch's and then layers of its own."""
    return isinstance(module, _NormBase) and type(module).__module__.startswith("timm.layers")


def activated(module: nn.Module) -> list[str]:
    """Return the names of the layers after a norm of timm's that do something."""
    if not is_timm_norm(module):
        return []
    return [name for name, child in module.named_children() if not isinstance(child, nn.Identity)]


def arguments(module: nn.Module) -> list[Argument]:
    """Return the arguments of a layer, in order. Raises NotWritableError."""
    kind = torch_class(module)

    if odd := next(
        (tensor.dtype for tensor in module.parameters() if tensor.dtype != torch.float32), None
    ):
        raise NotWritableError(f"its weights are of {odd}")
    if hasattr(module, "parametrizations") or module._forward_hooks or module._forward_pre_hooks:
        raise NotWritableError("it has hooks, or weights that are computed from others")
    if kind.__init__ is nn.Module.__init__:
        return []

    found = []
    for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]:
        name = parameter.name
        if name in NOT_STORED or name.startswith("_"):
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise NotWritableError("it does not say what made it")
        found.append(
            Argument(
                name,
                _value(module, name),
                UNSET if parameter.default is parameter.empty else parameter.default,
            )
        )
    return found


def _value(module: nn.Module, name: str) -> Any:
    # a layer has it as a weight; norms without weights have none, whatever the argument was
    """Return the value of a layer's argument. Raises NotWritableError."""
    if name == "bias":
        if isinstance(module, nn.MultiheadAttention):
            return module.in_proj_bias is not None
        return module.bias is not None or getattr(module, "weight", None) is None
    if isinstance(module, nn.MultiheadAttention):
        if name == "add_bias_kv":
            return module.bias_k is not None
        if name in ("kdim", "vdim"):
            return None if getattr(module, name) == module.embed_dim else getattr(module, name)
    if not hasattr(module, name):
        raise NotWritableError(f"it does not say with which {name} it was made")

    value = getattr(module, name)
    if isinstance(module, _ConvNd) and isinstance(value, tuple) and len(set(value)) == 1:
        return value[0]  # 3 is a kernel of 3 x 3
    if (
        name == "stride"
        and value == getattr(module, "kernel_size", None)
        and not isinstance(module, _ConvNd)
    ):
        return None  # the default of poolings
    if name == "normalized_shape" and len(value) == 1:
        return value[0]
    return value
