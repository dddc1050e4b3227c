"""Downloads what jobs need, before several of them start."""

from utils.experiment.state import JobState
from utils.settings import DATASETS

INSTALLED = {"digits"}  # comes with scikit-learn


def fetch(states: list[JobState], data: str) -> None:
    """Download into ``data`` the data sets that unfinished jobs need. Raises UserError."""
    for dataset in sorted(
        {state.job.settings.dataset for state in states if state.kind != "finished"}
        & {*DATASETS} - INSTALLED
    ):
        from utils.data import load_data

        load_data(dataset, data, limit_train=1, limit_test=1)
