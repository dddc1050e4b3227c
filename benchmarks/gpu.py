"""A campaign of measurements for the first GPU that is at hand, in calls of a few minutes.

In order of worth: (1) whether a GPU computes what the CPU does, where a step waits, how much memory
it takes; (2) where a step's time goes, and how far it is from other loops and from its limit; (3)
the paper's headline at the paper's size. Each piece is stored under --out as it ends. The next call
goes on with what --done, the --out of the call before, lacks. A piece is not begun if it can't be
expected to end in the minutes left: by how long pieces of its kind took before on this device, or
by a guess. A piece that fails has its error stored, and the campaign goes on.

    python3 benchmarks/gpu.py --minutes 9 --data DIR --out first
    python3 benchmarks/gpu.py --minutes 9 --data DIR --done first --out second
    python3 benchmarks/gpu.py --done second --table

--device cpu --small runs everything at tiny sizes on a CPU, in minutes, to see that it works.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from campaign import images
from campaign.scale import SCALES, Scale
from campaign.store import Store, read_parts

from utils.errors import UserError
from utils.script import run
from utils.settings.parser import Parser

if TYPE_CHECKING:
    from campaign.scene import Scene

BEGAN = time.monotonic()
LAST = 5.0  # seconds that are kept for the end


def options() -> argparse.Namespace:
    """Return the command line's options. Raises UserError for those that don't go together."""
    p = Parser((__doc__ or "").split("\n\n")[0], models=())
    p.add(
        "--minutes", "begin nothing that may take longer than this in all", type=float, default=9.0
    )
    p.add("--data", "a folder with CIFAR10/, as images, or with an archive of it", metavar="DIR")
    p.add("--done", "the --out of the call before, to go on from", metavar="DIR")
    p.add("--out", "the folder to store in", metavar="DIR")
    p.add("--device", "cpu, cuda, cuda:N; auto is CUDA where there is one", default="auto")
    p.add("--small", "tiny sizes, which a CPU can do in minutes", action="store_true")
    p.add("--only", "pieces whose names have all of these words", nargs="+", metavar="WORD")
    p.add("--again", "try once more what has failed", action="store_true")
    p.add("--table", "print what --done has as tables, and do nothing", action="store_true")
    args = p.parse_args()
    if args.table and not args.done:
        raise UserError("--table: give --done DIR, whose tables are to be printed")
    if not args.table and not (args.data and args.out):
        raise UserError("give --data DIR, the images, and --out DIR, the folder to store in")
    if not 0 < args.minutes <= 100_000:
        raise UserError(f"--minutes {args.minutes:g}: must be above 0")
    return args


def device_for(name: str, scale: Scale) -> str:
    """Return the device of this name. Raises UserError for a CPU that would take days."""
    from utils.training.device import pick_device

    device = pick_device(name)
    if device == "cpu" and scale.name == "full":
        raise UserError("a CPU would take days for this; --small makes every part tiny")
    return device


def main() -> None:
    args = options()
    if args.table:
        from campaign.table import table

        print(table(read_parts(Path(args.done))))
        return
    scale = SCALES["small" if args.small else "full"]
    found = images.find(Path(args.data))
    done = Path(args.done) if args.done else None
    store = Store.open(Path(args.out), done, scale.name)
    device = device_for(args.device, scale)
    end = BEGAN + 60 * args.minutes

    def left() -> float:
        return end - time.monotonic()

    from campaign.scene import Scene

    with images.opened(found) as data, tempfile.TemporaryDirectory(prefix="campaign-") as work:
        scene = Scene(scale, device, data, Path(work).resolve())
        if do_pieces(scene, store, left, args):
            do_headline(scene, store, left, args)
        tell_what_is_left(scene, store)


def asked_for(name: str, only: list[str] | None) -> bool:
    """Return True if a piece is among those that --only asks for."""
    return all(word in name for word in only or ())


def do_pieces(
    scene: Scene, store: Store, left: Callable[[], float], args: argparse.Namespace
) -> bool:
    """Do what is left of parts 1 and 2. Returns False if the device is gone."""
    from campaign.pieces import do, expected, pieces_of

    from utils.records.run import provenance

    device = provenance(scene.device)["versions"]["device"]
    print(f"{device}, {scene.scale.name}: {left():.0f} s left", flush=True)
    late = []
    for piece in pieces_of(scene.scale):
        if not asked_for(piece.name, args.only):
            continue
        if store.has(piece.part, piece.name, again=args.again):
            continue
        needed, there = expected(piece, store, device), left() - LAST
        if needed > there:
            late.append(f"{piece.name} ({needed:.0f} s)")
            continue
        print(do(piece, scene, store, there), flush=True)
        if not scene.works():
            print("the device takes no more work; the next call goes on", flush=True)
            return False
        scene.tidy()
    if late:
        print(f"not begun, for they may take longer than is left: {', '.join(late)}", flush=True)
    return True


def do_headline(
    scene: Scene, store: Store, left: Callable[[], float], args: argparse.Namespace
) -> None:
    """Do part 3 for as long as there is time."""
    from campaign.headline import PART, headline, jobs_of

    jobs = [job for job in jobs_of(scene) if asked_for(job.name, args.only)]
    jobs = [job for job in jobs if not store.has(PART, job.name, again=args.again)]
    if jobs and left() < scene.scale.least:
        print(f"part 3: not begun, {max(0, left()):.0f} s are less than {scene.scale.least:g}")
    elif jobs:
        headline(scene, store, jobs, left)


def tell_what_is_left(scene: Scene, store: Store) -> None:
    """Print how many pieces are stored, and the command that goes on."""
    from campaign.headline import PART, jobs_of
    from campaign.pieces import pieces_of

    names = [(piece.part, piece.name) for piece in pieces_of(scene.scale)]
    names += [(PART, job.name) for job in jobs_of(scene)]
    there = sum(store.has(*name) for name in names)
    failed = [name for pieces in store.parts.values() for name in pieces if "error" in pieces[name]]
    print(f"{there} of {len(names)} pieces are stored in {store.out}, {len(failed)} of them failed")
    if there < len(names):
        print(f"the next call goes on with --done {store.out}")
    elif failed:
        print(f"--done {store.out} --again tries once more what has failed")


if __name__ == "__main__":
    run(main, resumes=False)
