"""What a search adds to plain training: a whole search step over a bare one, for the built-in
networks in one run.

Search step: batch from the data set (crop, flip, normalise), forward, backward, optimizer, Taylor
criterion, and its share of a pruning round, all filters still in place. Bare step: forward,
backward and optimizer of the ungated network on a batch that is there already. The two run in turn;
medians and their ratio are printed.
"""

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from steps import full_batches, step_options

from model import MODELS, build_model, uniform_filters
from model.gate import gates_of
from utils.data import Data, load_data, training_batches
from utils.pruning import TaylorPruner
from utils.script import run
from utils.training.device import Runner, pick_device
from utils.training.latency import timed
from utils.training.loop import Totals, sgd, training_step


def main() -> None:
    p = step_options(__doc__)
    p.add_argument("--prune-every", type=int, default=50)
    args = p.parse_args()
    runner = Runner(pick_device(args.device))
    data = load_data(
        args.dataset,
        args.data,
        runner.device,
        limit_train=20 * args.batch_size,
        batch_size=args.batch_size,
    )
    print(
        f"{args.dataset}, ratio {args.ratio:g}, batches of {args.batch_size}, {runner.device}, "
        f"{torch.get_num_threads()} threads"
    )
    for name in MODELS:
        bare, search, prune = medians(name, data, runner, args)
        search += prune / args.prune_every
        print(
            f"{name:12} bare {1000 * bare:8.1f} ms, search {1000 * search:8.1f} ms (a round "
            f"{1000 * prune:.1f} ms), ratio {search / bare:.3f}",
            flush=True,
        )


def medians(name: str, data: Data, runner: Runner, args) -> list[float]:
    """Seconds of a bare step, of a search step without its pruning round, and of the round."""
    filters = uniform_filters(name, args.ratio)
    ungated = runner.place(build_model(name, filters, **data.shape))
    gated = runner.place(build_model(name, filters, gated=True, **data.shape))
    ungated_sgd, gated_sgd = (sgd(network, 0.01, 0.5, 5e-4) for network in (ungated, gated))
    pruner, totals = TaylorPruner(gates_of(gated), args.prune_every), Totals(runner.device)
    source = full_batches(training_batches(data, args.batch_size, search=True))
    images, labels = next(source)

    def bare() -> None:
        training_step(ungated, ungated_sgd, images, labels, runner)

    def search() -> None:
        images, labels = next(source)
        totals.add(*training_step(gated, gated_sgd, images, labels, runner), labels)
        pruner.batches = 1  # no round among the timed steps: it is timed alone
        pruner.step()

    def prune() -> None:
        pruner.scored += 1
        pruner._round()

    rows = [[timed(runner, work) for work in (bare, search, prune)] for _ in range(args.steps + 2)]
    return [statistics.median(column) for column in zip(*rows[2:])]


if __name__ == "__main__":
    run(main)
