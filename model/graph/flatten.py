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
from model.graph.layer_kinds import update_sizes
from model.graph.regions import Regions, by_channel, called_module
from model.graph.selection import Selection
from model.graph.trace import trace

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
        module = called_module(network, node)
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
        if isinstance(module := called_module(network, node), _Scale):
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
        if isinstance(module := called_module(network, node), Selection):
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


def _widened(network: fx.GraphModule, images: Tensor) -> fx.GraphModule:
    """Return the network without selections: each layer has all channels of its region, with zeros
    for those that it did not have.

    Raises NotImplementedError where something is not known to mix channels or to keep them apart,
    and where a layer is used twice.
    """
    ShapeProp(network).propagate(images[:1])
    regions = Regions(network)
    at = regions.places()

    for node in regions.nodes:
        module = called_module(network, node)
        if isinstance(module, Selection):
            node.replace_all_uses_with(node.all_input_nodes[0])
            network.graph.erase_node(node)
        elif isinstance(module, (nn.Conv2d, nn.Linear, _BatchNorm)):
            mixes = not by_channel(node, module)
            _pad_channels(module, at[node], at[node.all_input_nodes[0]] if mixes else None)
    return _cleaned(network)


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


def _put(network: nn.Module, target: str, module: nn.Module) -> None:
    parent, _, name = target.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


def _cleaned(network: fx.GraphModule) -> fx.GraphModule:
    network.delete_all_unused_submodules()
    network.graph.lint()
    network.recompile()
    return network
