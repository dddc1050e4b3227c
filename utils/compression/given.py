"""The network that a user brings: its widths and its weights, with gates to prune it by."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from model import build_model, is_imported, template
from model.gate import GateLayer
from utils.data import Data
from utils.errors import UserError
from utils.records.given_weights import fit, read_weights
from utils.records.networks import read_stored
from utils.records.files import read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Given:
    """A trained network: its ``filters``, and its weights by the names that the network has for
    them."""

    path: Path
    model: str
    filters: list[int]
    weights: dict[str, Tensor]
    fingerprint: str

    def gated(self, data: Data) -> nn.Module:
        """The network with its weights and open gates."""
        network = build_model(self.model, self.filters, gated=True, **data.shape)
        loaded = network.load_state_dict(self.weights, strict=False)
        gates = {
            f"{name}.weight"
            for name, module in network.named_modules(remove_duplicate=False)
            if isinstance(module, GateLayer)
        }
        used = {name for name, _ in [*network.named_parameters(), *network.named_buffers()]}
        # A network that has to be run as its graph lacks what its code does not use.
        if not gates >= set(loaded.missing_keys) or used & set(loaded.unexpected_keys):
            raise UserError(
                f"{self.path}: not the weights of this network with gates: "
                f"{', '.join(loaded.missing_keys[:4])}"
            )
        return network


def read_given(path: Path, model: str, data: Data) -> Given:
    """The network whose weights ``path`` holds: a state_dict of the user's, or what a training of
    this project left.

    Raises UserError where they can't be read, or are of another network.
    """
    ours = path.is_file() and path.suffix == ".pt" and _is_ours(path)
    if ours:
        stored = read_stored(path, model)
        if (stored["model"], stored["num_classes"], stored["image_size"]) != (
            model,
            data.num_classes,
            data.image_size,
        ):
            raise UserError(
                f"{path}: a {stored['model']} for {stored['num_classes']} classes of "
                f"{stored['image_size']} pixels, not a {model} "
                f"for {data.num_classes} of {data.image_size}"
            )
        if "kept" in stored["begun_with"] and not is_imported(model):
            raise UserError(
                f"{path}: a network that was pruned already; give the weights it was pruned from"
            )
        filters, state = list(stored["filters"]), stored["network"]
    else:
        filters, state = template(model), read_weights(path)
    network = build_model(model, filters, **data.shape)
    weights = fit(network, state, path)
    return Given(path, model, filters, weights, fingerprint_of(weights))


def _is_ours(path: Path) -> bool:
    """Whether a file is what a training of this project left."""
    try:
        stored = read_tensors(path)
    except UserError:
        return False  # the reader of other people's weights says what is wrong with it
    return {"network", "filters", "model", "begun_with"} <= stored.keys()


def fingerprint_of(weights: dict[str, Tensor]) -> str:
    """A fingerprint of all numbers, by which work that was begun with other weights is told."""
    found = sha256()
    for name in sorted(weights):
        found.update(name.encode())
        found.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
