"""Learning rates, as pure functions of the epoch (counted from 0)."""
from __future__ import annotations

WARMUP_TO_PRUNING = 0.1  # the rate falls to a tenth when the warm-up ends
PRUNING_DECAY, PRUNING_DECAY_EPOCHS = 1.5, 10


def search_lr(epoch: int, warmup: int, lr: float = 0.1) -> float:
    """``lr`` for the ``warmup`` epochs, then a tenth of it, divided by 1.5 every 10 epochs (paper, section 4.1)."""
    if epoch < warmup:
        return lr
    return lr * WARMUP_TO_PRUNING / PRUNING_DECAY ** ((epoch - warmup) // PRUNING_DECAY_EPOCHS)


def first_pruning_epoch(warmup: int) -> int:
    """Pruning starts one epoch after the learning rate has fallen."""
    return warmup + 1


def training_lr(epoch: int, epochs: int, milestones: tuple[float, ...], lr: float = 0.1) -> float:
    """``lr`` divided by 10 at each milestone, given as a fraction of ``epochs`` so that short runs decay too."""
    return lr * 0.1 ** sum(epoch >= round(fraction * epochs) for fraction in milestones)
