"""What the benchmarks share."""

import argparse
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from model import build_model, uniform_filters
from utils.data import Batches, Data
from utils.training.device import Runner

OPTIMIZATION = 0.01, 0.5, 5e-4  # learning rate, momentum, weight decay


def image_options(description: str, batch_size: int) -> argparse.ArgumentParser:
    """The options of all benchmarks of training: images, their batches, and the device."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--dataset", default="digits")
    p.add_argument("--data", default="data")
    p.add_argument("--batch-size", type=int, default=batch_size)
    p.add_argument("--device", default="auto")
    return p


def step_options(description: str) -> argparse.ArgumentParser:
    """The options of the benchmarks of single steps."""
    p = image_options(description, batch_size=128)
    p.add_argument("--ratio", type=float, default=0.5)
    p.add_argument("--steps", type=int, default=20)
    return p


def uniform_network(name: str, ratio: float, data: Data) -> nn.Module:
    """Return a uniform network, always with the same weights."""
    torch.manual_seed(0)
    return build_model(name, uniform_filters(name, ratio), **data.shape).train()


def plain_step(
    network: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], runner: Runner
) -> Callable[[], None]:
    """Return one turn of a plain PyTorch loop: its optimizer, its memory layout.

    It reads no loss, as most loops do.
    """
    (lr, momentum, decay), network = OPTIMIZATION, network.to(runner.device)
    optimizer = torch.optim.SGD(network.parameters(), lr, momentum, weight_decay=decay)

    def step() -> None:
        images, labels = next(batches)
        optimizer.zero_grad()
        with runner.autocast():
            loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()

    return step


def full_batches(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of epoch after epoch, without end and without the smaller last one of an epoch."""
    for epoch in range(10**6):
        for batch in batches.epoch(torch.Generator().manual_seed(epoch)):
            if len(batch[1]) >= batches.batch_size:  # the last one may have one image more
                yield batch
