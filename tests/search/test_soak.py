"""Search after search in one process: memory stays flat. A process of its own, so that no other
test's memory is in it."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import DIGITS, REPOSITORY, succeed

SEARCHES = 24
SETTLED = 8  # by then every allocator has met its largest request
# MiB; one network leaked per search, with its gradients and momentum, would be 0.5 MiB each, its
# graphs far more
MARGIN = 4


@pytest.mark.slow
def test_memory_stays_flat_over_many_searches(tmp_path, capsys):
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests" / "helpers")])
    done = subprocess.run(
        [sys.executable, __file__],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    used = json.loads(done.stdout)
    assert len(used) == SEARCHES
    with capsys.disabled():
        print(
            "\nresident memory after searches 1, 11, 21, ...: "
            f"{' '.join(f'{m:.1f}' for m in [*used[::10], used[-1]])} MiB"
        )
    assert max(used[SETTLED:]) - used[SETTLED - 1] < MARGIN


def resident() -> float:
    """MiB of this process that are in memory."""
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


def main() -> None:
    """Prints the memory after each search."""
    search = [
        "architecture_descent.py",
        *DIGITS,
        "--limit-train",
        60,
        "--ratio",
        0.0625,
        "--epochs",
        3,
        "--warmup",
        0,
        "--prune-every",
        1,
        "--prune-step",
        5,
        "--batch-size",
        20,
        "--iterations",
        1,
        "--save",
    ]
    used = []
    for number in range(SEARCHES):
        succeed(*search, f"soak_{number}")
        gc.collect()
        used.append(resident())
    print(json.dumps(used))


if __name__ == "__main__":
    main()
