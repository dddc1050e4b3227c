"""On systems that are not POSIX: what the standard library has on POSIX alone is taken from it, for
scripts and the jobs they start.

Python imports sitecustomize by itself when it starts, if there is one.
"""

import json
import os
import re
from pathlib import Path

import pytest
from running import DIGITS, assert_refused, run

from utils.data import memory
from utils.records.run import address

WITHOUT = """
import importlib.abc, multiprocessing, os, signal, sys, warnings

class NotThere(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("fcntl", "resource", "grp", "pwd", "termios"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in ("fcntl", "resource", "grp", "pwd", "termios"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, NotThere())
multiprocessing.get_all_start_methods = lambda: ["spawn"]
for name in ("sysconf", "sched_getaffinity", "fchmod", "getuid", "geteuid", "O_NOFOLLOW", "O_NONBLOCK"):
    delattr(os, name)
for name in ("SIGUSR1", "SIGUSR2", "SIGHUP"):
    delattr(signal, name)
warnings.filterwarnings("ignore", "only soft file lock is available")  # Windows has locks of its own
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """elsewhere(script, ...): how it ends as a process of its own."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "sitecustomize.py").write_text(WITHOUT)
    monkeypatch.chdir(tmp_path)
    return lambda script, *options: run(
        script,
        *options,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "modules")},
        fresh=True,
    )


def test_an_epoch_of_digits_is_trained_where_neither_fcntl_nor_resource_can_be_imported(elsewhere):
    command = [
        "ratio_swipe.py",
        "--uniform",
        "--save",
        "u_0",
        "--ratios",
        0.0625,
        "--epochs",
        1,
        *DIGITS,
    ]
    outcome = elsewhere(*command)
    assert (outcome.status, outcome.err) == (0, "")
    result = json.loads(open("saved_plots/vgg/u_0_6.json").read())
    assert len(result["test_acc"]) == 1
    assert not [
        name
        for folder in os.walk(".")
        for name in folder[2]
        if name.endswith((".lock", ".tmp.json", ".tmp.pt"))
    ]
    assert "finished before" in elsewhere(*command).out
    assert_refused(elsewhere(*command, "--lr", 0.2), "lr = 0.1")


@pytest.mark.slow
def test_an_experiment_runs_where_neither_fcntl_nor_resource_can_be_imported(elsewhere):
    """submit.py starts other processes, and looks at their locks and logs."""
    outcome = elsewhere(
        "submit.py",
        "--dataset",
        "digits",
        "--methods",
        "uniform",
        "--seeds",
        0,
        1,
        "--ratios",
        0.0625,
        "--jobs",
        2,
        "--limit-train",
        100,
        "--limit-test",
        50,
        "--train-with",
        "epochs=1",
        "batch-size=50",
    )
    assert (outcome.status, outcome.err) == (0, "")
    assert re.search(r"^uniform +0\.0625 .* 2 +-$", outcome.out, re.MULTILINE)


def test_a_system_that_does_not_say_how_much_memory_it_has_has_some_for_images(monkeypatch):
    monkeypatch.setattr(memory, "_lines", lambda path: [])
    monkeypatch.delattr(os, "sysconf")
    assert memory.physical_memory() is None and 2**30 < memory.room_for_images("cpu") <= 2**31


def test_results_may_lie_on_another_drive_than_their_checkpoints(monkeypatch, tmp_path):
    def other_drive(*_):
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    assert address(tmp_path / "a" / "x.json", tmp_path / "b" / "x.pt") == str(
        Path("..", "a", "x.json")
    )
    monkeypatch.setattr(os.path, "relpath", other_drive)
    assert address(tmp_path / "a" / "x.json", tmp_path / "b" / "x.pt") == str(
        tmp_path / "a" / "x.json"
    )
