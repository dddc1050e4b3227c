"""The pruning phase of a short search, with masks and compacted, in turn; and how far the compacted one is from its
floor: bare training steps of an ungated network with the surviving widths (rounded up to multiples of 8).

Each run is a process of its own, for its peak memory. Prints the times, their ratio, whether the recorded rows agree
and up to which row, and the ratio to the floor.
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


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", default="vgg")
    p.add_argument("--dataset", default="digits")
    p.add_argument("--data", default="data")
    p.add_argument("--ratio", type=float, default=1.0)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--warmup-steps", type=int, default=10)
    p.add_argument("--prune-every", type=int, default=2)
    p.add_argument("--prune-step", type=int, default=100)
    p.add_argument("--repeats", type=int, default=2)
    p.add_argument("--device", default="auto")
    p.add_argument("--double", action="store_true", help="float64, where the rows agree exactly")
    p.add_argument("--kind", choices=["masks", "compact"], help=argparse.SUPPRESS)
    return p.parse_args()


def search(args: argparse.Namespace) -> dict:
    """One pruning phase: seconds, recorded rows, peak memory, and the floor of the same phase."""
    import torch
    import torch.nn.functional as F

    from model import build_model, prepare_filters
    from model.gate import gates_of
    from utils.compaction import Compactor
    from utils.data import load_data, training_batches
    from utils.descent import Iteration
    from utils.engine import Runner, pick_device, sgd
    from utils.latency import synchronize
    from utils.pruning import TaylorPruner

    runner = Runner(pick_device(args.device))
    dtype = torch.float64 if args.double else torch.float32
    data = load_data(args.dataset, args.data, runner.device, limit_train=20 * args.batch_size)
    shape = {"num_classes": data.num_classes, "image_size": data.image_size}
    filters = prepare_filters(args.model, args.ratio, search=True, **shape)
    torch.manual_seed(0)
    network = runner.place(build_model(args.model, filters, gated=True, **shape).to(dtype))
    compactor = Compactor(network) if args.kind == "compact" else None
    network = compactor.network if compactor else network
    gates = gates_of(network)
    state = Iteration(network, sgd(network, 0.01, 0.5, 5e-4), TaylorPruner(gates, args.prune_every, args.prune_step), compactor)
    batches = training_batches(data, args.batch_size, search=True, dtype=dtype)

    def stream():
        for epoch in range(10**6):
            for batch in batches.epoch(torch.Generator().manual_seed(epoch)):
                if len(batch[1]) == args.batch_size:
                    yield batch

    def step(network, optimizer, images, labels):
        network.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()

    source = stream()
    for _ in range(args.warmup_steps):
        step(network, state.optimizer, *next(source))
    seconds = floor = 0.0
    go_on, rounds = True, -1
    while go_on:
        synchronize(runner)
        began = time.perf_counter()
        images, labels = next(source)
        step(state.network, state.optimizer, images, labels)
        go_on = state.after_step()
        synchronize(runner)
        seconds += time.perf_counter() - began
        if compactor and args.repeats == 0:  # the floor, in a run of its own: it would disturb the memory and the caches
            if state.pruner.rounds != rounds:
                rounds = state.pruner.rounds
                bare = runner.place(build_model(args.model, [len(k) for k in compactor.kept_filters()], **shape).to(dtype))
                optimizer = sgd(bare, 0.01, 0.5, 5e-4)
                step(bare, optimizer, images, labels)
            synchronize(runner)
            began = time.perf_counter()
            step(bare, optimizer, images, labels)
            synchronize(runner)
            floor += time.perf_counter() - began
    memory = torch.cuda.max_memory_allocated() if runner.device.startswith("cuda") else 0
    peak = memory or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "floor": floor, "peak": peak, "rows": state.pruner.history}


def main() -> None:
    args = options()
    if args.kind:
        print(json.dumps(search(args)))
        return

    def run(kind: str, *more: str) -> dict:
        command = [sys.executable, __file__, *sys.argv[1:], "--kind", kind, *more]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])

    found = {"masks": [], "compact": []}
    for repeat in range(args.repeats):
        for kind, runs in found.items():
            runs.append(run(kind))
            print(f"run {repeat}, {kind:8} {runs[-1]['seconds']:7.1f} s, peak {runs[-1]['peak'] / 2**20:6.0f} MiB, "
                  f"{len(runs[-1]['rows'])} rows", flush=True)
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(*found.values())]
    masked, compact = (runs[0]["rows"] for runs in found.values())
    agree = next((i for i, pair in enumerate(zip(masked, compact)) if pair[0] != pair[1]), min(len(masked), len(compact)))
    floor = run("compact", "--repeats", "0")
    peaks = [max(r["peak"] for r in runs) / 2**20 for runs in found.values()]
    print(f"{args.model} on {args.dataset}, ratio {args.ratio:g}: compacted is {statistics.median(ratios):.2f} times faster than masks; "
          f"{floor['seconds'] / floor['floor']:.2f} times its floor; peak {peaks[1]:.0f} MiB against {peaks[0]:.0f}; "
          f"the first {agree} of {len(masked)} recorded rows agree")


if __name__ == "__main__":
    main()
