"""The graph of a network (torch.fx): what it does, whatever its code looks like."""
from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from model.errors import UnreadableNetwork
from model.gate import Gate, GatedBatchNorm2d
from model.operations import known
from model.selection import Selection
from model.widths import Literal


class Tracer(fx.Tracer):
    """Goes into every module of other people's whose operation is not known as a whole."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        whole = isinstance(module, (Gate, GatedBatchNorm2d, Selection, ByMode)) or known(module) is not None
        return whole or super().is_leaf_module(module, name)


class ByMode(nn.Module):
    """A function that is told whether the network is in training: dropout, as a graph alone can't hold it.

    ``place`` is the argument, by its number or name, that says so.
    """

    def __init__(self, function: Any, place: int | str):
        super().__init__()
        self.function, self.place = function, place

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        if isinstance(self.place, str):
            return self.function(*args, **{**kwargs, self.place: self.training})
        return self.function(*args[: self.place], self.training, *args[self.place + 1 :], **kwargs)


def trace(network: nn.Module) -> fx.Graph:
    """The graph of a network as it is in evaluation, with what is drawn at random in training. Raises UnreadableNetwork.

    Modules ``mode_<n>`` are added to the network where a function is told whether it is training.
    """
    training, graphs = network.training, []
    for mode in (True, False):
        network.train(mode)
        try:
            graphs.append(Tracer().trace(network))
        except Exception as error:  # whatever a network's own code does with what is no tensor
            reason = " ".join(str(error).split())[:150]
            where = _where(error)
            raise UnreadableNetwork(f"torch.fx can't trace it{where} ({type(error).__name__}: {reason}); what it does must not depend on "
                                    "the images") from None
        finally:
            network.train(training)
    train, graph = graphs
    if [(node.op, node.name) for node in train.nodes] == [(node.op, node.name) for node in graph.nodes]:
        for number, (one, node) in enumerate(zip(train.nodes, graph.nodes)):
            place = _mode_of(one, node)
            if place is not None:
                network.add_module(f"mode_{number}", ByMode(node.target, place))
                node.op, node.target = "call_module", f"mode_{number}"
    return graph


def _where(error: Exception) -> str:
    """The line of the network's own code in which tracing it failed."""
    frames, step = [], error.__traceback__
    while step:
        frames.append((step.tb_frame.f_code.co_filename, step.tb_lineno))
        step = step.tb_next
    own = [(name, line) for name, line in frames if "/torch/" not in name and not name.endswith("model/tracing.py")]
    return f" at {own[-1][0]}:{own[-1][1]}" if own else ""


def _mode_of(train: fx.Node, evaluate: fx.Node) -> int | str | None:
    """The argument of a function that is True in training and False in evaluation, if there is one."""
    if train.op != "call_function":
        return None
    places: list[tuple[int | str, Any, Any]] = [(i, a, b) for i, (a, b) in enumerate(zip(train.args, evaluate.args))]
    places += [(name, train.kwargs[name], evaluate.kwargs.get(name)) for name in train.kwargs]
    return next((place for place, a, b in places if a is True and b is False), None)


def on_meta(network: nn.Module) -> nn.Module:
    """A copy of a network that computes shapes and no numbers."""
    tensors = [*network.parameters(), *network.buffers()]
    memo: dict[int, Any] = {id(tensor): nn.Parameter(tensor.detach().to("meta"), requires_grad=False) if isinstance(tensor, nn.Parameter)
                            else tensor.to("meta") for tensor in tensors}
    return copy.deepcopy(network, memo).eval()


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Whatever is drawn inside, what follows draws as if nothing had been."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)


def write_literals(graph: fx.Graph, literals: Iterable[Literal], channels: Mapping[str, int]) -> None:
    """Puts the channels that results now have where a graph has numbers for them."""
    nodes = {node.name: node for node in graph.nodes}
    for literal in literals:
        node, (place, *inside) = nodes[literal.node], literal.place
        value: Any = channels[literal.of]
        if inside:
            sizes = list(node.kwargs[place] if isinstance(place, str) else node.args[place])  # type: ignore[arg-type]
            sizes[inside[0]] = value
            value = sizes
        if isinstance(place, str):
            node.update_kwarg(place, value)
        else:
            node.update_arg(place, value)
