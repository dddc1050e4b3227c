"""Names the modules that are taken as a whole: those whose forward pass is known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

from torch import fx, nn
from torch.nn.modules.batchnorm import _NormBase

from model.graph.layer_kinds import KNOWN_MODULES, LAYERS, NORMS

SPELLED_OUT: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def known(module: nn.Module) -> type[nn.Module] | None:
    """Return the class by which a module is known: its own, or one whose forward pass it inherits
    or spells out; None if there is none."""
    forward: Any = type(module).forward
    theirs = any(
        forward is getattr(base, "forward", None)
        for base in type(module).__mro__
        if base.__module__.startswith("torch.nn.")
    )
    norm_and_activation = isinstance(module, _NormBase) and type(module).__module__.startswith(
        "timm.layers"
    )

    for kind in KNOWN_MODULES:
        if isinstance(module, kind) and (
            theirs or norm_and_activation or (kind in (*NORMS, *LAYERS) and spells_out(module))
        ):
            return kind
    return None


def spells_out(module: nn.Module) -> bool:
    """Return True if the forward pass of a layer is, call by call, that of its base class in
    torch.nn."""
    if module not in SPELLED_OUT:
        base = next(
            base for base in type(module).__mro__ if base.__module__.startswith("torch.nn.")
        )
        theirs, own = _calls(module, base), _calls(module, type(module))
        SPELLED_OUT[module] = theirs is not None and theirs == own
    return SPELLED_OUT[module]


def _calls(module: nn.Module, kind: type[nn.Module]) -> list[str] | None:
    """Return the calls of the forward pass of ``kind`` on a module's contents, one by one; None
    where it can't be traced."""
    twin = kind.__new__(kind)
    twin.__dict__.update(module.__dict__, training=False)
    try:
        with no_dimension_checks():
            graph = fx.Tracer().trace(twin)
    except Exception:  # whatever its code does with what is no tensor
        return None

    # each result as the text of the call that makes it
    said: dict[fx.Node, str] = {}
    for node in graph.nodes:
        given = fx.node.map_arg((node.args, node.kwargs), said.__getitem__)
        said[node] = (
            "images"
            if node.op == "placeholder"
            else str(node.target)
            if node.op == "get_attr"
            else f"{node.target} of {given}"
        )
    return [said[node] for node in graph.nodes if node.op not in ("placeholder", "get_attr")]


@contextlib.contextmanager
def no_dimension_checks() -> Iterator[None]:
    """Switch off the checks of norms for dimensions, of which traced results have no number."""
    kinds = [kind for kind in _all_subclasses(_NormBase) if "_check_input_dim" in vars(kind)]
    with contextlib.ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(patch.object(kind, "_check_input_dim", lambda self, images: None))
        yield


def _all_subclasses(kind: type) -> list[type]:
    """Return a class and all its subclasses."""
    below: list[type] = kind.__subclasses__()
    return [kind, *(found for one in below for found in _all_subclasses(one))]
