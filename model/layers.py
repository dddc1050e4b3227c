"""The names of a network's layers, and the widths that they have."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from model.errors import UnknownLayer
from model.registry import layer_names

NEAR = 3  # names that are shown where none matches


def widths_of(name: str, layers: Sequence[str]) -> list[int]:
    """Return the numbers of the widths, counted from 0, that these layers of network ``name`` have.

    In a layer's name, * stands for any text. Raises UnknownLayer for a name that no layer has.
    """
    if not layers:
        return []
    names, layers = layer_names(name), [layers] if isinstance(layers, str) else layers

    for layer in layers:
        if not any(fnmatchcase(own, layer) for width in names for own in width):
            near = get_close_matches(
                layer, [own for width in names for own in width], NEAR, cutoff=0.3
            )
            raise UnknownLayer(
                f"{layer!r} is no layer of {name} that has a width to "
                f"choose{'; is it ' * bool(near)}{' or '.join(near)}"
                f"{'?' * bool(near)} (check_model.py lists them)"
            )

    return [
        number
        for number, width in enumerate(names)
        if any(fnmatchcase(own, layer) for layer in layers for own in width)
    ]
