"""The pruning phase of a short search, with masks and compacted, in turn; and how far the compacted
one is from its floor: bare training steps of an ungated network with the surviving widths (rounded
up to multiples of 8).

A search this short prunes as an untrained network does. ``--like`` takes the residual filters that
a real search recorded, cuts the way from the full network to the last row in equal parts, and
trains at the middle of each.

Each run is a process of its own, for its peak memory. Prints the time of the rounds that both had,
the ratio of the times, up to which round the widths agree, and the ratio to the floor.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils import script


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", default="vgg")
    p.add_argument("--dataset", default="digits")
    p.add_argument("--data", default="data")
    p.add_argument("--ratio", type=float, default=1.0)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--warmup-steps", type=int, default=10)
    p.add_argument("--prune-every", type=int, default=5)
    p.add_argument("--prune-step", type=int, default=100)
    p.add_argument("--like", type=Path, help="a file of residual filters")
    p.add_argument("--rounds", type=int, default=20, help="parts of --like")
    p.add_argument("--repeats", type=int, default=2)
    p.add_argument("--device", default="auto")
    p.add_argument(
        "--double", action="store_true", help="float64, where the widths agree to the end"
    )
    p.add_argument("--kind", choices=["masks", "compact", "floor"], help=argparse.SUPPRESS)
    return p.parse_args()


def rounds_like(path: Path, full: list[int], rounds: int) -> list[list[int]]:
    """The widths in the middle of each of ``rounds`` equal parts of a recorded search, and at its
    end.

    What it pruned before its first row is not recorded; it is taken to have gone in proportion, at
    the pace of the rows.
    """
    from utils.errors import UserError
    from utils.records.files import read_rows

    rows = read_rows(path, len(full))
    if len(rows) < 2:
        raise UserError(f"--like {path}: one row is no way to go; take the rows of a longer search")
    pace = (sum(rows[0]) - sum(rows[-1])) / (len(rows) - 1)
    before = round((sum(full) - sum(rows[0])) / pace)
    way = [
        [round(f + (r - f) * k / before) for f, r in zip(full, rows[0])] for k in range(before)
    ] + rows
    return [way[round((k + 0.5) * (len(way) - 1) / rounds)] for k in range(rounds)] + [way[-1]]


def search(args: argparse.Namespace) -> dict:
    """One pruning phase: the widths after each round, the seconds until then, and the peak memory
    in bytes."""
    import torch
    from steps import full_batches

    from model import build_model, compactor, prepare_filters
    from model.gate import gates_of
    from utils import pruning
    from utils.data import load_data, training_batches
    from utils.search.iteration import Pruning
    from utils.training.device import Runner, pick_device
    from utils.training.latency import synchronize
    from utils.training.loop import sgd, training_step

    runner = Runner(pick_device(args.device))
    dtype = torch.float64 if args.double else torch.float32
    data = load_data(
        args.dataset,
        args.data,
        runner.device,
        limit_train=20 * args.batch_size,
        batch_size=args.batch_size,
    )
    filters = prepare_filters(args.model, args.ratio, search=True, **data.shape)
    torch.manual_seed(0)
    network = runner.place(build_model(args.model, filters, gated=True, **data.shape).to(dtype))
    cutter = None if args.kind == "masks" else compactor(args.model, network, **data.shape)
    network = cutter.network if cutter else network
    pruner = pruning.TaylorPruner(gates_of(network), args.prune_every, args.prune_step)
    state = Pruning(network, sgd(network, 0.01, 0.5, 5e-4), network, pruner, cutter)
    source = full_batches(training_batches(data, args.batch_size, search=True, dtype=dtype))

    if args.like:
        targets = iter(rounds_like(args.like, filters, args.rounds))
        pruner.most_rounds = args.rounds + 1

        def most_important(criterion, alive, step, most):
            kept = []
            for values, living, width in zip(
                criterion.split(filters), alive.split(filters), next(targets)
            ):
                best = torch.where(living, values, -1).topk(min(width, int(living.sum()))).indices
                kept.append(torch.zeros_like(living).index_fill(0, best, True))
            return torch.cat(kept)

        pruning.survivors = most_important

    def bare():
        network = build_model(
            args.model, [len(kept) for kept in cutter.kept_filters()], **data.shape
        )
        network = runner.place(network.to(dtype))
        return network, sgd(network, 0.01, 0.5, 5e-4)

    for _ in range(args.warmup_steps):
        training_step(network, state.optimizer, *next(source), runner)
    seconds, widths, passed, go_on = [], [], 0.0, True
    floor = bare() if args.kind == "floor" else None
    while go_on:
        images, labels = next(source)
        synchronize(runner)
        began = time.perf_counter()
        training_step(*floor or (state.network, state.optimizer), images, labels, runner)
        synchronize(runner)
        if widths or not args.like:  # the full network is not a part of the way
            passed += time.perf_counter() - began
        if floor:
            training_step(state.network, state.optimizer, images, labels, runner)
        began = time.perf_counter()
        go_on = state.after_step()
        synchronize(runner)
        if not floor:
            passed += time.perf_counter() - began
        if pruner.rounds > len(widths):
            widths.append(pruner.widths)
            seconds.append(passed)
            if floor:
                floor = bare()
                training_step(*floor, images, labels, runner)
    memory = (
        torch.cuda.max_memory_allocated(runner.device) if runner.device.startswith("cuda") else 0
    )
    peak = memory or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "widths": widths, "peak": peak}


def main() -> None:
    args = arguments()
    if args.kind:
        print(json.dumps(search(args)))
        return

    def run(kind: str) -> dict:
        command = [sys.executable, __file__, *sys.argv[1:], "--kind", kind]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if ended.returncode:  # it has said why
            raise SystemExit(ended.returncode)
        found = json.loads(ended.stdout.splitlines()[-1])
        if kind != "floor":
            print(
                f"{kind:8}{len(found['widths']):4} rounds in {found['seconds'][-1]:6.1f} s, "
                f"{sum(found['widths'][-1]):5} filters left, peak {found['peak'] / 2**20:6.0f} MiB",
                flush=True,
            )
        return found

    def ratio(slow: list[dict], fast: list[dict]) -> float:
        """Of the times of the rounds that both runs of a pair had; the median over the pairs."""
        rounds = [min(len(a["seconds"]), len(b["seconds"])) - 1 for a, b in zip(slow, fast)]
        return statistics.median(
            a["seconds"][n] / b["seconds"][n] for a, b, n in zip(slow, fast, rounds)
        )

    runs = [
        {kind: run(kind) for kind in ("masks", "compact", "floor")} for _ in range(args.repeats)
    ]
    masks, compact, floor = (
        [pair[kind] for pair in runs] for kind in ("masks", "compact", "floor")
    )
    rounds = list(zip(masks[0]["widths"], compact[0]["widths"]))
    agree = next((n for n, (a, b) in enumerate(rounds) if a != b), len(rounds))
    print(
        f"{args.model} on {args.dataset}, ratio {args.ratio:g}, {len(rounds)} rounds of "
        f"{args.prune_every} batches: compacted is {ratio(masks, compact):.2f} times faster than "
        f"masks and takes {ratio(compact, floor):.2f} times its floor, which is "
        f"{ratio(masks, floor):.2f} times faster than masks; peak "
        f"{max(r['peak'] for r in compact) / 2**20:.0f} MiB against "
        f"{max(r['peak'] for r in masks) / 2**20:.0f}; the widths agree in the first {agree} rounds"
    )
    if agree < len(rounds):
        a, b = rounds[agree]
        print(f"then {sum(abs(x - y) for x, y in zip(a, b))} of {sum(a)} filters are others")


if __name__ == "__main__":
    script.run(main)
