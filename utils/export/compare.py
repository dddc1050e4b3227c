"""Reads each file of an exported folder again, as others would, and compares it with the
network."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from model import COLOURS, ImageSize, image_shape
from model.graph.graph_module import other_paths
from utils.errors import UserError
from utils.export import alone
from utils.export.formats import ONNX, PROGRAM, SOURCE, WEIGHTS, quiet
from utils.export.known import Preprocessing
from utils.records.paths import PROJECT

BATCHES = (1, 100)  # batch sizes of the comparison
TRAINED = 8  # images in the step of training that is compared
TOLERANCE = 1e-5  # relative to the largest output
OF_TRAINING = 1e-3  # for a step of training: relative to the largest output, gradient, statistic
OF_PROBABILITY = 0.1  # in percent, as an example prints it

Forward: TypeAlias = Callable[[Tensor], Tensor]


def random_images(number: int, size: ImageSize) -> Tensor:
    """Return random images (N, C, H, W), always the same ones."""
    draw = torch.Generator().manual_seed(number)
    return torch.randn(number, *image_shape(size), generator=draw)


def random_pixels(number: int, size: ImageSize) -> Tensor:
    """Return random pixels (N, H, W, C), uint8, always the same ones."""
    channels, height, width = image_shape(size)
    draw = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (number, height, width, channels), generator=draw).to(torch.uint8)


@torch.no_grad()
def differences(
    network: nn.Module,
    folder: Path,
    image_size: ImageSize,
    images: Preprocessing,
    reference: nn.Module | None,
) -> dict[str, Any]:
    """Return the largest difference of each file's outputs from the network's on random images,
    relative to the largest output.

    ``images`` has the way from images to the network's input. ``reference`` is the network that
    network.py should train like, if that was written; a difference in training is described under
    "training". Raises UserError for a difference beyond rounding.
    """
    found: dict[str, Any] = {}
    expected = {size: network(random_images(size, image_size)) for size in BATCHES}

    with quiet():
        files = _read_again(folder)
        for size in BATCHES:
            for name, forward in files.items():
                pixels = images.inside and name == ONNX
                given = (
                    random_pixels(size, image_size) if pixels else random_images(size, image_size)
                )
                _note(
                    found,
                    name,
                    forward(given),
                    network(images.from_pixels(given)) if pixels else expected[size],
                )

    if reference is not None:
        task = {
            "images": [random_images(size, image_size) for size in (*BATCHES, TRAINED)],
            "labels": torch.arange(TRAINED) % expected[1].shape[1],
        }
        ran = run_alone(folder, task)
        for size, outputs in zip(BATCHES, ran["outputs"]):
            _note(found, SOURCE, outputs, expected[size])
        found["training"] = training_difference(ran, reference, task)
    return found


def _note(found: dict[str, Any], name: str, outputs: Tensor, expected: Tensor) -> None:
    """Record the difference of two outputs. Raises UserError if it is beyond rounding."""
    difference = float((outputs - expected).abs().max() / expected.abs().max())
    if not difference <= TOLERANCE:  # NaN fails too
        raise UserError(
            f"{name} gives other outputs than the network: they differ by {difference:.1e} of the "
            f"largest, at most {TOLERANCE:.0e} is rounding; are the weights finite? Nothing was "
            "exported"
        )
    found[name] = max(difference, found.get(name, 0.0))


def _read_again(folder: Path) -> dict[str, Forward]:
    """Return the network as read from each file except network.py."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(
        str(folder / ONNX), options, providers=["CPUExecutionProvider"]
    )

    program, weighted = (torch.export.load(folder / PROGRAM).module() for _ in range(2))
    weights = torch.load(folder / WEIGHTS, weights_only=True)
    others = other_paths(weights)
    weighted.load_state_dict({others[name]: tensor for name, tensor in weights.items()})

    def onnx(inputs: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": inputs.numpy()})[0])

    return {ONNX: onnx, PROGRAM: program, WEIGHTS: weighted}


# --- in other processes ---------------------------------------------------------------------------


def run_alone(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Return the results of network.py for the batches of ``task``, in a process that doesn't see
    this project. Raises UserError."""
    with tempfile.TemporaryDirectory() as place:
        given, found = f"{place}/given.pt", f"{place}/found.pt"
        torch.save(task, given)
        _run([str(Path(alone.__file__).read_text()), str(folder), given, found], place, SOURCE)
        result: dict[str, Any] = torch.load(found, weights_only=True)
        return result


def _run(arguments: list[str], place: str, name: str) -> str:
    """Return what a piece of Python source prints, in a process of its own in the folder ``place``.

    Raises UserError if it fails.
    """
    paths = [
        path
        for path in os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if path and Path(path).resolve() != PROJECT
    ]

    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
    }

    ran = subprocess.run(
        [sys.executable, "-c", *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
    )

    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or [f"it ended with {ran.returncode}"])[-1]
        raise UserError(f"{name} can't be run: {last[:200]}; nothing was exported")
    return ran.stdout


@torch.enable_grad()
def training_difference(ran: dict[str, Any], reference: nn.Module, task: dict[str, Any]) -> str:
    """Return how a step of training of network.py differs from one of the network; "" if it does
    not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as there
    try:
        with torch.random.fork_rng(devices=[]):
            own = alone.training_step(reference, task["images"][-1], task["labels"])
    except Exception as error:  # the network's own code may raise anything in training
        return (
            f"in training the network itself gives no logits ({type(error).__name__}); "
            "network.py trains as it evaluates"
        )
    finally:
        torch.set_num_threads(threads)

    # both may fail in the same way
    if "error" in ran or "error" in own:
        return (
            ""
            if ran.get("error") == own.get("error")
            else f"in training it can't be run ({ran.get('error') or own['error']})"
        )

    # outputs, gradients, statistics
    if not _close(ran["trained"], own["trained"], float(own["trained"].abs().max())):
        return "in training it gives other outputs than the network does"
    largest = max(
        (float(gradient.abs().max()) for gradient in own["gradients"].values()), default=0.0
    )
    for name, gradient in ran["gradients"].items():
        if not _close(gradient, own["gradients"].get(name, torch.zeros_like(gradient)), largest):
            return f"in training {name} gets another gradient than in the network"
    for name, statistic in own["buffers"].items():
        if name in ran["buffers"] and not _close(
            ran["buffers"][name].float(), statistic.float(), float(statistic.float().abs().max())
        ):
            return f"in training {name} becomes something else than in the network"
    return ""


def _close(one: Tensor, other: Tensor, scale: float) -> bool:
    """Return True if two tensors differ by rounding at most."""
    return one.shape == other.shape and (
        torch.equal(one, other) or bool((one - other).abs().max() <= OF_TRAINING * scale)
    )


def check_example(
    folder: Path, network: nn.Module, image_size: ImageSize, images: Preprocessing
) -> None:
    """Raise UserError if example.py gives another class or probability for an image than the
    network."""
    from PIL import Image

    from utils.data.folder import decode, decode_grey

    channels, height, width = image_shape(image_size)

    with tempfile.TemporaryDirectory() as place:
        pixels = np.random.default_rng(0).integers(
            0, 256, (height + 7, 2 * width, channels), dtype=np.uint8
        )
        Image.fromarray(pixels.squeeze()).save(path := f"{place}/image.png")
        source = (
            "import runpy, sys; sys.argv[:1] = []; runpy.run_path(sys.argv[0], run_name='__main__')"
        )

        said = _run([source, str(folder / "example.py"), path], place, "example.py").strip()
        with torch.no_grad():
            image = decode(path) if channels == COLOURS else decode_grey(path)
            percent = 100 * network(images.normalised(image, image_size))[0].softmax(0)

    name, number, _ = said.rsplit(" ", 2)
    classes = images.names(len(percent))
    if (
        name not in classes
        or abs(float(percent[classes.index(name)]) - float(number)) > OF_PROBABILITY
        or (float(percent.max()) - float(number) > OF_PROBABILITY)
    ):
        raise UserError(
            f"example.py says {said!r} of an image that is {classes[int(percent.argmax())]} with "
            f"{float(percent.max()):.1f} %; nothing was exported"
        )
