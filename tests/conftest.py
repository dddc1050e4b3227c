"""Fixtures of all rooms: one torch thread, folders to run scripts in, two searches to begin with,
the published figures, the real images.

Only the tests that ask for ``published`` or ``real_images`` need files beyond the repository;
without those they skip.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import pytest
import torch
from networks import forget
from running import REPOSITORY, alone_in_a_fork, forked, succeed
from running import stop_after as stop_run_after
from searches import SEARCH

from utils.export import compare

# what these find wrong is shown as in a test
pytest.register_assert_rewrite("compaction", "photos", "pickles", "pictures", "proofs")

SHARED = REPOSITORY.parent / "shared"

torch.set_num_threads(1)  # pytest -n already gives each core a process
# the first one settles whether forks can train: it must come before exporting loads what it needs
torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(scope="module", autouse=True)
def networks_of_other_files_are_forgotten():
    """Many files call a network of theirs net.py:Net, and a process imports each name once."""
    forget()


@pytest.fixture(scope="session", autouse=True)
def exports_are_looked_at_in_forks():
    """Exporting in this process runs what it has written in forks; a script that is begun ``fresh``
    runs it in new Pythons, as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "_run", alone_in_a_fork)
        yield


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder of residual_filters_*.csv; they are not part of the project."""
    folders = [SHARED / "published"]
    if "NEURALSCALE_DATA" in os.environ:
        folders.insert(0, Path(os.environ["NEURALSCALE_DATA"]).parent / "published")
    for folder in folders:
        if any(folder.glob("residual_filters_*.csv")):
            return folder
    pytest.skip(f"no residual_filters_*.csv in {' or '.join(map(str, folders))}")


@pytest.fixture(scope="session")
def real_images() -> Path:
    """A folder with CIFAR10/, CIFAR100/ and tiny-imagenet-200/. To be read only: other tests and
    processes share it."""
    if "NEURALSCALE_DATA" in os.environ:
        folder = Path(os.environ["NEURALSCALE_DATA"])
        if not (folder / "tiny-imagenet-200").is_dir():
            pytest.skip(f"no tiny-imagenet-200 in NEURALSCALE_DATA={folder}")
        return folder
    if not (SHARED / "data" / "unpack.sh").is_file():
        pytest.skip(f"no real images: neither NEURALSCALE_DATA nor {SHARED / 'data'}")
    folder = Path(tempfile.gettempdir()) / f"neuralscale-data-{os.getuid()}"
    with Path(f"{folder}.lock").open("w") as lock:
        # the first of the processes of pytest -n unpacks, the others wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
            try:
                subprocess.run(["bash", SHARED / "data" / "unpack.sh", unfinished], check=True)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


@pytest.fixture
def forking(monkeypatch):
    """Jobs that this process runs are forked from it."""
    from utils.experiment import local

    monkeypatch.setattr(local, "begin", forked)


@pytest.fixture
def stop_after(monkeypatch):
    """stop_after(batches, signal): see running.py."""
    return partial(stop_run_after, monkeypatch)


@pytest.fixture(scope="session")
def searched(tmp_path_factory) -> Path:
    """A folder with a search of two iterations, ``found``, and a --morph search, ``morphed``, on
    digits. To be copied, never changed."""
    folder = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        succeed("architecture_descent.py", "--save", "found", *SEARCH, "--iterations", 2)
        succeed("architecture_descent.py", "--save", "morphed", *SEARCH, "--morph")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def one_thread(monkeypatch):
    """Jobs that are started have one thread each."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def fresh():
    """Files with networks are imported anew, in the test and behind it."""
    forget()
    yield
    forget()


@pytest.fixture
def folder(stocked, tmp_path, monkeypatch) -> Path:
    """A copy, and the current folder, of what the test file's own fixture ``stocked`` has prepared
    once."""
    shutil.copytree(stocked, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
