"""Traces a network to its graph (torch.fx)."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy

from model.errors import UnreadableNetwork
from model.gate import Gate, GatedBatchNorm2d
from model.graph.channels import Literal
from model.graph.in_place import rewire_inplace_ops
from model.graph.selection import Selection
from model.graph.tracer import ModuleCall, Tracer
from model.graph.whole import no_dimension_checks
from model.images import ImageSize


class Traced(NamedTuple):
    """The graph of a network in evaluation.

    ``whole`` is True if it does nothing else in training; ``calls`` are those of its modules, in
    order.
    """

    graph: fx.Graph
    whole: bool
    calls: list[ModuleCall]


class TrainingFlagCall(nn.Module):
    """A function with an argument for training, such as dropout, which a graph alone can't hold.

    ``place`` is the number or name of that argument.
    """

    def __init__(self, function: Any, place: int | str):
        super().__init__()
        self.function, self.place = function, place

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        if isinstance(self.place, str):
            return self.function(*args, **{**kwargs, self.place: self.training})
        return self.function(*args[: self.place], self.training, *args[self.place + 1 :], **kwargs)


# modules of this project that a graph has as they are
WHOLE = (Gate, GatedBatchNorm2d, Selection, TrainingFlagCall)


def trace(network: nn.Module, image_size: ImageSize | None = None) -> Traced:
    """Return the graph of a network in evaluation, with its random operations in training.

    The result also says whether that is all that the network does in training, which auxiliary
    heads are not. Where code depends on the shapes of results, the graph is for images of
    ``image_size`` pixels. Modules ``mode_<n>`` are added to the network for functions with an
    argument for training. Raises UnreadableNetwork.
    """
    refuse_hidden_code(network)
    try:
        buffers, (graph, calls) = True, traced(network, image_size, training=False, buffers=True)
    except UnreadableNetwork:  # it may depend on the content of a buffer
        buffers, (graph, calls) = False, traced(network, image_size, training=False, buffers=False)

    # in training it may do more
    try:
        train, _ = traced(network, image_size, training=True, buffers=buffers)
    except UnreadableNetwork:  # its own code is what is trained
        train = fx.Graph()

    alike = list(_alike(train, graph))
    for number, (one, node) in enumerate(alike):
        place = _mode_of(one, node)
        if place is not None:
            name = free_name(network, f"mode_{number}")
            network.add_module(name, TrainingFlagCall(node.target, place))
            node.op, node.target = "call_module", name
    rewire_inplace_ops(network, graph)
    return Traced(graph, len(alike) == len(train.nodes) == len(graph.nodes), calls)


def traced(
    network: nn.Module, image_size: ImageSize | None, training: bool, buffers: bool
) -> tuple[fx.Graph, list[ModuleCall]]:
    """Return the graph in training or in evaluation, with the calls of modules.

    Raises UnreadableNetwork.
    """
    try:
        with untouched(network), no_dimension_checks():
            network.train(training)
            tracer = Tracer(network, WHOLE, image_size, buffers)
            return tracer.trace(network), tracer.calls
    except Exception as error:  # whatever a network's own code does with what is no tensor
        reason = " ".join(str(error).split())[:150]
        raise UnreadableNetwork(
            f"torch.fx can't trace it{own_line(error)} ({type(error).__name__}: {reason}); what it "
            "does must not depend on the images"
        ) from None


KEEPS = (dict, list, set)  # in which a module may keep results


@contextlib.contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Restore whatever a forward pass keeps in the network's modules."""
    parts = ("_parameters", "_buffers", "_modules")
    before = [
        (module, dict(vars(module)), [dict(vars(module)[part]) for part in parts])
        for module in network.modules()
    ]
    held_in = [
        (value, type(value)(value))
        for module in network.modules()
        for value in vars(module).values()
        if type(value) in KEEPS
    ]

    tensors = {tensor: tensor.clone() for tensor in network.buffers() if not tensor.is_meta}
    try:
        yield
    finally:
        # constants of the graph, which tracing has added
        constants = {
            name: value
            for name, value in vars(network).items()
            if name.startswith("_tensor_constant")
        }

        # attributes, then the contents of what they hold, then buffers
        for module, attributes, held in before:
            vars(module).clear()
            vars(module).update(attributes)
            for part, values in zip(parts, held):
                vars(module)[part].clear()
                vars(module)[part].update(values)
        vars(network).update(constants)
        for value, contents in held_in:
            value.clear()
            (value.extend if isinstance(value, list) else value.update)(contents)
        with torch.no_grad():
            for tensor, value in tensors.items():
                if not torch.equal(tensor, value):
                    tensor.copy_(value)


