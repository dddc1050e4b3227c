"""A job as a process: it runs one of the project's scripts, prints to its log, and has its end
noted there."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from utils.records.paths import PROJECT

Process: TypeAlias = "subprocess.Popen[bytes]"

BEGAN, ENDED = "submit.py: begins", "submit.py: ended with exit status"
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
# seconds that a script may take to lock its files, which also allows for clocks that differ
STARTING = 60
TAIL = 4096  # bytes that are read from the end of a log
# both counted from 0; with the wording of earlier logs too
EPOCH = re.compile(r"(?:iteration (?:\d+ \(--descent-idx )?(\d+)\)?, )?epoch (\d+): loss")


def begin(
    command: list[str], log: Path, environment: Mapping[str, str], *, apart: bool = False
) -> Process:
    """Start a job. If ``apart``, a terminal's Ctrl-C does not reach it.

    It ignores the signal with which a scheduler warns all processes of a job.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    note(log, f"{BEGAN} {shlex.join(command)}")
    with log.open("a") as out:
        return subprocess.Popen(
            [sys.executable, str(PROJECT / command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=apart,
            # Windows has no such signal
            preexec_fn=deaf if hasattr(signal, "SIGUSR2") else None,
        )


def threads(cores: int) -> dict[str, str]:
    """Return the environment of a job with ``cores`` cores; variables of this process come
    first."""
    # with ACTIVE, jobs would wait for each other's threads
    share = {"OMP_NUM_THREADS": str(cores), "OMP_WAIT_POLICY": "PASSIVE"}
    return {name: os.environ.get(name) or value for name, value in share.items()}


def deaf() -> None:
    """Ignore the signal of a scheduler."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def end(log: Path, status: int) -> None:
    """Note how a job ended; a negative status is the signal that killed it."""
    note(log, f"{ENDED} {status}")


def note(log: Path, text: str) -> None:
    """Add a line to a log, whose last line a process may have left torn."""
    with log.open("a+b") as out:
        torn = out.tell() and (out.seek(-1, os.SEEK_END), out.read(1))[1] != b"\n"
        out.write(f"{chr(10) * bool(torn)}{text}\n".encode(errors="surrogateescape"))


@dataclass
class LogTail:
    """The contents of the end of a log."""

    status: int | None = None  # None: the job did not end
    reason: str = ""  # the last line that the script printed
    epoch: int | None = None  # finished epochs
    iteration: int = 0  # counted from 0
    accuracy: float | None = None  # of the last epoch, in %
    fresh: bool = False  # True if the job began a moment ago and has not printed anything yet


def read_log_tail(log: Path) -> LogTail | None:
    """Return the contents of the end of a log; None if there is no log."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL))
            lines = stream.read().decode(errors="replace").splitlines(keepends=True)
            age = time.time() - os.fstat(stream.fileno()).st_mtime
    except OSError:
        return None
    found, last = LogTail(), deque([""], 1)
    for line in lines:
        # the beginning and the end of a job, and its last line in between
        if line.startswith(BEGAN):
            found.status, last = None, deque([""], 1)
        elif line.startswith(ENDED):
            # a torn line has no status
            if match := re.fullmatch(rf"{ENDED} (-?\d{{1,10}})\r?\n", line):
                found.status, found.reason = int(match[1]), last[0]
        elif not line.strip():
            continue
        else:
            last.append(line.strip())

        # its progress
        if match := EPOCH.search(line):
            found.iteration, found.epoch = int(match[1] or 0), int(match[2]) + 1
        elif match := re.fullmatch(r"  test: loss \S+, accuracy (\d+\.\d+) %\s+", line):
            found.accuracy = float(match[1])

    found.fresh = found.status is None and not last[0] and abs(age) < STARTING
    return found
