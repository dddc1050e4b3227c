"""The one training loop, and evaluation. They know nothing of pruning, checkpoints or schedules."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.gate import GateLayer
from utils.data import Batches
from utils.errors import Diverged, UserError
from utils.training.device import Runner, generator, seed_from
from utils.training.progress import Progress, time_told
from utils.training.sgd import SGD

RECENT = 5  # epochs, whose mean says how long the next ones take
KEPT = "(both counted from 0); the state of the last good epoch is kept. Try a smaller --lr"


def sgd(network: nn.Module, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """Return SGD over all parameters but gates."""
    gates = {id(module.weight) for module in network.modules() if isinstance(module, GateLayer)}
    trained = [parameter for parameter in network.parameters() if id(parameter) not in gates]
    return SGD(trained, lr, momentum, weight_decay=weight_decay, foreach=True)


@dataclass
class State:
    """A network in training, with everything that changes as it trains.

    ``forward`` is the network as it is called; it may be compiled.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    forward: nn.Module
    epoch: int = field(default=0, kw_only=True)  # finished epochs
    seconds: float = field(default=0.0, kw_only=True)

    @property
    def ended(self) -> bool:
        """True if there is nothing left to train, however many epochs may follow."""
        return False

    def begin_epoch(self) -> None:
        """Prepare an epoch; called before it."""

    def after_step(self) -> bool:
        """Continue after a step; called while the gradients of its batch are still there.

        The network may change shape here. Returns False to end the epoch.
        """
        return True

    def epochs_left(self, epochs: int, batches: int) -> int:
        """Return how many of ``epochs`` epochs are left, or at most, if each has ``batches``
        batches."""
        return epochs - self.epoch

    @property
    def left_told(self) -> str:
        """The words for the time that these take."""
        return "about {} left"

    def note(self) -> str:
        """Return what the progress of an epoch shows beside loss and accuracy."""
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training depends on."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state. Raises RuntimeError where its parameters come in another order."""
        names = {name: None for name, _ in self.network.named_parameters()}
        order = [name for name in state["network"] if name in names]
        # the optimizer's state is numbered in this order
        if len(order) == len(names) and order != list(names):
            raise RuntimeError(
                "its parameters come in another order: it was begun by a version that ran the "
                "network's graph"
            )

        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.seconds = int(state["epoch"]), float(state["seconds"])


def fit(
    state: State,
    batches: Batches,
    runner: Runner,
    *,
    epochs: int,
    seeds: tuple[int, ...],
    lr_at: Callable[[int], float],
    title: str,
    after_epoch: Callable[[float, float], None] = lambda loss, accuracy: None,
    checkpoint: Callable[[], None] = lambda: None,
) -> None:
    """Train until ``epochs`` epochs are done, or ``state`` has ended.

    The order and augmentation of an epoch follow from ``seeds`` and its number, its learning rate
    from ``lr_at``. ``after_epoch`` gets the mean training loss and the accuracy in %.
    ``checkpoint`` is called after each epoch but the last.
    """
    recent = deque[float](maxlen=RECENT)  # seconds
    while state.epoch < epochs and not state.ended:
        began = time.monotonic()
        for group in state.optimizer.param_groups:
            group["lr"] = lr_at(state.epoch)
        state.begin_epoch()

        # the network's own random numbers (dropout) follow from the epoch too
        torch.manual_seed(seed_from(*seeds, state.epoch))
        loss, accuracy = train_one_epoch(
            state, batches, runner, generator(*seeds, state.epoch), f"{title}epoch {state.epoch}"
        )

        after_epoch(loss, accuracy)
        state.epoch += 1
        recent.append(time.monotonic() - began)
        state.seconds += recent[-1]
        if state.epoch < epochs and not state.ended:
            checkpoint()
            left = state.epochs_left(epochs, len(batches))
            print(f"  {time_told(fmean(recent), left, state.left_told)}", flush=True)


