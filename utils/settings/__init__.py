"""Settings: what a search, a training or a plot depends on, each field with its default, bounds and
help in one place."""

from utils.settings.datasets import (
    DATASETS,
    FOLDER_SIZES,
    Dataset,
    dataset_facts,
    dataset_name,
    fine_tuning_preset,
    networks_preset,
    search_preset,
    training_preset,
)
from utils.settings.experiment import METHODS, Cluster, Experiment
from utils.settings.fields import Settings, assigned, command_options, setting, shortest, stored
from utils.settings.networks import BaseNetwork, Networks, NetworkShape, NetworkSize, PrunedNetwork
from utils.settings.storage import PUBLISHED, Folders, Places, Storage, check_name
from utils.settings.target import Limit, Size, Target, size_told
from utils.settings.work import (
    AUGMENTATION,
    Comparison,
    Machine,
    Optimization,
    SearchSettings,
    Task,
    TrainingSettings,
    least_width,
)

__all__ = [
    "AUGMENTATION",
    "DATASETS",
    "FOLDER_SIZES",
    "METHODS",
    "PUBLISHED",
    "BaseNetwork",
    "Cluster",
    "Comparison",
    "Dataset",
    "Experiment",
    "Folders",
    "Limit",
    "Machine",
    "NetworkShape",
    "NetworkSize",
    "Networks",
    "Optimization",
    "Places",
    "PrunedNetwork",
    "SearchSettings",
    "Settings",
    "Size",
    "Storage",
    "Target",
    "Task",
    "TrainingSettings",
    "assigned",
    "check_name",
    "command_options",
    "dataset_facts",
    "dataset_name",
    "fine_tuning_preset",
    "least_width",
    "networks_preset",
    "search_preset",
    "setting",
    "shortest",
    "size_told",
    "stored",
    "training_preset",
]
