"""--validate: images held out of training, on which choices may be made."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from running import DIGITS, assert_refused, call, succeed

from utils.data import load_data
from utils.data.dataset import Wanted
from utils.errors import UserError

pytestmark = pytest.mark.usefixtures("here")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=80),
    st.integers(1, 60),
    st.none() | st.integers(1, 60),
)
def test_what_is_held_out_is_never_trained_on_and_does_not_depend_on_how_much_is(
    labels, validate, limit
):
    labels, none = np.array(labels), np.array([], int)
    classes = {*labels.tolist()}
    try:
        train, _, held = Wanted(limit, None, validate).chosen(labels, none)
    except UserError as error:
        counts = np.bincount(labels)
        assert "--validate" in str(error) and validate > len(classes) * (
            min(counts[counts > 0]) - 1
        )
        return
    assert not {*train} & {*held} and len(held) == min(validate, len(labels))
    assert len(train) == min(limit or len(labels), len(labels) - len(held))
    assert {*labels[np.setdiff1d(np.arange(len(labels)), held)]} == classes
    everything = Wanted(None, None, validate).chosen(labels, none)
    assert (everything.validation == held).all() and {*train} <= {*everything.train}
    taken = np.bincount(labels[held], minlength=6)
    for a in classes:  # in turn: one class has two fewer than another only where it has no more
        assert all(taken[a] >= taken[b] - 1 or taken[a] == (labels == a).sum() for b in classes)


def test_held_out_digits_are_balanced_and_the_rest_of_the_training_images():
    data, whole = load_data("digits", validate=200), load_data("digits")
    assert data.validation is not None and whole.validation is None
    assert torch.bincount(data.validation.labels).tolist() == [20] * 10
    assert len(data.train) + len(data.validation) == len(whole.train) and len(data.test) == len(
        whole.test
    )

    def images(*splits):
        return sorted(bytes(image.numpy().tobytes()) for split in splits for image in split.images)

    assert images(data.train, data.validation) == images(whole.train)
    small = load_data("digits", validate=200, limit_train=50)
    assert (
        torch.equal(small.validation.images, data.validation.images)
        and torch.bincount(small.train.labels).tolist() == [5] * 10
    )


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_of_a_folder_are_held_out_in_memory_and_on_the_disk(
    in_memory, monkeypatch, tmp_path
):
    shade = 0
    for split, number in (("train", 5), ("test", 2)):
        for kind in ("cat", "dog"):
            place = tmp_path / "pets" / split / kind
            place.mkdir(parents=True)
            for index in range(number):
                shade += 1
                Image.new("RGB", (32, 32), (shade, 0, 0)).save(place / f"{index}.png")
    if not in_memory:
        monkeypatch.setattr("utils.data.folder.room_for_images", lambda device: 0)

    def shades(split):
        images = (
            split.images
            if isinstance(split.images, torch.Tensor)
            else torch.from_numpy(np.array(split.images[np.arange(len(split))]))
        )
        return images[:, 0, 0, 0].tolist()

    for _ in range(2):  # decoded, and read again
        data = load_data("pets", cache_dir="records", validate=4)
        assert (shades(data.train), shades(data.validation), shades(data.test)) == (
            [1, 2, 3, 6, 7, 8],
            [4, 5, 9, 10],
            [11, 12, 13, 14],
        )
        data = load_data("pets", cache_dir="records", validate=2, limit_train=2)
        assert (shades(data.train), shades(data.validation)) == ([1, 6], [5, 10])
        data = load_data("pets", cache_dir="records")
        assert shades(data.train) == [*range(1, 11)]


SWEEP = [
    "ratio_swipe.py",
    "--save",
    "run_0",
    "--uniform",
    "--ratios",
    0.0625,
    *DIGITS,
    "--epochs",
    3,
    "--validate",
    40,
]


def test_a_training_reports_both_and_goes_on_with_both():
    out = succeed(*SWEEP)
    assert (
        out.count("  validation: loss ") == out.count("  test: loss ") == 3
        and " validation_images=40 " in out
    )
    result = json.loads(Path("saved_plots/vgg/run_0_6.json").read_text())
    assert (
        result["validation_images"] == 40
        and len(result["val_acc"]) == len(result["val_loss"]) == len(result["test_acc"]) == 3
    )
    assert all(
        abs(accuracy * 40 / 100 - round(accuracy * 40 / 100)) < 1e-9
        for accuracy in result["val_acc"]
    )
    # as ever: the images held out are for choosing
    assert result["best"] == max(result["test_acc"])
    assert "finished before" in succeed(*SWEEP)
    without = succeed(*SWEEP[:-2], "--save", "run_1")
    assert (
        "validation" not in without
        and "val_acc" not in Path("saved_plots/vgg/run_1_6.json").read_text()
    )
    assert_refused(call(*SWEEP[:-1], 50), "validate = 40, not 50")
    assert_refused(call(*SWEEP[:-2]), "validate = 40, not None")


def test_an_interrupted_training_goes_on_with_what_it_had_measured(monkeypatch):
    from utils.training import train

    succeed(*SWEEP)
    whole = json.loads(Path("saved_plots/vgg/run_0_6.json").read_text())
    evaluate, calls = train.evaluate, []

    def stops(*arguments):
        calls.append(None)
        if len(calls) == 4:  # in the second epoch, between the test and the validation images
            raise KeyboardInterrupt
        return evaluate(*arguments)

    monkeypatch.setattr(train, "evaluate", stops)
    again = [*SWEEP, "--save", "again_0"]
    assert call(*again).status == 130
    monkeypatch.setattr(train, "evaluate", evaluate)
    assert "goes on at epoch 1" in succeed(*again, "--resume")
    resumed = json.loads(Path("saved_plots/vgg/again_0_6.json").read_text())
    assert all(
        resumed[key] == whole[key]
        for key in ("val_acc", "val_loss", "test_acc", "test_loss", "train_loss")
    )


def test_a_search_never_sees_them_and_remembers_that(monkeypatch):
    from utils.search import search as module

    seen = []
    prepare = module.prepare
    monkeypatch.setattr(
        module,
        "prepare",
        lambda *arguments, **more: (seen.append(prepare(*arguments, **more)), seen[-1])[1],
    )
    search = [
        "architecture_descent.py",
        "--save",
        "s",
        "--dataset",
        "digits",
        "--ratio",
        0.0625,
        "--epochs",
        2,
        "--warmup",
        0,
        "--prune-every",
        1,
        "--iterations",
        1,
        "--batch-size",
        200,
    ]
    succeed(*search, "--validate", 300)
    assert len(seen[0][0].train) == 1137 and len(seen[0][0].validation) == 300
    assert json.loads(Path("prune_record/s.json").read_text())["settings"]["validate"] == 300
    assert_refused(call(*search), "validate = 300, not None")


@pytest.mark.parametrize(
    "damage",
    [
        {"val_acc": [1.0]},
        {"val_acc": [1.0, 2.0, 101.0]},
        {"val_acc": 3},
        {"val_acc": [1.0, 2.0, None]},
    ],
)
def test_a_damaged_result_is_refused(damage):
    succeed(*SWEEP)
    path = Path("saved_plots/vgg/run_0_6.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    assert_refused(call(*SWEEP), path)


def test_networks_that_may_have_seen_the_held_out_images_are_refused():
    """By their search, or as a base network: accuracy on images that were trained on is none to
    choose by."""
    few = ["--dataset", "digits", "--batch-size", 100, "--epochs", 2]
    search = [
        "architecture_descent.py",
        *few,
        "--ratio",
        0.0625,
        "--warmup",
        0,
        "--prune-every",
        1,
        "--iterations",
        1,
    ]
    succeed(*search, "--save", "saw")
    succeed(*search, "--save", "held", "--validate", 100)
    succeed("train_norm.py", *few, "--save", "saw", "--ratio", 0.125)
    succeed("train_norm.py", *few, "--save", "held", "--ratio", 0.125, "--validate", 100)
    swept = [
        "ratio_swipe.py",
        *few,
        "--save",
        "x_0",
        "--ratios",
        0.0625,
        "--validate",
        100,
        "--prune-fname",
    ]
    tuned = [
        "fine_tune.py",
        *few,
        "--save",
        "y_0",
        "--ratio",
        0.0625,
        "--validate",
        100,
        "--prune-fname",
    ]
    for command in (swept, tuned):
        assert_refused(call(*command, "saw"), "saw", "--validate")
        succeed(*command, "held")
        command[command.index("--validate") + 1] = 200
        assert_refused(call(*command, "held", "--overwrite"), "held", "--validate")
    # all are trained on, none is chosen by
    succeed("ratio_swipe.py", *few, "--save", "z_0", "--ratios", 0.0625, "--prune-fname", "held")
