"""Makes a network that anybody can load: without gates and selections, with torch's own layers
only, and with the same outputs.

Gates are multiplied into the batch norms that they follow. Selections, which stand where filters
were removed, go too: between two convolutions, everything that works channel by channel is given
all channels that any part of it has, with zero weights for those it did not have. Where that is not
known to work, a selection becomes a plain index_select.
"""

import copy

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.modules.batchnorm import _BatchNorm

from model.errors import UnreadableNetwork
from model.gate import Gate, GatedBatchNorm2d
from model.graph.channels import UnionFind
from model.graph.layer_kinds import ZERO_MODULES, update_sizes
from model.graph.operations import SUMS, ZERO_FUNCTIONS, key
from model.graph.selection import Selection
from model.graph.trace import trace
from model.graph.whole import known

# each makes zero from zero, as batch norm with zero scale and shift does
FUNCTIONS = ZERO_FUNCTIONS | SUMS | {torch.flatten, "flatten"}
SAME = 1e-5  # relative to the largest output; a sum with zeros in it is rounded in another order


@torch.no_grad()
def plain(network: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy of ``network`` for evaluation, on the CPU, without gates and selections.

    ``images`` (N, C, H, W) serve to compare outputs. Raises NotImplementedError for a network with
    gates or selections that torch.fx can't trace.
    """
    network = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    if not any(isinstance(module, (Gate, Selection)) for module in network.modules()):
        return network

    # its own graph where it has one, for gates and selections are nodes of it
    try:
        graph = (
            copy.deepcopy(network.graph)
            if isinstance(network, fx.GraphModule)
            else trace(network, tuple(images.shape[1:]))[0]
        )
        # its own graph says which operation was in which module
        traced = fx.GraphModule(network, graph)
    except UnreadableNetwork as error:
        raise NotImplementedError(str(error)) from None

    ShapeProp(traced).propagate(images[:1])
    _without_gates(traced)
    selecting = _with_index_selects(copy.deepcopy(traced))

    # widened where that gives the same outputs, with index_select otherwise
    try:
        widened, before = _widened(traced, images), selecting(images)
        if (widened(images) - before).abs().max() <= SAME * before.abs().max():
            return _with_products(widened)
    except NotImplementedError:
        pass  # something is not known to work channel by channel
    return _with_products(selecting)


def _without_gates(network: fx.GraphModule) -> None:
    """Multiply gates into batch norms; where there is none, make them a scale or a product."""
    for node in list(network.graph.nodes):
        module = _module(network, node)
        if isinstance(module, GatedBatchNorm2d):
            # a gate in a batch norm: scale its weight and bias
            norm = (
                nn.BatchNorm2d(module.num_features, module.eps, module.momentum)
                .eval()
                .requires_grad_(False)
            )
            state = {
                name: tensor
                for name, tensor in module.state_dict().items()
                if not name.startswith("gate.")
            }
            norm.load_state_dict(
                state
                | {name: state[name] * module.gate.multipliers() for name in ("weight", "bias")}
            )
            _put(network, str(node.target), norm)
        elif isinstance(module, Gate):
            # a gate on its own: drop it where it is open
            factors, dims = module.multipliers(), len(node.meta["tensor_meta"].shape)
            if bool((factors != 1).any()) and module.axis == 1:
                _put(network, str(node.target), _Scale(factors).eval())
            elif bool((factors != 1).any()):
                _multiply(network, node, factors.view(-1, *[1] * (dims - 1 - module.axis)))
            else:
                node.replace_all_uses_with(node.all_input_nodes[0])
                network.graph.erase_node(node)

    _cleaned(network)


class _Scale(_BatchNorm):
    """A gate as a batch norm that only scales, so that it can be given more channels. For
    evaluation."""

    def __init__(self, factors: Tensor):
        super().__init__(len(factors), eps=0.0)
        self.requires_grad_(False)
        self.weight.copy_(factors)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions."""


def _with_products(network: fx.GraphModule) -> fx.GraphModule:
    """Replace each _Scale by a product: in training a norm would do more than scale."""
    for node in list(network.graph.nodes):
        if isinstance(module := _module(network, node), _Scale):
            _multiply(
                network,
                node,
                module.weight.view(-1, *[1] * (len(node.meta["tensor_meta"].shape) - 2)),
            )
    return _cleaned(network)


def _multiply(network: fx.GraphModule, node: fx.Node, factors: Tensor) -> None:
    """Replace a node by a product with ``factors``, which are not trained."""
    path = _beside(network, node, "factors", factors.detach().clone())
    with network.graph.inserting_before(node):
        product = network.graph.call_function(
            torch.mul, (node.args[0], network.graph.get_attr(path))
        )
    product.meta = dict(node.meta)
    _replace(network, node, product)


def _with_index_selects(network: fx.GraphModule) -> fx.GraphModule:
    """Replace each selection by torch's index_select, with a mask where it fills in zeros."""
    for node in list(network.graph.nodes):
        if isinstance(module := _module(network, node), Selection):
            channels = module.get_buffer("index")
            index = _beside(network, node, "index", channels.clamp(min=0))

            # a mask is applied along the last dimension, whatever the rank
            with network.graph.inserting_before(node):
                found = network.graph.call_function(
                    torch.index_select, (node.args[0], module.axis, network.graph.get_attr(index))
                )
                if bool((channels < 0).any()):
                    mask = _beside(network, node, "mask", (channels >= 0).float())
                    last = network.graph.call_method("movedim", (found, module.axis, -1))
                    masked = network.graph.call_function(
                        torch.mul, (last, network.graph.get_attr(mask))
                    )
                    found = network.graph.call_method("movedim", (masked, -1, module.axis))
            _replace(network, node, found)
    return _cleaned(network)


def _beside(network: fx.GraphModule, node: fx.Node, what: str, tensor: Tensor) -> str:
    """Store ``tensor`` as a buffer beside the layer that a node calls; return its path."""
    parent, _, name = str(node.target).rpartition(".")
    network.get_submodule(parent).register_buffer(f"{name}_{what}", tensor)
    return f"{parent}.{name}_{what}".lstrip(".")


def _replace(network: fx.GraphModule, node: fx.Node, new: fx.Node) -> None:
    """Replace a node by another one, and erase it."""
    node.replace_all_uses_with(new)
    network.graph.erase_node(node)


class _Regions:
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
        module, inputs = _module(self.network, node), node.all_input_nodes
        self.region[node] = self.regions.new()
        shape: tuple[int, ...] = getattr(node.meta.get("tensor_meta"), "shape", ())
        # a number, a tuple, a loose parameter
        if len(shape) < 2 or any(inp not in self.own for inp in inputs):
            raise NotImplementedError(str(node))
        count = shape[1]

        if _makes_channels(node, module):
            self.own[node] = [self.channels.new() for _ in range(count)]
            return  # a region begins
        if isinstance(module, Selection) and module.axis == 1:
            given = self.own[inputs[0]]
            self.own[node] = [
                given[at] if at >= 0 else self.channels.new()
                for at in module.get_buffer("index").tolist()
            ]
        elif _by_channel(node, module) and all(len(self.own[inp]) == count for inp in inputs):
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
            if (module := _module(self.network, node)) and any(True for _ in module.parameters())
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


def _widened(network: fx.GraphModule, images: Tensor) -> fx.GraphModule:
    """Return the network without selections: each layer has all channels of its region, with zeros
    for those that it did not have.

    Raises NotImplementedError where something is not known to mix channels or to keep them apart,
    and where a layer is used twice.
    """
    ShapeProp(network).propagate(images[:1])
    regions = _Regions(network)
    at = regions.places()

    for node in regions.nodes:
        module = _module(network, node)
        if isinstance(module, Selection):
            node.replace_all_uses_with(node.all_input_nodes[0])
            network.graph.erase_node(node)
        elif isinstance(module, (nn.Conv2d, nn.Linear, _BatchNorm)):
            mixes = not _by_channel(node, module)
            _pad_channels(module, at[node], at[node.all_input_nodes[0]] if mixes else None)
    return _cleaned(network)


def _makes_channels(node: fx.Node, module: nn.Module | None) -> bool:
    """Return True for the images, and for a layer that mixes all channels."""
    return (
        node.op == "placeholder"
        or (isinstance(module, nn.Conv2d) and module.groups == 1)
        or (isinstance(module, nn.Linear) and len(node.meta["tensor_meta"].shape) == 2)
    )


def _by_channel(node: fx.Node, module: nn.Module | None) -> bool:
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


def _pad_channels(
    module: nn.Module, rows: tuple[list[int], int], columns: tuple[list[int], int] | None
) -> None:
    """Give a layer more channels, which do nothing.

    ``rows`` and ``columns`` say for outputs and inputs where the layer's own channels go, and how
    many there are then.
    """
    for name, old in [*module.named_parameters(), *module.named_buffers()]:
        if not old.dim():
            continue
        shape = [rows[1], *old.shape[1:]]
        if columns and old.dim() > 1:
            shape[1] = columns[1]

        # a variance of one, since zero would be divided by
        new = torch.ones(shape) if name == "running_var" else torch.zeros(shape)
        new[rows[0]] = (
            new[rows[0]].index_copy(1, torch.tensor(columns[0]), old)
            if columns and old.dim() > 1
            else old
        )
        setattr(
            module,
            name,
            nn.Parameter(new, requires_grad=False) if isinstance(old, nn.Parameter) else new,
        )
    update_sizes(module)


def _module(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def _put(network: nn.Module, target: str, module: nn.Module) -> None:
    parent, _, name = target.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


def _cleaned(network: fx.GraphModule) -> fx.GraphModule:
    network.delete_all_unused_submodules()
    network.graph.lint()
    network.recompile()
    return network
