"""Downloads what jobs need, before several of them start."""

from utils.experiment.state import JobState
from utils.settings import DATASETS


def fetch(states: list[JobState], data: str) -> None:
    """Download into ``data`` the data sets that unfinished jobs need. Raises UserError."""
    needed = {state.job.settings.dataset for state in states if state.kind != "finished"}
    for dataset in sorted(
        needed & {name for name, facts in DATASETS.items() if not facts.installed}
    ):
        from utils.data import load_data

        load_data(dataset, data, limit_train=1, limit_test=1)
