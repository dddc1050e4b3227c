"""The size of a campaign: in full, for a GPU, or small, for a look at every part on a CPU."""

from dataclasses import dataclass

from model import MODELS


@dataclass(frozen=True)
class Scale:
    """All numbers that a campaign's length depends on. Seconds are those of a first guess."""

    name: str
    models: tuple[str, ...]

    # part 1: what the device computes, against the CPU
    ratio: float
    images: int  # of training, and as many of test
    batch_size: int
    killed_at: int  # batches, after which the killed search ends
    prune_step: int
    epochs: int  # of the training and of the pruning
    target: str  # of the pruning

    # part 1: steps that must not wait, and their memory
    watched_ratio: float
    watched_batch: int
    watched_batches: int

    # part 2: how long a step takes
    ratios: tuple[float, ...]
    step_batch: int
    step_images: int | None  # None: all
    workers: int  # of the plain loop's loader
    spell: float  # seconds that each kind of step is measured for
    profiled: int  # steps

    # part 3: the paper's headline
    seeds: int
    at_once: int  # processes
    headline_ratio: float
    more: tuple[str, ...]  # options of trainings beside the paper's
    more_of_searches: tuple[str, ...]
    least: float  # seconds, below which part 3 is not begun
    closing: float  # seconds to stop its processes in

    # first guesses, for the lightest network
    searching: float
    training: float
    steps: float
    speed: float


FULL = Scale(
    name="full",
    models=tuple(MODELS),
    ratio=0.25,
    images=1000,
    batch_size=64,
    killed_at=24,
    prune_step=10,
    epochs=3,
    target="50%",
    watched_ratio=1.0,
    watched_batch=256,
    watched_batches=12,
    ratios=(0.25, 1.0),
    step_batch=128,
    step_images=None,
    workers=8,
    spell=2.0,
    profiled=20,
    seeds=5,
    at_once=8,
    headline_ratio=0.25,
    more=(),
    more_of_searches=(),
    least=75,
    closing=25,
    searching=15,
    training=12,
    steps=8,
    speed=30,
)

TINY = ("--limit-train", "40", "--batch-size", "20")
SMALL = Scale(
    name="small",
    models=tuple(MODELS),
    ratio=0.0625,
    images=40,
    batch_size=10,
    killed_at=6,
    prune_step=20,
    epochs=1,
    target="80%",
    watched_ratio=0.0625,
    watched_batch=10,
    watched_batches=4,
    ratios=(0.0625, 0.125),
    step_batch=8,
    step_images=40,
    workers=1,
    spell=0.05,
    profiled=2,
    seeds=1,
    at_once=2,
    headline_ratio=0.0625,
    more=(*TINY, "--limit-test", "40", "--epochs", "1"),
    more_of_searches=(
        *TINY,
        *("--ratio", "0.0625", "--iterations", "1", "--warmup", "0", "--epochs", "2"),
        *("--prune-every", "1", "--prune-step", "40"),
    ),
    least=5,
    closing=2,
    searching=4,
    training=3,
    steps=3,
    speed=4,
)
SCALES = {scale.name: scale for scale in (FULL, SMALL)}
# of the guesses; a network without one weighs as much as the heaviest
WEIGHT = {"vgg": 1.0, "resnet18": 2.0, "mobilenetv2": 1.5}


def formats() -> dict[str, bool]:
    """Return the number formats that are measured, and whether each is --amp."""
    return {"float32": False, "bfloat16": True}
