"""Folders of images of any size, augmented as asked; what does not fit into memory is decoded once,
and read by batches."""

import io
import json
import os
import resource
import signal
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from device import Device
from photos import PIXELS, SMALL, SWEEP, load, stored, unfinished, wait_until, write_photos
from PIL import Image
from running import assert_refused, call, fork, generator, refusal, snapshot, succeed, wait_for

from utils.data import (
    Augmentation,
    Batches,
    evaluation_batches,
    folder,
    memory,
    training_batches,
)


@pytest.fixture
def no_room(monkeypatch):
    monkeypatch.setattr(folder, "room_for_images", lambda device: 0)


def refused(*arguments, **options) -> str:
    return refusal(load, *arguments, **options)


# --- sizes and augmentation -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 33, 48, 160])
def test_images_are_brought_to_the_size_that_is_asked_for(size, photos):
    data = load(photos, image_size=size)
    assert (data.image_size, data.shape["image_size"], tuple(data.train.images.shape)) == (
        size,
        size,
        (12, size, size, 3),
    )
    path = photos / "train" / "class 0" / "0.png"
    assert np.array_equal(data.train.images[0], np.asarray(Image.open(path).resize((size, size))))
    images, _ = next(training_batches(data, 4).epoch(generator(0)))
    assert images.shape == (4, 3, size, size)


@pytest.mark.parametrize(
    "asked, expected",
    [
        ({}, Augmentation(True, True, 0.0)),
        ({"flip": False}, Augmentation(True, False, 0.0)),
        ({"crop": False}, Augmentation(False, True, 0.0)),
        ({"rotation": 15}, Augmentation(True, True, 15)),
        ({"crop": False, "flip": False, "rotation": 5.5}, Augmentation(False, False, 5.5)),
    ],
)
def test_a_folder_is_augmented_as_asked(asked, expected, photos):
    data = load(photos, **asked)
    assert (
        training_batches(data, 4).augmentation
        == training_batches(data, 4, search=True).augmentation
        == expected
    )


def test_a_folder_named_as_a_data_set_is_augmented_as_that_where_nothing_is_asked(tmp_path):
    root = write_photos(tmp_path / "tiny-imagenet-200")
    assert training_batches(load(root), 4).augmentation == Augmentation(True, True, 20.0)
    assert training_batches(load(root), 4, search=True).augmentation == Augmentation(
        False, True, 20.0
    )
    assert training_batches(load(root, rotation=0.0), 4).augmentation == Augmentation(
        True, True, 0.0
    )


def test_images_that_are_neither_cropped_nor_mirrored_are_themselves(photos):
    data = load(photos, crop=False, flip=False)
    for images, labels in Batches(
        data, data.train, 4, training_batches(data, 4).augmentation
    ).epoch(generator(0)):
        restored = (images.permute(0, 2, 3, 1) * data.std + data.mean).round().byte()
        same = (restored[:, None] == data.train.images).flatten(2).all(dim=2)
        assert same.sum(dim=1).tolist() == [1] * len(labels)


