"""One process per name: who works on a file holds a lock beside it, which is free again when that
process ends, however it ends.

The locks are filelock's: flock on POSIX, LockFileEx on Windows.
"""

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout, has_fcntl, lock_descriptor

from utils.errors import UserError
from utils.records.paths import lock_of

# seconds until a name counts as taken, for whoever asks whether it is holds it for a moment
PATIENCE = 0.1
POLL = 0.02  # seconds between attempts
WAITING = 0.2  # seconds between attempts where another process may work for long
# a file itself, no link to it, nor a pipe that is waited for
PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Busy(UserError):
    """Another process works on a file."""


@contextlib.contextmanager
def exclusive(*paths: Path, option: str = "--save") -> Iterator[None]:
    """Holds what will be written to ``paths`` for this process.

    Raises Busy while another process works on one of them, which says to choose another ``option``,
    and UserError where a folder of theirs can't be written to, or what lies at a lock's place is
    none that this process may take.
    """
    with contextlib.ExitStack() as held:
        for path in paths:
            held.enter_context(_held(path, option))
        yield


@contextlib.contextmanager
def in_turn(path: Path, waiting: str) -> Iterator[None]:
    """Holds ``path`` for this process, after those that hold it now; prints ``waiting`` if there
    are any."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_held(path, "name"))
        except Busy:
            print(waiting, flush=True)
            held.enter_context(_held(path, "name", patience=-1))
        yield


@contextlib.contextmanager
def _held(path: Path, option: str, patience: float = PATIENCE) -> Iterator[None]:
    """Holds ``path``, waiting so many seconds for others to let it go, or without end where that is
    negative."""
    lock = lock_of(path)
    # a soft lock would outlive a process that is killed
    mine = FileLock(lock, thread_local=False, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_other_than_locks(lock)
        mine.acquire(timeout=patience, poll_interval=WAITING if patience < 0 else POLL)
    except Timeout:
        raise Busy(
            f"{path}: another process is working under this name; wait for it or choose another "
            f"{option}"
        ) from None
    except OSError as error:
        raise UserError(why_not(lock, error)) from None

    try:
        yield
    finally:
        if has_fcntl:  # elsewhere letting go removes the file
            with contextlib.suppress(OSError):
                # while it is held: whoever waits for it sees then that it has gone, and makes
                # another
                lock.unlink()
        mine.release()


def refuse_other_than_locks(lock: Path) -> None:
    """Raises UserError where what lies at a lock's place is a link, or anything but a file of its
    own."""
    with contextlib.suppress(FileNotFoundError):
        about = os.lstat(lock)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
            raise UserError(f"{lock}: is a link or a folder, where a lock should be; remove it")


def why_not(lock: Path, error: OSError) -> str:
    """Why a lock can't be taken, and what to do."""
    if not os.path.lexists(lock):
        return f"{lock.parent}: can't be written to ({error.strerror})"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{lock}: can't be locked ({error.strerror}), as another user's can't; if nobody "
            "works under this name any more, remove "
            "it, else choose another name or folder"
        )
    return f"{lock}: can't be locked ({error.strerror}); choose a folder on another disk"


def worked_on(path: Path) -> bool:
    """Whether a process holds ``path`` now, this user's or another's. Raises UserError where that
    can't be seen."""
    lock = lock_of(path)
    try:
        refuse_other_than_locks(lock)
        for _ in range(3):  # others who ask hold it for a moment
            if is_free(lock):
                return False
            time.sleep(POLL)
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(why_not(lock, error)) from None


def is_free(file: Path) -> bool:
    """Whether no process has locked ``file`` itself. Raises OSError where it can't be opened, not
    even to read it."""
    try:
        descriptor = os.open(file, os.O_RDWR | PLAIN)
    except FileNotFoundError:
        raise
    except OSError:  # another user's, or on a disk that is read only
        descriptor = os.open(file, os.O_RDONLY | PLAIN)
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if error.errno != errno.ENOSYS or has_fcntl:
            raise
        return False  # neither flock nor LockFileEx: there it is a lock because it is there
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[int]:
    """Makes a file that was not there, and holds it: ``is_free`` says so to others. What it yields
    is open for writing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | PLAIN, 0o666)
    try:
        # where a file that is open can't be removed, and one that is locked not be written to
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                lock_descriptor(descriptor, blocking=False)
        yield descriptor
    finally:
        os.close(descriptor)
