"""What a search adds to plain training: a whole search step over a bare one, for the three networks in one run.

Search step: batch from the data set (crop, flip, normalise), forward, backward, optimizer, Taylor criterion, and its
share of a pruning round, all filters still in place. Bare step: forward, backward and optimizer of the ungated network
on a batch that is there already. The two run in turn; medians and their ratio are printed.
"""
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from step_options import step_options

from model import MODELS, build_model, uniform_filters
from model.gate import gates_of
from utils import options
from utils.data import load_data, training_batches
from utils.engine import Runner, Totals, pick_device, sgd
from utils.latency import synchronize
from utils.pruning import TaylorPruner


def main() -> None:
    p = step_options(__doc__)
    p.add_argument("--prune-every", type=int, default=50)
    args = p.parse_args()
    runner = Runner(pick_device(args.device))
    data = load_data(args.dataset, args.data, runner.device, limit_train=20 * args.batch_size)
    batches = training_batches(data, args.batch_size, search=True)
    print(f"{args.dataset}, ratio {args.ratio:g}, batches of {args.batch_size}, {runner.device}, {torch.get_num_threads()} threads")
    for name in MODELS:
        filters = uniform_filters(name, args.ratio)
        bare = runner.place(build_model(name, filters, **data.shape))
        gated = runner.place(build_model(name, filters, gated=True, **data.shape))
        steppers = [sgd(network, 0.01, 0.5, 5e-4) for network in (bare, gated)]
        pruner = TaylorPruner(gates_of(gated), args.prune_every)
        images, labels = next(batches.epoch(torch.Generator().manual_seed(0)))
        totals = Totals(runner.device)
        source = iter(())

        def train(network, stepper, images, labels):
            network.zero_grad()
            logits = network(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            stepper.step()
            return loss, logits

        times = {"bare": [], "search": [], "round": []}
        for step in range(args.steps + 2):
            for kind in ("bare", "search", "round"):
                synchronize(runner)
                began = time.perf_counter()
                if kind == "bare":
                    train(bare, steppers[0], images, labels)
                elif kind == "search":
                    batch = next(source, None)
                    if batch is None or len(batch[1]) < args.batch_size:
                        source = batches.epoch(torch.Generator().manual_seed(step))
                        batch = next(source)
                    totals.add(*train(gated, steppers[1], *batch), batch[1])
                    pruner.batches = 1  # no round among the timed steps: it is timed alone below
                    pruner.step()
                else:
                    pruner.scored += 1
                    pruner._round()
                synchronize(runner)
                if step >= 2:
                    times[kind].append(time.perf_counter() - began)
        medians = {kind: statistics.median(seconds) for kind, seconds in times.items()}
        search = medians["search"] + medians["round"] / args.prune_every
        print(f"{name:12} bare {1000 * medians['bare']:8.1f} ms, search {1000 * search:8.1f} ms "
              f"(a round {1000 * medians['round']:.1f} ms), ratio {search / medians['bare']:.3f}", flush=True)


if __name__ == "__main__":
    options.run(main)
