"""The network that a user brings: its widths and its weights, with gates to prune it by."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from model import build_model, is_imported, template
from model.gate import GateLayer
from model.graph.user_network import imported
from utils.data import Data
from utils.errors import UserError
from utils.records.files import read_tensors
from utils.records.given_weights import fit, read_weights
from utils.records.networks import read_stored

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Given:
    """A trained network: its ``filters``, and its weights by the names that its own code has for
    them; ``image_size`` and ``num_classes`` where its file says them."""

    path: Path
    model: str
    filters: list[int]
    weights: dict[str, Tensor]
    image_size: int | None = None
    num_classes: int | None = None

    def fitted(self, data: Data) -> Given:
        """The same, with weights that are known to be this network's, on these images. Raises
        UserError where they are not."""
        for name, own, asked in (
            ("classes", self.num_classes, data.num_classes),
            ("pixels", self.image_size, data.image_size),
        ):
            if own not in (None, asked):
                raise UserError(f"{self.path}: of a network for {own} {name}, not {asked}")
        network = (
            imported(self.model).make(data.num_classes)
            if is_imported(self.model) and self.num_classes is None
            else build_model(self.model, self.filters, **data.shape)
        )
        weights = fit(network.state_dict(), self.weights, self.path)
        return Given(self.path, self.model, self.filters, weights)

    def build(self, data: Data, *, gated: bool) -> nn.Module:
        """The network with its weights; with open gates, if ``gated``. Raises UserError where a
        network that has to be run as its graph has other weights."""
        network = build_model(self.model, self.filters, gated=gated, **data.shape)
        loaded = network.load_state_dict(self.weights, strict=False)
        gates = {
            f"{name}.weight"
            for name, module in network.named_modules(remove_duplicate=False)
            if isinstance(module, GateLayer)
        }
        # A graph lacks what its outputs don't follow from, and has what tracing made of constants.
        parameters = {name for name, _ in network.named_parameters()}
        if lacking := (set(loaded.missing_keys) - gates) & parameters:
            raise UserError(
                f"{self.path}: this network has to be run as its graph, where "
                f"{', '.join(sorted(lacking)[:4])} are called otherwise; rename its modules"
            )
        return network

    @property
    def fingerprint(self) -> str:
        """A fingerprint of all numbers, by which work that was begun with other weights is told."""
        import torch

        found = sha256()
        for name, tensor in sorted(self.weights.items()):
            numbers = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            found.update(f"{name} {tuple(tensor.shape)} ".encode() + numbers.numpy().tobytes())
        return found.hexdigest()[:16]


def read_given(path: Path, model: str) -> Given:
    """The network whose weights ``path`` holds: a state_dict of the user's, or what a training of
    this project left.

    Raises UserError where they can't be read, or are of another network.
    """
    if not is_own_file(path):
        return Given(path, model, template(model), read_weights(path))
    stored = read_stored(path, model)
    if stored["model"] != model:
        raise UserError(f"{path}: a {stored['model']}, not a {model}")
    if stored["convcut"]:
        raise UserError(
            f"{path}: has a convolution in every shortcut (--convcut); such networks can't be "
            "pruned"
        )
    if ("kept" in stored or "kept" in stored["begun_with"]) and not is_imported(model):
        raise UserError(
            f"{path}: was pruned already, and its layers keep different filters; give the "
            "weights that it was pruned from"
        )
    return Given(
        path,
        model,
        stored["filters"],
        stored["network"],
        stored["image_size"],
        stored["num_classes"],
    )


def is_own_file(path: Path) -> bool:
    """Whether a file is what a training of this project left, finished or not."""
    try:
        stored = read_tensors(path)
    except UserError:
        return False  # the reader of other people's weights says what is wrong with it
    return "network" in stored and ({"filters", "model"} <= stored.keys() or "begun_with" in stored)
