"""Images of one channel, and of unequal sides: a search, a sweep, a pruning and an export of them;
or one line."""

import json
import math
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import forget
from PIL import Image
from running import DIGITS, alone, assert_refused, call, succeed
from torch import nn

from model import build_model, count_macs, count_params, pixels_of, prepare_filters
from model.errors import UnreadableNetwork
from utils.data import Batches, load_data, rotate
from utils.data.batches import Augmentation
from utils.data.channels import channels_for
from utils.data.decoded import fingerprint
from utils.records.networks import load_network
from utils.records.shapes import recorded, shape_in
from utils.settings import TrainingSettings
from utils.settings.fields import assigned, command_options

NETS = '''
import torch
from torch import nn


class Grey(nn.Module):
    """For images (N, 1, 24, 40): the head has a weight for each place."""

    channels, places = 1, 6 * 10

    def __init__(self, num_classes):
        super().__init__()
        self.one, self.two = nn.Conv2d(self.channels, 16, 3, 2, 1), nn.Conv2d(16, 24, 3, 2, 1)
        self.norm, self.other = nn.BatchNorm2d(16), nn.BatchNorm2d(24)
        self.head = nn.Linear(24 * self.places, num_classes)

    def forward(self, x):
        x = torch.relu(self.norm(self.one(x)))
        return self.head(torch.relu(self.other(self.two(x))).flatten(1))


class Wide(Grey):
    """For images (N, 3, 48, 96)."""

    channels, places = 3, 12 * 24
'''
HEIGHT, WIDTH = 24, 40
GREY = ["--model", "nets.py:Grey", "--dataset", "photos"]
SIZE = ["--image-size", f"{HEIGHT}x{WIDTH}"]
ONCE = ["--epochs", 1, "--batch-size", 8]
SHAPE = {"num_classes": 2, "image_size": (HEIGHT, WIDTH), "channels": 1}
SEARCH = ["--iterations", 1, "--warmup", 1, "--epochs", 9, "--prune-every", 1, "--prune-step", 2]


