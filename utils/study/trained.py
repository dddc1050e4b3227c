"""The second study as data: networks trained to the end. Its trainings, and their order.

Question 1, from scratch: vgg on all 50,000 training images of CIFAR10, at the parameters and at the
multiply-accumulates (MACs) of the uniform network of ratio 0.125. The searches are those of the
first study. The number of epochs was chosen on 5,000 training images held out, for uniform networks
alone.

Question 2, with a trained network: vgg of ratio 0.25, trained to the end on 10,000 of these images,
is pruned to a part of its MACs, or of its parameters, while it trains on. It is held against
networks that are trained from scratch: for as many epochs as the pruning takes, for as many as base
and pruning take together, and for as much compute as these. The learning rate of all falls alike.

Accuracy is that on all test images after the last epoch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from utils.study.parts import Part
from utils.study.question import Arm, Question, Setup, Test

BATCH_SIZE = 64
HELD_OUT = 5_000
SEEDS = tuple(range(20, 28))  # of the arms of a test; other arms have the first five
FEWER = SEEDS[:5]
FROM_RATIO = ("ratio=0.25", "iterations=5", "batch-size=64")  # the first study's searches
BY_PARAMS: dict[str, Any] = {"search": "vgg_c10_params", "search_with": FROM_RATIO}
BY_MACS: dict[str, Any] = {"search": "vgg_c10_macs", "search_with": (*FROM_RATIO, "budget=macs")}
MORPHED: dict[str, Any] = {
    "search": "vgg_c10_morphed",
    "search_with": ("ratio=0.25", "batch-size=64"),
}
BOTH = (0, 1)  # the seeds of the first study's searches

# --- question 1 -----------------------------------------------------------------------------------

ALL_IMAGES = Setup("trained_vgg_c10", "vgg", "CIFAR10", (f"batch-size={BATCH_SIZE}",))
EIGHTH = "0.125"

# The choice: longer trainings, until another 20 epochs gain less than half a point on the images
# held out.
TRIED_EPOCHS = (60, 80)
CHOOSING_SEEDS = (100, 101)
EPOCHS = 80
# The uniform network's epochs for the compute of the most expensive arm, search and training. A
# test checks it.
EPOCHS_OF_EQUAL_COMPUTE = 256

CHOICE = tuple(
    Arm(
        ALL_IMAGES,
        f"uniform, {epochs} epochs, {HELD_OUT:,} images held out",
        f"epochs{epochs}",
        "uniform",
        CHOOSING_SEEDS,
        epochs,
        EIGHTH,
        validate=HELD_OUT,
    )
    for epochs in TRIED_EPOCHS
)

UNIFORM = Arm(ALL_IMAGES, "uniform", "uniform", "uniform", SEEDS, EPOCHS, EIGHTH)
SEARCHED = replace(UNIFORM, method="neuralscale_1", searches=BOTH)
PARAMS = replace(
    SEARCHED, label="NeuralScale by parameters, iteration 1", name="params", **BY_PARAMS
)
MACS = replace(SEARCHED, label="NeuralScale by MACs, iteration 1", name="macs", **BY_MACS)
MORPHNET = Arm(
    ALL_IMAGES,
    "MorphNet (Taylor-FO)",
    "morph",
    "morph",
    FEWER,
    EPOCHS,
    EIGHTH,
    searches=BOTH,
    **MORPHED,
)
LONGER = replace(
    UNIFORM,
    label="uniform, for as much compute as the most expensive of these",
    name="longer",
    seeds=FEWER,
    epochs=EPOCHS_OF_EQUAL_COMPUTE,
)
FROM_SCRATCH = Question(
    "trained_vgg_CIFAR10",
    "vgg on all of CIFAR10, from scratch",
    (UNIFORM, PARAMS, MACS, MORPHNET, LONGER),
    (
        Test("from scratch at equal parameters", PARAMS, UNIFORM),
        Test("from scratch at equal MACs", MACS, UNIFORM),
    ),
)

# --- question 2 -----------------------------------------------------------------------------------

BASE_EPOCHS, FURTHER = 60, 15
TRAINED_BASE = Setup(
    "given_vgg_c10",
    "vgg",
    "CIFAR10",
    (f"batch-size={BATCH_SIZE}", "milestones=0.5,0.75,0.9"),
    limit_train=10_000,
    base_ratio=0.25,
    base_epochs=BASE_EPOCHS,
)
# What the largest uniform networks have that are within these parts of the base's 9,880,832 MACs
# and 579,786 parameters; of a quarter of either it is one network.
QUARTER, TENTH, QUARTER_PARAMS = "2396k", "936k", "140.4k"
# uniform networks' epochs for as much compute as base and pruning; a test checks them
EQUAL_COMPUTE = {QUARTER: 266, TENTH: 658}

SHORT = Arm(
    TRAINED_BASE,
    f"uniform, from scratch, {FURTHER} epochs",
    "uniform",
    "uniform",
    SEEDS,
    FURTHER,
    QUARTER,
    "macs",
)
TAYLOR = replace(SHORT, label="pruned by Taylor score per MAC", name="taylor", method="prune")
AS_MANY = replace(
    SHORT,
    label="uniform, from scratch, as many epochs as base and pruning",
    name="uniform_all",
    epochs=BASE_EPOCHS + FURTHER,
)
BASES = replace(TAYLOR, label="the base network, not pruned", bases=True)


def fewer(arm: Arm, label: str, name: str, *prune_with: str, **more: Any) -> Arm:
    """Return an arm that is in no test, like another one but for its name and what is given.

    It is run when the arms of the tests are done, all their seeds.
    """
    more = {"turn": len(SEEDS), **more}
    return replace(arm, label=label, name=name, seeds=FEWER, prune_with=prune_with, **more)


def for_equal_compute(size: str) -> Arm:
    """Return uniform networks of a size, trained for as much compute as base and pruning."""
    label = "uniform, from scratch, as much compute as base and pruning"
    epochs, last = EQUAL_COMPUTE[size], 2 * len(SEEDS)
    return fewer(SHORT, label, f"uniform_compute_{size}", size=size, epochs=epochs, turn=last)


AT_A_QUARTER = (
    SHORT,
    TAYLOR,
    AS_MANY,
    fewer(TAYLOR, "pruned by magnitude", "magnitude", "criterion=magnitude"),
    fewer(TAYLOR, "pruned at random", "random", "criterion=random"),
    fewer(TAYLOR, "pruned by Taylor score to uniform widths", "taylor_uniform", "uniform"),
    fewer(
        TAYLOR,
        "pruned by magnitude to uniform widths",
        "magnitude_uniform",
        *("uniform", "criterion=magnitude"),
    ),
    fewer(
        SHORT,
        f"NeuralScale by MACs, from scratch, {FURTHER} epochs",
        "macs",
        method="neuralscale_1",
        searches=BOTH,
        **BY_MACS,
    ),
    fewer(TAYLOR, "pruned by Taylor score per MAC, 30 epochs", "taylor30", epochs=30),
    fewer(SHORT, "uniform, from scratch, 30 epochs", "uniform30", epochs=30),
    for_equal_compute(QUARTER),
)
AT_A_TENTH = (
    fewer(SHORT, SHORT.label, "uniform_tenth", size=TENTH),
    fewer(TAYLOR, TAYLOR.label, "taylor_tenth", size=TENTH),
    fewer(AS_MANY, AS_MANY.label, "uniform_all_tenth", size=TENTH),
    for_equal_compute(TENTH),
)
OF_PARAMS: dict[str, Any] = {"size": QUARTER_PARAMS, "budget": "params"}
AT_A_QUARTER_OF_THE_PARAMETERS = (
    fewer(TAYLOR, "pruned by Taylor score per parameter", "taylor_params", **OF_PARAMS),
    fewer(
        TAYLOR,
        "pruned by Taylor score to NeuralScale's widths by parameters",
        "law_params",
        searches=BOTH,
        search="vgg_c10_params",
        **OF_PARAMS,
    ),
    fewer(
        SHORT,
        f"NeuralScale by parameters, from scratch, {FURTHER} epochs",
        "params",
        method="neuralscale_1",
        searches=BOTH,
        **BY_PARAMS,
        **OF_PARAMS,
    ),
)
FROM_TRAINED = Question(
    "given_vgg_CIFAR10",
    "vgg of ratio 0.25, trained on 10,000 CIFAR10 images, made smaller",
    (*AT_A_QUARTER, *AT_A_TENTH, *AT_A_QUARTER_OF_THE_PARAMETERS),
    (
        Test("a quarter of the MACs, equal epochs", TAYLOR, SHORT),
        Test("a quarter of the MACs, epochs of the base included", TAYLOR, AS_MANY),
    ),
    (BASES,),
)

QUARTER_AND_TENTH = {arm.name: arm for arm in (*AT_A_QUARTER, *AT_A_TENTH)}
PANELS = {
    title: tuple(QUARTER_AND_TENTH[name] for name in names)
    for title, names in {
        f"from scratch for as long: {FURTHER} epochs": (
            *("taylor", "taylor_tenth", "random", "macs", "uniform", "uniform_tenth"),
        ),
        f"as many epochs in all: {BASE_EPOCHS + FURTHER}": (
            *("taylor", "taylor_tenth", "uniform_all", "uniform_all_tenth"),
        ),
        "as much compute in all": (
            *("taylor", "taylor_tenth"),
            *(f"uniform_compute_{size}" for size in EQUAL_COMPUTE),
        ),
    }.items()
}

# --- the whole ------------------------------------------------------------------------------------

QUESTIONS = (FROM_TRAINED, FROM_SCRATCH)
PLANNED_TESTS = 4  # the correction counts all from the start


def parts() -> list[Part]:
    """Return the experiments of the study in the order in which they are run, seed by seed: first
    question 2, whose trainings are short, and of it the arms of its tests; of question 1 first the
    choice of the epochs."""
    return [FROM_TRAINED.part(turn=0), FROM_SCRATCH.part(turn=100, before=CHOICE)]
