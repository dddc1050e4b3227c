"""Results of trainings, without the trainings."""

from pathlib import Path

from model import count_macs, count_params, uniform_filters
from utils.records import paths
from utils.records.files import write_json
from utils.records.results import read_result

SHAPES = {"CIFAR10": (10, 32), "CIFAR100": (100, 32), "tinyimagenet": (200, 64), "digits": (10, 32)}


def shape_of(dataset: str) -> dict[str, int]:
    """Return the number of classes and the size of the images of a data set."""
    return dict(zip(("num_classes", "image_size"), SHAPES[dataset]))


def write_result(
    name: str,
    best: float,
    *,
    model="vgg",
    dataset="digits",
    ratio=0.25,
    seed=0,
    filters=None,
    **more,
) -> Path:
    """Write a result as ratio_swipe.py does."""
    shape, filters = shape_of(dataset), filters or uniform_filters(model, ratio)
    path = paths.result_file("saved_plots", model, name, ratio)
    write_json(
        path,
        {
            **shape,
            "model": model,
            "dataset": dataset,
            "method": "uniform",
            "ratio": ratio,
            "seed": seed,
            "convcut": False,
            "filters": filters,
            "params": count_params(model, filters, **shape),
            "macs": count_macs(model, filters, **shape),
            "train_loss": [1.0, 0.5],
            "train_acc": [10.0, 20.0],
            "test_loss": [1.0, 0.5],
            "test_acc": [best, 5.0],
            "best": best,
            "last": 5.0,
            "seconds": 1.0,
            "settings": {"seed": seed},
            "versions": {},
            **more,
        },
    )
    return path


def result(name: str, folder: str = "vgg") -> dict:
    """Read a result, which must be whole."""
    return read_result(Path("saved_plots") / folder / f"{name}.json")
