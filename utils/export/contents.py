"""The contents of an exported folder, and their description."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model import Shape, build_model, image_shape, is_imported, pixels_in
from model.graph.flatten import plain
from model.graph.trace import random_state_kept
from utils.errors import UserError
from utils.export.compare import BATCHES, TOLERANCE
from utils.export.formats import SOURCE
from utils.export.known import Preprocessing
from utils.export.source.literals import NotWritableError
from utils.export.source.write import write_source
from utils.records.shapes import shape_in
from utils.records.sizes import size_of
from utils.settings import size_told

ARCHITECTURE, README = "architecture.json", "README.md"


@dataclass(frozen=True)
class ExportPlan:
    """The parts of an exported network.

    These are the network as others can load it, its weights, and its source, or the ``reason`` why
    there is none. ``reference`` is the network that network.py should train like.
    """

    network: nn.Module
    state: dict[str, Tensor]
    source: str | None
    reason: str
    reference: nn.Module | None
    params: int

    @staticmethod
    def of(network: nn.Module, model: str, dataset: str, shape: Shape) -> ExportPlan:
        """Return the parts of a network. Raises UserError if it can't be exported at all."""
        pixels = pixels_in(shape)
        channels, height, width = image_shape(pixels)
        draw = torch.Generator().manual_seed(0)
        try:
            bare = plain(network, torch.randn(2, channels, height, width, generator=draw))
        except NotImplementedError as error:
            raise UserError(f"this network can't be exported: {error}") from None

        # what is frozen, and stays as in evaluation
        frozen = {
            name
            for name, weight in network.named_parameters(remove_duplicate=False)
            if not weight.requires_grad
        }
        training = copy.deepcopy(network).train()
        held = [name for name, module in training.named_modules() if name and not module.training]

        reference = copy.deepcopy(bare)
        for name, weight in reference.named_parameters(remove_duplicate=False):
            weight.requires_grad_(name not in frozen)

        title = (
            f"{model} for {dataset}: {shape['num_classes']} classes, images of {height} x {width} "
            "pixels."
        )
        shapes = (
            f"Images (N, {channels}, {height}, {width}), normalised -> logits "
            f"(N, {shape['num_classes']})."
        )
        try:
            found = write_source(bare, title, shapes, sorted(frozen), held, pixels)
        except NotWritableError as error:
            state = {name: tensor.clone() for name, tensor in bare.state_dict().items()}
            return ExportPlan(bare, state, None, str(error), None, number_of(bare))
        return ExportPlan(
            found.network, found.state, found.text, "", reference, number_of(found.network)
        )


def number_of(network: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def interface(images: Preprocessing, shape: Shape) -> dict[str, Any]:
    """Return a description of the network's input and output."""
    channels, height, width = image_shape(pixels_in(shape))
    given = {
        "name": "images",
        "shape": ["N", channels, height, width],
        "type": "float32",
        "range": [0, 1],
        "mean": images.mean,
        "std": images.std,
        "colour": images.colour,
        "resize": images.resize,
    }

    # with the preprocessing inside, network.onnx takes pixels
    pixels = {
        "name": "images",
        "shape": ["N", height, width, channels],
        "type": "uint8",
        "range": [0, 255],
        "colour": images.colour,
        "resize": images.resize,
    }
    return {
        "input": given,
        "onnx_input": pixels if images.inside else given,
        "output": {"name": "logits", "shape": ["N", shape["num_classes"]]},
    }


def own_class(about: dict[str, Any], state: dict[str, Tensor]) -> str:
    """Return a sentence on how the network's own class is made at these widths with this
    project."""
    shape = {
        **shape_in(about),
        **{key: about[key] for key in ["convcut"] * about["convcut"]},
    }
    call = (
        f"build_model({json.dumps(about['model'])}, filters, "
        f"{', '.join(f'{key}={value!r}' for key, value in shape.items())})"
    )

    with random_state_kept():
        built = build_model(about["model"], about["filters"], **shape).state_dict()
    fits = {name: tensor.shape for name, tensor in built.items()} == {
        name: tensor.shape for name, tensor in state.items()
    }

    own = "your own class" if is_imported(about["model"]) else "its class"
    return (
        f"With the project that wrote this, `from model import build_model; {call}` makes {own} "
        "at these widths, `filters` of "
        f"architecture.json; `weights.pt` {'fits' if fits else 'does not fit'} it."
    )


def say(about: dict[str, Any], sizes: dict[str, int]) -> None:
    """Print what was exported, and how far its files' outputs are from the network's."""
    params, stored = about["params"], about["stored_params"]
    print(
        f"{about['model']} on {about['dataset']}, {about['method']} at "
        f"{size_told(size_of(about))}: {params:,} parameters, {about['macs'] / 1e6:.1f} MMACs"
        + (
            f"; {stored:,} parameters as exported, for channels that only some layers of a region "
            "kept are there in all, as zeros"
            if stored != params
            else ""
        )
    )

    for name, difference in about["differences"].items():
        print(
            f"  {name}: {sizes[name] / 1e6:.2f} MB, outputs at batch "
            f"{' and '.join(map(str, BATCHES))} within {difference:.1e} of the "
            f"network's (allowed {TOLERANCE:.0e})"
        )

    for name, reason in about["not_written"].items():
        print(f"  {name}: not written, as plain PyTorch can't say what this does: {reason}")
    if about["training_differs"]:
        print(f"  {SOURCE}: {about['training_differs']}")
    if unknown := [key for key in ("mean", "std", "classes") if about[key] is None]:
        print(
            f"  {ARCHITECTURE}: {', '.join(unknown)}: not known; where --dataset is the path to "
            "the folder of the images, they are taken from there"
        )
