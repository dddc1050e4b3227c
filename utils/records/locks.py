"""Locks: one process at a time works under a name.

A process that works on a file holds a lock beside it, which is free again when the process ends,
however it ends. The locks are filelock's: flock on POSIX, LockFileEx on Windows.
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

# seconds until a name counts as taken; a process that only asks holds a lock for a moment
PATIENCE = 0.1
POLL = 0.02  # seconds between attempts
WAITING = 0.2  # seconds between attempts while another process may work for long
# open the file itself, without following a link to it, or waiting for a pipe
PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Busy(UserError):
    """Raised while another process works on a file."""


@contextlib.contextmanager
def exclusive(*paths: Path, option: str = "--save") -> Iterator[None]:
    """Hold ``paths`` for this process, which will write to them.

    Raises Busy while another process works on one of them; its message suggests another ``option``.
    Raises UserError where a folder can't be written to, or a lock's place is taken by something
    else.
    """
    with contextlib.ExitStack() as held:
        for path in paths:
            held.enter_context(_held(path, option))
        yield


@contextlib.contextmanager
def wait_for_lock(path: Path, waiting: str) -> Iterator[None]:
    """Hold ``path`` for this process once others have finished; print ``waiting`` if there are
    any."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_held(path, "name"))
        except Busy:
            print(waiting, flush=True)
            held.enter_context(_held(path, "name", patience=-1))
        yield


@contextlib.contextmanager
def _held(path: Path, option: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold ``path``, waiting ``patience`` seconds for others, or without end if that is
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
        if has_fcntl:  # elsewhere, letting go removes the file
            with contextlib.suppress(OSError):
                # removed while it is held: whoever waits for it then sees that it is gone, and
                # makes another
                lock.unlink()
        mine.release()


def refuse_other_than_locks(lock: Path) -> None:
    """Raise UserError if a lock's place is taken by a link, or by anything but a file of its
    own."""
    with contextlib.suppress(FileNotFoundError):
        about = os.lstat(lock)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
            raise UserError(f"{lock}: is a link or a folder, where a lock should be; remove it")


def why_not(lock: Path, error: OSError) -> str:
    """Return the reason for which a lock can't be taken, and what to do."""
    if not os.path.lexists(lock):
        return f"{lock.parent}: can't be written to ({error.strerror})"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{lock}: can't be locked ({error.strerror}), as another user's can't; if nobody works "
            "under this name any more, remove it, else choose another name or folder"
        )
    return f"{lock}: can't be locked ({error.strerror}); choose a folder on another disk"


def is_locked(path: Path) -> bool:
    """Return True if a process, of this user or another, holds ``path`` now.

    Raises UserError where that can't be found out.
    """
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
    """Return True if no process has locked ``file`` itself.

    Raises OSError if it can't even be opened for reading.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | PLAIN)
    except FileNotFoundError:
        raise
    except OSError:  # another user's, or on a read-only disk
        descriptor = os.open(file, os.O_RDONLY | PLAIN)
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if error.errno != errno.ENOSYS or has_fcntl:
            raise
        return False  # without flock and LockFileEx, a lock is held as long as it is there
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[int]:
    """Make a new file and lock it, so that ``is_free`` is False for others; yield its
    descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | PLAIN, 0o666)
    try:
        # on Windows, an open file can't be removed, and a locked one can't be written to
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                lock_descriptor(descriptor, blocking=False)
        yield descriptor
    finally:
        os.close(descriptor)
