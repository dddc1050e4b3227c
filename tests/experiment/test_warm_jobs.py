"""Jobs as copies of a process in which PyTorch is loaded: as they are run, by a new Python."""

import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import pytest
from running import EXPERIMENT, everything, start, succeed

LONG = ["--train-with", "epochs=500", "batch-size=10"]
TWO = [*EXPERIMENT, "--methods", "uniform", "--seeds", 0, 1, "--ratios", 0.0625]
SHORT = ["--train-with", "epochs=2", "batch-size=50"]
LOGS = [Path(f"saved_models/vgg/vgg_uni_digits_{seed}@6.log") for seed in (0, 1)]

pytestmark = [
    pytest.mark.usefixtures("here", "one_thread"),
    pytest.mark.skipif(
        "forkserver" not in multiprocessing.get_all_start_methods(),
        reason="no processes are copied",
    ),
]


def process_of(log: Path) -> int:
    """The process of a job that has trained an epoch, as its log says."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        text = log.read_text() if log.exists() else ""
        if ": loss " in text and (found := re.search(r"\(process (\d+)\)", text)):
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(f"{log}: {text}")


def is_gone(process: int) -> bool:
    """Whether a process ends within ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_they_leave_what_processes_of_their_own_leave_and_say_what_those_say(tmp_path, monkeypatch):
    with start("submit.py", *TWO, *SHORT, "--jobs", 2, cwd=tmp_path, fresh=True) as process:
        out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, "")
    assert "2 of 2" in out
    logs = [log.read_text() for log in LOGS]
    assert all(log.startswith("submit.py: begins ratio_swipe.py ") for log in logs)
    assert all(log.endswith("submit.py: ended with exit status 0\n") for log in logs)
    assert all("epoch 1: " in log and "best " in log for log in logs)

    (tmp_path / "typed").mkdir()
    monkeypatch.chdir(tmp_path / "typed")
    for seed in (0, 1):
        succeed("ratio_swipe.py", *TWO[:8], "--uniform", "--ratios", 0.0625, "--epochs", 2,
                "--batch-size", 50, "--save", f"vgg_uni_digits_{seed}")  # fmt: skip
    typed, submitted = (everything(tmp_path / part / "saved_models") for part in ("typed", ""))
    assert typed == {name: one for name, one in submitted.items() if name.endswith(".pt")}


def test_ctrl_c_stops_them_a_killed_job_is_said_and_those_of_a_killed_submit_go_on(tmp_path):
    command = ["submit.py", *TWO, *LONG, "--jobs", 2]
    with start(*command, cwd=tmp_path, fresh=True) as process:
        first, second = map(process_of, LOGS)
        os.kill(first, signal.SIGKILL)
        assert is_gone(first)
        end = time.monotonic() + 30
        while "exit status -9" not in LOGS[0].read_text() and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.startswith("submit.py: stopped; finished epochs")
    assert is_gone(second) and "ended with exit status 143" in LOGS[1].read_text()
    assert "ended with exit status -9" in LOGS[0].read_text()

    for log in LOGS:
        log.unlink()
    with start(*command, cwd=tmp_path, fresh=True) as process:
        left = [process_of(log) for log in LOGS]
        process.kill()
    before = [log.read_text().count("epoch") for log in LOGS]
    time.sleep(1)
    after = [log.read_text().count("epoch") for log in LOGS]
    assert all(one < other for one, other in zip(before, after))
    for job in left:
        os.kill(job, signal.SIGTERM)
        assert is_gone(job)