@pytest.mark.parametrize(
    "options, named",
    [
        (["--image-size", 48], "--image-size"),
        (["--no-flip"], "--no-flip"),
        (["--no-crop"], "--no-crop"),
        (["--rotation", 10], "--rotation"),
    ],
)
@pytest.mark.parametrize("dataset", ["digits", "CIFAR10", "CIFAR100", "tinyimagenet"])
def test_the_papers_data_sets_have_the_papers_images(
    dataset, options, named, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    outcome = call(
        "ratio_swipe.py",
        "--save",
        "x",
        "--uniform",
        "--ratios",
        0.0625,
        "--epochs",
        1,
        "--dataset",
        dataset,
        *options,
    )
    assert_refused(outcome, named, dataset)
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize(
    "options",
    [
        ["--image-size", 31],
        ["--image-size", 2049],
        ["--image-size", 48.5],
        ["--image-size", 0],
        ["--rotation", 181],
        ["--rotation", -1],
        ["--rotation", "nan"],
    ],
    ids=str,
)
def test_sizes_and_angles_have_bounds(options, photos):
    assert_refused(
        call("architecture_descent.py", "--save", "x", "--dataset", photos, *options), options[0]
    )


def test_a_search_and_a_sweep_at_an_odd_size_say_so_and_are_of_no_other(photos):
    search = [
        "architecture_descent.py",
        "--save",
        "found",
        "--dataset",
        photos,
        "--batch-size",
        6,
        "--epochs",
        3,
        "--warmup",
        0,
        "--ratio",
        0.0625,
        "--iterations",
        1,
        "--prune-every",
        1,
        "--budget",
        "macs",
        "--model",
        "mobilenetv2",
    ]
    assert " image_size=50 " in succeed(*search, "--image-size", 50, "--no-flip")
    assert "nothing to do" in succeed(*search, "--image-size", 50, "--no-flip")
    assert_refused(call(*search, "--no-flip"), "image_size = 50, not None")
    assert_refused(call(*search, "--image-size", 50), "flip = False, not None")
    out = succeed(*SWEEP, "--dataset", photos, "--image-size", 50, "--no-crop", "--rotation", 3)
    assert " crop=False " in out and " rotation=3.0 " in out and " flip=True " in out
    assert "finished before" in succeed(
        *SWEEP, "--dataset", photos, "--image-size", 50, "--no-crop", "--rotation", 3
    )
    assert_refused(
        call(*SWEEP, "--dataset", photos, "--no-crop", "--rotation", 3), "image_size = 50, not 32"
    )
    assert_refused(
        call(*SWEEP, "--dataset", photos, "--image-size", 50, "--rotation", 3),
        "crop = False, not None",
    )
    listed = json.loads(
        call(
            "list_architecture.py",
            "--dataset",
            photos,
            "--prune-fname",
            "found",
            "--model",
            "mobilenetv2",
            "--ratios",
            0.0625,
            "--json",
        ).out
    )
    assert listed["image_size"] == 50


def test_to_ask_for_the_size_that_a_folder_has_unasked_is_the_same_training(photos):
    succeed(*SWEEP, "--dataset", photos)
    assert "finished before" in succeed(*SWEEP, "--dataset", photos, "--image-size", 32)


def test_work_of_a_version_without_image_sizes_is_of_the_size_that_it_says(photos):
    search = [
        "architecture_descent.py",
        "--save",
        "found",
        "--dataset",
        photos,
        "--batch-size",
        6,
        "--epochs",
        2,
        "--warmup",
        0,
        "--ratio",
        0.0625,
        "--iterations",
        1,
        "--prune-every",
        1,
    ]
    succeed(*search)
    succeed(*SWEEP, "--dataset", photos)
    for path in (Path("prune_record/found.json"), Path("saved_plots/vgg/s_0_6.json")):
        content = json.loads(path.read_text())
        assert content["image_size"] == 32 and content["settings"].pop("image_size") is None
        path.write_text(json.dumps(content))
    assert "finished before" in succeed(*search) and "finished before" in succeed(
        *SWEEP, "--dataset", photos
    )
    assert_refused(call(*search, "--image-size", 48), "image_size = None, not 48")
    assert_refused(call(*SWEEP, "--dataset", photos, "--image-size", 48), "image_size = 32, not 48")


def test_seeds_that_were_augmented_differently_are_no_one_curve(photos):
    succeed(*SWEEP, "--dataset", photos)
    succeed(*SWEEP, "--dataset", photos, "--no-flip", "--save", "s_1")
    assert_refused(call("plot_ratio.py", "--dataset", photos, "--runs", "mine=s"), "flip", "s_1")


def test_a_base_network_is_pruned_on_images_of_its_own_size(photos):
    succeed(
        "train_norm.py",
        "--dataset",
        photos,
        "--save",
        "base",
        "--ratio",
        0.125,
        "--image-size",
        64,
        *SMALL,
    )
    tune = [
        "fine_tune.py",
        "--dataset",
        photos,
        "--save",
        "t_0",
        "--prune-fname",
        "base",
        "--ratio",
        0.0625,
        *SMALL,
    ]
    assert_refused(call(*tune, "--image-size", 32), "base.pt", "64 pixels", "--image-size")
    assert " image_size=64 " in succeed(*tune)


# --- in memory or not -----------------------------------------------------------------------------


def test_the_batches_are_the_same_bit_for_bit_wherever_the_images_are(photos, monkeypatch):
    augmented = {"rotation": 20.0}
    here = load(photos, **augmented)
    monkeypatch.setattr(folder, "room_for_images", lambda device: 0)
    mapped, files = load(photos, **augmented), load(photos, cache_dir=None, **augmented)
    assert isinstance(here.train.images, torch.Tensor) and not isinstance(
        mapped.train.images, torch.Tensor
    )
    assert isinstance(mapped.test.images, np.memmap) and isinstance(
        files.test.images, folder.ImageFiles
    )
    for other in (mapped, files):
        assert torch.equal(other.mean, here.mean) and torch.equal(other.std, here.std)
        for make in (
            partial(training_batches, batch_size=5),
            partial(training_batches, batch_size=5, search=True),
            evaluation_batches,
        ):
            expected, found = (list(make(data).epoch(generator(3))) for data in (here, other))
            for (images, labels), (same, same_labels) in zip(expected, found, strict=True):
                assert torch.equal(images, same) and torch.equal(labels, same_labels)
                assert images.stride() == same.stride()


def test_a_training_is_the_same_wherever_the_images_are(photos, monkeypatch):
    curves = []
    for name, more in (("a_0", []), ("b_0", []), ("c_0", ["--no-cache"])):
        succeed(
            *SWEEP, "--dataset", photos, "--image-size", PIXELS, "--save", name, "--seed", 0, *more
        )
        curves.append(json.loads(Path(f"saved_plots/vgg/{name}_6.json").read_text()))
        monkeypatch.setattr(folder, "room_for_images", lambda device: 0)
    for losses in ("train_loss", "test_loss"):
        assert curves[0][losses] == curves[1][losses] == curves[2][losses]


def test_what_fits_stays_in_memory(photos, monkeypatch):
    one = PIXELS**2 * 3
    for room, kept in (
        (16 * one, [True, True]),
        (16 * one - 1, [True, False]),
        (11 * one, [False, True]),
        (3 * one, [False, False]),
    ):
        monkeypatch.setattr(folder, "room_for_images", lambda device, room=room: room)
        data = load(photos)
        assert [isinstance(split.images, torch.Tensor) for split in (data.train, data.test)] == kept


def test_no_step_waits_for_a_device_whose_images_are_on_the_disk(photos, no_room):
    with Device() as device:
        data = load(photos, device="cuda", rotation=10.0)
        batches = training_batches(data, 5)
        device.waits.clear()
        on_device = list(batches.epoch(generator(1)))
        assert not device.waits and device.copies
        on_device = [images.cpu() for images, _ in on_device]
    for images, (expected, _) in zip(
        on_device, training_batches(load(photos, rotation=10.0), 5).epoch(generator(1)), strict=True
    ):
        assert torch.equal(images, expected)


def test_fewer_large_images_are_evaluated_together(photos):
    sizes = {
        size: evaluation_batches(load(photos, image_size=size)).batch_size for size in (32, 64)
    }
    assert sizes == {32: 4, 64: 4}  # as many as there are
    data = load(photos, image_size=64)
    data.test.labels = torch.zeros(1000)
    assert evaluation_batches(data).batch_size == 500
    data.image_size = 160
    assert evaluation_batches(data).batch_size == 80


# --- how much memory there is ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "said, expected",
    [
        ({}, 8 << 30),
        ({"/proc/self/cgroup": ["0::/job"], "/sys/fs/cgroup/job/memory.max": ["1048576"]}, 1 << 20),
        (
            {
                "/proc/self/cgroup": ["0::/job/step"],
                "/sys/fs/cgroup/job/memory.max": ["2097152"],
                "/sys/fs/cgroup/job/step/memory.max": ["max"],
            },
            2 << 20,
        ),
        (
            {
                "/proc/self/cgroup": ["5:cpu,cpuacct:/job", "4:memory:/job"],
                "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": ["4096"],
                "/sys/fs/cgroup/cpu,cpuacct/job/memory.max": ["1"],
            },
            4096,
        ),
    ],
)
def test_limits_of_the_control_group_are_kept(said, expected, monkeypatch):
    said = {"/proc/meminfo": ["MemTotal: 99999999 kB", f"MemAvailable: {8 << 20} kB"], **said}
    monkeypatch.setattr(memory, "_lines", lambda path: said.get(str(path), []))
    assert memory.room_for_images("cpu") == expected // memory.SHARE


