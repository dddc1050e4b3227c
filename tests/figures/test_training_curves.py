"""Loss and accuracy over the epochs as a picture: what is drawn, of which results, and what is
refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import assert_is_a_picture, drawn
from results import write_result
from running import DIGITS, assert_refused, call, snapshot, succeed

from utils.figures import style
from utils.figures.training import falls_of, trainings_of

pytestmark = pytest.mark.usefixtures("here")


def write_training(
    name: str,
    *,
    seed: int = 0,
    ratio: float = 0.25,
    epochs: int = 6,
    held_out: bool = False,
    **more,
) -> Path:
    """A result whose curves are told by its seed."""
    curve = [float(epoch + 10 * seed) for epoch in range(1, epochs + 1)]
    settings = {
        "seed": seed,
        "epochs": epochs,
        "milestones": [1 / 3, 2 / 3],
        **({"validate": 10} if held_out else {}),
    }
    content = {
        "train_loss": [2 * each for each in curve],
        "train_acc": [each + 1 for each in curve],
        "test_loss": curve,
        "test_acc": [each + 2 for each in curve],
        "last": curve[-1] + 2,
        "settings": settings,
    }
    content |= {"val_loss": curve, "val_acc": curve} if held_out else {}
    return write_result(name, curve[-1] + 2, seed=seed, ratio=ratio, **{**content, **more})


def test_curves_are_means_over_the_seeds_and_bands_reach_from_the_lowest_to_the_highest(
    monkeypatch,
):
    figures, save = [], style.save
    monkeypatch.setattr(style, "save", lambda fig, path: (figures.append(fig), save(fig, path)))
    for seed in (0, 1):
        write_training(f"run_{seed}", seed=seed)
        write_training(f"run_{seed}", seed=seed, ratio=0.5)
    assert succeed("plot_training.py", "run") == "drew saved_plots/vgg/run_training.png\n"
    assert_is_a_picture(Path("saved_plots/vgg/run_training.png"))

    losses, accuracies = drawn("saved_plots/vgg/run_training.png")
    epochs, mean = list(range(1, 7)), np.arange(1, 7) + 5.0
    for axes, train, test in ((losses, 2 * mean, mean), (accuracies, mean + 1, mean + 2)):
        assert [label for label, *_ in axes["lines"]] == ["train", "test"] * 2 + ["_fall", "_fall"]
        assert [y for _, _, y in axes["lines"][:2]] == [
            pytest.approx(train),
            pytest.approx(test),
        ] and axes["lines"][0][1] == epochs
        # after a third and two thirds of the epochs
        assert [x for _, x, _ in axes["lines"][4:]] == [[2.5, 2.5], [4.5, 4.5]]
    band = figures[0].axes[1].collections[0].get_paths()[0].vertices
    # of the first seed's first epoch, and of the second's last
    assert (band[:, 1].min(), band[:, 1].max()) == (3, 18)


def test_each_name_has_a_column_and_images_held_out_a_line():
    for name in "abcde":
        write_training(f"{name}_0", held_out=name == "a")
    succeed("plot_training.py", *"abcde", "--out", "all.png")
    axes = drawn("all.png")
    # of four columns, twice
    assert [len(one["lines"]) for one in axes] == [5, 4, 4, 4, 5, 4, 4, 4, 4, 0, 0, 0, 4, 0, 0, 0]
    assert_is_a_picture(Path("all.png"))


def test_what_scripts_trained_is_drawn(monkeypatch):
    succeed(
        "ratio_swipe.py",
        "--save",
        "mine_0",
        "--uniform",
        *DIGITS,
        "--ratios",
        0.0625,
        0.125,
        "--epochs",
        3,
        "--validate",
        10,
    )
    succeed("train_norm.py", "--save", "base", *DIGITS, "--ratio", 0.0625, "--epochs", 1)
    succeed(
        "fine_tune.py",
        "--save",
        "tuned_0",
        "--prune-fname",
        "base",
        *DIGITS,
        "--ratio",
        0.05,
        "--epochs",
        2,
    )
    succeed(
        "plot_training.py", "mine_0", "base", "tuned", "--out", "all.png", "--dataset", "digits"
    )
    result = json.loads(Path("saved_plots/vgg/mine_0_12.json").read_text())
    lines = drawn("all.png")[0]["lines"]
    assert [label for label, *_ in lines[:6]] == ["train", "val", "test"] * 2
    assert lines[5][2] == pytest.approx(result["test_loss"], rel=1e-5)
    # 3 epochs: falls after 1 and 2 (5/6 of 3 rounds to 2)
    assert [x[0] for label, x, _ in lines[6:]] == [1.5, 2.5]


def test_an_earlier_result_that_does_not_say_when_the_rate_falls_has_no_marks():
    write_training("old_0", settings={"seed": 0})
    succeed("plot_training.py", "old", "--out", "old.png")
    assert len(drawn("old.png")[0]["lines"]) == 2


@pytest.mark.parametrize(
    "settings, falls",
    [
        ({"epochs": 300, "milestones": [1 / 3, 2 / 3, 5 / 6]}, (100, 200, 250)),
        ({"epochs": 40, "milestones": []}, ()),
        ({"epochs": 2, "milestones": [0.0, 1.0, 0.5]}, (1,)),
        ({"epochs": "many", "milestones": [0.5]}, ()),
        ({"epochs": 4, "milestones": "x"}, ()),
    ],
)
def test_falls_follow_from_the_settings(settings, falls):
    assert falls_of({"settings": settings}) == falls


def test_the_rate_falls_where_the_picture_says_so():
    from utils.training.schedule import training_lr

    epochs, milestones = 47, (1 / 3, 2 / 3, 5 / 6)
    rates = [training_lr(epoch, epochs, milestones) for epoch in range(epochs)]
    # epochs counted from 1
    after = tuple(epoch for epoch in range(1, epochs) if rates[epoch] < rates[epoch - 1])
    assert falls_of({"settings": {"epochs": epochs, "milestones": milestones}}) == after


@pytest.mark.parametrize(
    "change, naming",
    [
        ({"train_loss": [1.0]}, "train_loss"),
        ({"train_loss": None}, "train_loss"),
        ({"test_loss": ["x"] * 6}, "test_loss"),
        ({"train_acc": [101.0] * 6}, "train_acc"),
        ({"last": 1.0}, "damaged"),
        ({"dataset": "CIFAR10"}, "CIFAR10"),
    ],
)
def test_damaged_results_and_seeds_that_were_trained_otherwise_are_named(change, naming, here):
    write_training("run_0")
    other = write_training("run_1", seed=1, **change)
    before = snapshot(here)
    assert_refused(call("plot_training.py", "run"), other, naming)
    assert snapshot(here) == before


def test_seeds_of_other_numbers_of_epochs_are_refused():
    first, other = write_training("run_0"), write_training("run_1", seed=1, epochs=7)
    assert_refused(call("plot_training.py", "run"), first, other, "7 epochs")
    # alone it is drawn
    assert len(trainings_of(first.parent, "run_1")[0.25].losses["test"][0]) == 7


def test_an_experiment_ends_with_it(forking):
    out = succeed(
        "submit.py",
        "--dataset",
        "digits",
        "--methods",
        "uniform",
        "--name",
        "small",
        "--ratios",
        0.0625,
        0.125,
        "--seeds",
        0,
        1,
        "--train-with",
        "epochs=2",
        "limit-train=100",
        "limit-test=50",
        "batch-size=50",
        "--device",
        "cpu",
        "--jobs",
        2,
    )
    assert "drew saved_plots/vgg/digits_training.png" in out
    assert out.rstrip().endswith("wrote saved_plots/vgg/digits_report.html")
    # two ratios, and where the rate falls
    assert len(drawn("saved_plots/vgg/digits_training.png")[0]["lines"]) == 2 * 2 + 1
