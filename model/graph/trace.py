"""The graph of a network (torch.fx): what it does, whatever its code looks like."""
from __future__ import annotations

import contextlib
import copy
import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy

from model.errors import UnreadableNetwork
from model.gate import Gate, GatedBatchNorm2d
from model.graph.channels import Literal
from model.graph.operations import ALIASES, known
from model.graph.selection import Selection


class ModuleCall(NamedTuple):
    """A call of the module ``path``: what it is given first and what it returns, where these are results of nodes. The nodes from
    number ``first`` to before ``end`` are its own."""

    path: str
    given: str | None
    returned: str | None
    first: int
    end: int


class Traced(NamedTuple):
    """The graph of a network in evaluation. ``whole``: it does nothing else in training. ``calls``: of its modules, in order."""

    graph: fx.Graph
    whole: bool
    calls: list[ModuleCall]


class Tracer(fx.Tracer):
    """Goes into every module of other people's whose operation is not known as a whole, and notes which modules are called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[ModuleCall] = []

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = len(self.graph.nodes)
        result = super().call_module(m, forward, args, kwargs)
        given, returned = (value.node.name if isinstance(value, fx.Proxy) else None for value in (args[0] if args else None, result))
        self.calls.append(ModuleCall(self.path_of_module(m), given, returned, first, len(self.graph.nodes)))
        return result

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        whole = isinstance(module, (Gate, GatedBatchNorm2d, Selection, TrainingFlagCall)) or known(module) is not None
        return whole or super().is_leaf_module(module, name)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """The images; whatever else a forward pass can be given has its default."""
        return root_fn, [self.root, self.create_proxy("placeholder", "images", (), {})]


class TrainingFlagCall(nn.Module):
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


def trace(network: nn.Module) -> Traced:
    """The graph of a network as it is in evaluation, with what is drawn at random in training; and whether that is all that it does
    in training, which auxiliary heads are not. Raises UnreadableNetwork.

    Modules ``mode_<n>`` are added to the network where a function is told whether it is training.
    """
    refuse_hidden_code(network)
    training, graphs = network.training, []
    for mode in (True, False):
        network.train(mode)
        tracer = Tracer()
        try:
            graphs.append(tracer.trace(network))
        except Exception as error:  # whatever a network's own code does with what is no tensor
            reason = " ".join(str(error).split())[:150]
            where = own_line(error)
            raise UnreadableNetwork(f"torch.fx can't trace it{where} ({type(error).__name__}: {reason}); what it does must not depend on "
                                    "the images") from None
        finally:
            network.train(training)
    train, graph = graphs
    alike = list(_alike(train, graph))
    for number, (one, node) in enumerate(alike):
        place = _mode_of(one, node)
        if place is not None:
            network.add_module(f"mode_{number}", TrainingFlagCall(node.target, place))
            node.op, node.target = "call_module", f"mode_{number}"
    rewire_inplace_ops(network, graph)
    return Traced(graph, len(alike) == len(train.nodes) == len(graph.nodes), tracer.calls)


def refuse_hidden_code(network: nn.Module) -> None:
    """Raises UnreadableNetwork for what changes results or weights without being in the graph."""
    for name, module in network.named_modules():
        where = f"{type(module).__name__} ({name})" if name else "the network"
        if any(is_lazy(parameter) for parameter in module.parameters(recurse=False)):
            raise UnreadableNetwork(f"{where} has weights without a shape yet; say how many channels it takes")
        if module._forward_hooks or module._forward_pre_hooks:
            raise UnreadableNetwork(f"{where} has hooks, which a graph does not show; put what they do into the forward pass")
        if hasattr(module, "parametrizations"):
            raise UnreadableNetwork(f"{where} has weights that are computed from others (parametrizations); make them plain ones")


def rewire_inplace_ops(network: nn.Module, graph: fx.Graph) -> None:
    """Lets whatever comes after an operation in place take its result: what it worked on is that now.

    Raises UnreadableNetwork where other results share that memory and are used afterwards.
    """
    order = {node: number for number, node in enumerate(graph.nodes)}
    numbers: set[fx.Node | None] = set()  # n += 1 makes another number
    memory: dict[fx.Node, list[fx.Node]] = {}  # of each node, those whose memory it may share
    for node in graph.nodes:
        source = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        if node.target in ("size", "dim", "numel") or node.args[1:] == ("shape",) or (source in numbers and node.op == "call_function"):
            numbers.add(node)
        in_place = source is not None and node not in numbers and _in_place(network, node)
        shares = in_place or (source is not None and _name(network, node) in ALIASES)
        memory[node] = memory[source] if shares and source is not None else []
        memory[node].append(node)
        if not in_place or source is None:
            continue
        for user in list(source.users):
            if order[user] > order[node]:
                user.replace_input_with(source, node)
        if any(order[user] > order[node] for other in memory[node] if other is not node for user in other.users):
            raise UnreadableNetwork(f"{_name(network, node)} ({node.name}) changes in place what is used elsewhere too; "
                                    "let it make a new tensor")


def _name(network: nn.Module, node: fx.Node) -> str:
    """An operation's usual name in lower case."""
    if node.op == "call_module":
        return type(network.get_submodule(str(node.target))).__name__.lower().removesuffix("2d").replace("identity", "view")
    return str(getattr(node.target, "__name__", node.target))


