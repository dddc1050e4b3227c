"""Settings of a whole experiment, a search and all its trainings; and of where it runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model import BUDGETS
from utils.errors import UserError
from utils.settings.fields import Settings, setting
from utils.settings.storage import PUBLISHED, check_name
from utils.settings.target import check_distinct, check_target
from utils.settings.work import RATIO, TARGET_HELP, Task, refuse_both

METHODS = ("neuralscale", "uniform", "morph", "magnitude", "prune")  # and neuralscale_N
SHOWN = ", ".join((METHODS[0], "neuralscale_N", *METHODS[1:]))
CLUSTERS = ("local", "slurm")


def check_method(name: str) -> str:
    """Return ``name`` if it is a method. Raises UserError."""
    if name not in METHODS and not re.fullmatch(r"neuralscale_[1-9]\d{0,3}", name):
        raise UserError(f"{name!r} is none of {SHOWN}")
    return name


def check_search(name: str) -> str:
    """Return ``name`` if it can name a search. Raises UserError."""
    return name if name == PUBLISHED else check_name(name)


@dataclass(frozen=True, kw_only=True)
class Experiment(Task):
    """A training for each method, seed and ratio, and the jobs that these need first."""

    name: str | None = setting(
        None,
        "call the runs NAME_<method>_<seed>, so that several experiments share their folders",
        metavar="NAME",
        check=check_name,
        shown="the README's names",
    )
    search: str | None = setting(
        None,
        "the search that NeuralScale's networks are of, begun if it does not exist; "
        "'published': the paper's",
        metavar="NAME",
        check=check_search,
    )
    morph_search: str | None = setting(
        None,
        "the --morph search that MorphNet's networks are of, begun if it does not exist",
        metavar="NAME",
        check=check_name,
        shown="the published widths",
    )
    methods: tuple[str, ...] = setting(
        ("neuralscale", "uniform"),
        f"of {SHOWN}; neuralscale is the last iteration of a search, neuralscale_N its N-th, "
        "magnitude a base network and its fine-tuning at each smaller ratio, prune that base "
        "network, or --weights, made smaller by prune.py to each target",
        check=check_method,
        metavar="METHOD",
        shown="neuralscale uniform",
    )
    seeds: tuple[int, ...] = setting(
        (0, 1, 2, 3, 4), "a training of each", 0, 10**9 - 1, metavar="X", shown="0 to 4"
    )
    ratios: tuple[float, ...] | None = setting(
        None,
        "scaling ratios",
        **RATIO,
        metavar="R",
        shown="0.25 to 2 in steps of 0.25, on TinyImageNet to 1",
    )
    target: tuple[str, ...] | None = setting(
        None, f"in place of ratios: {TARGET_HELP}", check=check_target, metavar="T"
    )
    weights: str | None = setting(
        None,
        "the trained network that --methods prune begins with, as prune.py takes it",
        metavar="FILE",
        shown="a base network, trained first",
    )
    base: str | None = setting(
        None,
        "the base network that magnitude and prune begin with, trained if it does not exist",
        metavar="NAME",
        check=check_name,
        shown="made of the model and the data set",
    )
    base_ratio: float = setting(
        1.0,
        "scale the template of the base network of magnitude and prune",
        **RATIO,
        metavar="R",
    )
    base_seed: int = setting(0, "seed of the base network", 0, 10**9 - 1, metavar="X")
    budget: str | None = setting(
        None,
        "what all networks are scaled to: parameters or multiply-accumulates",
        choices=BUDGETS,
        shown="as ratio_swipe.py; with --target, that of the search, else macs",
    )
    limit_train: int | None = setting(
        None, "search and train on N images, equally many of each class", 1, metavar="N"
    )
    limit_test: int | None = setting(
        None, "test on N images, equally many of each class", 1, metavar="N"
    )
    validate: int | None = setting(
        None,
        "hold N training images out of all jobs, equally many of each class; accuracy on them "
        "is reported too",
        1,
        metavar="N",
    )
    amp: bool = setting(False, "bfloat16 autocast")
    search_with: tuple[str, ...] | None = setting(
        None,
        "settings of the searches: options of architecture_descent.py without their "
        "dashes, as in warmup=5 prune-every=10",
        metavar="KEY=VALUE",
    )
    train_with: tuple[str, ...] | None = setting(
        None,
        "settings of the trainings from scratch, as in epochs=30 batch-size=64",
        metavar="KEY=VALUE",
    )
    tune_with: tuple[str, ...] | None = setting(
        None, "settings of the magnitude baseline's fine-tunings", metavar="KEY=VALUE"
    )
    prune_with: tuple[str, ...] | None = setting(
        None,
        "settings of prune.py, as in epochs=15 criterion=magnitude uniform",
        metavar="KEY=VALUE",
    )

    def with_overrides(self, given: Mapping[str, Any]) -> Experiment:
        """Return these settings with those ``given``. Raises UserError."""
        refuse_both(given, "ratios")
        return super().with_overrides(given)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target is not None:
            check_distinct(self.target)
        for name in ("methods", "seeds", "ratios"):
            values = getattr(self, name)
            if values is not None and len(set(values)) < max(1, len(values)):
                raise UserError(
                    f"--{name} {' '.join(map(str, values))}: "
                    + ("one of them is there twice" if values else "there is none")
                )


@dataclass(frozen=True, kw_only=True)
class Cluster(Settings):
    """The place where the jobs of an experiment run."""

    cluster: str = setting(
        "local", "local: on this machine; slurm: through sbatch", choices=CLUSTERS
    )
    jobs: int | None = setting(
        None,
        "at most N jobs at once",
        1,
        100_000,
        metavar="N",
        shown="on this machine 1, on Slurm all",
    )
    gpus: int | None = setting(
        None, "on this machine: share N GPUs out, one to a job", 1, 1000, metavar="N"
    )
    slurm: tuple[str, ...] | None = setting(
        None,
        "options of sbatch, as in partition=gpu gres=gpu:1 time=08:00:00; a job that needs longer "
        "than its time goes on in another of that length",
        metavar="KEY=VALUE",
    )
