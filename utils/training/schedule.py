"""Learning rates as pure functions of the epoch. Epochs count from 0 here, and from 1 in the
paper."""


def search_lr(epoch: int, warmup: int, lr: float = 0.1) -> float:
    """Return the learning rate of a search (paper, section 4.1).

    It is ``lr`` in all but the last of the ``warmup`` epochs, and a tenth of it in the last, so
    that the network has settled when pruning starts in the next epoch. From there on it is divided
    by 1.5 every 10 epochs.
    """
    since_fall = epoch + 1 - warmup
    return lr if since_fall < 0 else lr * 0.1 / 1.5 ** (since_fall // 10)


def training_lr(epoch: int, epochs: int, milestones: tuple[float, ...], lr: float = 0.1) -> float:
    """Return ``lr`` divided by 10 at each milestone.

    Milestones are fractions of ``epochs``, so that short runs decay too.
    """
    return lr * 0.1 ** sum(epoch >= round(fraction * epochs) for fraction in milestones)
