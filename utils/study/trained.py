"""The second study as data: networks trained to the end. Its trainings, and their order.

Question 1, from scratch: vgg on all 50,000 training images of CIFAR10, at the parameters and at the
multiply-accumulates (MACs) of the uniform network of ratio 0.125. The searches are those of the
first study. Accuracy is that on all test images after the last epoch; the number of epochs was
chosen on 5,000 training images held out, for uniform networks alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from utils.settings import Experiment
from utils.study.parts import Entry, Part

RATIO = 0.125
BATCH_SIZE = 64
IMAGES = 50_000
HELD_OUT = 5_000

# The choice: longer trainings, until another 20 epochs gain less than half a point on the images
# held out.
TRIED_EPOCHS = (60, 80)
CHOOSING_SEEDS = (100, 101)
EPOCHS = 80
# The uniform network's epochs for the compute of the most expensive arm, search and training. A
# test checks it.
EPOCHS_OF_EQUAL_COMPUTE = 256

SEEDS = tuple(range(20, 28))  # of the arms of a test; other arms have the first five
FEWER = SEEDS[:5]
FROM_RATIO = ("ratio=0.25", "iterations=5", "batch-size=64")  # the first study's searches


@dataclass(frozen=True)
class Arm:
    """One kind of network and training.

    ``searches`` are the seeds of the first study's searches, which its seeds use in turn.
    """

    label: str
    name: str
    method: str
    seeds: tuple[int, ...]
    epochs: int = EPOCHS
    searches: tuple[int, ...] = ()
    search: str = ""  # the name of the first study's searches, without their seeds
    search_with: tuple[str, ...] = ()
    validate: int | None = None

    def entries(self) -> list[Entry]:
        """Return an experiment for each seed, so that the arms can be run seed by seed."""
        return [self.entry(place, seed) for place, seed in enumerate(self.seeds)]

    def entry(self, place: int, seed: int) -> Entry:
        """Return the experiment of one seed."""
        more: dict[str, Any] = {}
        search_seed = self.searches[place % len(self.searches)] if self.searches else None
        if search_seed is not None:
            which = "morph_search" if self.method == "morph" else "search"
            more = {
                which: f"vgg_c10_{self.search}_s{search_seed}",
                "search_with": (*self.search_with, f"seed={search_seed}"),
            }

        experiment = Experiment(
            name=f"trained_vgg_c10_{self.name}"
            + ("" if search_seed is None else f"_s{search_seed}"),
            model="vgg",
            dataset="CIFAR10",
            methods=(self.method,),
            seeds=(seed,),
            ratios=(RATIO,),
            validate=self.validate,
            train_with=(f"epochs={self.epochs}", f"batch-size={BATCH_SIZE}"),
            **more,
        )

        return Entry(
            self.label,
            experiment,
            (self.name,),
            search_seed,
            turn=place - (self.validate is not None) * len(self.seeds),
        )


CHOICE = tuple(
    Arm(
        f"uniform, {epochs} epochs, {HELD_OUT:,} images held out",
        f"epochs{epochs}",
        "uniform",
        CHOOSING_SEEDS,
        epochs,
        validate=HELD_OUT,
    )
    for epochs in TRIED_EPOCHS
)

UNIFORM = Arm("uniform", "uniform", "uniform", SEEDS)
BY_PARAMS = Arm(
    "NeuralScale by parameters, iteration 1",
    "params",
    "neuralscale_1",
    SEEDS,
    searches=(0, 1),
    search="params",
    search_with=FROM_RATIO,
)
BY_MACS = Arm(
    "NeuralScale by MACs, iteration 1",
    "macs",
    "neuralscale_1",
    SEEDS,
    searches=(0, 1),
    search="macs",
    search_with=(*FROM_RATIO, "budget=macs"),
)
MORPHNET = Arm(
    "MorphNet (Taylor-FO)",
    "morph",
    "morph",
    FEWER,
    searches=(0, 1),
    search="morphed",
    search_with=FROM_RATIO[:1] + FROM_RATIO[2:],
)
LONGER = Arm(
    "uniform, for as much compute as the dearest",
    "longer",
    "uniform",
    FEWER,
    epochs=EPOCHS_OF_EQUAL_COMPUTE,
)
ARMS = (UNIFORM, BY_PARAMS, BY_MACS, MORPHNET, LONGER)


@dataclass(frozen=True)
class Test:
    """A comparison that was set down before any run: does ``arm`` differ from ``against``?"""

    question: str
    arm: Arm
    against: Arm


# Two more tests will compare pruned networks with uniform ones; the correction counts them from the
# start.
PLANNED_TESTS = 4
TESTS = (
    Test("from scratch at equal parameters", BY_PARAMS, UNIFORM),
    Test("from scratch at equal MACs", BY_MACS, UNIFORM),
)


def vgg_from_scratch() -> Part:
    """Return question 1: first the choice of the epochs, then all arms, seed by seed."""
    entries = [entry for arm in (*CHOICE, *ARMS) for entry in arm.entries()]
    return Part(
        "trained_vgg_CIFAR10",
        "vgg on CIFAR10, trained to the end",
        f"All {IMAGES:,} training images, {EPOCHS} epochs in batches of {BATCH_SIZE}",
        RATIO,
        (),
        tuple(entries),
        drawn=False,
    )
