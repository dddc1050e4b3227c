"""Images that fit into memory are decoded once too, into a file that every later start reads: the
same images, whatever happens to it."""

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
from photos import PIXELS, SWEEP, load, stored, wait_until
from running import fork, raising, run, snapshot, succeed, wait_for
from torch import nn

from utils.data import decoded, folder
from utils.errors import UserError
from utils.training.sgd import SGD

TRAINING = [*SWEEP, "--dataset", "photos", "--image-size", PIXELS]


@pytest.fixture(autouse=True)
def worth_it(monkeypatch):
    """Every folder takes long enough to decode."""
    monkeypatch.setattr(folder, "MOMENT", -1.0)


def assert_same_images(data, other):
    for split, expected in ((data.train, other.train), (data.test, other.test)):
        assert isinstance(split.images, torch.Tensor) and torch.equal(split.images, expected.images)
        assert torch.equal(split.labels, expected.labels)
    assert torch.equal(data.mean, other.mean) and torch.equal(data.std, other.std)


# --- once -----------------------------------------------------------------------------------------


def test_images_are_decoded_once_and_are_the_same_bit_for_bit(photos, decoding, capsys):
    fresh = load(photos, cache_dir=None)
    decoding.clear()
    capsys.readouterr()
    assert_same_images(load(photos), fresh)
    assert len(decoding) == 16 and len(stored()) == 2
    first, second = capsys.readouterr().out.splitlines()
    assert (
        "train: 12 images of 48 pixels; they are decoded once, into prune_record/images/train_48_"
        in first
        and "test: 4" in second
    )
    assert_same_images(load(photos), fresh)
    assert (
        len(decoding) == 16
        and capsys.readouterr().out.count("they are read from prune_record/images/") == 2
    )


def test_a_file_is_of_use_to_whoever_has_no_room_for_its_images(photos, monkeypatch, decoding):
    load(photos)
    decoding.clear()
    monkeypatch.setattr(folder, "room_for_images", lambda device: 0)
    assert isinstance(load(photos).train.images, np.memmap) and not decoding


def test_trainings_are_the_same_from_images_from_a_new_file_and_from_one_that_is_there(photos):
    curves = []
    for name, more in (("a_0", ["--no-cache"]), ("b_0", []), ("c_0", [])):
        out = succeed(*TRAINING, "--save", name, "--seed", 0, *more)
        assert ("read from" in out) == (name == "c_0")
        result = json.loads(Path(f"saved_plots/vgg/{name}_6.json").read_text())
        weights = torch.load(f"saved_models/vgg/{name}@6.pt", weights_only=True)["network"]
        curves.append(
            [
                result["train_loss"],
                result["test_loss"],
                *(tensor.tolist() for tensor in weights.values()),
            ]
        )
    assert curves[0] == curves[1] == curves[2]


def test_what_takes_no_time_to_decode_gets_no_file(photos, monkeypatch):
    monkeypatch.setattr(folder, "MOMENT", decoded.MOMENT)
    load(photos)
    assert not Path("prune_record").exists()
    monkeypatch.setattr(decoded, "PER_IMAGE", decoded.MOMENT / 11)  # it is the 12 that are dear now
    load(photos)
    [only] = stored()
    assert only.startswith("train_48_")
    monkeypatch.setattr(decoded, "PER_BYTE", 1.0)  # and now the bytes of the 4 too
    load(photos)
    assert len(stored()) == 2


def test_sixty_thousand_small_images_and_a_hundred_photographs_are_worth_a_file(tmp_path):
    for number, length in ((60_000, 900), (100, 3_000_000)):
        (tmp_path / "x.jpg").write_bytes(b"")
        os.truncate(tmp_path / "x.jpg", length)
        kept = decoded.Decoded(
            [str(tmp_path / "x.jpg")] * number, (number, 32, 32, 3), tmp_path, None, "prune_record"
        )
        assert kept.seconds > 10


def test_without_a_cache_nothing_is_written(photos):
    succeed(*TRAINING, "--no-cache")
    assert not Path("prune_record").exists()


# --- what happens to the file ---------------------------------------------------------------------


def test_images_that_have_changed_are_decoded_anew_and_the_old_file_is_removed(photos, capsys):
    load(photos)
    [stale] = [name for name in stored() if name.startswith("train")]
    os.utime(photos / "train" / "class 0" / "0.png", (1e9, 1e9))
    load(photos)
    assert f"prune_record/images/{stale}: removed" in capsys.readouterr().out
    assert stale not in stored() and len(stored()) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, 1000),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
)
def test_a_file_that_is_not_whole_is_made_anew(damage, photos):
    load(photos)
    whole = snapshot("prune_record")
    damage(Path("prune_record/images") / stored()[1])
    load(photos)
    assert snapshot("prune_record") == whole


def test_a_file_that_somebody_removes_before_it_is_read_is_done_without(photos, monkeypatch):
    fresh = load(photos)
    for failing in (raising(FileNotFoundError()), lambda path, kind: np.zeros(5, np.uint8)):
        with monkeypatch.context() as patch:
            patch.setattr(np, "fromfile", failing)
            assert_same_images(load(photos), fresh)


def test_a_damaged_image_is_named_and_leaves_nothing(photos):
    bad = photos / "train" / "class 1" / "9.png"
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(UserError, match=str(bad)):
        load(photos)
    assert stored() == []