def _in_place(network: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return getattr(network.get_submodule(str(node.target)), "inplace", False) is True
    name = _name(network, node)
    if name.endswith("_") and not name.endswith("__"):
        return True
    if node.op != "call_function" or isinstance(node.target, str):
        return False
    if getattr(node.target, "__module__", None) == "_operator":
        return name in ("iadd", "isub", "imul", "itruediv", "ipow")
    try:
        return inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments.get("inplace") is True
    except (TypeError, ValueError):  # it does not say what it takes: none of the functions with such an argument
        return False


def _alike(train: fx.Graph, evaluate: fx.Graph) -> Iterator[tuple[fx.Node, fx.Node]]:
    """The nodes of a network in training that are those in evaluation, with these."""
    one, other = list(train.nodes), list(evaluate.nodes)
    ours, theirs = ([f"{node.op} {node.target}" for node in nodes] for nodes in (one, other))
    if ours == theirs:
        yield from zip(one, other)
        return
    for a, b, size in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
        yield from zip(one[a : a + size], other[b : b + size])


def own_line(error: Exception) -> str:
    """The line of the network's own code in which tracing it failed."""
    frames, step = [], error.__traceback__
    while step:
        frames.append((step.tb_frame.f_code.co_filename, step.tb_lineno))
        step = step.tb_next
    own = [(name, line) for name, line in frames if "/torch/" not in name and not name.endswith("model/graph/trace.py")]
    return f" at {own[-1][0]}:{own[-1][1]}" if own else ""


def _mode_of(train: fx.Node, evaluate: fx.Node) -> int | str | None:
    """The argument of a function that is True in training and False in evaluation, if there is one."""
    if train.op != "call_function":
        return None
    places: list[tuple[int | str, Any, Any]] = [(i, a, b) for i, (a, b) in enumerate(zip(train.args, evaluate.args))]
    places += [(name, train.kwargs[name], evaluate.kwargs.get(name)) for name in train.kwargs]
    return next((place for place, a, b in places if a is True and b is False), None)


def on_meta(network: nn.Module, gradients: bool = False) -> nn.Module:
    """A copy of a network that computes shapes and no numbers, in evaluation."""
    plain = [value for module in network.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    tensors = [*network.parameters(), *network.buffers(), *plain]
    memo: dict[int, Any] = {id(tensor): nn.Parameter(tensor.detach().to("meta"), requires_grad=gradients and tensor.requires_grad)
                            if isinstance(tensor, nn.Parameter) else tensor.detach().to("meta") for tensor in tensors}
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
            sizes: Any = list(node.kwargs[place] if isinstance(place, str) else node.args[place])
            sizes[inside[0]] = value
            value = sizes
        if isinstance(place, str):
            node.update_kwarg(place, value)
        else:
            node.update_arg(place, value)