class Totals:
    """Loss and hits over the images seen so far, kept on the device, because reading them waits for
    it."""

    def __init__(self, device: str):
        self.seen = self.batches = 0
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        # the first batch whose loss is not finite; -1 if there is none
        self.bad = torch.full((), -1, device=device)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch."""
        loss = loss.detach()
        self.loss += loss * len(labels)
        self.correct += (logits.detach().argmax(dim=1) == labels).sum()
        self.bad = torch.where((self.bad < 0) & ~loss.isfinite(), self.batches, self.bad)
        self.seen += len(labels)
        self.batches += 1

    @property
    def result(self) -> tuple[float, float]:
        """The mean loss, and the accuracy in %: correct / seen, an exact fraction."""
        return self.loss.item() / self.seen, 100 * self.correct.item() / self.seen

    def check(self, epoch: int) -> None:
        """Raise Diverged if a loss was not finite."""
        if (batch := int(self.bad)) >= 0:
            raise Diverged(
                f"the loss is not a finite number since epoch {epoch}, batch {batch} {KEPT}"
            )

    def __str__(self) -> str:
        loss, accuracy = self.result
        return f"loss {loss:.4f}, accuracy {accuracy:.2f} %"


def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Return a network's logits for a batch.

    Raises UserError where one of its norms has only one number to take mean and deviation of.
    """
    try:
        return network(images)
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 "):  # how PyTorch says it
            raise
        raise UserError(
            f"a norm of this network does not work on batches of {len(images)}, of images of "
            f"{images.shape[-1]} pixels "
            f"({str(error)[:100]}); use a larger --batch-size or larger images"
        ) from None


def training_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    runner: Runner,
) -> tuple[Tensor, Tensor]:
    """Take one step on one batch, and return its mean loss and its logits (B, num_classes).

    The gradients are left in place.
    """
    network.zero_grad()
    with runner.autocast():
        logits = logits_of(network, images)
        loss = F.cross_entropy(logits, labels)

    loss.backward()
    optimizer.step()
    return loss, logits


def train_one_epoch(
    state: State, batches: Batches, runner: Runner, draw: torch.Generator, title: str
) -> tuple[float, float]:
    """Train on all images once, unless ``state`` ends the epoch.

    Returns the mean loss and the accuracy in %. Raises Diverged.
    """
    state.network.train()
    totals, progress, epoch = Totals(runner.device), Progress(title, len(batches)), state.epoch
    layout = runner.layout(state.network)

    def numbers() -> str:
        totals.check(epoch)
        return f"{totals}{state.note()}"

    # the pruner raises FloatingPointError for gradients that are not finite
    try:
        for images, labels in batches.epoch(draw):
            images = images.contiguous(memory_format=layout)
            loss, logits = training_step(state.forward, state.optimizer, images, labels, runner)
            totals.add(loss, logits, labels)
            go_on = state.after_step()
            progress.update(numbers)
            if not go_on:
                break
    except FloatingPointError:
        totals.check(epoch)
        raise Diverged(
            f"a gradient is not a finite number in epoch {epoch}, batch {totals.batches - 1} {KEPT}"
        ) from None

    # weights may be infinite although every loss was finite
    progress.close(numbers())
    if not torch.stack(
        [tensor.isfinite().all() for tensor in state.network.state_dict().values()]
    ).all():
        raise Diverged(
            f"the weights are not finite numbers at the end of epoch {epoch}, batch "
            f"{totals.batches - 1} {KEPT}"
        )
    return totals.result


@torch.no_grad()
def evaluate(network: nn.Module, batches: Batches, runner: Runner) -> tuple[float, float]:
    """Return the mean loss and the accuracy in % (correct / total) over a split."""
    network.eval()
    totals = Totals(runner.device)
    for images, labels in batches.epoch():
        with runner.autocast():
            logits = logits_of(network, images)
            loss = F.cross_entropy(logits, labels)
        totals.add(loss, logits, labels)
    return totals.result