# --- where it can't be written --------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_to_is_no_reason_not_to_train(photos, capsys):
    fresh = load(photos, cache_dir=None)
    Path("prune_record").write_text("a file")
    capsys.readouterr()
    assert_same_images(load(photos), fresh)
    assert (
        capsys.readouterr().out.count(
            "48 pixels; they are decoded at each start: prune_record/images: can't be written to"
        )
        == 2
    )
    succeed(*TRAINING)
    assert Path("prune_record").read_text() == "a file"


def test_a_file_in_a_folder_that_cannot_be_written_to_is_read_all_the_same(
    photos,
    monkeypatch,
    decoding,
):
    load(photos)
    decoding.clear()
    monkeypatch.setattr(
        decoded, "wait_for_lock", lambda *_: pytest.fail("it has to be locked for nobody")
    )
    load(photos)
    assert not decoding


def test_a_full_disk_is_said_and_no_reason_not_to_train(photos, monkeypatch, capsys):
    fresh = load(photos, cache_dir=None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        assert_same_images(load(photos), fresh)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    out = capsys.readouterr().out
    assert (
        out.count("File too large")
        == out.count("Without that file they are decoded at each start")
        == 2
    )
    assert stored() == []
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    assert_same_images(load(photos), fresh)
    assert (
        capsys.readouterr().out.count("decoded images take 0.0 GiB there") == 2 and stored() == []
    )


# --- several processes ----------------------------------------------------------------------------


def slowly(seconds: float) -> None:
    """In a forked process: decoding takes long, and so does writing what was decoded."""
    decode, whole = folder.decode, np.ascontiguousarray
    folder.decode = lambda path: (Path("decoding").touch(), time.sleep(seconds), decode(path))[2]

    def by_bytes(part):
        Path("writing").touch()
        time.sleep(seconds)
        return whole(part)

    decoded.np = SimpleNamespace(**{**vars(np), "ascontiguousarray": by_bytes})


def test_of_two_processes_the_second_waits_and_decodes_nothing(photos, decoding, capsys):
    child = fork(*TRAINING, prepare=partial(slowly, 0.1))
    wait_until(Path("decoding").exists)
    data = load(photos)
    assert "waits for another process" in capsys.readouterr().out
    assert not [path for path in decoding if "train" in path]
    assert np.array_equal(
        data.train.images[0], np.asarray(folder.decode(photos / "train" / "class 0" / "0.png"))
    )
    assert wait_for(child) == 0


@pytest.mark.parametrize("moment", ["decoding", "writing"])
def test_killed_in_the_middle_it_begins_again_and_nothing_is_lost(moment, photos):
    images = snapshot(photos)
    for _ in range(2):
        for name in ("decoding", "writing"):
            Path(name).unlink(missing_ok=True)
        child = fork(*TRAINING, prepare=partial(slowly, 0.1))
        wait_until(Path(moment).exists)
        os.kill(child, signal.SIGKILL)
        assert wait_for(child) == -signal.SIGKILL
        assert not [name for name in stored() if not name.startswith(".")]
    succeed(*TRAINING)
    assert [name.split("_")[:2] for name in stored()] == [
        ["test", "48"],
        ["train", "48"],
    ] and snapshot(photos) == images


def test_ctrl_c_leaves_nothing_half(photos):
    child = fork(*TRAINING, prepare=partial(slowly, 0.1))
    wait_until(Path("decoding").exists)
    os.kill(child, signal.SIGINT)
    assert wait_for(child) == 130
    assert stored() == []


# --- nothing else is waited for at a start --------------------------------------------------------


def test_a_training_loads_neither_the_compiler_nor_what_reads_other_data(photos):
    outcome = run(*TRAINING, cwd=photos.parent, env={"PYTHONPROFILEIMPORTTIME": "1"}, fresh=True)
    loaded = {line.split("|")[-1].strip() for line in outcome.err.splitlines()}
    assert outcome.status == 0 and "utils.training.train" in loaded
    assert not loaded & {"torch._dynamo", "torchvision", "sklearn", "scipy", "matplotlib"}


def test_digits_are_read_without_scikit_learn_as_scikit_learn_reads_them(monkeypatch):
    from sklearn.datasets import load_digits

    from utils.data import readers

    expected = load_digits()
    for images, labels in (
        readers._digits(),
        (monkeypatch.setattr(readers, "find_spec", lambda name: None), readers._digits())[1],
    ):
        assert np.array_equal(images, expected.images) and np.array_equal(labels, expected.target)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_optimizer_is_pytorchs_to_the_last_bit(momentum):
    found = []
    for kind in (torch.optim.SGD, SGD):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        optimizer = kind(network.parameters(), 0.1, momentum, weight_decay=5e-4, foreach=True)
        for step in range(6):
            if step == 3:  # a resumed run
                state, rate = optimizer.state_dict(), optimizer.param_groups[0]["lr"]
                optimizer = kind(
                    network.parameters(), 99, momentum, weight_decay=5e-4, foreach=True
                )
                optimizer.load_state_dict(state)
                assert optimizer.param_groups[0]["lr"] == rate
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
            network.zero_grad()
            network(torch.randn(4, 8)).square().sum().backward()
            optimizer.step()
        assert not any(parameter.requires_grad is False for parameter in network.parameters())
        found.append(
            [
                [tensor.tolist() for tensor in network.state_dict().values()],
                str(optimizer.state_dict()),
            ]
        )
    assert found[0] == found[1]
