"""Data sets in memory, and batches of them."""
from utils.data.batches import Augmentation, Batches, evaluation_batches, rotate, training_batches
from utils.data.readers import Data, Split, balanced, load_data, mean_and_std

__all__ = ["Augmentation", "Batches", "Data", "Split", "balanced", "evaluation_batches", "load_data", "mean_and_std", "rotate",
           "training_batches"]