@pytest.mark.parametrize("which", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_limits_of_the_process_are_kept(which, monkeypatch):
    used = {
        "/proc/self/status": ["VmSize: 1024 kB", "VmData: 1024 kB"],
        "/proc/meminfo": ["MemAvailable: 99999999 kB"],
    }
    monkeypatch.setattr(memory, "_lines", lambda path: used.get(str(path), []))
    monkeypatch.setattr(
        resource,
        "getrlimit",
        lambda asked: (9 << 20 if asked == which else resource.RLIM_INFINITY,) * 2,
    )
    assert memory.room_for_images("cpu") == (8 << 20) // memory.SHARE


def test_the_memory_of_the_device_is_kept(monkeypatch):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: ({1: 4 << 20}[device], 1 << 40))
    assert memory.room_for_images("cuda:1") == (4 << 20) // memory.SHARE


# --- the file of decoded images -------------------------------------------------------------------


def test_images_are_decoded_once_and_the_screen_says_where_to(photos, no_room, decoding, capsys):
    load(photos)
    assert len(decoding) == 16 and len(stored()) == 2
    first, second = capsys.readouterr().out.splitlines()
    assert (
        "train: 12 images of 48 pixels" in first and "decoded once" in first and "test: 4" in second
    )
    load(photos)
    assert len(decoding) == 16
    assert all(
        "they are read from prune_record/images/" in line
        for line in capsys.readouterr().out.splitlines()
    )


