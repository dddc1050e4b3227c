"""Tracing with a known size of images. Code may depend on shapes, but neither on the content nor on
the number of the images."""

from __future__ import annotations

import copy
import math
import operator
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from model.graph.whole import known
from model.images import ImageSize, image_shape

DECIDES = "decides"  # in a node's meta: the code went one way or another by its number
NUMBERS = (1, 2, 3)  # numbers of images that are tried
FACTORIES = (
    torch.zeros,
    torch.ones,
    torch.empty,
    torch.full,
    torch.arange,
    torch.linspace,
    torch.eye,
    torch.rand,
    torch.randn,
    torch.tensor,
)  # with sizes that are computed they are part of the graph


class ModuleCall(NamedTuple):
    """A call of the module ``path``.

    ``given`` is the node of its first input, ``returned`` that of its result; its own nodes have
    the numbers from ``first`` to before ``end``.
    """

    path: str
    given: str | None
    returned: str | None
    first: int
    end: int


class Tracer(fx.Tracer):
    """Traces into all modules whose operation is not known as a whole, and records calls of
    modules.

    With ``image_size``, numbers that follow from it can be used by the code. ``buffers``: take
    buffers from the network as parameters are; code that depends on a buffer's content needs it as
    it is.
    """

    def __init__(
        self,
        network: nn.Module,
        leaves: tuple[type[nn.Module], ...],
        image_size: ImageSize | None,
        buffers: bool,
    ):
        # libraries whose functions want tensors
        others = [module for name in ("einops",) if (module := sys.modules.get(name))]
        # the modules that torch.fx wraps by default, and more
        super().__init__(autowrap_modules=(math, *others))  # type: ignore[arg-type]
        self._autowrap_search.append(torch)
        self._autowrap_function_ids |= {id(function) for function in FACTORIES}

        self.proxy_buffer_attributes = buffers
        self.sizes = None if image_size is None else Sizes(network, image_size)
        self.calls: list[ModuleCall] = []
        self.modules = set(network.modules())
        self.leaves = {
            module
            for module in self.modules
            if isinstance(module, leaves) or known(module) is not None
        }

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            m in self.leaves
            or type(m).__module__.startswith("einops.")
            or super().is_leaf_module(m, module_qualified_name)
        )

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call a module, and record the call."""
        if m not in self.modules:  # a module of the copy that computes sizes
            return forward(*args, **kwargs)

        first = len(self.graph.nodes)
        result = super().call_module(m, forward, args, kwargs)
        given, returned = (
            value.node.name if isinstance(value, fx.Proxy) else None
            for value in (args[0] if args else None, result)
        )

        self.calls.append(
            ModuleCall(self.path_of_module(m), given, returned, first, len(self.graph.nodes))
        )
        return result

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """Return the images as the only input; other arguments of a forward pass have their
        defaults."""
        return root_fn, [self.root, self.create_proxy("placeholder", "images", (), {})]

    def trace(self, root: Any, concrete_args: Any = None) -> fx.Graph:
        graph = super().trace(root, concrete_args)
        for node in graph.nodes:
            # a module made of the graph would wrap "torch.zeros", which is no name
            if node.target in FACTORIES:
                node.meta.pop("is_wrapped", None)
        return graph

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return ResultProxy(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        value = self.value(obj)
        return super().to_bool(obj) if value is None or isinstance(value, Tensor) else bool(value)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        value = self.value(obj)
        if not isinstance(value, (tuple, list)):
            return super().iter(obj)
        return iter([operator.getitem(obj, place) for place in range(len(value))])

    def value(self, obj: fx.Proxy) -> Any:
        """Return a result for images of this size; None where it differs with their number, or
        isn't known."""
        value = None if self.sizes is None else self.sizes.of(self.graph, obj.node)
        if isinstance(value, (bool, int, float)):
            obj.node.meta[DECIDES] = True
        return value


class ResultProxy(fx.Proxy):
    """A result whose length and number can be used by code where they follow from the size of the
    images."""

    def __getattr__(self, k: str) -> fx.proxy.Attribute:
        return Attribute(self, k)

    def __len__(self) -> int:
        value = self.tracer.value(self)  # type: ignore[attr-defined]  # Tracer's
        if isinstance(value, Tensor):
            first: Any = operator.getitem(self.shape, 0)
            return operator.index(first)
        return len(self._known(value, (tuple, list)))

    def _known(self, value: Any, kinds: tuple[type, ...]) -> Any:
        if not isinstance(value, kinds):
            raise fx.proxy.TraceError("this number depends on the images, or on how many these are")
        return value

    def __index__(self) -> int:
        return int(self._known(self.tracer.value(self), (bool, int)))  # type: ignore[attr-defined]

    def __int__(self) -> int:
        return int(self._known(self.tracer.value(self), (bool, int, float)))  # type: ignore[attr-defined]

    def __float__(self) -> float:
        return float(self._known(self.tracer.value(self), (bool, int, float)))  # type: ignore[attr-defined]


class Attribute(ResultProxy, fx.proxy.Attribute):
    """An attribute of a result: its shape, a method."""


class Sizes:
    """The results of a graph in the making, for images of one size: shapes, and numbers that
    follow."""

    def __init__(self, network: nn.Module, image_size: ImageSize):
        self.network, self.image_size = on_meta(network), image_size
        self.walks: list[fx.Interpreter] = []  # one for each number of images

    def of(self, graph: fx.Graph, node: fx.Node) -> Any:
        """Return the result of a node: a number if it is the same for any number of images, else
        None."""
        if not self.walks:
            self.walks = [self.walk(graph, number) for number in NUMBERS]
        values = [value for walk in self.walks if (value := self.run(walk, node)) is not None]
        if values and isinstance(values[-1], (Tensor, tuple, list)):
            return values[-1]

        return (
            values[0]
            if len(values) == len(self.walks) and all(value == values[0] for value in values)
            else None
        )

    def walk(self, graph: fx.Graph, number: int) -> fx.Interpreter:
        """Return an interpreter of the graph for a number of images."""
        walk = fx.Interpreter(self.network, garbage_collect_values=False, graph=graph)
        walk.args_iter = iter([images(self.network, number, self.image_size)])
        return walk

    def run(self, walk: fx.Interpreter, node: fx.Node) -> Any:
        """Continue to a node and return its result.

        Returns None where it can't be computed from shapes alone, or not for this number of images.
        """
        for new in walk.graph.nodes:
            if new not in walk.env and new.op != "output":
                try:
                    with torch.device("meta"):
                        walk.env[new] = walk.run_node(new)
                except Exception:  # an operation may raise anything for what does not fit
                    walk.env[new] = None
            if new is node:
                break
        return walk.env[node]


def images(network: nn.Module, number: int, image_size: ImageSize) -> Tensor:
    """Return ``number`` images without numbers, (N, C, H, W)."""
    dtype = next(
        (tensor.dtype for tensor in network.parameters() if tensor.is_floating_point()),
        torch.float32,
    )
    return torch.zeros(number, *image_shape(image_size), device="meta", dtype=dtype)


def on_meta(network: nn.Module, gradients: bool = False) -> nn.Module:
    """Return a copy of a network that computes only shapes, in evaluation."""
    plain = [
        value
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor)
    ]

    tensors = [*network.parameters(), *network.buffers(), *plain]
    memo: dict[int, Any] = {
        id(tensor): nn.Parameter(
            tensor.detach().to("meta"), requires_grad=gradients and tensor.requires_grad
        )
        if isinstance(tensor, nn.Parameter)
        else tensor.detach().to("meta")
        for tensor in tensors
    }
    return copy.deepcopy(network, memo).eval()
