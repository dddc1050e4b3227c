"""The sizes of networks, in options and in results."""

from collections.abc import Mapping
from typing import Any

from utils.errors import UserError
from utils.settings import Limit, Networks, NetworkSize, PrunedNetwork, Size, Target, shortest


def sizes_asked(networks: Networks, budget: str) -> tuple[Size, ...]:
    """Return the sizes of a sweep: its targets, in the unit of ``budget``, or else its ratios."""
    if networks.target is None:
        return networks.ratios
    return tuple(Limit(Target.parse(text), budget) for text in networks.target)


def size_asked(network: NetworkSize, budget: str) -> Size:
    """Return the size of one network: its target, in the unit of ``budget``, or else its ratio."""
    return Limit(Target.parse(network.target), budget) if network.target else network.ratio


def budget_asked(pruned: PrunedNetwork) -> str:
    """Return the unit of a fine-tuning: as given, else MACs for a target, else parameters."""
    return pruned.budget or ("macs" if pruned.target else "params")


def size_options(size: Size) -> list[str]:
    """The options by which a script is asked for one network of this size."""
    if isinstance(size, Limit):
        return ["--target", str(size.target), "--budget", size.budget]
    return ["--ratio", shortest(size)]


def size_of(result: Mapping[str, Any]) -> Size:
    """Return the size that a result's network was scaled to: its target, or else its ratio.

    Raises UserError for an invalid target.
    """
    if "target" not in result:
        ratio: float = result["ratio"]
        return ratio
    if not isinstance(result["target"], str):
        raise UserError("target")
    return Limit(Target.parse(result["target"]), result.get("budget", "params"))
