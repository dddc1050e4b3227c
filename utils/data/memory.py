"""The memory that there is for images."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from utils.errors import physical_memory

UNSAID = 8 * 2**30  # bytes of a machine whose system does not say, Windows
# images get a quarter: a training holds them twice, once padded for crops, and its network beside
# beside them
SHARE = 4


def room_for_images(device: str) -> int:
    """Return the bytes that decoded images may take in memory.

    It is a share of what is free on this machine, within the limits of this process and its control
    group, and on ``device``.
    """
    free = [*_of_the_machine(), *_limits_of_the_process(), *_limits_of_the_group()]
    if device.startswith("cuda"):
        free.append(gpu_memory(device)[0])
    return max(0, min(free)) // SHARE


def gpu_memory(device: str) -> tuple[int, int]:
    """Return the free bytes on the GPU ``device``, cuda or cuda:N, and all of its bytes."""
    # the index of cuda is None; earlier versions of torch take no name
    return torch.cuda.mem_get_info(torch.device(device).index)


def _of_the_machine() -> Iterator[int]:
    """Yield the bytes that are free on this machine."""
    available = _kilobytes("/proc/meminfo", "MemAvailable")
    yield (physical_memory() or UNSAID) if available is None else available


def _limits_of_the_process() -> Iterator[int]:
    """Yield the bytes that this process may still take."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    for which, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit = resource.getrlimit(which)[0]
        if limit != resource.RLIM_INFINITY:
            yield limit - (_kilobytes("/proc/self/status", used) or 0)


def _limits_of_the_group() -> Iterator[int]:
    """Yield the limits of Linux's control groups: this process's, and those that it is in.

    Containers and clusters limit jobs with them.
    """
    for line in _lines("/proc/self/cgroup"):
        kinds, path = line.split(":", 2)[1:]
        root, name = (
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            if kinds
            else ("/sys/fs/cgroup", "memory.max")
        )
        if kinds in ("", "memory"):
            place = Path(root, path.lstrip("/"))
            for group in (place, *place.parents):
                yield from (int(limit) for limit in _lines(group / name) if limit.isdigit())


def _kilobytes(path: str, name: str) -> int | None:
    """Return an entry of a file of /proc, in bytes."""
    return next(
        (1024 * int(line.split()[1]) for line in _lines(path) if line.startswith(f"{name}:")), None
    )


def _lines(path: str | Path) -> list[str]:
    """Return the lines of a file; [] if there is none."""
    with contextlib.suppress(OSError):  # no Linux, or no such group
        return Path(path).read_text().splitlines()
    return []
