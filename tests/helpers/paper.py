"""The paper's figures, and its accuracies as they are stored."""

import csv

import pytest

from utils.records import paths

# at the ratio 0.25, best epoch, mean of 5 seeds: uniform, MorphNet, NeuralScale after iterations 1
# and 15, and how much more the last is than the first
HEADLINES = {
    ("vgg", "CIFAR10"): (88.18, 90.60, 91.13, 91.22, 3.04),
    ("vgg", "CIFAR100"): (60.22, 64.85, 65.71, 66.08, 5.86),
    ("resnet18", "CIFAR100"): (68.10, 69.34, 70.63, 71.14, 3.04),
    ("resnet18", "tinyimagenet"): (50.54, 50.79, 51.66, 53.95, 3.41),
    ("mobilenetv2", "CIFAR100"): (57.80, 57.51, 66.00, 66.36, 8.56),
    ("mobilenetv2", "tinyimagenet"): (44.22, 44.53, 49.70, 46.82, 2.60),
}
pairs = pytest.mark.parametrize("model, dataset", HEADLINES)
# those whose last number the paper's text says
told = pytest.mark.parametrize(
    "model, dataset",
    [("vgg", "CIFAR10"), ("mobilenetv2", "CIFAR100"), ("resnet18", "tinyimagenet")],
)


def published_best(model: str, dataset: str, method: str, ratio: float) -> list[float]:
    """Read the best accuracy of each seed of a published network."""
    with (paths.PUBLISHED_DIR / "accuracy.csv").open() as stream:
        return [
            float(row["best_test_acc"])
            for row in csv.DictReader(stream)
            if (row["model"], row["dataset"], row["method"], float(row["ratio"]))
            == (model, dataset, method, ratio)
        ]
