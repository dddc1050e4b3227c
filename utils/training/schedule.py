"""Learning rates, as pure functions of the epoch. The code counts epochs from 0, the paper from
1."""


def search_lr(epoch: int, warmup: int, lr: float = 0.1) -> float:
    """The learning rate of a search (paper, section 4.1).

    ``lr`` for all but the last of the ``warmup`` epochs; a tenth of it in the last one, so that
    pruning, which starts with the epoch after, meets a network that has settled; from there on
    divided by 1.5 every 10 epochs.
    """
    since_fall = epoch + 1 - warmup
    return lr if since_fall < 0 else lr * 0.1 / 1.5 ** (since_fall // 10)


def training_lr(epoch: int, epochs: int, milestones: tuple[float, ...], lr: float = 0.1) -> float:
    """``lr`` divided by 10 at each milestone, given as a fraction of ``epochs`` so that short runs
    decay too."""
    return lr * 0.1 ** sum(epoch >= round(fraction * epochs) for fraction in milestones)
