"""A module that runs a graph, also where parts of the network have names that Python or torch.fx
reserves: code, graph, class."""

from __future__ import annotations

import copy
import keyword
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from torch import fx, nn


def graph_module(network: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """Return a module that runs ``graph`` with the parts of ``network``.

    Parts whose names are reserved get other names in it.
    """
    graph = copy.deepcopy(graph)
    nodes = [node for node in graph.nodes if node.op in ("call_module", "get_attr")]
    others = other_paths(str(node.target) for node in nodes)
    if all(path == other for path, other in others.items()):
        return fx.GraphModule(network, graph)
    parts: dict[str, Any] = {}
    for node in nodes:
        path = str(node.target)
        node.target = others[path]
        parts[node.target] = attrgetter(path)(network)
    return fx.GraphModule(parts, graph)


def other_paths(paths: Iterable[str]) -> dict[str, str]:
    """Return the path that each of these has where names are not reserved; most have their own."""
    paths = list(paths)
    others = other_names(paths)
    return {path: ".".join(others.get(part, part) for part in path.split(".")) for path in paths}


def other_names(paths: Iterable[str]) -> dict[str, str]:
    """Return other names for the parts of these paths whose names are reserved."""
    split = [path.split(".") for path in paths]
    there, found = {part for parts in split for part in parts}, dict[str, str]()
    for parts in split:
        for place, part in enumerate(parts):
            if keyword.iskeyword(part) or (place == 0 and part in CLAIMED):
                other = f"{part}_"
                while other in there:
                    other += "_"
                found[part] = other
    return found


CLAIMED = set(dir(fx.GraphModule(nn.Module(), fx.Graph())))