@pytest.mark.parametrize("room", [0, 1 << 30])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_shown_on_a_terminal_while_that_takes_long(terminal, room, photos, monkeypatch):
    screen, decode = io.StringIO(), folder.decode
    screen.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(folder, "room_for_images", lambda device: room)
    load(photos)
    assert not screen.getvalue()  # it takes no time
    (photos / "train" / "class 0" / "0.png").touch()
    monkeypatch.setattr(folder, "decode", lambda path: (time.sleep(0.1), decode(path))[1])
    load(photos)
    assert ("decoding train" in screen.getvalue()) == terminal


@pytest.mark.parametrize("change", ["edited", "touched", "added", "removed", "renamed"])
def test_images_that_have_changed_are_decoded_anew_and_the_old_ones_removed(
    change, photos, no_room, decoding, capsys
):
    load(photos)
    before, image, more = (
        stored(),
        photos / "train" / "class 0" / "0.png",
        photos / "train" / "class 1" / "new.png",
    )
    match change:
        case "edited":
            Image.new("RGB", (PIXELS, PIXELS), (1, 2, 3)).save(image)
        case "touched":
            os.utime(image, (1e9, 1e9))
        case "added":
            Image.new("RGB", (PIXELS, PIXELS), (1, 2, 3)).save(more)
        case "removed":
            image.unlink()
        case "renamed":
            image.rename(more)
    decoding.clear()
    data = load(photos)
    after = stored()
    assert len(decoding) == len(data.train) and len(after) == 2
    [stale], [new] = set(before) - set(after), set(after) - set(before)
    assert (
        stale.startswith("train")
        and f"{stale}: removed" in capsys.readouterr().out
        and new[:18] == stale[:18]
    )
    fresh = load(photos, cache_dir=None)
    everything = np.arange(len(data.train))
    assert np.array_equal(data.train.images[everything], fresh.train.images[everything])


