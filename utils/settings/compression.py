"""Settings of the pruning of a trained network."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

from model import BUDGETS, MODELS
from utils.errors import UserError
from utils.settings.fields import WHOLE, Settings, setting
from utils.settings.target import check_target
from utils.settings.work import IMPORTED_MIN_WIDTH, LAYERS_HELP, TrainingSettings

CRITERIA = ("taylor", "magnitude", "random")


@dataclass(frozen=True, kw_only=True)
class PruningSettings(TrainingSettings):
    """The training in which a network is pruned."""

    epochs: int = setting(30, "epochs, those of the pruning included", 1, 100_000)
    lr: float = setting(
        0.1, "initial learning rate, divided by 10 at each of --milestones", 0, 100, above=True
    )
    milestones: tuple[float, ...] = setting(
        (0.5, 0.75, 0.9),
        "where the learning rate falls, as parts of the epochs",
        0,
        1,
        metavar="F",
        shown="0.5 0.75 0.9",
    )
    prune_part: float = setting(
        0.2,
        "the first part of the epochs, in which filters are pruned",
        0,
        1,
        above=True,
        metavar="F",
    )
    prune_rounds: int = setting(
        30, "pruning rounds in that time, at most one a batch", 1, 100_000, metavar="N"
    )


@dataclass(frozen=True, kw_only=True)
class Compression(Settings):
    """The network that is pruned, its target, its widths, and the criterion."""

    weights: str = setting(
        MISSING,
        "the trained weights: a file with a state_dict (.pt, .pth, .safetensors), or one of "
        "saved_models/",
        metavar="FILE",
        required=True,
    )
    target: str = setting(
        MISSING,
        "how large the network may be in the end: 25%% of what it is, or 300k, 50M, 1.2G",
        check=check_target,
        metavar="T",
        required=True,
    )
    budget: str | None = setting(
        None,
        "what --target is of: parameters or multiply-accumulates",
        choices=BUDGETS,
        shown="that of the search whose widths are used, else macs",
    )
    criterion: str = setting(
        "taylor",
        "which filters stay: those that matter most to the loss, those with the largest weights, "
        "or any (what a criterion has to beat)",
        choices=CRITERIA,
    )
    uniform: bool = setting(
        False,
        "prune every layer by the same part, in place of the widths that the criterion leaves",
    )
    prune_fname: str | None = setting(
        None,
        "prune to the widths of a search's power law: its --save name, or 'published'; with "
        "--morph, to those of a --morph search",
        metavar="NAME",
    )
    descent_idx: int | None = setting(
        None,
        "with --prune-fname: descent iteration, counted from 0",
        0,
        WHOLE,
        metavar="I",
        shown="the last one",
    )
    morph: bool = setting(
        False, "prune to MorphNet's widths: the published ones, or those of --prune-fname"
    )
    min_width: int | None = setting(
        None,
        "leave every layer N filters, or as many as it has if these are fewer",
        metavar="N",
        shown="that of the search whose widths are used, else "
        f"{IMPORTED_MIN_WIDTH} for networks given by name, 1 for {', '.join(MODELS)}",
    )
    keep: tuple[str, ...] | None = setting(
        None,
        f"layers that are not pruned: {LAYERS_HELP}",
        metavar="LAYER",
        shown="those of the search whose widths are used, else none",
    )
    round_to: int = setting(
        1,
        "widths are multiples of N, 8 is what hardware likes, within the same target",
        1,
        1024,
        metavar="N",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.uniform and (self.morph or self.prune_fname):
            raise UserError(
                "give one of --uniform, --morph [--prune-fname NAME] and --prune-fname NAME, "
                "or none: the criterion's own widths"
            )
        if self.descent_idx is not None and (self.morph or not self.prune_fname):
            raise UserError("--descent-idx goes with --prune-fname NAME alone")
