"""Downloading what jobs need, before several of them begin."""

from utils.experiment.state import State
from utils.settings import DATASETS

INSTALLED = {"digits"}  # with scikit-learn


def fetch(states: list[State], data: str) -> None:
    """Downloads into ``data`` what unfinished jobs need and is not there. Raises UserError for what
    can't be had."""
    for dataset in sorted(
        {state.job.settings.dataset for state in states if state.kind != "finished"}
        & {*DATASETS} - INSTALLED
    ):
        from utils.data import load_data

        load_data(dataset, data, limit_train=1, limit_test=1)
