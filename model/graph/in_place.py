"""Operations that work in place: later operations take their result, or the network is refused."""

from __future__ import annotations

import inspect
import re
from typing import Any

from torch import fx, nn

from model.errors import UnreadableNetwork

IN_PLACE = {
    "iadd",
    "isub",
    "imul",
    "itruediv",
    "ifloordiv",
    "imod",
    "ipow",
    "iand",
    "ior",
    "ixor",
    "imatmul",
    "setitem",
}
# operations that may share their input's memory, in lower case and without a number of dimensions;
# modules are named in the same way
ALIASES = {
    "view",
    "view_as",
    "reshape",
    "reshape_as",
    "flatten",
    "ravel",
    "unflatten",
    "permute",
    "transpose",
    "swapaxes",
    "swapdims",
    "movedim",
    "moveaxis",
    "t",
    "adjoint",
    "squeeze",
    "unsqueeze",
    "getitem",
    "select",
    "narrow",
    "diagonal",
    "unfold",
    "as_strided",
    "chunk",
    "split",
    "split_with_sizes",
    "tensor_split",
    "hsplit",
    "vsplit",
    "dsplit",
    "unbind",
    "expand",
    "expand_as",
    "broadcast_to",
    "broadcast_tensors",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "meshgrid",
    "contiguous",
    "to",
    "float",
    "double",
    "half",
    "type",
    "type_as",
    "cpu",
    "cuda",
    "pos",
    "positive",
    "real",
    "imag",
    "view_as_real",
    "view_as_complex",
    "conj",
    "resolve_conj",
    "resolve_neg",
    "detach",
    "data",
    "getattr",
    "alias",
    "identity",
    "dropout",
    "alpha_dropout",
    "alphadropout",
    "feature_dropout",
    "feature_alpha_dropout",
    "featurealphadropout",
    "stochastic_depth",
    "checkpoint",
}


def rewire_inplace_ops(network: nn.Module, graph: fx.Graph) -> None:
    """Make every later use of a tensor that is changed in place take the changed result.

    Raises UnreadableNetwork where other results share that memory and are used later, and where an
    operation writes into ``out``.
    """
    order = {node: number for number, node in enumerate(graph.nodes)}
    numbers: set[fx.Node | None] = set()  # n += 1 makes another number
    memory: dict[fx.Node, list[fx.Node]] = {}  # of each node, those whose memory it may share

    for node in graph.nodes:
        source = node.all_input_nodes[0] if node.all_input_nodes else None
        if (
            node.target in ("size", "dim", "numel")
            or node.args[1:] == ("shape",)
            or (source in numbers and node.op == "call_function")
        ):
            numbers.add(node)
        if isinstance(node.kwargs.get("out"), fx.Node):
            raise UnreadableNetwork(
                f"{_name(network, node)} ({node.name}) writes into what is there (out=…); let "
                "it make a new tensor"
            )

        in_place = source is not None and node not in numbers and _in_place(network, node)

        # the nodes that share this result's memory
        memory[node] = []
        if in_place or _shares(network, node):
            for shared in [source] if in_place and source else node.all_input_nodes:
                memory[node] = memory[node] + [
                    other for other in memory[shared] if other not in memory[node]
                ]
        memory[node].append(node)
        for other in memory[node]:
            memory[other] = memory[node]

        # whatever reads the tensor from here on reads the result
        if not in_place or source is None:
            continue
        for user in list(source.users):
            if order[user] > order[node]:
                user.replace_input_with(source, node)
        if any(
            order[user] > order[node]
            for other in memory[node]
            if other is not node
            for user in other.users
        ):
            raise UnreadableNetwork(
                f"{_name(network, node)} ({node.name}) changes in place what is used elsewhere "
                "too; let it make a new tensor"
            )


def _shares(network: nn.Module, node: fx.Node) -> bool:
    """Return True if a result may share its input's memory: views do, and functions of unknown
    libraries may."""
    if node.op in ("call_function", "call_method") and not isinstance(node.target, str):
        module = getattr(node.target, "__module__", None) or "torch"
        if module.split(".")[0] not in ("torch", "_operator", "builtins", "math"):
            return True
    return node.op.startswith("call") and _name(network, node) in ALIASES


def _name(network: nn.Module, node: fx.Node) -> str:
    """Return an operation's usual name in lower case, without a number of dimensions."""
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        return _name_of(getattr(module, "function", module))
    return _name_of(node.target)


def _name_of(target: object) -> str:
    name = (
        type(target).__name__
        if isinstance(target, nn.Module)
        else str(getattr(target, "__name__", target))
    )
    return re.sub(r"(?<=dropout)[123]d$|(?<=[a-z])2d$", "", name.lower())


def _in_place(network: nn.Module, node: fx.Node) -> bool:
    """Return True if an operation changes its first input."""
    target: Any = node.target
    if node.op == "call_module":
        module = network.get_submodule(str(target))
        target = getattr(module, "function", None)
        if target is None:
            return getattr(module, "inplace", False) is True

    # torch's own convention: a name that ends in one underscore
    name = _name_of(target)
    if name.endswith("_") and not name.endswith("__"):
        return True
    if node.op == "call_method" or isinstance(target, str):
        return False
    if getattr(target, "__module__", None) == "_operator":
        return name in IN_PLACE

    # functions with an argument for it
    try:
        return (
            inspect.signature(target).bind(*node.args, **node.kwargs).arguments.get("inplace")
            is True
        )
    # one that has no signature has no such argument
    except (TypeError, ValueError):
        return False
