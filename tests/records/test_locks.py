"""One name belongs to one process at a time; a lock is free when its process has ended, and what is
no lock is left alone."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from running import REPOSITORY, refusal, wait_for

from utils.records import locks, paths

HOLD = """
import sys
from pathlib import Path
from utils.errors import UserError
from utils.records.locks import exclusive
try:
    with exclusive(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
except UserError as error:
    print(error, flush=True)
"""


class Holder:
    """Another process that works on ``path`` until it is told to stop, or killed. ``answer``: held,
    or why not."""

    def __init__(self, path):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)],
            cwd=REPOSITORY,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.answer = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate(timeout=60)  # closes its input


def test_a_name_that_another_process_works_on_is_refused_until_that_one_is_done(tmp_path):
    path = tmp_path / "records" / "x.json"
    with Holder(path) as first:
        assert first.answer == "held"
        with Holder(path) as second, Holder(tmp_path / "records" / "y.json") as other:
            assert str(path) in second.answer and "another process" in second.answer
            assert other.answer == "held"
        assert "another process" in refusal(locks.exclusive(path).__enter__)
    with Holder(path) as third:
        assert third.answer == "held"
    assert os.listdir(path.parent) == []  # and nothing stays behind


def test_a_name_is_free_again_after_its_process_was_killed(tmp_path):
    path = tmp_path / "x.json"
    first = Holder(path)
    assert first.answer == "held"
    first.process.send_signal(signal.SIGKILL)
    assert first.process.wait(timeout=60) == -signal.SIGKILL
    with Holder(path) as second:
        assert second.answer == "held"
    with locks.exclusive(path):
        assert "another process" in refusal(locks.exclusive(path).__enter__)
    with locks.exclusive(path):
        pass


def test_asking_whether_a_name_is_worked_on_disturbs_nobody(tmp_path):
    path = tmp_path / "x.json"
    assert not locks.is_locked(path)
    with Holder(path) as first:
        assert first.answer == "held" and locks.is_locked(path)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(timeout=60)
        assert not locks.is_locked(path)

    looker = paths.lock_of(path).open("r+")
    fcntl.flock(looker, fcntl.LOCK_SH)  # as it is for a moment while somebody asks
    threading.Timer(0.03, looker.close).start()
    with locks.exclusive(path):
        assert locks.is_locked(path)


def test_all_paths_are_held_or_none(tmp_path):
    result, checkpoint, other = (
        tmp_path / folder / "x.json" for folder in ("results", "models", "records")
    )
    with Holder(checkpoint) as first:
        assert first.answer == "held"
        assert str(checkpoint) in refusal(locks.exclusive(result, checkpoint).__enter__)
        with Holder(result) as second:  # which the refused one has let go
            assert second.answer == "held"
    with (
        locks.exclusive(result, checkpoint),
        Holder(result) as first,
        Holder(checkpoint) as second,
        Holder(other) as third,
    ):
        assert str(result) in first.answer and str(checkpoint) in second.answer
        assert third.answer == "held"
    assert all(path.is_dir() for path in tmp_path.rglob("*"))  # and nothing stays behind


def test_a_name_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locks.exclusive(tmp_path / "x.json"):
        raise ZeroDivisionError
    with locks.exclusive(tmp_path / "x.json"):
        pass


def test_many_processes_in_turn_never_work_at_once_and_leave_nothing(tmp_path):
    """Each removes the lock as it lets go, while others wait for it and make another."""
    path, log = tmp_path / "x.json", tmp_path / "log"

    def work() -> None:
        for _ in range(30):
            with locks.wait_for_lock(path, ""):
                with log.open("a") as out:
                    out.write("(")
                time.sleep(0.001)
                with log.open("a") as out:
                    out.write(")")

    children = [forked(work) for _ in range(4)]
    while len(log.read_text() if log.exists() else "") < 100:
        locks.is_locked(path)
    assert [wait_for(child) for child in children] == [0] * 4
    assert log.read_text() == "()" * 120
    assert os.listdir(tmp_path) == ["log"]


def forked(work) -> int:
    """The id of a process that does ``work``; its exit status is 0 where that raises nothing."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(9)
    return child


# --- what is no lock ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["symbolic", "dangling", "hard", "folder", "pipe"])
def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_keeps_its_content(kind, tmp_path):
    path, victim = tmp_path / "x.json", tmp_path / "victim"
    lock = paths.lock_of(path)
    victim.write_text("mine")
    {
        "symbolic": lambda: lock.symlink_to(victim),
        "dangling": lambda: lock.symlink_to(tmp_path / "nowhere"),
        "hard": lambda: os.link(victim, lock),
        "folder": lock.mkdir,
        "pipe": lambda: os.mkfifo(lock),
    }[kind]()
    for ask in (
        locks.exclusive(path).__enter__,
        locks.wait_for_lock(path, "").__enter__,
        lambda: locks.is_locked(path),
    ):
        assert str(lock) in refusal(ask)
    assert (
        victim.read_text() == "mine"
        and not (tmp_path / "nowhere").exists()
        and os.path.lexists(lock)
    )


def test_a_link_that_comes_to_the_lock_s_place_meanwhile_is_not_followed(tmp_path, monkeypatch):
    path, victim = tmp_path / "x.json", tmp_path / "victim"
    victim.write_text("mine")
    paths.lock_of(path).symlink_to(victim)
    # which looked before it was there
    monkeypatch.setattr(locks, "refuse_other_than_locks", lambda lock: None)
    for ask in (locks.exclusive(path).__enter__, lambda: locks.is_locked(path)):
        assert str(paths.lock_of(path)) in refusal(ask)
    assert victim.read_text() == "mine"


def as_another_user(work) -> int:
    """The exit status of ``work`` as a user that nobody is; of root's tests alone."""

    def change() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        work()

    return wait_for(forked(change))


@pytest.fixture
def shared():
    """A folder that all users may write to."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@pytest.mark.parametrize("readable", [True, False])
def test_a_lock_of_another_user_is_seen_and_one_that_nobody_holds_is_named(readable, shared):
    path = shared / "x.json"
    lock = paths.lock_of(path)

    def look(held: bool) -> None:
        if readable:
            assert locks.is_locked(path) == held
        else:
            assert str(lock) in refusal(locks.is_locked, path)

    with locks.exclusive(path):
        lock.chmod(0o644 if readable else 0o600)
        assert as_another_user(lambda: look(True)) == 0
    lock.touch(0o644 if readable else 0o600)  # as a process leaves it that is killed

    def begin() -> None:
        line = refusal(locks.exclusive(path).__enter__)
        assert str(lock) in line and "remove it" in line

    assert as_another_user(lambda: look(False)) == 0
    assert as_another_user(begin) == 0
    lock.unlink()
    assert as_another_user(lambda: locks.exclusive(path).__enter__()) == 0


def test_a_folder_that_can_not_be_written_to_is_one_line(shared):
    shared.chmod(0o755)

    def begin() -> None:
        assert "can't be written to" in refusal(locks.exclusive(shared / "x.json").__enter__)
        assert "can't be written to" in refusal(
            locks.exclusive(shared / "deeper" / "x.json").__enter__
        )
        assert not locks.is_locked(shared / "x.json")

    assert as_another_user(begin) == 0


def test_a_disk_without_locks_is_one_line(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert "another disk" in refusal(locks.exclusive(tmp_path / "x.json").__enter__)
