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
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
PARAMETERS = {  # of uniform networks at these ratios, for TinyImageNet at the first four
    tuple(pair.split()): [int(number) for number in numbers.split()]
    for pair, numbers in {
        "vgg CIFAR10": "579786 2311562 5195338 9231114 14418890 20758666 28250442 36894218",
        "vgg CIFAR100": "591396 2334692 5229988 9277284 14476580 20827876 28331172 36986468",
        "resnet18 CIFAR10": "701018 2796714 6287098 11172170 17451930 25126378 34195514 44659338",
        "resnet18 CIFAR100": "712628 2819844 6321748 11218340 17509620 25195588 34276244 44751588",
        "resnet18 tinyimagenet": "725784 2846568 6362552 11273736",
        "mobilenetv2 CIFAR10": "170464 616182 1337164 2333410 3604920 5151694 6973732 9071034",
        "mobilenetv2 CIFAR100": "199354 673872 1423654 2448700 3749010 5324584 7175422 9301524",
        "mobilenetv2 tinyimagenet": "231454 737972 1519754 2576800",
    }.items()
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
