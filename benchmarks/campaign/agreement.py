"""Part 1: does the device compute what the CPU does? A search, killed and resumed too, a sweep, a
pruning and an export, at small sizes."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path

import torch

from campaign.images import NAME
from campaign.looks import Killed, Rounds, killed_at, rounds_noted
from campaign.scene import Scene
from campaign.store import Facts
from model import image_shape, pixels_in
from utils.compression.prune import prune
from utils.export.contents import ExportPlan
from utils.export.formats import SOURCE, WEIGHTS, written
from utils.export.known import images_for
from utils.records.networks import network_of, read_stored
from utils.records.paths import at_size, weights_file
from utils.records.results import Result
from utils.records.shapes import shape_in
from utils.search.search import search
from utils.settings import Networks, SearchSettings, Storage, TrainingSettings
from utils.settings.compression import Compression, PruningSettings
from utils.training.sweep import sweep

EXPORTED = 100  # images that an exported network is compared on


def search_agrees(scene: Scene, model: str, amp: bool) -> Facts:
    """Return how far the rounds of a search agree: those on the device with those on the CPU, and
    those of a search that was killed and resumed with those of one that was not."""
    kind = kind_of(model, amp)
    sides = {"cpu": "cpu", "device": scene.device, "killed": scene.device}
    rounds, took = {}, {}
    for side, on in sides.items():
        began = time.monotonic()
        rounds[side] = searched(scene, kind, model, amp, side, on)
        took[side] = round(time.monotonic() - began, 1)
    return {
        "took": took,  # a device may spend most of it on choosing algorithms for new widths
        "search": difference(rounds["cpu"], rounds["device"]),
        "killed": difference(rounds["device"], rounds["killed"]),
    }


def training_agrees(scene: Scene, model: str, amp: bool) -> Facts:
    """Return how far a training agrees, with that on the CPU and with itself, and so for a pruning
    of what the device trained; and whether the exported network does what the trained one does."""
    kind = kind_of(model, amp)
    sides = {"cpu": "cpu", "device": scene.device, "again": scene.device}
    scratch = {side: trained(scene, kind, model, amp, side, on) for side, on in sides.items()}
    facts: Facts = {"training": {side: curves(result) for side, result in scratch.items()}}

    # what the device trained, pruned on both
    weights, noted, small = trained_weights(scene, kind, "device", model), {}, {}
    for side in ("cpu", "device"):
        with rounds_noted() as noted[side]:
            small[side] = pruned(scene, kind, model, amp, side, sides[side], weights)
    facts["pruning"] = {
        **difference(noted["cpu"], noted["device"]),
        **{
            side: {**curves(result), "filters": result["filters"]} for side, result in small.items()
        },
    }
    return {**facts, "export": exported(scene, kind, model, weights)}


def kind_of(model: str, amp: bool) -> str:
    """Return the name of the folder of one network in one number format."""
    return f"{model}-{'amp' if amp else 'float32'}"


def place_of(scene: Scene, kind: str, side: str, save: str) -> Storage:
    """Return the place of one side's files."""
    return scene.storage("agreement", kind, side, save=save)


def searched(scene: Scene, kind: str, model: str, amp: bool, side: str, device: str) -> Rounds:
    """Return the rounds of one short search. Raises RuntimeError if it ended before its kill."""
    scale = scene.scale
    settings = SearchSettings(
        model=model,
        dataset=NAME,
        ratio=scale.ratio,
        limit_train=scale.images,
        batch_size=scale.batch_size,
        epochs=40,
        warmup=1,
        iterations=1,
        prune_every=1,
        prune_step=scale.prune_step,
        min_width=2,  # every round is recorded, and narrow layers don't end it early
        amp=amp,
    )
    storage, machine = place_of(scene, kind, side, "search"), scene.machine(device)
    with rounds_noted() as rounds:
        if side == "killed":
            with contextlib.suppress(Killed), killed_at(scale.killed_at):
                search(settings, storage, machine)
                raise RuntimeError(f"the search ended before batch {scale.killed_at}")
            storage = replace(storage, resume=True)
        search(settings, storage, machine)
    return rounds