def test_other_sizes_and_limits_and_folders_have_files_of_their_own(
    photos, no_room, decoding, tmp_path
):
    other = write_photos(tmp_path / "other")
    for _ in range(2):
        decoding.clear()
        load(photos)
        load(photos, image_size=32)
        load(photos, limit_train=4)
        load(other)
    assert not decoding and len(stored()) == 7  # the fewer images are of the same test images


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, 1000),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
)
def test_a_file_that_is_not_whole_is_made_anew(damage, photos, no_room):
    load(photos)
    whole = snapshot("prune_record")
    damage(Path("prune_record/images") / stored()[1])
    load(photos)
    assert snapshot("prune_record") == whole


def test_a_damaged_image_is_named_and_leaves_nothing(photos, no_room):
    bad = photos / "train" / "class 1" / "9.png"
    bad.write_bytes(bad.read_bytes()[:100])
    assert str(bad) in refused(photos)
    assert stored() == []
    # its pixels are asked for before the first step
    assert str(bad) in refused(photos, cache_dir=None)


def test_a_link_that_leads_nowhere_is_named(photos, no_room):
    (photos / "train" / "class 1" / "link.png").symlink_to("nowhere.png")
    assert "link.png" in refused(photos)


def test_a_full_disk_is_one_line_and_leaves_nothing(photos, no_room, monkeypatch):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        assert "File too large" in refused(photos)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert stored() == []
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    message = refused(photos)
    assert (
        "prune_record/images" in message and "--no-cache" in message and "--record-dir" in message
    )
    assert stored() == []


def test_a_folder_that_cannot_be_written_to_is_named(photos, no_room):
    Path("prune_record").write_text("a file")
    assert "prune_record" in refused(photos)


def test_a_file_that_may_not_be_mapped_is_one_line(photos, no_room, monkeypatch):
    load(photos)
    monkeypatch.setattr(np, "memmap", lambda *_, **__: os.open("nowhere", os.O_RDONLY))
    message = refused(photos)
    assert stored()[1] in message and "--no-cache" in message


def test_without_a_cache_nothing_is_written(photos, no_room):
    before = snapshot(".")
    load(photos, cache_dir=None)
    succeed(*SWEEP, "--dataset", photos, "--image-size", PIXELS, "--no-cache")
    assert not [name for name in set(snapshot(".")) - set(before) if not name.startswith("saved_")]


def test_an_image_that_is_torn_between_epochs_ends_a_training_without_a_cache_in_one_line(
    photos, no_room, monkeypatch
):
    epoch = Batches.epoch

    def tear(self, generator=None):
        for number, batch in enumerate(epoch(self, generator)):
            if number:
                (photos / "test" / "class 1" / "1.png").write_bytes(b"")
            yield batch

    monkeypatch.setattr(Batches, "epoch", tear)
    assert_refused(call(*SWEEP, "--dataset", photos, "--image-size", PIXELS, "--no-cache"), "1.png")


def slowly(seconds: float) -> None:
    """In a forked process, for a folder that does not fit into memory."""
    decode = folder.decode
    folder.decode = lambda path: (time.sleep(seconds), decode(path))[1]
    folder.room_for_images = lambda device: 0


def test_killed_while_decoding_it_begins_again_and_nothing_is_lost(tmp_path, monkeypatch, no_room):
    monkeypatch.chdir(tmp_path)
    photos = write_photos(tmp_path / "photos", train=64)
    images = snapshot(photos)
    command = [*SWEEP, "--dataset", photos, "--image-size", PIXELS]
    for _ in range(2):
        child = fork(*command, prepare=partial(slowly, 0.02))
        wait_until(lambda: any(path.stat().st_size for path in unfinished()))
        os.kill(child, signal.SIGKILL)
        assert wait_for(child) == -signal.SIGKILL
        assert not [name for name in stored() if not name.startswith(".")]
    assert snapshot(photos) == images
    succeed(*command)
    assert [name.split("_")[:2] for name in stored()] == [
        ["test", "48"],
        ["train", "48"],
    ] and snapshot(photos) == images


