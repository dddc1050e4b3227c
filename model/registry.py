"""The registry of networks, one line each, and functions on networks by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from model.architecture import Architecture, Compaction, OwnArchitecture
from model.cost import Cost, Shortcuts
from model.graph.user_network import CLASSES, UserNetwork, imported
from model.images import COLOURS, ImageSize, pixels_of
from model.names import is_imported

if TYPE_CHECKING:
    from torch import nn


MODELS = {
    "vgg": "model.VGG",
    "resnet18": "model.preact_resnet",
    "mobilenetv2": "model.mobilenetv2",
}


def network(name: str) -> Architecture:
    """Return the network of this name. Raises ValueError for an unknown name."""
    if is_imported(name):
        return imported(name)
    if name not in MODELS:
        raise ValueError(
            f"unknown model {name!r}; choose from {', '.join(MODELS)}, or give MODULE:FUNCTION "
            "or FILE.py:FUNCTION"
        )
    return OwnArchitecture(name, import_module(MODELS[name]))


def template(name: str) -> list[int]:
    """Return the network's own widths, those at ratio 1."""
    return list(network(name).template)


def layers_of(name: str) -> list[list[str]] | None:
    """Return the layers that have each width of a network read from its graph; None for this
    project's."""
    return network(name).layers()


def layer_names(name: str) -> list[list[str]]:
    """Return the layers that have each width, by the names of their modules."""
    return network(name).layer_names()


def described(
    name: str, *, num_classes: int, image_size: ImageSize, channels: int = COLOURS
) -> list[str]:
    """Return a table of a network's widths and the layers that have them, a line each."""
    return network(name).described(num_classes, pixels_of(image_size, channels))


def expect(name: str, num_classes: int | None, sizes: Sequence[ImageSize]) -> None:
    """Read a network, unless it is one of this project's, for images of one of these sizes, as
    pixels_of returns them.

    Raises UnreadableNetwork, also for a network of this project that takes none of them.
    """
    found = network(name)
    if isinstance(found, UserNetwork):
        found.first(num_classes or CLASSES, sizes)
    elif isinstance(found, OwnArchitecture):
        found.side(sizes[0])


def build_model(
    name: str,
    filters: list[int] | None = None,
    *,
    num_classes: int = 10,
    image_size: ImageSize = 32,
    channels: int = COLOURS,
    gated: bool = False,
    convcut: bool = False,
) -> nn.Module:
    """Return a freshly initialised network with ``filters[l]`` filters in layer l (default: the
    template).

    It is for images of ``channels`` channels, ``image_size`` pixels a side, or (height, width).
    ``gated`` puts a gate behind every batch norm that has a width of its own; ``convcut`` makes
    every shortcut a convolution. Raises ValueError for an unknown name or a filter list of the
    wrong length or below 1, UnreadableNetwork for a network that does not take such images.
    """
    pixels = pixels_of(image_size, channels)
    expect(name, num_classes, (pixels,))
    filters = template(name) if filters is None else check_filters(name, filters)
    return network(name).build(filters, num_classes, pixels, gated, convcut)


def compactor(
    name: str,
    built: nn.Module,
    *,
    num_classes: int = 10,
    image_size: ImageSize = 32,
    channels: int = COLOURS,
    multiple: int = 8,
    through_norms: bool = False,
) -> Compaction:
    """Return the object that removes closed filters from the gated network ``built``.

    Widths stay multiples of ``multiple`` channels where there are enough. With ``through_norms``,
    filters are also removed where a norm takes a mean over them (layer norm), which changes its
    outputs. Raises UnreadableNetwork for a network that does something not known to keep channels
    apart.
    """
    pixels = pixels_of(image_size, channels)
    return network(name).compactor(built, num_classes, pixels, multiple, through_norms)


def count_params(
    name: str,
    filters: Any,
    *,
    num_classes: int = 10,
    image_size: ImageSize = 32,
    channels: int = COLOURS,
    convcut: bool = False,
) -> Any:
    """Return the parameters of the ungated network, h(phi) in the paper, without building it.

    ``filters`` may also be an array of shape (L, n), n networks at once; the result is then an
    array of shape (n,). Images are as in build_model.
    """
    return counted(name, filters, num_classes, pixels_of(image_size, channels), convcut).params


