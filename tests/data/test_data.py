"""Data sets are read as they are on disk; batches are exactly the crops, flips and turns that they
claim to be."""

import hashlib
import http.server
import os
import pickle
import shutil
import signal
import socket
import tarfile
import threading
import time
import tracemalloc
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from running import generator, refusal, succeed
from sklearn.datasets import load_digits
from torchvision import datasets

from utils.data import (
    Augmentation,
    Batches,
    Data,
    Split,
    balanced,
    evaluation_batches,
    load_data,
    mean_and_std,
    readers,
    rotate,
    training_batches,
)
from utils.errors import UserError
from utils.records.paths import tiny_imagenet_folder
from utils.settings import DATASETS, Dataset

PLAIN = Dataset("plain")  # the settings of a folder of the user's own: crop and flip


def random_data(number: int, size: int = 32, settings: Dataset = PLAIN) -> Data:
    """Noise, its labels 0, 1, 2, ...: a label tells which image was augmented. Mean and std differ
    by channel."""
    images = torch.randint(
        0, 256, (number, size, size, 3), dtype=torch.uint8, generator=generator(0)
    )
    split = Split(images, torch.arange(number))
    return Data(
        "noise",
        split,
        split,
        number,
        size,
        torch.tensor([100.0, 120.0, 140.0]),
        torch.tensor([50.0, 60.0, 70.0]),
        settings,
    )


def pixels(data: Data, batch: torch.Tensor) -> torch.Tensor:
    """A normalised batch (N, 3, S, S) back as images (N, S, S, 3) of bytes; fails where it is not
    one."""
    restored = batch.permute(0, 2, 3, 1) * data.std + data.mean
    torch.testing.assert_close(restored, restored.round(), rtol=0, atol=1e-3)
    return restored.round().to(torch.uint8)


# --- digits ---------------------------------------------------------------------------------------


def test_digits_are_1437_and_360_images_of_10_classes():
    data, digits = load_data("digits", "nowhere", "cpu"), load_digits()
    assert (data.name, data.num_classes, data.image_size) == ("digits", 10, 32)
    assert data.train.images.shape == (1437, 32, 32, 3) and data.test.images.shape == (
        360,
        32,
        32,
        3,
    )
    assert data.train.images.dtype == torch.uint8 and data.train.labels.dtype == torch.int64
    assert data.test.labels.tolist() == digits.target[-360:].tolist()
    # each of 8x8 pixels becomes 4x4
    enlarged = np.kron(digits.images[-360], np.ones((4, 4))) * 255 / 16
    for channel in range(3):
        np.testing.assert_allclose(data.test.images[0, :, :, channel], enlarged, atol=0.5)
    images, labels = next(evaluation_batches(data).epoch())
    assert (
        images.shape == (360, 3, 32, 32)
        and images.dtype == torch.float32
        and labels.shape == (360,)
    )


