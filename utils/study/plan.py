"""The study as data: its parts, and the experiments that each of its tables compares."""

from __future__ import annotations

from typing import Any

from utils.study.parts import BASES, FIRST, Entry, Part, PartBuilder, Table, later

FIRST_AND_LAST = ("neuralscale_1", "neuralscale_5")
FIRST_ALONE, LAST_ALONE = FIRST_AND_LAST[:1], FIRST_AND_LAST[1:]
BETWEEN = ("neuralscale_3",)
BY_MACS, BY_PARAMS = "NeuralScale by MACs", "NeuralScale by parameters"
HELD_AGAINST = ("main", "descent", "tries", "paper", "cheap", "alike")
MIDDLE = 0.125
MAIN = ("main",)

# --- vgg on CIFAR10 -------------------------------------------------------------------------------

ON_CIFAR10 = PartBuilder(
    "vgg_c10",
    {
        "model": "vgg",
        "dataset": "CIFAR10",
        "seeds": (0, 1, 2, 3, 4),
        "limit_train": 10_000,
        "validate": 2_000,
        "train_with": ("epochs=15", "batch-size=64"),
    },
    (0.0625, 0.125),
    ("ratio=0.25", "iterations=5", "batch-size=64"),
)
WIDE = (0.25,)


def vgg_on_cifar10() -> Part:
    """Return the part of vgg on CIFAR10."""
    ratios = ON_CIFAR10.ratios
    tables = (
        Table("main", "At one ratio", (MIDDLE,), costs=True),
        Table("main", "All methods"),
        Table("again", "By MACs again, with five other seeds of the training, 5 to 9", ratios),
        Table("both", "By MACs, all seeds together", ratios),
        Table(
            "alike",
            "Against uniform networks that were trained on the same kind of processor",
            WIDE,
            BASES,
        ),
        Table("descent", "Does descending help?", (MIDDLE,), FIRST, costs=True),
        Table("tries", "What could make a search by MACs better?", ratios, BY_MACS),
        Table("paper", "What could make a search by parameters better?", ratios, BY_PARAMS),
        Table("cheap", "How cheap can a search be?", WIDE, BY_PARAMS, costs=True),
    )

    return Part(
        "vgg_CIFAR10",
        "vgg on CIFAR10",
        "Images recompressed as JPEG: 10,000 to train on, 2,000 held out, 10,000 to test on; 15 "
        "epochs in batches of 64, seeds 0 to 4 (5 to 9 where it says so); searches of 5 iterations "
        "from ratio 0.25: 10 epochs of warm-up, then 10 filters every 50 batches of 64",
        MIDDLE,
        tables,
        (*methods(), *searches_by_macs(), *other_seeds(), *searches_by_params(), *cheap_searches()),
    )


def methods() -> list[Entry]:
    """Return all methods, at the ratios of the part and wider, and the descent's iterations."""
    task, main = ON_CIFAR10, ("main", "descent", "tries", "both")
    wide: dict[str, Any] = {"ratios": WIDE, "at": "_wide"}
    between: dict[str, Any] = {"ratios": (MIDDLE,), "at": "_between"}

    return [
        task.uniform((0.05, 0.0625, 0.125, 0.1875, 0.25, 0.375), (*HELD_AGAINST, "both")),
        *task.searched(BY_MACS, "macs", FIRST_AND_LAST, main, "budget=macs"),
        *task.searched(BY_PARAMS, "params", FIRST_AND_LAST, ("main", "descent", "paper")),
        *later(1, task.morph((0.0625, 0.125, 0.25), MAIN)),
        *later(1, task.magnitude(0.25, MAIN)),
        *later(1, task.bases(0.25, ("alike",))),
        *later(7, task.magnitude(0.25, MAIN, "lr=0.01", at="_faster", tuned=", at 0.01")),
        *later(
            3,
            task.searched(BY_PARAMS, "params", FIRST_AND_LAST, ("main", "cheap", "alike"), **wide),
        ),
        # networks that are wide by parameters go this far in MACs
        *later(3, [task.uniform((0.5,), HELD_AGAINST, at="_wide")]),
        *later(
            5,
            task.searched(
                BY_MACS, "macs", FIRST_AND_LAST, ("main", "alike"), "budget=macs", **wide
            ),
        ),
        *later(
            5, task.searched(BY_MACS, "macs", BETWEEN, ("descent",), "budget=macs", **between)[:1]
        ),
        *later(5, task.searched(BY_PARAMS, "params", BETWEEN, ("descent",), **between)[:1]),
    ]


