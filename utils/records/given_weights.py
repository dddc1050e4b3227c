"""Weights of the user's own: a file with a state_dict of any origin, read without running code from
it."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import UserError, is_out_of_memory
from utils.records.files import load_saved

if TYPE_CHECKING:
    from torch import Tensor

# Where checkpoints keep a state_dict, and what wrappers put before its names.
INSIDE = (
    "state_dict",
    "model",
    "network",
    "ema",
    "model_state_dict",
    "net",
    "module",
    "params",
    "weights",
    "model_ema",
    "state_dict_ema",
)
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
DEEPEST = 4  # dictionaries in each other that are looked into
SHOWN = 4  # names that an error lists of each kind
# how torch says that a file asks for more than tensors
CODE = ("Unsupported global", "Unsupported class")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state_dict in ``path``, a .pt, .pth or .safetensors file: its content, or a part
    of it under a usual name.

    Raises UserError for a file that is missing, damaged, holds code, or holds no state_dict.
    """
    return weights_in(path, read_content(path))


def read_content(path: Path) -> Any:
    """Return the content of a .pt, .pth or .safetensors file. Raises UserError for a file that is
    missing, damaged, or holds code."""
    if not path.is_file():
        what = "is no file" if path.exists() else "there is no such file"
        raise UserError(f"{path}: {what}; --weights is a file with a state_dict")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror or error})") from None

    # A file of safetensors begins with the length of its header, which is JSON.
    read = _safetensors if content[8:9] == b"{" or path.suffix == ".safetensors" else _tensors
    return read(path, content)


def weights_in(path: Path, held: Any) -> dict[str, Tensor]:
    """Return the state_dict in ``held``, the content of ``path``. Raises UserError if it has
    none."""
    found = state_dict_in(held)
    if found is None:
        keys = ", ".join(repr(key)[:40] for key in list(held)[:SHOWN]) if _is_dict(held) else ""
        shown = f"a dictionary of {keys or 'nothing'}" if _is_dict(held) else type(held).__name__
        raise UserError(
            f"{path}: holds {shown}, no state_dict, nor one under {', '.join(INSIDE[:4])}; save "
            "network.state_dict()"
        )
    return found


def state_dict_in(content: Any, depth: int = DEEPEST) -> dict[str, Tensor] | None:
    """Return the names and tensors that ``content`` is, or has under a usual name; None where there
    are none."""
    import torch

    if not _is_dict(content) or not depth:
        return None
    if all(isinstance(name, str) for name in content):
        tensors = {
            name: value for name, value in content.items() if isinstance(value, torch.Tensor)
        }
        # Beside its tensors a state_dict may hold what modules keep as extra state; a checkpoint
        # holds mostly other things.
        if len(tensors) * 2 > len(content):
            return tensors
    for name in INSIDE:
        if name in content and (found := state_dict_in(content[name], depth - 1)) is not None:
            return found
    return None


def fit(wanted: Mapping[str, Tensor], state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return ``state`` by the names of a network's own state_dict, ``wanted``, as numbers of its
    kinds.

    Raises UserError, in a line that lists them, for names that are missing, superfluous, or of
    another shape, and for numbers that are not finite.
    """
    found = without_prefix(state, wanted)
    there = {name: tensor for name, tensor in found.items() if name in wanted}
    wrong = {
        "missing": [
            name
            for name in wanted
            if name not in found and not name.endswith("num_batches_tracked")
        ],
        "superfluous": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} ({_shape(tensor)}, not {_shape(wanted[name])})"
            for name, tensor in there.items()
            if tensor.shape != wanted[name].shape
        ],
        "not plain numbers": [
            f"{name} ({_kind(tensor)})"
            for name, tensor in there.items()
            if tensor.is_quantized
            or tensor.is_meta
            or _kind(tensor) == "sparse"
            or tensor.is_floating_point() != wanted[name].is_floating_point()
        ],
    }
    if said := [f"{kind}: {_some(names)}" for kind, names in wrong.items() if names]:
        raise UserError(f"{path}: not the weights of this network. {'; '.join(said)}")

    numbers = {
        name: there[name].detach().to(tensor.dtype) if name in there else tensor
        for name, tensor in wanted.items()
    }
    if bad := [name for name, tensor in numbers.items() if not bool(tensor.isfinite().all())]:
        raise UserError(f"{path}: not finite: {_some(bad)}; a network can't be trained from these")
    return numbers


def without_prefix(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state without what wrappers put before its names: before all of them, or, as a
    compiled module does, inside."""
    found = dict(state)
    while found and not found.keys() & wanted.keys():
        prefix = next(
            (prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in found)), None
        )
        if prefix is None:
            break
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return {
        name if name in wanted else name.replace("_orig_mod.", ""): tensor
        for name, tensor in found.items()
    }


def _tensors(path: Path, content: bytes) -> Any:
    try:
        return load_saved(path, io.BytesIO(content), before_1_6=True)
    except UserError:
        raise
    except Exception as error:  # torch raises whatever the damage happens to cause
        if is_out_of_memory(error):
            raise
        if isinstance(error, pickle.UnpicklingError) and any(words in str(error) for words in CODE):
            raise UserError(
                f"{path}: holds more than tensors, which could run code when it is read; save "
                "network.state_dict() alone"
            ) from None
        raise UserError(f"{path}: damaged, or no weights ({type(error).__name__})") from None


def _safetensors(path: Path, content: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    except (SafetensorError, KeyError, ValueError, json.JSONDecodeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"{path}: damaged, or not safetensors ({' '.join(str(error).split())[:100]})"
        ) from None


def _is_dict(content: Any) -> bool:
    return isinstance(content, Mapping)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _kind(tensor: Tensor) -> str:
    import torch

    if tensor.layout != torch.strided:
        return "sparse"
    return str(tensor.dtype).removeprefix("torch.")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