def test_digits_are_normalised_by_their_training_images():
    data = load_data("digits", "nowhere", "cpu")
    train = data.train.images.double()
    torch.testing.assert_close(data.mean.double(), train.mean(dim=(0, 1, 2)), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        data.std.double(), train.std(dim=(0, 1, 2), correction=0), rtol=1e-6, atol=0
    )
    images = torch.cat([images for images, _ in Batches(data, data.train, 100).epoch()])
    torch.testing.assert_close(images.mean(dim=(0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(images.std(dim=(0, 2, 3)), torch.ones(3), rtol=0, atol=1e-4)


def test_limits_take_equally_many_of_each_class():
    data = load_data("digits", "nowhere", "cpu", limit_train=50, limit_test=20)
    assert torch.bincount(data.train.labels).tolist() == [5] * 10
    assert torch.bincount(data.test.labels).tolist() == [2] * 10
    assert data.num_classes == 10


@pytest.mark.parametrize("limit", [1437, 1438, 10**9])
def test_a_limit_beyond_the_data_is_said_in_a_line_and_all_images_are_taken(limit, capsys):
    data = load_data("digits", "nowhere", "cpu", limit_train=limit, limit_test=9999)
    assert (len(data.train), len(data.test)) == (1437, 360)
    *train, test = capsys.readouterr().out.splitlines()
    assert "--limit-test 9999" in test and "360" in test
    assert len(train) == (limit > 1437)
    assert all(f"--limit-train {limit}" in line and "1437" in line for line in train)


def test_the_settings_of_a_script_have_the_number_of_images_that_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = succeed(
        "ratio_swipe.py",
        "--dataset",
        "digits",
        "--uniform",
        "--ratios",
        0.0625,
        "--epochs",
        1,
        "--save",
        "x",
        "--limit-train",
        5000,
        "--limit-test",
        5000,
    )
    assert out.count("--limit-train 5000") == out.count("--limit-test 5000") == 1
    [settings] = [line for line in out.splitlines() if line.startswith("ratio_swipe.py:")]
    assert " images=1437 " in settings and " test_images=360" in settings


# --- mean and standard deviation ------------------------------------------------------------------


@pytest.mark.parametrize("number", [64_000, 65_999])
def test_mean_and_standard_deviation_of_many_images_are_of_whole_images(number, monkeypatch):
    """Were they of every 32nd pixel, they would be of one column; here the columns differ."""
    gradient = np.broadcast_to(np.linspace(0, 16, 8), (number + 360, 8, 8))
    monkeypatch.setattr(
        "utils.data.readers._digits", lambda: (gradient, np.arange(len(gradient)) % 10)
    )
    data = load_data("digits", "nowhere", "cpu")
    assert len(data.train) == number
    image = data.train.images[0].double()
    torch.testing.assert_close(data.mean.double(), image.mean(dim=(0, 1)), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        data.std.double(), image.std(dim=(0, 1), correction=0), rtol=1e-6, atol=0
    )


def test_mean_and_standard_deviation_of_many_images_are_of_evenly_spaced_ones_in_little_memory():
    images = np.zeros((40_000, 8, 8, 3), np.uint8)
    # classes, one after the other
    images[10_000:20_000], images[20_000:30_000, ..., 1], images[30_000:] = 40, 80, 120
    tracemalloc.start()
    mean, std = mean_and_std(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(mean, [40, 60, 40], rtol=1e-12)
    np.testing.assert_allclose(
        std,
        [np.std([0, 40, 0, 120]), np.std([0, 40, 80, 120]), np.std([0, 40, 0, 120])],
        rtol=1e-12,
    )
    assert peak < images.nbytes / 10


# --- balanced -------------------------------------------------------------------------------------


def test_balanced_takes_the_classes_in_turn_and_keeps_the_order():
    labels = np.array([2, 2, 2, 2, 0, 1, 0, 1, 0, 2])
    assert balanced(labels, 3).tolist() == [0, 4, 5]
    assert balanced(labels, 6).tolist() == [0, 1, 4, 5, 6, 7]
    # of the third round, class 0 comes first
    assert balanced(labels, 7).tolist() == [0, 1, 4, 5, 6, 7, 8]
    assert balanced(labels, 1).tolist() == [4]


def test_balanced_goes_on_with_the_others_when_a_class_is_used_up():
    assert balanced(np.array([0, 0, 0, 0, 0, 1]), 4).tolist() == [0, 1, 2, 5]


@pytest.mark.parametrize("limit", [None, 4, 5, 100])
def test_balanced_without_a_limit_takes_all(limit):
    assert balanced(np.array([1, 0, 1, 0]), limit).tolist() == [0, 1, 2, 3]


# --- batches --------------------------------------------------------------------------------------


def test_one_seed_gives_the_same_batches_and_another_one_others():
    batches = Batches(
        random_data(40),
        random_data(40).train,
        16,
        Augmentation(crop=True, flip=True, rotation=20.0),
    )
    first, again, other = (list(batches.epoch(generator(seed))) for seed in (1, 1, 2))
    for (images, labels), (same_images, same_labels) in zip(first, again, strict=True):
        assert torch.equal(images, same_images) and torch.equal(labels, same_labels)
    assert not torch.equal(
        torch.cat([labels for _, labels in first]), torch.cat([labels for _, labels in other])
    )


def test_an_epoch_holds_each_image_once_and_the_last_batch_the_rest():
    data = random_data(40)
    batches = training_batches(data, 16)
    labels = [labels for _, labels in batches.epoch(generator(0))]
    assert len(batches) == 3 and [len(part) for part in labels] == [16, 16, 8]
    assert sorted(torch.cat(labels).tolist()) == list(range(40))
    assert torch.cat(labels).tolist() != list(range(40))


def test_each_augmented_image_is_a_crop_of_the_padded_image_or_its_mirror_image():
    data = random_data(6)
    batches = training_batches(data, 4)
    seen = set()
    for epoch in range(40):
        for images, labels in batches.epoch(generator(epoch)):
            for image, label in zip(pixels(data, images), labels):
                padded = torch.zeros(40, 40, 3, dtype=torch.uint8)
                padded[4:36, 4:36] = data.train.images[label]
                matches = [
                    (top, left, mirrored)
                    for top in range(9)
                    for left in range(9)
                    for mirrored in (False, True)
                    if torch.equal(
                        image,
                        (lambda crop: crop.flip(1) if mirrored else crop)(
                            padded[top : top + 32, left : left + 32]
                        ),
                    )
                ]
                assert len(matches) == 1
                seen.add(matches[0])
    # 240 draws: all of 0 to 8
    assert {top for top, _, _ in seen} == {left for _, left, _ in seen} == set(range(9))
    assert len({(top, left) for top, left, mirrored in seen if mirrored}) > 60
    assert len({(top, left) for top, left, mirrored in seen if not mirrored}) > 60


def test_images_are_flipped_half_of_the_time_and_digits_never():
    data = random_data(2000)
    for settings, expected in ((PLAIN, 0.5), (DATASETS["digits"], 0.0)):
        data.settings = settings
        batches = Batches(
            data, data.train, 500, Augmentation(crop=False, flip=settings.flip, rotation=0.0)
        )
        flipped = 0
        for images, labels in batches.epoch(generator(0)):
            flipped += (
                (pixels(data, images) == data.train.images[labels].flip(2))
                .all(dim=(1, 2, 3))
                .sum()
                .item()
            )
        assert flipped / 2000 == pytest.approx(expected, abs=0.05)


def test_evaluation_batches_are_the_images_in_order_unaugmented_and_normalised():
    data = random_data(7)
    batches = list(evaluation_batches(data, batch_size=3).epoch())
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(7))
    images = torch.cat([images for images, _ in batches])
    expected = (data.test.images.permute(0, 3, 1, 2) - data.mean[:, None, None]) / data.std[
        :, None, None
    ]
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_augmenting_leaves_the_stored_images_as_they_are():
    data = random_data(8)
    before = data.train.images.clone()
    for _ in training_batches(data, 4).epoch(generator(0)):
        pass
    assert torch.equal(data.train.images, before)


def test_tinyimagenet_is_searched_with_rotation_and_flip_and_trained_with_a_crop_too():
    data = random_data(4, size=64, settings=DATASETS["tinyimagenet"])
    assert training_batches(data, 4, search=True).augmentation == Augmentation(
        crop=False, flip=True, rotation=20.0
    )
    assert training_batches(data, 4).augmentation == Augmentation(
        crop=True, flip=True, rotation=20.0
    )
    for search in (True, False):
        images, _ = next(training_batches(data, 4, search=search).epoch(generator(0)))
        assert images.shape == (4, 3, 64, 64) and images.isfinite().all()


@pytest.mark.parametrize("dataset", ["CIFAR10", "CIFAR100"])
def test_cifar_is_searched_and_trained_with_crop_and_flip(dataset):
    data = random_data(4, settings=DATASETS[dataset])
    for search in (True, False):
        assert training_batches(data, 4, search=search).augmentation == Augmentation(
            crop=True, flip=True, rotation=0.0
        )


# --- rotation -------------------------------------------------------------------------------------


def test_rotation_within_20_degrees_keeps_the_shape_and_the_pixels_values():
    images = torch.randint(1, 256, (9, 3, 64, 64), generator=generator(0)).float()
    turned = rotate(images, torch.linspace(-20, 20, 9))
    assert turned.shape == images.shape
    assert torch.equal(turned[4], images[4])  # 0 degrees
    for image, result in zip(images, turned):
        # nearest pixel: nothing is mixed
        assert set(result.unique().tolist()) <= set(image.unique().tolist()) | {0.0}
        # the centre stays where it is
        assert torch.equal(result[:, 31:33, 31:33], image[:, 31:33, 31:33])
    assert (turned[0, :, 0, 0] == 0).all() and (turned[0, :, -1, -1] == 0).all()  # black corners


def test_rotation_by_0_is_the_identity_and_by_90_a_quarter_turn_about_the_centre():
    images = torch.randn(2, 3, 32, 32, generator=generator(0))
    assert torch.equal(rotate(images, torch.zeros(2)), images)
    quarter = rotate(images, torch.tensor([90.0, -90.0]))
    assert torch.equal(quarter[0], images[0].rot90(1, (1, 2))) and torch.equal(
        quarter[1], images[1].rot90(-1, (1, 2))
    )


def test_rotated_batches_turn_each_image_by_its_own_angle_within_20_degrees():
    size = 64
    line = torch.zeros(200, size, size, 3, dtype=torch.uint8)
    line[:, size // 2 - 1 : size // 2 + 1] = 255  # a horizontal line: its slope is the angle
    data = random_data(200, size)
    data.train = Split(line, torch.arange(200))
    angles = []
    for images, _ in Batches(
        data, data.train, 50, Augmentation(crop=False, flip=False, rotation=20.0)
    ).epoch(generator(0)):
        for image in pixels(data, images)[..., 0]:
            y, x = (image == 255).nonzero().double().T
            x, y = x - x.mean(), y - y.mean()
            angles.append(torch.rad2deg(torch.atan((x * y).sum() / (x * x).sum())).item())
    assert max(map(abs, angles)) < 20.7  # a pixel grid reads an angle to within half a degree
    assert min(angles) < -18 and max(angles) > 18 and len({round(angle) for angle in angles}) > 30


# --- folders of images ----------------------------------------------------------------------------

CLASSES = ["Ärger", "a cat", "日本"]


def write(path, size=(32, 32), mode="RGB", color=(10, 20, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


@pytest.fixture
def folder(tmp_path):
    """train/ and test/ with three classes; grayscale, RGBA, palette and odd-sized images, some in
    folders below."""
    root = tmp_path / "my photos"
    for part in ("train", "test"):
        for i, name in enumerate(CLASSES):
            write(root / part / name / "rgb.png", color=(10 * i, 20, 30))
            write(root / part / name / "deeper" / "gray.png", mode="L", color=77)
        write(root / part / "a cat" / "rgba.png", mode="RGBA", color=(1, 2, 3, 128))
        write(root / part / "日本" / "odd.png", size=(19, 57), color=(9, 8, 7))
        (root / part / "日本" / "notes.txt").write_text("not an image")
    return root


def test_a_folder_is_a_data_set_named_after_it(folder):
    data = load_data(str(folder), "nowhere", "cpu")
    assert (data.name, data.num_classes, data.image_size) == ("my photos", 3, 32)
    assert len(data.train) == len(data.test) == 8
    classes = sorted(CLASSES)
    assert torch.bincount(data.train.labels).tolist() == [
        {"a cat": 3, "日本": 3}.get(name, 2) for name in classes
    ]
    colors = {
        (classes[label], tuple(image[0, 0].tolist()))
        for image, label in zip(data.train.images, data.train.labels)
    }
    assert colors == {
        ("Ärger", (0, 20, 30)),
        ("a cat", (10, 20, 30)),
        ("日本", (20, 20, 30)),
        ("Ärger", (77, 77, 77)),
        ("a cat", (77, 77, 77)),
        ("日本", (77, 77, 77)),
        ("a cat", (1, 2, 3)),
        ("日本", (9, 8, 7)),
    }
    # each is of one colour, resized ones too
    assert all((image == image[0, 0]).all() for image in data.train.images)
    train = data.train.images.double()
    torch.testing.assert_close(data.mean.double(), train.mean(dim=(0, 1, 2)), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        data.std.double(), train.std(dim=(0, 1, 2), correction=0), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    ("pixels", "expected"), [(28, 32), (32, 32), (40, 32), (60, 64), (64, 64), (224, 64)]
)
def test_a_folders_images_are_brought_to_the_nearest_of_32_and_64_pixels(
    pixels, expected, tmp_path
):
    for part in ("train", "test"):
        write(tmp_path / part / "a" / "1.png", size=(pixels, pixels))
    data = load_data(str(tmp_path), "nowhere", "cpu")
    assert data.image_size == expected
    assert data.test.images.shape == (1, expected, expected, 3)


def test_a_folder_named_as_a_data_set_has_that_data_sets_settings(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / "CIFAR10" / part / "a" / "1.png")
    data = load_data(str(tmp_path / "CIFAR10"), "nowhere", "cpu")
    assert data.name == "CIFAR10" and data.num_classes == 1
    assert data.mean.tolist() == pytest.approx([125.3, 123.0, 113.9])
    assert data.std.tolist() == pytest.approx([63.0, 62.1, 66.7])


def test_a_plain_folder_without_variation_is_not_divided_by_zero(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / part / "a" / "1.png")
    data = load_data(str(tmp_path), "nowhere", "cpu")
    assert next(evaluation_batches(data).epoch())[0].isfinite().all()


def refused(*arguments, **limits) -> str:
    return refusal(load_data, *arguments, **limits)


@pytest.mark.parametrize(
    "content", [b"", b"not an image", "half"], ids=["empty", "text", "truncated"]
)
def test_a_damaged_image_is_named(folder, content):
    bad = folder / "test" / "a cat" / "rgb.png"
    bad.write_bytes(bad.read_bytes()[:60] if content == "half" else content)
    assert str(bad) in refused(str(folder), "nowhere", "cpu")


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tiff", "ppm", "webp"])
def test_an_image_torn_anywhere_is_named_or_read(folder, kind, recwarn):
    """And one with a flipped bit: never anything but one line that names the image."""
    bad = folder / "train" / "a cat" / f"x.{kind}"
    Image.effect_noise((24, 24), 60).convert("RGB").save(bad)
    whole, seen = bad.read_bytes(), []
    step = max(1, len(whole) // 40)
    damaged = [whole[:n] for n in range(0, len(whole), step)]
    damaged += [
        whole[:n] + bytes([whole[n] ^ 1 << n % 8]) + whole[n + 1 :]
        for n in range(0, len(whole), step)
    ]
    for content in damaged:
        bad.write_bytes(content)
        try:
            load_data(str(folder), "nowhere", "cpu")
        except UserError as error:
            seen.append(str(error))
    assert seen and all(str(bad) in message and "\n" not in message for message in seen)
    assert not list(recwarn)


def test_an_image_too_large_to_decode_is_named(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert str(folder / "train") in refused(str(folder), "nowhere", "cpu")


def test_links_to_images_and_classes_are_followed_and_dead_ones_named(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for part in ("train", "test"):
        (folder / part / "日本").rename(elsewhere.with_name(f"elsewhere {part}"))
        (folder / part / "日本").symlink_to(elsewhere.with_name(f"elsewhere {part}"))
        (folder / part / "a cat" / "link.png").symlink_to("rgb.png")
    data = load_data(str(folder), "nowhere", "cpu")
    assert torch.bincount(data.train.labels).tolist() == [4, 2, 3]  # a cat, Ärger, 日本
    (folder / "train" / "a cat" / "rgb.png").unlink()
    assert str(folder / "train" / "a cat" / "link.png") in refused(str(folder), "nowhere", "cpu")


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "socket", "device"])
def test_what_is_no_regular_file_is_named_and_never_waited_for(folder, kind, monkeypatch):
    odd = folder / "train" / "a cat" / "odd.png"
    monkeypatch.chdir(odd.parent)  # the name of a socket may not be long
    listener = socket.socket(socket.AF_UNIX)
    {
        "pipe": lambda: os.mkfifo(odd),
        "socket": lambda: listener.bind(odd.name),
        "device": lambda: odd.symlink_to("/dev/zero"),
        "link to a pipe": lambda: (os.mkfifo("pipe"), odd.symlink_to("pipe")),
    }[kind]()

    def give_up(*_):
        raise TimeoutError("waited for it")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    try:
        message = refused(str(folder), "nowhere", "cpu")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        listener.close()
    assert str(odd) in message and "no regular file" in message


def test_a_class_without_images_is_named(folder):
    (folder / "train" / "vide").mkdir()
    (folder / "test" / "vide").mkdir()
    assert "vide" in refused(str(folder), "nowhere", "cpu")


def test_classes_that_only_train_or_test_has_are_named(folder):
    write(folder / "train" / "surplus" / "1.png")
    message = refused(str(folder), "nowhere", "cpu")
    assert "surplus" in message and "different classes" in message


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_folder_without_train_or_test_is_told_what_is_missing(folder, part):
    (folder / part).rename(folder / "else")
    assert str(folder / part) in refused(str(folder), "nowhere", "cpu")


def test_a_data_set_that_is_no_name_and_no_folder_is_refused(tmp_path):
    assert str(tmp_path / "none") in refused(str(tmp_path / "none"), "nowhere", "cpu")
    assert "tinyimagenet, digits" in refused("cifar-10", "nowhere", "cpu")


def test_a_batch_larger_than_the_data_is_refused(folder):
    assert len(load_data(str(folder), "nowhere", "cpu", batch_size=8).train) == 8
    assert "--batch-size 9" in refused(str(folder), "nowhere", "cpu", batch_size=9)
    assert "--batch-size 8" in refused(str(folder), "nowhere", "cpu", batch_size=8, limit_train=7)


# --- TinyImageNet ---------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path):
    """The layout of the archive after val_format.py: two classes."""
    root = tmp_path / "tiny-imagenet-200"
    for i, wnid in enumerate(("n01", "n02")):
        for part in ("train", "val", "test"):
            write(
                root / part / wnid / "images" / f"{part}_{i}.JPEG",
                size=(64, 64),
                color=(100 * i, 50, 50),
            )
    return root


def test_tinyimagenet_trains_on_train_and_tests_on_test(tiny):
    data = load_data("tinyimagenet", str(tiny.parent), "cpu")
    assert (data.name, data.image_size, data.num_classes) == ("tinyimagenet", 64, 2)
    assert data.test.labels.tolist() == [0, 1]
    assert data.test.images[:, 0, 0, 0].tolist() == pytest.approx([0, 100], abs=3)  # JPEG
    assert data.mean.tolist() == pytest.approx([255 * m for m in (0.4802, 0.4481, 0.3975)])


def test_tinyimagenet_is_found_in_data_below_it_and_here(tiny, monkeypatch):
    assert tiny_imagenet_folder(str(tiny)) == tiny
    assert tiny_imagenet_folder(str(tiny.parent)) == tiny
    monkeypatch.chdir(tiny.parent)
    assert tiny_imagenet_folder("data").resolve() == tiny
    # as a folder, it is the same data set
    assert load_data(str(tiny), "nowhere", "cpu").name == "tinyimagenet"


def test_tinyimagenet_that_is_not_there_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused("tinyimagenet", "data", "cpu")
    assert "data/tiny-imagenet-200" in message and "unzip" in message


@pytest.mark.parametrize("unlabelled", [True, False])
def test_tinyimagenet_before_val_format_says_to_run_it(tiny, unlabelled):
    for name in ("test", "val"):
        (tiny / name).rename(tiny.parent / name)
    write(tiny / "val" / "images" / "val_0.JPEG", size=(64, 64))
    if unlabelled:
        write(tiny / "test" / "images" / "test_0.JPEG", size=(64, 64))
    assert "val_format.py" in refused("tinyimagenet", str(tiny), "cpu")


# --- the archives of CIFAR ------------------------------------------------------------------------


@pytest.fixture
def cifar_archive(tmp_path, monkeypatch):
    """A small cifar-10-batches-py and cifar-100-python, whose checksums torchvision is told to
    expect."""
    rng, written = np.random.default_rng(0), {}

    def batch(cls, file: str, key: str, labels: list[int]) -> list[str]:
        path = tmp_path / cls.base_folder / file
        path.parent.mkdir(exist_ok=True)
        written[cls.__name__, file] = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        path.write_bytes(pickle.dumps({"data": written[cls.__name__, file], key: labels}))
        return [file, hashlib.md5(path.read_bytes()).hexdigest()]

    def meta(cls, file: str, key: str, classes: int) -> dict:
        path = tmp_path / cls.base_folder / file
        path.write_bytes(pickle.dumps({key: [f"class {i}" for i in range(classes)]}))
        return {"filename": file, "key": key, "md5": hashlib.md5(path.read_bytes()).hexdigest()}

    ten, hundred = datasets.CIFAR10, datasets.CIFAR100
    for cls in (ten, hundred):
        monkeypatch.setattr(cls, "url", "file:///there/is/no/network/here")
    monkeypatch.setattr(
        ten,
        "train_list",
        [batch(ten, f"data_batch_{i}", "labels", [0, 1, 2, 3]) for i in range(1, 6)],
    )
    monkeypatch.setattr(ten, "test_list", [batch(ten, "test_batch", "labels", [9, 8, 7, 6, 9])])
    monkeypatch.setattr(ten, "meta", meta(ten, "batches.meta", "label_names", 10))
    monkeypatch.setattr(
        hundred, "train_list", [batch(hundred, "train", "fine_labels", [99, 0, 50])]
    )
    monkeypatch.setattr(hundred, "test_list", [batch(hundred, "test", "fine_labels", [1, 2])])
    monkeypatch.setattr(hundred, "meta", meta(hundred, "meta", "fine_label_names", 100))
    return tmp_path, written


@pytest.mark.parametrize(
    ("name", "train_file", "train_labels", "test_file", "test_labels", "num_classes"),
    [
        ("CIFAR10", "data_batch_1", [0, 1, 2, 3] * 5, "test_batch", [9, 8, 7, 6, 9], 10),
        ("CIFAR100", "train", [99, 0, 50], "test", [1, 2], 100),
    ],
)
def test_the_cifar_archives_are_read_as_torchvision_stores_them(
    cifar_archive, name, train_file, train_labels, test_file, test_labels, num_classes
):
    folder, written = cifar_archive
    data = load_data(name, str(folder), "cpu")
    assert (data.name, data.num_classes, data.image_size) == (name, num_classes, 32)
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == (train_labels, test_labels)
    for split, file in ((data.train, train_file), (data.test, test_file)):
        expected = written[name, file].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        assert np.array_equal(split.images[: len(expected)], expected)
    mean, std = {
        "CIFAR10": ([125.3, 123.0, 113.9], [63.0, 62.1, 66.7]),
        "CIFAR100": (
            [255 * m for m in (0.4914, 0.4822, 0.4465)],
            [255 * s for s in (0.2023, 0.1994, 0.2010)],
        ),
    }[name]
    assert data.mean.tolist() == pytest.approx(mean) and data.std.tolist() == pytest.approx(std)
    images, _ = next(evaluation_batches(data).epoch())
    expected = (
        data.test.images.permute(0, 3, 1, 2) - torch.tensor(mean)[:, None, None]
    ) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)


def test_a_limit_of_cifar_is_balanced(cifar_archive):
    data = load_data("CIFAR10", str(cifar_archive[0]), "cpu", limit_train=8, limit_test=4)
    assert sorted(data.train.labels.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sorted(data.test.labels.tolist()) == [6, 7, 8, 9]
    assert data.num_classes == 10


def test_a_half_downloaded_or_half_unpacked_archive_is_fetched_again(
    cifar_archive, tmp_path, monkeypatch, request
):
    folder, written = cifar_archive
    served = tmp_path / "served" / datasets.CIFAR10.filename
    served.parent.mkdir()
    with tarfile.open(served, "w:gz") as archive:
        archive.add(folder / datasets.CIFAR10.base_folder, datasets.CIFAR10.base_folder)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(served.read_bytes()).hexdigest())
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0),
        partial(http.server.SimpleHTTPRequestHandler, directory=str(served.parent)),
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    request.addfinalizer(server.shutdown)
    monkeypatch.setattr(
        datasets.CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{served.name}"
    )
    for damage in ("download", "unpacking"):
        root = tmp_path / damage
        root.mkdir()
        if damage == "download":
            (root / served.name).write_bytes(served.read_bytes()[:500])
        else:
            shutil.copytree(
                folder / datasets.CIFAR10.base_folder, root / datasets.CIFAR10.base_folder
            )
            (root / datasets.CIFAR10.base_folder / "data_batch_2").unlink()
            (root / datasets.CIFAR10.base_folder / "data_batch_3").write_bytes(b"torn")
        data = load_data("CIFAR10", str(root), "cpu")
        assert np.array_equal(
            data.train.images[8:12],
            written["CIFAR10", "data_batch_3"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
        )


def test_of_two_processes_one_downloads_and_the_other_waits(cifar_archive, tmp_path, monkeypatch):
    """torchvision writes into the archive's own place, and unpacks it into that of the images."""
    folder, _ = cifar_archive
    root, log = tmp_path / "both", tmp_path / "log"

    def download(self):
        if not self._check_integrity():
            with log.open("a") as out:
                out.write("began ")
            time.sleep(0.5)
            shutil.copytree(
                folder / datasets.CIFAR10.base_folder, root / datasets.CIFAR10.base_folder
            )

    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    children = []
    for _ in range(3):
        children.append(os.fork())
        if children[-1] == 0:
            try:
                os._exit(len(load_data("CIFAR10", str(root), "cpu").test.labels))
            finally:
                os._exit(99)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [5, 5, 5]
    assert log.read_text() == "began " and [path.name for path in root.iterdir()] == [
        datasets.CIFAR10.base_folder
    ]


def test_images_that_are_there_are_read_from_a_folder_that_can_not_be_written_to(
    cifar_archive, monkeypatch
):
    monkeypatch.setattr(readers, "wait_for_lock", lambda *_: pytest.fail("would write a lock"))
    assert len(load_data("CIFAR100", str(cifar_archive[0]), "cpu").test.labels) == 2


def test_a_damaged_cifar_archive_that_cannot_be_downloaded_again_is_named(cifar_archive):
    folder, _ = cifar_archive
    (folder / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"torn")
    message = refused("CIFAR10", str(folder), "cpu")
    assert str(folder) in message and "CIFAR10" in message


# --- real images ----------------------------------------------------------------------------------


def test_real_cifar100_images_in_folders(real_images):
    data = load_data(
        str(real_images / "CIFAR100"), "nowhere", "cpu", limit_train=200, limit_test=100
    )
    assert (data.name, data.num_classes, data.image_size) == ("CIFAR100", 100, 32)
    assert torch.bincount(data.train.labels).tolist() == [2] * 100
    assert torch.bincount(data.test.labels).tolist() == [1] * 100
    images, _ = next(evaluation_batches(data).epoch())
    assert abs(images.mean()) < 0.1
    # the usual "std" of CIFAR100, 0.20, is that within an image; over all it is 0.27
    assert 1.2 < images.std() < 1.5
