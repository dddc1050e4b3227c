"""Settings of networks: those that are swept, pruned or read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from model import BUDGETS, MODELS
from utils.errors import UserError
from utils.settings.fields import WHOLE, Settings, setting
from utils.settings.storage import check_name
from utils.settings.target import check_distinct, check_target
from utils.settings.work import (
    CHANNELS,
    IMPORTED_MIN_WIDTH,
    LAYERS_HELP,
    RATIO,
    TARGET_HELP,
    refuse_both,
)


@dataclass(frozen=True, kw_only=True)
class Networks(Settings):
    """The networks that a sweep trains."""

    prune_fname: str | None = setting(
        None,
        "NeuralScale: the --save name of a search, or 'published'; with --morph, of a --morph "
        "search",
        metavar="NAME",
    )
    descent_idx: int | None = setting(
        None,
        "descent iteration, counted from 0: I is iteration I + 1 of the search",
        0,
        WHOLE,
        metavar="I",
        shown="the last one, 14 of a full search",
    )
    uniform: bool = setting(False, "uniform scaling of the template")
    morph: bool = setting(
        False, "MorphNet (Taylor-FO): the published widths, or those of --prune-fname"
    )
    convcut: bool = setting(False, "a convolution in every shortcut")
    ratios: tuple[float, ...] = setting(
        (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
        "scaling ratios",
        **RATIO,
        metavar="R",
        shown="0.25 to 2 in steps of 0.25, on TinyImageNet to 1",
        recorded=lambda networks: None if networks.target else networks.ratios,
    )
    target: tuple[str, ...] | None = setting(
        None, f"in place of ratios: {TARGET_HELP}", check=check_target, metavar="T"
    )
    budget: str | None = setting(
        None,
        "what networks are scaled to: the parameters of the ratio's uniform network, or its "
        "multiply-accumulates",
        choices=BUDGETS,
        shown="that of the search, else params; of uniform ones with --target, macs",
    )
    min_width: int | None = setting(
        None,
        "no layer gets fewer than N filters, but for those that the template has fewer of",
        metavar="N",
        shown="that of the search, else 0",
    )
    keep: tuple[str, ...] | None = setting(
        None,
        f"layers that have the template's widths at every ratio: {LAYERS_HELP}",
        metavar="LAYER",
        shown="those of the search, else none",
    )
    round_to: int = setting(
        1,
        "widths are multiples of N, 8 is what hardware likes, within the same budget",
        1,
        1024,
        metavar="N",
    )

    def __post_init__(self) -> None:
        """Check settings that depend on each other. Raises UserError."""
        super().__post_init__()
        if not self.ratios:
            raise UserError("--ratios: there must be at least one")
        if self.target is not None:
            check_distinct(self.target)
        if self.uniform + self.morph > 1 or (self.uniform and self.prune_fname):
            raise UserError(
                "give one of --uniform, --morph [--prune-fname NAME] and --prune-fname NAME"
            )
        if self.descent_idx is not None and (self.uniform or self.morph):
            raise UserError("--descent-idx goes with --prune-fname NAME alone")

    def with_overrides(self, given: Mapping[str, Any]) -> Networks:
        """Return these settings with those ``given``. Raises UserError."""
        refuse_both(given, "ratios")
        return super().with_overrides(given)


@dataclass(frozen=True, kw_only=True)
class BaseNetwork(Settings):
    """The base network of the magnitude baseline."""

    ratio: float = setting(1.0, "scale the template's widths first", **RATIO)


@dataclass(frozen=True, kw_only=True)
class NetworkSize(BaseNetwork):
    """The size of one network."""

    target: str | None = setting(
        None, f"in place of the ratio: {TARGET_HELP}", check=check_target, metavar="T"
    )

    def with_overrides(self, given: Mapping[str, Any]) -> NetworkSize:
        """Return these settings with those ``given``. Raises UserError."""
        refuse_both(given, "ratio")
        return super().with_overrides(given)


@dataclass(frozen=True, kw_only=True)
class PrunedNetwork(NetworkSize):
    """The base network that the magnitude baseline prunes, and the size that it prunes to."""

    prune_fname: str = setting(
        MISSING,
        "the --save name that train_norm.py gave the base network",
        check=check_name,
        required=True,
        metavar="NAME",
    )
    ratio: float = setting(0.75, "prune to the budget of this uniform scaling", **RATIO)
    budget: str | None = setting(
        None,
        "what that is: its parameters, or its multiply-accumulates",
        choices=BUDGETS,
        shown="params; with --target, macs",
    )
    min_width: int | None = setting(
        None,
        "leave every layer N filters, or as many as it has if these are fewer",
        metavar="N",
        shown=f"{IMPORTED_MIN_WIDTH} for networks given by name, 0 for {', '.join(MODELS)}",
    )
    keep: tuple[str, ...] = setting(
        (), f"layers that are not pruned (default: none): {LAYERS_HELP}", metavar="LAYER"
    )


@dataclass(frozen=True, kw_only=True)
class NetworkShape(Settings):
    """The classes and images that a network is read for."""

    num_classes: int | None = setting(
        None, "classes", 1, 10**6, metavar="N", shown="those of --dataset, else 10"
    )
    image_size: int | tuple[int, ...] | None = setting(
        None,
        "pixels of a side of the images, or of both, height x width",
        1,
        10**4,
        metavar="S|HxW",
        shown="those of --dataset",
        sides=True,
    )
    channels: int | None = setting(
        None,
        "channels of the images: 1 is grey, 3 is colour",
        choices=CHANNELS,
        shown="those that the network takes of --dataset",
    )