def searches_by_macs() -> list[Entry]:
    """Return variants of the search by MACs."""
    task, common = ON_CIFAR10, (LAST_ALONE, "tries", "budget=macs")
    return [
        *task.tried("by MACs, cost exponent 1/2", "half", *common, "cost-exponent=0.5"),
        *task.tried("by MACs, cost exponent 0", "zero", *common, "cost-exponent=0"),
        *task.tried("by MACs, cost exponent 3/2", "more", *common, "cost-exponent=1.5"),
        *task.tried(
            "by MACs, fitted to the first half of the rows", "early", *common, "fit-rows=0.5"
        ),
        *task.tried("by MACs, cost at a round's end", "end", *common, "cost-at=end"),
        *task.tried("by MACs, 4 times the images per round", "slow", *common, "prune-every=200"),
    ]


def other_seeds() -> list[Entry]:
    """Return the search by MACs and uniform networks, with other seeds of the training."""
    task, tables = ON_CIFAR10, ("again", "both")
    fresh: dict[str, Any] = {"at": "_again", "seeds": (5, 6, 7, 8, 9)}
    return [
        task.uniform((0.05, 0.0625, 0.125, 0.1875), tables, **fresh),
        *task.searched(BY_MACS, "macs", LAST_ALONE, tables, "budget=macs", **fresh),
    ]


def searches_by_params() -> list[Entry]:
    """Return variants of the search by parameters."""
    task, common = ON_CIFAR10, (FIRST_ALONE, "paper", "iterations=1")
    early = task.tried(
        "by parameters, fitted to the first half of the rows",
        "early_params",
        *common,
        "fit-rows=0.5",
    )
    slow = task.tried(
        "by parameters, 4 times the images per round", "slow_params", *common, "prune-every=200"
    )
    return [*later(6, early), *later(7, slow)]


def cheap_searches() -> list[Entry]:
    """Return searches by parameters of other costs."""
    task, tables = ON_CIFAR10, ("cheap",)
    label, name = "by parameters, from ratio 0.125", "narrow"
    narrow = ("ratio=0.125", "prune-step=5")
    few = task.searched(
        "by parameters, with a third of the images",
        "few",
        FIRST_ALONE,
        tables,
        "limit-train=3330",
        "prune-every=17",
        "iterations=1",
        ratios=WIDE,
    )
    wide = task.searched(
        "by parameters, from ratio 0.5",
        "wide",
        FIRST_ALONE,
        tables,
        "ratio=0.5",
        "prune-step=20",
        "iterations=1",
        ratios=WIDE,
    )

    return [
        *later(4, task.searched(label, name, FIRST_ALONE, tables, *narrow, ratios=WIDE)),
        *later(8, task.searched(label, name, LAST_ALONE, tables, *narrow, ratios=WIDE)[:1]),
        *later(4, few),
        *later(4, wide[:1]),
    ]


# --- mobilenetv2 on CIFAR100 ----------------------------------------------------------------------

ON_CIFAR100 = PartBuilder(
    "mobilenetv2_c100",
    {
        "model": "mobilenetv2",
        "dataset": "CIFAR100",
        "seeds": (0, 1, 2, 3, 4),
        "limit_train": 8_000,
        "validate": 2_000,
        "train_with": ("epochs=15", "batch-size=64"),
    },
    (0.125, 0.25),
    ("ratio=0.25", "iterations=5", "batch-size=64", "prune-every=10"),
)


