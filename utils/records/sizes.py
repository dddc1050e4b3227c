"""How large networks are: as options ask for it, and as results say it."""

from collections.abc import Mapping
from typing import Any

from utils.errors import UserError
from utils.settings import Limit, Networks, NetworkSize, Size, Target


def sizes_asked(networks: Networks, budget: str) -> tuple[Size, ...]:
    """The sizes of a sweep: its targets, in the unit of ``budget``, else its ratios."""
    if networks.target is None:
        return networks.ratios
    return tuple(Limit(Target.parse(text), budget) for text in networks.target)


def size_asked(network: NetworkSize, budget: str) -> Size:
    """The size of one network: its target, in the unit of ``budget``, else its ratio."""
    return Limit(Target.parse(network.target), budget) if network.target else network.ratio


def size_of(result: Mapping[str, Any]) -> Size:
    """What the network of a result was scaled to: its target, else its ratio. Raises UserError for
    a target that is none."""
    if "target" not in result:
        ratio: float = result["ratio"]
        return ratio
    if not isinstance(result["target"], str):
        raise UserError("target")
    return Limit(Target.parse(result["target"]), result.get("budget", "params"))