def test_ctrl_c_while_decoding_leaves_nothing_half(photos):
    child = fork(*SWEEP, "--dataset", photos, "--image-size", PIXELS, prepare=partial(slowly, 0.1))
    wait_until(unfinished)
    os.kill(child, signal.SIGINT)
    assert wait_for(child) == 130
    assert stored() == []


def test_of_two_processes_the_second_waits_and_decodes_nothing(photos, no_room, capsys):
    child = fork(*SWEEP, "--dataset", photos, "--image-size", PIXELS, prepare=partial(slowly, 0.05))
    wait_until(unfinished)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            folder,
            "decode",
            lambda path: (
                pytest.fail("decoded twice") if "train" in path else Image.open(path).convert("RGB")
            ),
        )
        data = load(photos)
    assert "waits for another process" in capsys.readouterr().out
    assert np.array_equal(
        data.train.images[np.array([0])][0],
        np.asarray(Image.open(photos / "train" / "class 0" / "0.png")),
    )
    assert wait_for(child) == 0


# --- more images than memory ----------------------------------------------------------------------

# images, their pixels, and the bytes that a process may take for all it does with them
NUMBER, LARGE, ROOM = 5_400, 160, 190 << 20


def under_a_limit(in_memory: bool = False) -> None:
    """In a forked process: less memory than the images take."""
    used = memory._kilobytes("/proc/self/status", "VmData")
    resource.setrlimit(resource.RLIMIT_DATA, (used + ROOM, used + ROOM))
    if in_memory:
        folder.room_for_images = lambda device: 1 << 40


def files_of(root: Path) -> dict[Path, tuple[int, int, int]]:
    return {
        path: (about.st_ino, about.st_size, about.st_mtime_ns)
        for path in root.rglob("*")
        if (about := path.stat())
    }


@pytest.mark.slow
def test_an_epoch_over_more_images_than_its_memory_holds(tmp_path, monkeypatch):
    assert ROOM < NUMBER * LARGE**2 * 3 / 2
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for part, number in (("train", NUMBER), ("test", 100)):
        for i in range(number):
            path = tmp_path / "many" / part / f"class {i % 2}" / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            if i < 100:
                Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize(
                    (LARGE, LARGE)
                ).save(path)
            else:
                os.link(path.with_name(f"{i % 100}.jpg"), path)
    command = [
        "ratio_swipe.py",
        "--save",
        "x_0",
        "--dataset",
        tmp_path / "many",
        "--image-size",
        LARGE,
        "--uniform",
        "--ratios",
        1 / 64,
        "--epochs",
        1,
        "--batch-size",
        20,
    ]
    images = files_of(tmp_path / "many")
    # out of memory
    assert wait_for(fork(*command, prepare=partial(under_a_limit, in_memory=True))) == 2

    child = fork(*command, prepare=under_a_limit)
    wait_until(lambda: any(path.stat().st_size > 100e6 for path in unfinished()))
    os.kill(child, signal.SIGKILL)
    assert wait_for(child) == -signal.SIGKILL
    assert not list(Path("prune_record/images").glob("train*")) and not list(
        Path("saved_plots").rglob("*.json")
    )

    assert wait_for(fork(*command, prepare=under_a_limit)) == 0
    assert Path("saved_plots/vgg/x_0_1.json").exists()
    [whole] = [path for path in Path("prune_record/images").iterdir() if path.suffix == ".rgb"]
    assert (
        whole.name.startswith(f"train_{LARGE}_") and whole.stat().st_size == NUMBER * LARGE**2 * 3
    )
    assert files_of(tmp_path / "many") == images
