"""Jobs as copies of one process in which PyTorch is loaded already: a new Python needs seconds for
that, as long as some trainings take."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from utils.experiment import work
from utils.records.paths import PROJECT

# loaded once; a job finds them in its copy of the memory
LOADED = [
    "torch",
    "torchvision",
    "utils.compression.prune",
    "utils.search.search",
    "utils.training.finetune",
    "utils.training.sweep",
]


class WarmJob:
    """A job that runs in a copy of the process with PyTorch, with Popen's methods."""

    def __init__(self, process: multiprocessing.process.BaseProcess):
        self.process = process

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self.process.pid

    def poll(self) -> int | None:
        """Return the exit status, None while the job runs; a negative one is the signal that killed
        it."""
        return self.process.exitcode

    def wait(self) -> int:
        """Wait for the end of the job, and return its exit status."""
        self.process.join()
        return self.process.exitcode or 0

    def terminate(self) -> None:
        """Ask the job to stop."""
        self.process.terminate()


def begin(
    command: list[str], log: Path, environment: Mapping[str, str], *, apart: bool = False
) -> WarmJob | work.Process:
    """Start a job, as utils.experiment.work does, from a process that has PyTorch loaded where the
    system can copy processes."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return work.begin(command, log, environment, apart=apart)

    log.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    env = {**os.environ, **environment}
    process = context.Process(target=run_job, args=(command, log.absolute(), env, apart))

    # The first job starts the process that is copied. PyTorch reads the number of threads when it
    # is loaded, and that process finds the project by its path alone.
    before = dict(os.environ)
    path = [str(PROJECT), *filter(None, [before.get("PYTHONPATH")])]
    os.environ.update(environment, PYTHONPATH=os.pathsep.join(path))
    try:
        process.start()
    finally:
        os.environ.clear()
        os.environ.update(before)

    # no list of processes shows which job this one is
    work.note(log, f"{work.BEGAN} {shlex.join(command)} (process {process.pid})")
    return WarmJob(process)


def run_job(command: list[str], log: Path, environment: Mapping[str, str], apart: bool) -> None:
    """Run a script as a process of its own would, with its output in ``log``."""
    if apart:
        os.setsid()  # a terminal's Ctrl-C does not reach it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    work.deaf()
    os.environ.clear()
    os.environ.update(environment)

    set_threads(environment.get("OMP_NUM_THREADS", ""))

    with log.open("ab", buffering=0) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.argv = [str(PROJECT / command[0]), *command[1:]]
    sys.path.insert(0, str(PROJECT))
    runpy.run_path(sys.argv[0], run_name="__main__")


def set_threads(number: str) -> None:
    """Have PyTorch compute with this number of threads: it may have been loaded for a job with
    another one."""
    import torch

    if number.isdecimal() and int(number) and torch.get_num_threads() != int(number):
        torch.set_num_threads(int(number))
