"""Data sets, in memory or read from the disk, and batches of them."""

from utils.data.batches import (
    Augmentation,
    Batches,
    augmentation,
    evaluation_batches,
    rotate,
    training_batches,
)
from utils.data.dataset import Data, Images, Split, balanced, mean_and_std
from utils.data.readers import load_data, shape_of

__all__ = [
    "Augmentation",
    "Batches",
    "Data",
    "Images",
    "Split",
    "augmentation",
    "balanced",
    "evaluation_batches",
    "load_data",
    "mean_and_std",
    "rotate",
    "shape_of",
    "training_batches",
]
