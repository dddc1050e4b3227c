"""The one training loop, and evaluation. Neither knows of pruning, checkpoints or schedules."""
from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.gate import GateLayer
from utils.data import Batches
from utils.progress import Progress
from utils.records import UserError


class Diverged(UserError):
    """The loss became NaN or infinite."""


@dataclass
class Runner:
    """How to run a network: on which device, with or without bfloat16 autocast."""

    device: str
    amp: bool = False

    def autocast(self):
        kind = self.device.split(":")[0]
        return torch.autocast(kind, torch.bfloat16) if self.amp else contextlib.nullcontext()

    def place(self, network: nn.Module) -> nn.Module:
        """Moves a network to the device, its convolutions laid out as channels_last (5 to 20 % faster)."""
        return network.to(self.device, memory_format=torch.channels_last)


def pick_device(name: str) -> str:
    """``auto`` is CUDA where there is one. Raises UserError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(name).type not in ("cpu", "cuda"):
            raise NotImplementedError
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise UserError(f"--device {name}: not available on this machine; --device cpu is") from None
    if name.startswith("cuda"):
        torch.backends.cudnn.benchmark = True
    else:
        keep_freed_memory()
    return name


def keep_freed_memory() -> None:
    """Asks the C library to keep the memory that a training step frees, for the next one.

    glibc gives large blocks back to the system at once, and the system clears every page of them anew at the next
    step: that costs a tenth of a step of a large network and up to half of one of a small network.
    """
    if libc := _glibc():
        m_mmap_max, m_trim_threshold = -4, -1  # from malloc.h
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def give_back_freed_memory() -> None:
    """Gives back what is kept, once: after a network has shrunk, its tensors fit badly between those that were freed."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def check_memory(params: int, runner: Runner) -> None:
    """Raises UserError where weights, gradients and momentum alone would not fit into the device's memory."""
    cuda = runner.device.startswith("cuda")
    memory = torch.cuda.mem_get_info()[1] if cuda else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if (needed := 3 * 4 * params) > memory:
        raise UserError(f"a network of {params:,} parameters needs {needed / 2**30:,.0f} GiB to train; this device has "
                        f"{memory / 2**30:,.0f}. Use a smaller ratio")


def check_compiler(device: str) -> None:
    """Raises UserError where torch.compile does not work: it needs a C++ compiler for a CPU, Triton for CUDA."""
    try:
        torch.compile(torch.neg)(torch.zeros(8, device=device))
    except Exception as error:  # torch raises many kinds, with the compiler's whole output
        reason = str(error).strip().splitlines() or [""]
        raise UserError(f"--compile: torch.compile does not work on this machine ({type(error).__name__}: {reason[0][:150]}); install a "
                        "C++ compiler, or leave --compile out") from None


def generator(*numbers: int) -> torch.Generator:
    """A generator seeded by (seed, iteration, epoch, ...) alone, so that resuming needs no hidden state."""
    return torch.Generator().manual_seed(seed_from(*numbers))


def seed_from(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def sgd(network: nn.Module, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD over everything but the gates."""
    gates = {id(module.weight) for module in network.modules() if isinstance(module, GateLayer)}
    trained = [parameter for parameter in network.parameters() if id(parameter) not in gates]
    return torch.optim.SGD(trained, lr, momentum, weight_decay=weight_decay, foreach=True)


@dataclass
class Totals:
    """Loss and hits of the images seen so far, on the device: reading them waits for it."""

    device: str
    seen: int = 0
    batches: int = 0
    loss: Tensor = field(init=False)
    correct: Tensor = field(init=False)
    bad: Tensor = field(init=False)  # the first batch whose loss is not finite; -1 is none

    def __post_init__(self):
        self.loss = torch.zeros((), dtype=torch.float64, device=self.device)
        self.correct = torch.zeros((), dtype=torch.int64, device=self.device)
        self.bad = torch.full((), -1, device=self.device)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        loss = loss.detach()
        self.loss += loss * len(labels)
        self.correct += (logits.detach().argmax(dim=1) == labels).sum()
        self.bad = torch.where((self.bad < 0) & ~loss.isfinite(), self.batches, self.bad)
        self.seen += len(labels)
        self.batches += 1

    @property
    def result(self) -> tuple[float, float]:
        """Mean loss, and accuracy in %: correct / seen, an exact fraction."""
        return self.loss.item() / self.seen, 100 * self.correct.item() / self.seen

    def check(self, epoch: int) -> None:
        """Raises Diverged where a loss was not finite."""
        if (batch := int(self.bad)) >= 0:
            raise Diverged(f"the loss is not a finite number since epoch {epoch}, batch {batch} (both counted from 0); the "
                           "state of the last good epoch is kept. Try a smaller --lr")

    def __str__(self) -> str:
        loss, accuracy = self.result
        return f"loss {loss:.4f}, accuracy {accuracy:.2f} %"


def training_step(network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor,
                  runner: Runner) -> tuple[Tensor, Tensor]:
    """One step on one batch: its mean loss and its logits (B, num_classes). The gradients are left in place."""
    network.zero_grad()
    with runner.autocast():
        logits = network(images)
        loss = F.cross_entropy(logits, labels)
    loss.backward()
    optimizer.step()
    return loss, logits


def train_one_epoch(network: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer, runner: Runner, *, epoch: int,
                    draw: torch.Generator, title: str, after_step: Callable[[], bool] | None = None,
                    note: Callable[[], str] = str) -> tuple[float, float, bool]:
    """One pass over the training images: mean loss, accuracy in %, and whether ``after_step`` let it go on.

    ``after_step`` runs after each optimizer step, with the gradients of that batch still there; when it returns
    False the epoch ends. ``network`` may change shape in it. Raises Diverged when a loss is not finite.
    """
    network.train()
    totals, go_on = Totals(runner.device), True
    progress = Progress(title, len(batches))

    def numbers() -> str:
        totals.check(epoch)
        return f"{totals}{note()}"

    try:
        for images, labels in batches.epoch(draw):
            loss, logits = training_step(network, optimizer, images, labels, runner)
            totals.add(loss, logits, labels)
            go_on = after_step is None or after_step()
            progress.update(numbers)
            if not go_on:
                break
    except FloatingPointError:
        totals.check(epoch)
        raise Diverged(f"a gradient is not a finite number in epoch {epoch}, batch {totals.batches - 1} (both counted from 0); "
                       "the state of the last good epoch is kept. Try a smaller --lr") from None
    progress.close(numbers())
    if not torch.stack([parameter.detach().isfinite().all() for parameter in numbers_of(network)]).all():
        raise Diverged(f"the weights are not finite numbers at the end of epoch {epoch}, batch {totals.batches - 1} (both counted "
                       "from 0); the state of the last good epoch is kept. Try a smaller --lr")
    return *totals.result, go_on


def numbers_of(network: nn.Module) -> list[Tensor]:
    """All that a network has learned: its parameters, and the running statistics of its norms."""
    return [*network.parameters(), *(buffer for buffer in network.buffers() if buffer.is_floating_point())]


@torch.no_grad()
def evaluate(network: nn.Module, batches: Batches, runner: Runner) -> tuple[float, float]:
    """Mean loss, and accuracy in % (correct / total), over a split."""
    network.eval()
    totals = Totals(runner.device)
    for images, labels in batches.epoch():
        with runner.autocast():
            logits = network(images)
            loss = F.cross_entropy(logits, labels)
        totals.add(loss, logits, labels)
    return totals.result
