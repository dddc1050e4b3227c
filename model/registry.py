"""One line per network. Its module holds TEMPLATE, SEARCH_EXTRA, build and count, and is imported when first used."""
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from model.cost import Cost

if TYPE_CHECKING:
    from torch import nn

MODELS = {
    "vgg": "model.VGG",
    "resnet18": "model.preact_resnet",
    "mobilenetv2": "model.mobilenetv2",
}


def network(name: str):
    """The module that defines network ``name``. Raises ValueError for a name that is not in MODELS."""
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; choose from {', '.join(MODELS)}")
    return import_module(MODELS[name])


def template(name: str) -> list[int]:
    """The network's own widths, at ratio 1."""
    return list(network(name).TEMPLATE)


def build_model(name: str, filters: list[int] | None = None, *, num_classes: int = 10, image_size: int = 32,
                gated: bool = False, convcut: bool = False) -> nn.Module:
    """A freshly initialised network with ``filters[l]`` filters in layer l (default: the template).

    ``gated`` puts a gate behind every batch norm that has a width of its own; ``convcut`` makes every shortcut a
    convolution. Raises ValueError for an unknown name or a filter list of the wrong length or below 1.
    """
    filters = template(name) if filters is None else check_filters(name, filters)
    return network(name).build(filters, num_classes, image_size, gated, convcut)


def count_params(name: str, filters, *, num_classes: int = 10, image_size: int = 32, convcut: bool = False) -> int:
    """Parameters of the ungated network, h(phi) in the paper, without building it.

    ``filters`` may also be an array of shape (L, n), n networks at once; the result is then an array of shape (n,).
    """
    return _cost(name, filters, num_classes, image_size, convcut).params


def count_macs(name: str, filters, *, num_classes: int = 10, image_size: int = 32, convcut: bool = False) -> int:
    """Multiply-accumulates of one image's forward pass (convolutions and linear layers). Arguments as count_params."""
    return _cost(name, filters, num_classes, image_size, convcut).macs


def _cost(name: str, filters, num_classes: int, image_size: int, convcut: bool) -> Cost:
    cost = Cost()
    if len(filters) != len(template(name)):
        raise ValueError(f"{name} has {len(template(name))} widths, not {len(filters)}")
    if isinstance(filters, (list, tuple)):
        filters = check_filters(name, filters)
    network(name).count(cost, filters, num_classes, image_size, convcut)
    return cost


def check_filters(name: str, filters) -> list[int]:
    """``filters`` as a list of ints. Raises ValueError where the network can't be built with them."""
    filters = [int(width) for width in filters]
    if len(filters) != len(template(name)):
        raise ValueError(f"{name} has {len(template(name))} widths, not {len(filters)}")
    if min(filters) < 1:
        raise ValueError(f"every layer needs at least 1 filter: {filters}")
    return filters
