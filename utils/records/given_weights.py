"""Weights of the user's own: a file with a state_dict of any origin, read without running code from
it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

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
# of DataParallel, torch.compile, and wrappers around a network
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
SHOWN = 4  # names that an error lists of each kind


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state_dict in ``path``: itself, or inside a dictionary under a usual name; .pt, .pth,
    .safetensors.

    Raises UserError for a file that is missing, damaged, holds code, or holds no state_dict.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: {'is a folder' if path.is_dir() else 'there is no such file'}; --weights "
            "is a file with a state_dict"
        )
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    found = state_dict_in(content)
    if found is None:
        held = (
            f"a dictionary of {', '.join(map(repr, list(content)[:SHOWN]))}"
            if isinstance(content, Mapping)
            else f"a {type(content).__name__}"
        )
        raise UserError(
            f"{path}: holds {held}, not a state_dict nor one under {', '.join(INSIDE[:4])}; "
            "save network.state_dict()"
        )
    return found


def state_dict_in(content: Any) -> dict[str, Tensor] | None:
    """The names and tensors that ``content`` is, or has under a usual name; None where there are
    none."""
    import torch

    if not isinstance(content, Mapping):
        return None
    if content and all(isinstance(name, str) for name in content):
        tensors = {
            name: value for name, value in content.items() if isinstance(value, torch.Tensor)
        }
        # Beside its tensors a state_dict may hold what modules keep as extra state; a checkpoint
        # holds mostly other things.
        if tensors and len(tensors) * 2 > len(content):
            return tensors
    for name in INSIDE:
        if name in content and (found := state_dict_in(content[name])) is not None:
            return found
    return None


def fit(network: nn.Module, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """``state`` under the names that ``network`` has. Raises UserError where a name is missing,
    superfluous, or of another shape."""
    wanted = network.state_dict()
    found = _without_prefix(state, wanted)
    missing = [
        name for name in wanted if name not in found and not name.endswith("num_batches_tracked")
    ]
    superfluous = [name for name in found if name not in wanted]
    misshapen = [
        f"{name} ({_shape(found[name])}, not {_shape(wanted[name])})"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    wrong = [
        f"{kind} {_some(names)}"
        for kind, names in (
            ("missing", missing),
            ("superfluous", superfluous),
            ("of another shape", misshapen),
        )
        if names
    ]
    if wrong:
        raise UserError(f"{path}: not the weights of this network: {'; '.join(wrong)}")
    bad = [
        name
        for name, tensor in found.items()
        if tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]
    if bad:
        raise UserError(f"{path}: not finite: {_some(bad)}; these weights can't be trained on")
    return {name: found.get(name, tensor) for name, tensor in wanted.items()}


def _without_prefix(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state without the prefixes that all of its names have and the network's own don't."""
    found = dict(state)
    while found and not found.keys() & wanted.keys():
        prefix = next(
            (prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in found)), None
        )
        if prefix is None:
            break
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    if any("_orig_mod." in name for name in found):  # a module inside was compiled
        found = {name.replace("_orig_mod.", ""): tensor for name, tensor in found.items()}
    return found


def _read_torch(path: Path) -> Any:
    import pickle

    import torch

    try:
        _refuse_code(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: holds more than tensors, which could run code when it is read; save "
            "network.state_dict() alone"
        ) from None
    except Exception as error:  # torch raises whatever the damage happens to cause
        raise UserError(f"{path}: damaged, or not weights ({type(error).__name__})") from None


def _refuse_code(path: Path) -> None:
    """Raises UserError for an archive of TorchScript, and for one whose checksums are wrong."""
    if not zipfile.is_zipfile(path):
        return  # the format before PyTorch 1.6
    with zipfile.ZipFile(path) as archive:
        if any("/code/" in name or name.endswith("constants.pkl") for name in archive.namelist()):
            raise UserError(
                f"{path}: is a TorchScript archive, which holds code; save network.state_dict() "
                "instead"
            )
        if archive.testzip() is not None:
            raise UserError(f"{path}: damaged (a checksum is wrong)")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        raise UserError(
            f"{path}: damaged, or not safetensors ({' '.join(str(error).split())[:100]})"
        ) from None


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (
        f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    )