def count_macs(
    name: str,
    filters: Any,
    *,
    num_classes: int = 10,
    image_size: ImageSize = 32,
    channels: int = COLOURS,
    convcut: bool = False,
) -> Any:
    """Return the multiply-accumulates of one image's forward pass (convolutions and linear layers).

    Arguments as in count_params.
    """
    return counted(name, filters, num_classes, pixels_of(image_size, channels), convcut).macs


# The units of a budget, and the functions that count in them.
BUDGETS: dict[str, Callable[..., Any]] = {"params": count_params, "macs": count_macs}


def counted(
    name: str,
    filters: Any,
    num_classes: int,
    image_size: ImageSize,
    convcut: bool = False,
    shortcuts: Shortcuts | list[Any] = Shortcuts.AS_BUILT,
) -> Cost:
    """Return the costs of networks, or a bound of them; ``filters`` as in count_params.

    ``image_size`` is as pixels_of returns it. Raises ValueError for a wrong number of widths.
    """
    cost = Cost(shortcuts)
    expect(name, num_classes, (image_size,))
    if len(filters) != len(template(name)):
        raise ValueError(f"{name} has {len(template(name))} widths, not {len(filters)}")
    if isinstance(filters, (list, tuple)):
        filters = check_filters(name, filters)
    network(name).count(cost, filters, num_classes, image_size, convcut)
    return cost


def macs_when_pruned(
    name: str,
    built: list[int],
    *,
    num_classes: int = 10,
    image_size: ImageSize = 32,
    channels: int = COLOURS,
) -> Callable[[Any], Any]:
    """Return count_macs for networks that were built with the widths ``built`` and pruned.

    The function takes the widths after pruning, (L,) or (L, n). A shortcut that was an identity
    still is one where its two widths now differ.
    """
    pixels = pixels_of(image_size, channels)
    return costs_when_pruned(name, built, "macs", num_classes=num_classes, image_size=pixels)


def costs_when_pruned(
    name: str,
    built: list[int],
    budget: str,
    *,
    num_classes: int = 10,
    image_size: ImageSize = 32,
    channels: int = COLOURS,
) -> Callable[[Any], Any]:
    """As macs_when_pruned, in the unit of ``budget``: params or macs. Where layers that add up keep
    different filters, a network costs more: Compaction.count."""
    pixels = pixels_of(image_size, channels)
    shortcuts = counted(name, built, num_classes, pixels).convolved
    return lambda widths: getattr(
        counted(name, widths, num_classes, pixels, shortcuts=shortcuts), budget
    )


def macs_per_filter(
    name: str,
    built: list[int],
    *,
    num_classes: int = 10,
    image_size: ImageSize = 32,
    channels: int = COLOURS,
) -> Callable[[list[int]], list[int]]:
    """Return a function of the widths: the multiply-accumulates that one filter less saves, per
    layer.

    That is a filter's share of its own layer and of all layers that read it. The network is one
    that was built with the widths ``built`` and pruned to the given ones.
    """
    macs_of = macs_when_pruned(
        name, built, num_classes=num_classes, image_size=image_size, channels=channels
    )

    def per_filter(widths: list[int]) -> list[int]:
        full = np.array(widths)[:, None]
        macs = macs_of(np.hstack([full, full - np.eye(len(full), dtype=int)]))
        found: list[int] = (macs[0] - macs[1:]).tolist()
        return found

    return per_filter


def check_filters(name: str, filters: Iterable[int]) -> list[int]:
    """Return ``filters`` as a list of ints. Raises ValueError if the network can't be built with
    them."""
    filters = [int(width) for width in filters]
    if len(filters) != len(template(name)):
        raise ValueError(f"{name} has {len(template(name))} widths, not {len(filters)}")
    if min(filters) < 1:
        raise ValueError(f"every layer needs at least 1 filter: {filters}")
    return filters
