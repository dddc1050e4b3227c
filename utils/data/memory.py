"""How much memory there is for images."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from utils.errors import physical_memory

UNSAID = 8 * 2**30  # bytes that a machine is taken to have whose system does not say, Windows
# images get a quarter: a training holds them twice, once padded for its crops, and its network
# beside them
SHARE = 4


def room_for_images(device: str) -> int:
    """The bytes that decoded images may take in memory: a share of what is free on this machine, by
    the limits of this process and its control group, and on ``device``."""
    free = [*_of_the_machine(), *_limits_of_the_process(), *_limits_of_the_group()]
    if device.startswith("cuda"):
        free.append(gpu_memory(device)[0])
    return max(0, min(free)) // SHARE


def gpu_memory(device: str) -> tuple[int, int]:
    """How many bytes are free on the GPU ``device``, cuda or cuda:N, and how many it has."""
    # of cuda, None: earlier versions of torch take no name
    return torch.cuda.mem_get_info(torch.device(device).index)


def _of_the_machine() -> Iterator[int]:
    available = _kilobytes("/proc/meminfo", "MemAvailable")
    yield (physical_memory() or UNSAID) if available is None else available


def _limits_of_the_process() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    for which, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit = resource.getrlimit(which)[0]
        if limit != resource.RLIM_INFINITY:
            yield limit - (_kilobytes("/proc/self/status", used) or 0)


def _limits_of_the_group() -> Iterator[int]:
    """Of Linux's control groups, which containers and clusters limit jobs with: this one's, and
    those it lies in."""
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
    """What a file of /proc says of ``name``, in bytes."""
    return next(
        (1024 * int(line.split()[1]) for line in _lines(path) if line.startswith(f"{name}:")), None
    )


def _lines(path: str | Path) -> list[str]:
    with contextlib.suppress(OSError):  # no Linux, or no such group
        return Path(path).read_text().splitlines()
    return []
