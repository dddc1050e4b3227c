"""What the benchmarks share."""

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor

from utils.data import Batches


def step_options(description: str) -> argparse.ArgumentParser:
    """The options of the benchmarks of single steps."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--dataset", default="digits")
    p.add_argument("--data", default="data")
    p.add_argument("--ratio", type=float, default=0.5)
    p.add_argument("--batch-size", type=int, default=128)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--device", default="auto")
    return p


def full_batches(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of epoch after epoch, without end and without the smaller last one of an epoch."""
    for epoch in range(10**6):
        for batch in batches.epoch(torch.Generator().manual_seed(epoch)):
            if len(batch[1]) >= batches.batch_size:  # the last one may have one image more
                yield batch
