"""The regions of a network: what works channel by channel between layers that mix channels."""

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from model.graph.channels import UnionFind
from model.graph.layer_kinds import ZERO_MODULES
from model.graph.operations import SUMS, ZERO_FUNCTIONS, key
from model.graph.selection import Selection
from model.graph.whole import known

# each makes zero from zero, as batch norm with zero scale and shift does
FUNCTIONS = ZERO_FUNCTIONS | SUMS | {torch.flatten, "flatten"}


class Regions:
    """The channels and regions of a traced network.

    A region is what works channel by channel between one layer that mixes channels and the next.
    Numbers in ``channels`` with one root are one channel of the region.
    """

    def __init__(self, network: fx.GraphModule):
        self.network = network
        self.channels, self.regions = UnionFind(), UnionFind()
        self.own: dict[fx.Node, list[int]] = {}  # the channels of a result
        self.region: dict[fx.Node, int] = {}
        self.nodes = [node for node in network.graph.nodes if node.op != "output"]

        for node in self.nodes:
            self._add(node)
        self._refuse_shared_layers()

    def _add(self, node: fx.Node) -> None:
        """Record the channels of a node's result, and its region.

        Raises NotImplementedError for an operation that is not known to mix channels or to keep
        them apart.
        """
        module, inputs = called_module(self.network, node), node.all_input_nodes
        self.region[node] = self.regions.new()
        shape: tuple[int, ...] = getattr(node.meta.get("tensor_meta"), "shape", ())
        # a number, a tuple, a loose parameter
        if len(shape) < 2 or any(inp not in self.own for inp in inputs):
            raise NotImplementedError(str(node))
        count = shape[1]

        if makes_channels(node, module):
            self.own[node] = [self.channels.new() for _ in range(count)]
            return  # a region begins
        if isinstance(module, Selection) and module.axis == 1:
            given = self.own[inputs[0]]
            self.own[node] = [
                given[at] if at >= 0 else self.channels.new()
                for at in module.get_buffer("index").tolist()
            ]
        elif by_channel(node, module) and all(len(self.own[inp]) == count for inp in inputs):
            self.own[node] = self.own[inputs[0]]
            for inp in inputs[1:]:
                for one, other in zip(self.own[inp], self.own[node]):
                    self.channels.join(one, other)
        else:
            raise NotImplementedError(str(node))
        for inp in inputs:
            self.regions.join(self.region[inp], self.region[node])

    def _refuse_shared_layers(self) -> None:
        called = [
            id(module)
            for node in self.nodes
            if (module := called_module(self.network, node))
            and any(True for _ in module.parameters())
        ]
        if len(set(called)) < len(called):
            raise NotImplementedError("a layer is used twice")

    def places(self) -> dict[fx.Node, tuple[list[int], int]]:
        """Return where the channels of each node lie in its region, and how many that has.

        Raises NotImplementedError where a region has a channel twice at one node, or where the
        images or the logits would change.
        """
        roots = {node: [self.channels.root(one) for one in self.own[node]] for node in self.nodes}
        found: dict[int, set[int]] = {}
        for node in self.nodes:
            found.setdefault(self.regions.root(self.region[node]), set()).update(roots[node])
        order = {
            place: {root: at for at, root in enumerate(sorted(members))}
            for place, members in found.items()
        }

        places: dict[fx.Node, tuple[list[int], int]] = {}
        outputs = [node for node in self.network.graph.nodes if node.op == "output"]
        ends = [inp for node in outputs for inp in node.all_input_nodes]
        for node in self.nodes:
            region = order[self.regions.root(self.region[node])]
            where, total = [region[root] for root in roots[node]], len(region)
            if len(set(where)) < len(where) or (
                (node.op == "placeholder" or node in ends) and where != list(range(total))
            ):
                raise NotImplementedError(str(node))
            places[node] = where, total
        return places


def makes_channels(node: fx.Node, module: nn.Module | None) -> bool:
    """Return True for the images, and for a layer that mixes all channels."""
    return (
        node.op == "placeholder"
        or (isinstance(module, nn.Conv2d) and module.groups == 1)
        or (isinstance(module, nn.Linear) and len(node.meta["tensor_meta"].shape) == 2)
    )


def by_channel(node: fx.Node, module: nn.Module | None) -> bool:
    """Return True if a node is known to work channel by channel, and to make zero from zero."""
    if isinstance(module, nn.Conv2d):
        return module.groups == module.in_channels == module.out_channels > 1
    if module is not None:
        kind = known(module)
        # PReLU has weights of its own
        return (
            kind is not None
            and kind is not nn.PReLU
            and issubclass(kind, (_BatchNorm, *ZERO_MODULES))
        )
    return node.op in ("call_function", "call_method") and key(node.target) in FUNCTIONS


def called_module(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None
