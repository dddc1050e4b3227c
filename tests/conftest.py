"""What several test files share: one torch thread, the folders of published figures and of real images, a script runner.

Only the tests that ask for ``published`` or ``real_images`` need files beyond the repository; without those they skip.
"""
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"

torch.set_num_threads(1)  # pytest -n already gives each core a process


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
    """A folder with CIFAR10/, CIFAR100/ and tiny-imagenet-200/. To be read only: other tests and processes share it."""
    if "NEURALSCALE_DATA" in os.environ:
        folder = Path(os.environ["NEURALSCALE_DATA"])
        if not (folder / "tiny-imagenet-200").is_dir():
            pytest.skip(f"no tiny-imagenet-200 in NEURALSCALE_DATA={folder}")
        return folder
    if not (SHARED / "data" / "unpack.sh").is_file():
        pytest.skip(f"no real images: neither NEURALSCALE_DATA nor {SHARED / 'data'}")
    folder = Path(tempfile.gettempdir()) / f"neuralscale-data-{os.getuid()}"
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first of the processes of pytest -n unpacks, the others wait
        if not folder.is_dir():
            unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
            try:
                subprocess.run(["bash", SHARED / "data" / "unpack.sh", unfinished], check=True)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


@pytest.fixture(scope="session")
def run_script():
    """run_script("val_format.py", "--data", folder, cwd=..., env={...}) -> CompletedProcess, its output as text."""
    def run(script, *args, cwd=REPOSITORY, env=None, timeout=300) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, str(REPOSITORY / script), *map(str, args)], cwd=cwd, text=True,
                              capture_output=True, timeout=timeout, env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})})
    return run