def difference(one: Rounds, other: Rounds) -> Facts:
    """Return how many rounds two runs had, and the first one in which their filters differ: its
    number from 1, the layer from 0, and how many filters of all are others."""
    facts: Facts = {"rounds": [len(one.left), len(other.left)], "first": None}
    for number in sorted(one.left.keys() & other.left.keys()):
        differs = one.left[number] != other.left[number]
        if differs.any():
            layer = next(n for n, part in enumerate(differs.split(one.full)) if part.any())
            facts["first"] = {"round": number, "layer": layer, "filters": int(differs.sum())}
            break
    return facts


def short(scene: Scene, model: str, amp: bool) -> Facts:
    """Return the settings that trainings and prunings share: few images, few epochs."""
    return {
        "model": model,
        "dataset": NAME,
        "epochs": scene.scale.epochs,
        "batch_size": scene.scale.batch_size,
        "limit_train": scene.scale.images,
        "limit_test": scene.scale.images,
        "amp": amp,
    }


def trained(scene: Scene, kind: str, model: str, amp: bool, side: str, device: str) -> Result:
    """Return the result of a short training of a uniform network."""
    settings = TrainingSettings(**short(scene, model, amp))
    networks = Networks(uniform=True, ratios=(scene.scale.ratio,))
    return sweep(settings, networks, place_of(scene, kind, side, "trained"), scene.machine(device))[
        0
    ]


def trained_weights(scene: Scene, kind: str, side: str, model: str) -> Path:
    """Return the weights that such a training left."""
    storage = place_of(scene, kind, side, "trained")
    return weights_file(storage.model_dir, model, at_size(storage.save, scene.scale.ratio))


def pruned(
    scene: Scene, kind: str, model: str, amp: bool, side: str, device: str, weights: Path
) -> Result:
    """Return the result of a short pruning of the network with these ``weights``."""
    settings = PruningSettings(**short(scene, model, amp), prune_part=0.5, prune_rounds=8, lr=0.01)
    asked = Compression(weights=str(weights), target=scene.scale.target)
    return prune(settings, asked, place_of(scene, kind, side, "pruned"), scene.machine(device))


def curves(result: Result) -> Facts:
    """Return the loss in training and the accuracy in test, by epochs."""
    return {
        "loss": [round(loss, 6) for loss in result["train_loss"]],
        "accuracy": [round(accuracy, 3) for accuracy in result["test_acc"]],
    }


@torch.no_grad()
def exported(scene: Scene, kind: str, model: str, weights: Path) -> Facts:
    """Return how far network.py, on the device and on the CPU, is from the trained network.

    What PyTorch's and ONNX's own exporters write is computed on the CPU, wherever a network was
    trained, and left out.
    """
    stored = read_stored(weights, model)
    shape = shape_in(stored)
    network = network_of(weights, stored).eval()
    plan = ExportPlan.of(network, model, NAME, shape)
    if plan.source is None:
        raise RuntimeError(f"no {SOURCE}: {plan.reason}")

    # its files, as export.py writes them
    folder = scene.work / "agreement" / kind / "exported"
    folder.mkdir(parents=True, exist_ok=True)
    files = written(
        plan.network, plan.state, plan.source, pixels_in(shape), images_for(NAME, {}, shape)
    )
    for name, content in files:
        (folder / name).write_bytes(content)
        if name == SOURCE:
            break

    # read again as others would
    space: Facts = {"__name__": "network"}
    exec(compile((folder / SOURCE).read_text(), SOURCE, "exec"), space)
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(EXPORTED, *image_shape(pixels_in(shape)), generator=draw)
    expected, found = network(images), {}
    for side, device in (("cpu", "cpu"), ("device", scene.device)):
        own = space["Network"]()
        own.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
        outputs = own.eval().to(device)(images.to(device)).cpu()
        found[side] = float((outputs - expected).abs().max() / expected.abs().max())
    return found
