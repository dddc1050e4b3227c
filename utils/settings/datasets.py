"""The data sets: the facts about their images, and their own defaults, as presets of the settings
classes (paper, section 4.1)."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from utils.settings.networks import Networks
from utils.settings.work import SearchSettings, TrainingSettings


@dataclass(frozen=True)
class Dataset:
    """The facts about the images of a data set."""

    short: str  # in the default names of runs
    num_classes: int | None = None  # None: that of the data
    image_size: int = 32
    mean: tuple[float, ...] | None = None  # None: that of the training images
    std: tuple[float, ...] | None = None
    crop: bool = True  # at random, from the image with a black border
    flip: bool = True
    rotation: float = 0.0  # degrees
    search_crop: bool = True  # True if the search crops at random too
    classes: tuple[str, ...] = ()  # names of the classes, by their numbers; (): those of the data
    installed: bool = False  # True if it comes with a package, and needs no files
    interpolation: str = "bicubic"  # brings other images to its size


CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100_CLASSES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
    crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house
    kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
    mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
    plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew
    skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
    telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf
    woman worm"""
DATASETS = {
    "CIFAR10": Dataset(
        "c10",
        10,
        mean=(125.3 / 255, 123.0 / 255, 113.9 / 255),
        std=(63.0 / 255, 62.1 / 255, 66.7 / 255),
        classes=tuple(CIFAR10_CLASSES.split()),
    ),
    "CIFAR100": Dataset(
        "c100",
        100,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        classes=tuple(CIFAR100_CLASSES.split()),
    ),
    "tinyimagenet": Dataset(
        "tinyimagenet",
        200,
        64,
        mean=(0.4802, 0.4481, 0.3975),
        std=(0.2302, 0.2265, 0.2262),
        rotation=20.0,
        search_crop=False,
    ),
    "digits": Dataset(
        "digits",
        10,
        flip=False,
        classes=tuple("0123456789"),
        installed=True,  # with scikit-learn
        interpolation="nearest",
    ),
}


# pixels of a side to which the images of a user's folder are resized: the nearer of the two
FOLDER_SIZES = (32, 64)


def dataset_name(argument: str) -> str:
    """Return the name in records: the argument itself, or the last part of a path to a folder of
    images."""
    name = argument if argument in DATASETS else Path(argument).resolve().name
    return "tinyimagenet" if name == "tiny-imagenet-200" else name


def dataset_facts(name: str) -> Dataset:
    """Return the facts about the data set ``name``; a user's folder has those of CIFAR."""
    return DATASETS.get(name) or Dataset(re.sub(r"\W", "_", name))


# --- presets: CIFAR's are the defaults of the classes, and those of a user's folder ---------------


def search_preset(dataset: str) -> SearchSettings:
    """Return the published settings of a search on ``dataset``, a name or a path."""
    preset = SearchSettings(dataset=dataset)
    return (
        replace(preset, batch_size=100, prune_every=100)
        if dataset_name(dataset) == "tinyimagenet"
        else preset
    )


def training_preset(dataset: str) -> TrainingSettings:
    """Return the published settings of a training from scratch on ``dataset``."""
    preset = TrainingSettings(dataset=dataset)
    return (
        replace(preset, epochs=150, milestones=(1 / 3, 2 / 3))
        if dataset_name(dataset) == "tinyimagenet"
        else preset
    )


def fine_tuning_preset(dataset: str) -> TrainingSettings:
    """Return the published settings of the magnitude baseline's fine-tuning."""
    return TrainingSettings(
        dataset=dataset,
        epochs=20 if dataset_name(dataset) == "tinyimagenet" else 40,
        lr=0.001,
        milestones=(),
    )


def networks_preset(dataset: str) -> Networks:
    """Return the ratios of the published curves on ``dataset``."""
    return (
        Networks(ratios=(0.25, 0.5, 0.75, 1.0))
        if dataset_name(dataset) == "tinyimagenet"
        else Networks()
    )
