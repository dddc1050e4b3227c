"""Fixtures of this room: a folder of photos, and the list of those that are decoded."""

import pytest
from photos import write_photos

from utils.data import folder


@pytest.fixture
def photos(here):
    """A folder of photos in the current one."""
    return write_photos(here / "photos")


@pytest.fixture
def decoding(monkeypatch):
    """The paths that are decoded, in the order in which that happens."""
    seen, decode = [], folder.decode
    monkeypatch.setattr(folder, "decode", lambda path: (seen.append(path), decode(path))[1])
    return seen