def free_name(network: nn.Module, name: str) -> str:
    """Return ``name``, with as many _ added as make it free."""
    return free_name(network, f"{name}_") if hasattr(network, name) else name


def refuse_hidden_code(network: nn.Module) -> None:
    """Raise UnreadableNetwork for anything that changes results or weights outside the graph."""
    for name, module in network.named_modules():
        where = f"{type(module).__name__} ({name})" if name else "the network"
        if any(is_lazy(parameter) for parameter in module.parameters(recurse=False)):
            raise UnreadableNetwork(
                f"{where} has weights without a shape yet; say how many channels it takes"
            )
        if module._forward_hooks or module._forward_pre_hooks:
            raise UnreadableNetwork(
                f"{where} has hooks, which a graph does not show; put what they do into the "
                "forward pass"
            )
        if hasattr(module, "parametrizations"):
            raise UnreadableNetwork(
                f"{where} has weights that are computed from others (parametrizations); make "
                "them plain ones"
            )


def _alike(train: fx.Graph, evaluate: fx.Graph) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Return pairs of nodes that a network has in training and in evaluation alike."""
    one, other = list(train.nodes), list(evaluate.nodes)
    ours, theirs = ([f"{node.op} {node.target}" for node in nodes] for nodes in (one, other))
    if ours == theirs:
        yield from zip(one, other)
        return
    for a, b, size in difflib.SequenceMatcher(
        None, ours, theirs, autojunk=False
    ).get_matching_blocks():
        yield from zip(one[a : a + size], other[b : b + size])


def own_line(error: Exception) -> str:
    """Return the line of the network's own code in which tracing failed, for messages."""
    frames, step = [], error.__traceback__
    while step:
        frames.append((step.tb_frame.f_code.co_filename, step.tb_lineno))
        step = step.tb_next

    own = [
        (name, line)
        for name, line in frames
        if "/torch/" not in name and "/model/graph/trace" not in name
    ]
    return f" at {own[-1][0]}:{own[-1][1]}" if own else ""


def _mode_of(train: fx.Node, evaluate: fx.Node) -> int | str | None:
    """Return the argument of a function that is True in training and False in evaluation, if
    any."""
    if train.op != "call_function":
        return None
    places: list[tuple[int | str, Any, Any]] = [
        (i, a, b) for i, (a, b) in enumerate(zip(train.args, evaluate.args))
    ]
    places += [(name, train.kwargs[name], evaluate.kwargs.get(name)) for name in train.kwargs]
    return next((place for place, a, b in places if a is True and b is False), None)


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the state of torch's random numbers afterwards."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)


def write_literals(
    graph: fx.Graph, literals: Iterable[Literal], channels: Mapping[str, int]
) -> None:
    """Write the current numbers of channels into a graph."""
    nodes = {node.name: node for node in graph.nodes}
    for literal in literals:
        node, (place, *inside) = nodes[literal.node], literal.place
        value: Any = channels[literal.of] // literal.each
        if inside:
            sizes: Any = list(node.kwargs[place] if isinstance(place, str) else node.args[place])
            sizes[inside[0]] = value
            value = sizes
        if isinstance(place, str):
            node.update_kwarg(place, value)
        else:
            node.update_arg(place, value)
