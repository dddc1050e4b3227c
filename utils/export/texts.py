"""The texts of an exported folder: example.py and README.md."""

from __future__ import annotations

from typing import Any

from model import COLOURS, ImageSize, image_shape, pixels_in
from utils.export.known import Preprocessing
from utils.records.shapes import shape_in

EXAMPLE_SOURCE = '''\
"""Says what an image shows: python3 example.py IMAGE. Needs onnxruntime, numpy and Pillow."""
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).resolve().parent
ABOUT = json.loads((HERE / "architecture.json").read_text(encoding="utf-8"))


def pixels_of(path):
    """The pixels of an image file, {pixels}, uint8: {colour}, brought to the size that the network takes."""
    try:
{opened}
    except OSError as error:
        sys.exit(f"{{path}}: not an image, or damaged ({{error}})")
    {sides} = ABOUT["image_size"]
    return np.asarray(image.resize({size}, Image.Resampling.{resize})){batch}


{normalise}def main(path):
    session = onnxruntime.InferenceSession(str(HERE / "network.onnx"), providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {{"images": {images}}})[0][0]
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    best = int(probabilities.argmax())
    name = ABOUT["classes"][best] if ABOUT["classes"] else f"class {{best}}"
    print(f"{{name}} {{100 * probabilities[best]:.1f}} %")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 example.py IMAGE")
    main(sys.argv[1])
'''
COLOUR = {1: "grey", COLOURS: "RGB"}
OPENED = {  # by the channels of the network's images
    1: """\
        image = Image.open(path)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image = image.convert("L")""",
    COLOURS: """\
        image = Image.open(path).convert("RGB")""",
}
NORMALISE = '''\
def normalised(pixels):
    """What the network takes, {shape}, float32: less the mean of the images it was trained on, over their deviation."""
    if ABOUT["mean"] is None:
        sys.exit("the mean and deviation of the training images are not known; put them into architecture.json")
    mean, std = (np.float32(255 * np.array(ABOUT[name])) for name in ("mean", "std"))
    return pixels.transpose(0, 3, 1, 2).astype(np.float32) * (1 / std)[:, None, None] - (mean / std)[:, None, None]


'''
LOADING = (
    "`from network import Network; network = Network(); "
    'network.load_state_dict(torch.load("weights.pt", weights_only=True))`'
)
README_TEXT = """\
# {model} for {dataset}: {num_classes} classes, {accuracy}, {params:,} parameters, {mmacs:.1f} million multiply-accumulates
- `python3 example.py IMAGE` prints the class of an image and its probability. It needs onnxruntime, numpy and Pillow.
- {source}
- `weights.pt`: its weights, tensors by name. `network.pt2`'s `load_state_dict` takes them, too.
- `network.onnx`: of `images` {onnx_input}, it makes `logits` (N, {num_classes}), for any N.
- `network.pt2`: `torch.export.load("network.pt2").module()(images)`, in evaluation, with nothing but PyTorch; images normalised.
- Images: {colour}, brought to {height} x {width} pixels ({resize}, whatever their shape), divided by 255, less `mean`, divided by `std`.
- `architecture.json`: widths, `mean`, `std`, `classes` in the order of the logits, accuracy, and where the network comes from.
- {own_class}
- Every file was read again and compared with the network when it was written, within {tolerance:.0e} of the largest output.
"""


def example_text(images: Preprocessing, image_size: ImageSize) -> str:
    """Return example.py for ``images`` that the network takes at this size."""
    channels, height, width = image_shape(image_size)
    square = height == width
    sides = "S, S" if square else "H, W"
    normalise = NORMALISE.format(shape=f"(1, {channels}, {sides})")
    return EXAMPLE_SOURCE.format(
        pixels=f"(1, {sides}, {channels})",
        colour=COLOUR[channels],
        opened=OPENED[channels],
        sides="size" if square else "height, width",
        size="(size, size)" if square else "(width, height)",
        resize=images.resize.upper(),
        batch="[None]" if channels == COLOURS else "[None, :, :, None]",
        normalise="" if images.inside else normalise,
        images="pixels_of(path)" if images.inside else "normalised(pixels_of(path))",
    )


def readme(about: dict[str, Any], tolerance: float, own_class: str) -> str:
    """Return README.md, ten lines, from architecture.json."""
    channels, height, width = image_shape(pixels_in(shape_in(about)))
    inside = about["onnx_input"]["type"] == "uint8"
    if reason := about["not_written"].get("network.py"):
        source = (
            f"There is no `network.py`, as plain PyTorch can't say what this does: {reason}. "
            "The other files are whole."
        )
    else:
        but = f". But {about['training_differs']}" if about["training_differs"] else ""
        source = f"`network.py`: plain PyTorch, which trains, too: {LOADING}{but}."

    return README_TEXT.format(
        **{key: about[key] for key in ("model", "dataset", "num_classes", "params")},
        mmacs=about["macs"] / 1e6,
        colour=COLOUR[channels],
        height=height,
        width=width,
        source=source,
        accuracy=f"{about['accuracy']:.2f} % of the test images right"
        if about["trained"]
        else "not trained",
        onnx_input=f"(N, {height}, {width}, {channels}), uint8: pixels as Pillow and numpy have them, normalised "
        "inside"
        if inside
        else f"(N, {channels}, {height}, {width}), float32, normalised",
        resize=about["input"]["resize"],
        own_class=own_class,
        tolerance=tolerance,
    )