def picture(number: int, label: int, mode: str = "L") -> Image.Image:
    """A bright half, upper or left, on noise; of mode I;16 in its upper bits."""
    pixels = np.random.default_rng(number).integers(0, 100, (HEIGHT, WIDTH))
    pixels[(slice(HEIGHT // 2), slice(None)) if label else (slice(None), slice(WIDTH // 2))] += 120
    if mode == "I;16":
        return Image.fromarray((pixels * 256 + 255 - pixels).astype(np.uint16))
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def photos(folder: Path, mode: str = "L", first: str | None = None) -> None:
    for part, number in (("train", 12), ("test", 4)):
        for label in (0, 1):
            (folder / part / f"class {label}").mkdir(parents=True)
            for at in range(number):
                image = picture(100 * at + label, label, first if first and not at else mode)
                image.save(folder / part / f"class {label}" / f"{at:02}.png")


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A folder with grey images, and a search of them."""
    place, before = tmp_path_factory.mktemp("grey"), Path.cwd()
    os.chdir(place)
    forget()
    try:
        Path("nets.py").write_text(NETS)
        photos(Path("photos"))
        search = [*GREY, *SIZE, *SEARCH, "--batch-size", 8, "--save", "found"]
        succeed("architecture_descent.py", *search)
    finally:
        forget()
        os.chdir(before)
    return place


@pytest.fixture
def grey(folder, fresh):
    return folder


def test_a_search_a_sweep_and_an_export_of_grey_images_with_unequal_sides(grey):
    record = json.loads(Path("prune_record/found.json").read_text())
    assert (record["image_size"], record["channels"]) == ([HEIGHT, WIDTH], 1)
    assert record["settings"]["image_size"] == [HEIGHT, WIDTH]
    assert "channels" not in record["settings"]  # nobody has given them
    assert record["iterations"][0]["rounds"] > 5

    # a sweep, which takes both from its search; again, it is finished
    sweep = [*GREY, *ONCE, "--prune-fname", "found", "--save", "swept_0", "--ratios", 0.5]
    succeed("ratio_swipe.py", *sweep)
    result = json.loads(Path("saved_plots/nets.Grey/swept_0_50.json").read_text())
    assert (result["image_size"], result["channels"]) == ([HEIGHT, WIDTH], 1)
    assert result["params"] == count_params("nets.py:Grey", result["filters"], **SHAPE)
    assert "finished before" in succeed("ratio_swipe.py", *sweep, "--resume")
    weights = Path("saved_models/nets.Grey/swept_0@50.pt")
    network, images = load_network(weights, "nets.py:Grey"), torch.randn(3, 1, HEIGHT, WIDTH)
    assert network(images).shape == (3, 2)

    listed = succeed("list_architecture.py", *GREY, "--prune-fname", "found", "--json")
    assert json.loads(listed)["image_size"] == [HEIGHT, WIDTH]
    drawn = succeed("plot_ratio.py", *GREY)
    assert "NeuralScale" in drawn

    # an export, whose example reads an image of another size
    export = [*GREY, "--save", "swept_0", "--ratio", 0.5]
    succeed("export.py", *export, "--out", "out")
    succeed("export.py", *export, "--out", "inside", "--preprocessing")
    torch.testing.assert_close(
        torch.export.load("out/network.pt2").module()(images), network(images)
    )
    about = json.loads(Path("out/architecture.json").read_text())
    assert about["input"]["shape"] == ["N", 1, HEIGHT, WIDTH] and about["input"]["colour"] == "L"
    assert len(about["mean"]) == len(about["std"]) == 1
    inside = json.loads(Path("inside/architecture.json").read_text())
    assert inside["onnx_input"]["shape"] == ["N", HEIGHT, WIDTH, 1]
    assert "image_size=(24, 40), channels=1" in Path("out/README.md").read_text()
    picture(7, 1, "I;16").resize((90, 31)).save("deep.png")
    picture(7, 1).resize((90, 31)).save("plain.png")
    said = {
        alone(f"{out}/example.py", image, cwd=".").out
        for out in ("out", "inside")
        for image in ("deep.png", "plain.png")
    }
    assert len({text.split()[1] for text in said}) == 1, said


def test_a_base_network_of_grey_images_is_pruned(grey):
    succeed("train_norm.py", *GREY, *SIZE, *ONCE, "--save", "base", "--rotation", 20)
    tune = [*GREY, *ONCE, "--prune-fname", "base", "--ratio", 0.5]
    succeed("fine_tune.py", *tune, "--save", "tuned")
    tuned = json.loads(Path("saved_plots/nets.Grey/tuned_50.json").read_text())
    assert (tuned["image_size"], tuned["channels"]) == ([HEIGHT, WIDTH], 1)
    network = load_network("saved_models/nets.Grey/tuned@50.pt", "nets.py:Grey")
    assert sum(p.numel() for p in network.parameters()) == tuned["params"]

    # the same weights, pruned while they are trained on
    weights = ["--weights", "saved_models/nets.Grey/base.pt", "--target", "60%"]
    succeed("prune.py", *GREY, *ONCE, *weights, "--save", "small", "--prune-rounds", 2)
    small = json.loads(Path("saved_plots/nets.Grey/small_60pct-macs.json").read_text())
    assert (small["image_size"], small["channels"]) == ([HEIGHT, WIDTH], 1)
    other = [*GREY, *ONCE, *weights, "--save", "other", "--image-size", "40x24"]
    assert_refused(call("prune.py", *other), "1x24x40 pixels", "1x40x24 pixels")


def test_an_experiment_of_grey_images_knows_what_is_finished(grey):
    experiment = [*GREY, "--search", "found", "--methods", "neuralscale", "--seeds", 0]
    experiment += ["--ratios", 0.5, "--name", "exp", "--train-with", "epochs=1", "batch-size=8"]
    experiment += ["image-size=24x40", "--search-with", "image-size=24x40", "iterations=1"]
    [*_, training] = succeed("submit.py", *experiment, "--dry-run").splitlines()
    assert "--image-size 24x40" in training
    succeed(*shlex.split(training)[1:])
    status = succeed("submit.py", *experiment, "--status")
    assert "2 jobs: 2 finished" in status

    # a result of other sides is not taken for it
    at = experiment.index("image-size=24x40")
    other = [*experiment[:at], "image-size=40x24", *experiment[at + 1 :]]
    assert_refused(
        call("submit.py", *other, "--status"), "exp_neuralscale_0_50.json", "[24, 40], not [40, 24]"
    )


def test_what_is_trained_with_other_channels_is_told_apart(grey):
    Path("nets.py").write_text(
        NETS.replace("x = torch", "x = x.mean(1, keepdim=True)\n        x = torch")
    )
    sweep = [*GREY, *SIZE, *ONCE, "--uniform", "--save", "both_0", "--ratios", 0.5]
    succeed("ratio_swipe.py", *sweep, "--channels", 1)
    assert_refused(call("ratio_swipe.py", *sweep), "both_0_50.json", "channels = 1, not 3")


@pytest.mark.parametrize(
    ("size", "channels", "name"),
    [("24x40", 1, "Grey"), ("48x96", 3, "Wide"), ("48x96", None, "Wide")],
)
def test_check_model_ends_with_ready(size, channels, name, grey):
    asked = ["--model", f"nets.py:{name}", "--image-size", size]
    said = succeed("check_model.py", *asked, *["--channels", channels] * (channels is not None))
    assert said.splitlines()[-1] == "ready"
    assert f"images of {'1x' * (channels == 1)}{size} pixels" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--image-size", "0x32"], "0 is not between 1 and 2048"),
        (["--image-size", "32x"], "'32x' is not a whole number, nor height x width"),
        (["--image-size", "24x40x1"], "is not a height and a width"),
        (["--image-size", "3000x40"], "3000 is not between"),
        (["--channels", "2"], "2 is none of 1, 3"),
        (["--channels", "grey"], "'grey' is not a whole number"),
        ([*SIZE, "--channels", "3"], "images of 24x40 pixels"),
        (["--model", "vgg", *SIZE], "square images of 3 channels alone"),
        (["--model", "resnet18", "--channels", "1"], "square images of 3 channels alone"),
        (["--model", "mobilenetv2", "--image-size", "16"], "of 32 pixels and more"),
        (["--dataset", "digits", *SIZE], "takes images of one channel, not of 3"),
        (["--dataset", "digits", *SIZE, "--channels", "1"], "goes with a folder of images alone"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_what_can_not_be_is_one_line(given, said, grey):
    asked = [*GREY, "--uniform", "--save", "x", "--ratios", 0.5, *ONCE, *given]
    assert_refused(call("ratio_swipe.py", *asked), said)
    assert not Path("saved_plots/nets.Grey/x_50.json").exists()


def test_colour_wins_unless_it_is_said_otherwise(grey):
    photos(Path("mixed"), first="RGB")
    sweep = ["--model", "nets.py:Grey", "--dataset", "mixed", *SIZE, *ONCE, "--uniform"]
    sweep += ["--save", "mixed_0", "--ratios", 0.5]
    assert_refused(
        call("ratio_swipe.py", *sweep), "mixed/train/class 0/00.png has colours", "--channels 1"
    )
    succeed("ratio_swipe.py", *sweep, "--channels", 1)
    result = json.loads(Path("saved_plots/nets.Grey/mixed_0_50.json").read_text())
    assert result["channels"] == 1


def test_a_network_that_takes_colours_is_given_them_of_grey_images_as_ever(grey):
    assert channels_for("nets.py:Wide", "photos", (48, 96)) is None
    assert channels_for("vgg", "photos") is None
    assert channels_for("nets.py:Grey", "photos", (24, 40)) == 1
    data = load_data("photos")
    assert data.train.images.shape[1:] == (32, 32, 3) and "channels" not in data.shape
    assert (data.train.images == data.train.images[..., :1]).all()


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16", "RGB"])
def test_grey_images_are_read_as_they_are(mode, tmp_path):
    photos(tmp_path / "one", mode)
    data = load_data(str(tmp_path / "one"), image_size=(HEIGHT, WIDTH), channels=1)
    assert data.train.images.shape == (24, HEIGHT, WIDTH, 1)
    expected = picture(0, 0, "1" if mode == "1" else "L").convert("L")
    torch.testing.assert_close(
        data.train.images[0, :, :, 0], torch.from_numpy(np.array(expected)), rtol=0, atol=1
    )
    assert data.mean.shape == data.std.shape == (1,)
    pixels = data.train.images.double()
    assert float(data.mean) == pytest.approx(float(pixels.mean()), rel=1e-6)
    assert float(data.std) == pytest.approx(float(pixels.std(correction=0)), rel=1e-6)


def test_a_folder_that_is_called_as_a_data_set_has_its_own_mean_in_grey(tmp_path):
    photos(tmp_path / "CIFAR10")
    data = load_data(str(tmp_path / "CIFAR10"), image_size=(HEIGHT, WIDTH), channels=1)
    assert len(data.facts["mean"]) == 1 and data.mean.shape == (1,)


def test_crops_and_mirrored_images_of_unequal_sides_are_parts_of_the_bordered_image(tmp_path):
    photos(tmp_path / "one")
    data = load_data(str(tmp_path / "one"), image_size=(HEIGHT, WIDTH), channels=1)
    batches = Batches(data, data.train, 24, Augmentation(crop=True, flip=True, rotation=0))
    [(images, _)] = batches.epoch(torch.Generator().manual_seed(0))
    assert images.shape == (24, 1, HEIGHT, WIDTH)
    pixels = (images * data.std + data.mean).round()[:, 0]
    bordered = nn.functional.pad(data.train.images[..., 0].float(), (4, 4, 4, 4))
    windows = bordered.unfold(1, HEIGHT, 1).unfold(2, WIDTH, 1).reshape(-1, HEIGHT, WIDTH)
    found = [
        any(torch.equal(part, window) for window in windows)
        or any(torch.equal(part.flip(1), window) for window in windows)
        for part in pixels[:6]
    ]
    assert all(found)


def test_images_of_unequal_sides_are_turned_without_being_stretched():
    """A point stays as far from the centre, and goes by the angle."""
    image = torch.zeros(1, 1, 41, 81)
    image[0, 0, 20, 40 + 15] = 1
    turned = rotate(image, torch.tensor([90.0]))
    [[row, column]] = turned[0, 0].nonzero().tolist()
    assert (abs(row - 20), column) == (15, 40)
    image[0, 0, 18:23, 53:58] = 1
    row, column = (rotate(image, torch.tensor([37.0]))[0, 0] > 0).nonzero().double().mean(0)
    assert math.hypot(row - 20, column - 40) == pytest.approx(15, abs=0.5)
    assert math.degrees(math.atan2(abs(row - 20), column - 40)) == pytest.approx(37, abs=2)


def test_decoded_images_of_other_sides_or_channels_have_other_names():
    names = {
        fingerprint([], pixels_of(*asked)) for asked in ((32,), ((24, 40),), (32, 1), ((40, 24),))
    }
    assert len(names) == 4
    assert fingerprint([], pixels_of((32, 32))) == fingerprint([], 32)


def test_images_in_grey_are_read_from_their_file(grey, monkeypatch):
    asked = {"image_size": (HEIGHT, WIDTH), "channels": 1, "cache_dir": "kept"}
    monkeypatch.setattr("utils.data.folder.MOMENT", 0)
    first = load_data("photos", **asked)
    files = sorted(path.name for path in Path("kept/images").glob("*.rgb"))
    assert [name.split("_")[1] for name in files] == ["1x24x40"] * 2
    monkeypatch.setattr("utils.data.folder.decode_grey", None)  # it is not called again
    assert torch.equal(load_data("photos", **asked).train.images, first.train.images)
    monkeypatch.setattr("utils.data.folder.room_for_images", lambda device: 0)
    mapped = load_data("photos", **asked).train
    assert isinstance(mapped.images, np.memmap)
    assert np.array_equal(mapped.images, first.train.images.numpy())


def test_counts_and_widths_from_python(grey):
    for name, shape in (
        ("nets.py:Grey", SHAPE),
        ("nets.py:Wide", {"num_classes": 2, "image_size": (48, 96)}),
    ):
        filters = prepare_filters(name, 0.5, **shape)
        built = build_model(name, filters, **shape)
        assert count_params(name, filters, **shape) == sum(p.numel() for p in built.parameters())
        height, width = (side // 2 for side in shape["image_size"])
        one, two = filters
        first = height * width * 9 * shape.get("channels", 3) * one
        second = height // 2 * (width // 2) * (9 * one * two + 2 * two)
        assert count_macs(name, filters, **shape) == first + second
    for asked in ({"image_size": (32, 48)}, {"channels": 1}):
        with pytest.raises(UnreadableNetwork, match="square images of 3 channels alone"):
            count_params("vgg", [8] * 8, **asked)
    assert count_params("vgg", [8] * 8, image_size=(32, 32)) == count_params("vgg", [8] * 8)


def test_a_pair_is_stored_as_a_list_and_goes_from_option_to_option():
    settings = TrainingSettings(image_size=[24, 40])
    assert settings.image_size == (24, 40)
    assert command_options(settings, TrainingSettings()) == ["--image-size", "24x40"]
    assert assigned(settings, ["image-size=24x40", "channels=1"]) == {
        "image_size": (24, 40),
        "channels": 1,
    }
    assert TrainingSettings(image_size=(48, 48)).image_size == 48
    for record in (
        {"num_classes": 3, "image_size": [24, 40], "channels": 1},
        {"num_classes": 3, "image_size": [24, 40]},
        {"num_classes": 3, "image_size": 64},
    ):
        assert recorded(shape_in(json.loads(json.dumps(record)))) == record
    assert shape_in({"num_classes": 3, "image_size": 64, "channels": 3}) == {
        "num_classes": 3,
        "image_size": 64,
    }
    for size in ([24], [24, 40, 1], [0, 4], "24x40", None, 0, True, [2.5, 4]):
        with pytest.raises(ValueError):
            shape_in({"num_classes": 3, "image_size": size})


def test_a_number_and_3_channels_leave_records_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = ["--model", "vgg", *DIGITS, "--uniform", "--save", "x_0", "--ratios", 0.0625]
    succeed("ratio_swipe.py", *sweep, "--epochs", 1)
    result = json.loads(Path("saved_plots/vgg/x_0_6.json").read_text())
    assert result["image_size"] == 32
    assert "channels" not in result and "channels" not in result["settings"]
    again = [*sweep, "--epochs", 1, "--channels", 3]
    assert "finished before" in succeed("ratio_swipe.py", *again)
