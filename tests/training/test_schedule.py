"""Learning rates at the edges of the published schedules."""

import pytest

from utils.settings import training_preset
from utils.training.schedule import search_lr, training_lr


@pytest.mark.parametrize("warmup", [1, 10, 60])
def test_search_falls_to_a_tenth_in_the_last_epoch_of_the_warm_up_then_by_1_5_every_10_epochs(
    warmup,
):
    """With P = 10 and epochs counted from 1: 1 to 9 at 0.1, 10 to 19 at 0.01, 20 to 29 at 0.01 /
    1.5."""
    expected = {
        warmup: 0.01,
        warmup + 9: 0.01,
        warmup + 10: 0.01 / 1.5,
        warmup + 19: 0.01 / 1.5,
        warmup + 20: 0.01 / 1.5**2,
        warmup + 100: 0.01 / 1.5**10,
    }
    expected |= {epoch: 0.1 for epoch in range(1, warmup)}
    assert {epoch: search_lr(epoch - 1, warmup) for epoch in expected} == pytest.approx(expected)


def test_search_without_warm_up_starts_at_the_pruning_rate():
    assert [search_lr(epoch - 1, 0) for epoch in (1, 9, 10)] == pytest.approx(
        [0.01, 0.01, 0.01 / 1.5]
    )


def test_search_rates_scale_with_lr():
    assert search_lr(3, 10, lr=0.5) == 0.5
    assert search_lr(9, 10, lr=0.5) == pytest.approx(0.05)


@pytest.mark.parametrize("dataset", ["CIFAR10", "CIFAR100", "digits"])
def test_cifar_training_of_300_epochs_divides_by_10_at_100_200_250(dataset):
    settings = training_preset(dataset)
    assert settings.epochs == 300
    expected = {0: 0.1, 99: 0.1, 100: 0.01, 199: 0.01, 200: 1e-3, 249: 1e-3, 250: 1e-4, 299: 1e-4}
    assert {
        epoch: training_lr(epoch, 300, settings.milestones) for epoch in expected
    } == pytest.approx(expected)


def test_tinyimagenet_training_of_150_epochs_divides_by_10_every_50():
    settings = training_preset("tinyimagenet")
    assert settings.epochs == 150
    expected = {0: 0.1, 49: 0.1, 50: 0.01, 99: 0.01, 100: 1e-3, 149: 1e-3}
    assert {
        epoch: training_lr(epoch, 150, settings.milestones) for epoch in expected
    } == pytest.approx(expected)


def test_short_trainings_decay_at_the_same_fractions():
    milestones = training_preset("CIFAR10").milestones
    expected = {0: 0.1, 1: 0.1, 2: 0.01, 3: 0.01, 4: 1e-3, 5: 1e-4}  # 6 epochs: after 2, 4 and 5
    assert {epoch: training_lr(epoch, 6, milestones) for epoch in expected} == pytest.approx(
        expected
    )
    assert training_lr(0, 1, (), lr=0.3) == 0.3