def mobilenetv2_on_cifar100() -> Part:
    """Return the part of mobilenetv2 on CIFAR100."""
    task, middle, main = ON_CIFAR100, MIDDLE, MAIN
    tables = (
        Table("main", "At one ratio", (middle,), costs=True),
        Table("main", "All methods"),
        Table("descent", "Does descending help?", (middle,), FIRST, costs=True),
    )

    entries = [
        *later(2, [task.uniform((0.1, 0.125, 0.1875, 0.25, 0.375, 0.5), HELD_AGAINST)]),
        *later(
            2, task.searched(BY_MACS, "macs", FIRST_AND_LAST, ("main", "descent"), "budget=macs")
        ),
        *later(
            2,
            task.searched(
                BY_PARAMS, "params", FIRST_AND_LAST, ("main", "descent"), ratios=(middle,)
            ),
        ),
        *later(6, task.morph((middle,), main)),
        *later(6, task.magnitude(0.375, main)),
    ]

    return Part(
        "mobilenetv2_CIFAR100",
        "mobilenetv2 on CIFAR100",
        "A subset of the images: 80 of each class to train on, 20 held out, 20 to test on; 15 "
        "epochs in batches of 64, seeds 0 to 4; searches of 5 iterations from ratio 0.25: 10 "
        "epochs of warm-up, then 10 filters every 10 batches of 64",
        middle,
        tables,
        tuple(entries),
        drawn=False,
    )


def mobilenetv2_for_longer() -> Part:
    """Return the same with three times the epochs: does a search lose in short trainings alone?"""
    task, middle, main = ON_CIFAR100, MIDDLE, MAIN
    longer: dict[str, Any] = {"at": "_long", "train_with": ("epochs=45", "batch-size=64")}

    entries = [
        *later(3, [task.uniform((0.1, 0.125), main, **longer)]),
        *later(
            3, task.searched(BY_PARAMS, "params", FIRST_ALONE, main, ratios=(middle,), **longer)[:1]
        ),
    ]
    return Part(
        "mobilenetv2_CIFAR100_long",
        "mobilenetv2 on CIFAR100, trained three times as long",
        "The same images and a search of before; 45 epochs in batches of 64, seeds 0 to 4",
        middle,
        (Table("main", "At one ratio", (middle,)),),
        tuple(entries),
        drawn=False,
    )


# --- vgg on digits --------------------------------------------------------------------------------


def digits() -> Part:
    """Return a study of minutes, on images that need no download."""
    task = PartBuilder(
        "digits",
        {
            "model": "vgg",
            "dataset": "digits",
            "seeds": (0, 1),
            "limit_train": 600,
            "validate": 200,
            "train_with": ("epochs=6", "batch-size=32"),
        },
        (0.125,),
        (
            "ratio=0.125",
            "iterations=2",
            "warmup=3",
            "prune-every=1",
            "prune-step=5",
            "batch-size=32",
        ),
    )

    entries = [
        task.uniform((0.0625, 0.125, 0.1875), ("main", "descent")),
        *task.searched(
            BY_MACS, "macs", ("neuralscale_1", "neuralscale_2"), ("main", "descent"), "budget=macs"
        ),
    ]
    tables = (
        Table("main", "At one ratio", (0.125,)),
        Table("main", "All methods"),
        Table("descent", "Does descending help?", (0.125,), FIRST),
    )

    return Part(
        "digits",
        "vgg on digits",
        "600 training images, 200 others held out; 6 epochs in batches of 32, seeds 0 and 1; "
        "searches of 2 iterations from ratio 0.125: 3 epochs of warm-up, then 5 filters after "
        "every batch",
        0.125,
        tables,
        tuple(entries),
    )


STUDIES = {
    "full": (vgg_on_cifar10, mobilenetv2_on_cifar100, mobilenetv2_for_longer),
    "digits": (digits,),
}


def study(name: str, data: str) -> list[Part]:
    """Return the parts of a study, with their images as folders below ``data`` if there are any."""
    return [part().on(data) for part in STUDIES[name]]
