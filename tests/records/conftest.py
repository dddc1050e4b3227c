"""Fixtures of this room: a folder with a network that others are cut from."""

import pytest
from running import ONCE, succeed


@pytest.fixture(scope="session")
def stocked(tmp_path_factory):
    """A folder with the base network that fine_tune.py starts from; files with more than that have
    a stock of their own."""
    folder = tmp_path_factory.mktemp("stocked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        succeed("train_norm.py", "--save", "base", *ONCE, "--ratio", 0.08)
    return folder
