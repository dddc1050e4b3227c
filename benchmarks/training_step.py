"""What --amp, --compile and both do for training from scratch: a step with each, for the built-in
networks in one run.

Step: forward, backward and optimizer of the ungated network, on a batch that is there already. The
kinds run in turn; medians are printed, how many times faster than the plain step each is, and the
time that compiling took.
"""

import statistics
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from steps import step_options

from model import MODELS, build_model, uniform_filters
from utils.data import load_data, training_batches
from utils.script import run
from utils.training.device import Runner, pick_device
from utils.training.latency import timed
from utils.training.loop import sgd, training_step

KINDS = {
    "plain": (False, False),
    "--amp": (True, False),
    "--compile": (False, True),
    "--amp --compile": (True, True),
}


def main() -> None:
    args = step_options(__doc__).parse_args()
    device = pick_device(args.device)
    data = load_data(
        args.dataset, args.data, device, limit_train=args.batch_size, batch_size=args.batch_size
    )
    images, labels = next(
        training_batches(data, args.batch_size).epoch(torch.Generator().manual_seed(0))
    )
    print(
        f"{args.dataset}, ratio {args.ratio:g}, batches of {args.batch_size}, {device}, "
        f"{torch.get_num_threads()} threads"
    )
    for name in MODELS:
        steps, first, times = {}, {}, {kind: [] for kind in KINDS}
        for kind, (amp, compiled) in KINDS.items():
            torch.manual_seed(0)
            runner = Runner(device, amp)
            network = runner.place(
                build_model(name, uniform_filters(name, args.ratio), **data.shape)
            )
            steps[kind] = partial(
                training_step,
                torch.compile(network) if compiled else network,
                sgd(network, 0.1, 0.9, 5e-4),
                images,
                labels,
                runner,
            )
            first[kind] = timed(runner, steps[kind])
            steps[kind]()
        for _ in range(args.steps):
            for kind, step in steps.items():
                times[kind].append(timed(runner, step))
        plain = statistics.median(times["plain"])
        for kind in KINDS:
            median = statistics.median(times[kind])
            print(
                f"{name:12} {kind:16} {1000 * median:8.1f} ms, {plain / median:5.2f} times as fast "
                f"as plain, first step {first[kind]:5.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    run(main)
