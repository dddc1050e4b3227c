"""The trained network that a user brings: its widths, its weights, and gates to prune it with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model import Shape, build_model, is_imported, pixels_in, template
from model.gate import GateLayer
from model.graph.user_network import imported
from utils.data import Data
from utils.data.channels import channels_for
from utils.errors import UserError
from utils.records.given_weights import fit, read_content, weights_in
from utils.records.methods import refuse_impossible
from utils.records.networks import check_stored, kept_filters
from utils.records.shapes import shape_in
from utils.settings.compression import PruningSettings

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Given:
    """A trained network: its ``filters``, and its weights by the names that its own code has for
    them; ``shape``, classes and images, where its file says them."""

    path: Path
    model: str
    filters: list[int]
    weights: dict[str, Tensor]
    shape: Shape | None = None
    channels: int | None = None  # with how many images are read; None: as they are by default

    def fitted(self, data: Data) -> Given:
        """Return the same, once its weights are known to fit the network for these images. Raises
        UserError if they do not."""
        if self.shape not in (None, data.shape):
            raise UserError(f"{self.path}: {_for(self.shape)}, not {_for(data.shape)}")
        network = (
            imported(self.model).make(data.num_classes)
            if is_imported(self.model) and self.shape is None
            else build_model(self.model, self.filters, **data.shape)
        )
        weights = fit(network.state_dict(), self.weights, self.path)
        return Given(self.path, self.model, self.filters, weights)

    def build(self, data: Data, *, gated: bool) -> nn.Module:
        """Return the network with its weights, and with open gates if ``gated``. Raises
        UserError if the network is run as its graph and that names its weights otherwise."""
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
        """A fingerprint of all weights. Work that was begun with other weights has another one."""
        import torch

        found = sha256()
        for name, tensor in sorted(self.weights.items()):
            numbers = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            found.update(f"{name} {tuple(tensor.shape)} ".encode() + numbers.numpy().tobytes())
        return found.hexdigest()[:16]


def read_given(path: Path, settings: PruningSettings, keep: Sequence[str] = ()) -> Given:
    """Return the network whose weights are in ``path``: a state_dict of the user's, or a file that
    a training of this project left.

    Raises UserError where they can't be read, or are of another network, and what
    ``refuse_impossible`` raises for the network and the layers to ``keep``.
    """
    content = read_content(path)
    own = own_network(path, content, settings.model) if is_of_this_project(content) else None
    pixels, channels = settings.image_size, settings.channels
    if own and own.shape:
        pixels, channels = pixels or own.shape["image_size"], channels or own.shape.get("channels")
    else:
        channels = channels_for(settings.model, settings.dataset, pixels, channels)
    refuse_impossible(
        settings.model, settings.dataset, image_size=pixels, channels=channels, keep=keep
    )
    if not own:
        own = Given(path, settings.model, template(settings.model), weights_in(path, content))
    return replace(own, channels=channels)


def own_network(path: Path, content: Any, model: str) -> Given:
    """Return the network in ``content``, which a training of this project left in ``path``. Raises
    UserError if it can't be pruned."""
    stored = check_stored(path, content, model)
    if stored["model"] != model:
        raise UserError(f"{path}: a {stored['model']}, not a {model}")
    if stored["convcut"]:
        raise UserError(
            f"{path}: has a convolution in every shortcut (--convcut); such networks can't be "
            "pruned"
        )
    if kept_filters(stored) is not None and not is_imported(model):
        raise UserError(
            f"{path}: was pruned already, and its layers keep different filters; give the "
            "weights that it was pruned from"
        )
    return Given(path, model, stored["filters"], stored["network"], shape_in(stored))


def is_of_this_project(content: Any) -> bool:
    """Return True for the content of a file that a training of this project left, finished or
    not."""
    return (
        isinstance(content, dict)
        and "network" in content
        and ({"filters", "model"} <= content.keys() or "begun_with" in content)
    )


def _for(shape: Shape) -> str:
    return f"for {shape['num_classes']} classes, and images of {pixels_in(shape)} pixels"
