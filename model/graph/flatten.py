"""A network as anybody can load it: no gates, no selections, layers of torch's own only, and the
same outputs.

Gates are multiplied into the batch norms that they follow. The selections that a network has where
filters were removed go, too: in everything that works channel by channel between two convolutions,
all channels that any part of it has are given to every part, with zero weights where they were not.
Where that is not known to work, a selection becomes a plain index_select.
"""

import copy

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.modules.batchnorm import _BatchNorm

from model.errors import UnreadableNetwork
from model.gate import Gate, GatedBatchNorm2d
from model.graph.channels import UnionFind
from model.graph.operations import SUMS, ZERO_FUNCTIONS, ZERO_MODULES, key, settle
from model.graph.selection import Selection
from model.graph.trace import trace
from model.graph.whole import known

# all make a zero of a zero, as batch norm with zero scale and shift does
FUNCTIONS = ZERO_FUNCTIONS | SUMS | {torch.flatten, "flatten"}
SAME = 1e-5  # relative to the largest output; a sum with zeros in it is rounded in another order


@torch.no_grad()
def plain(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy of ``network`` for evaluation, on the CPU, without gates and selections.

    ``images`` (N, C, H, W) are for looking at it. Raises NotImplementedError for a network with
    gates or selections that torch.fx can't trace.
    """
    network = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    if not any(isinstance(module, (Gate, Selection)) for module in network.modules()):
        return network
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
    try:
        widened, before = _widened(traced, images), selecting(images)
        if (widened(images) - before).abs().max() <= SAME * before.abs().max():
            return _with_products(widened)
    except NotImplementedError:
        pass  # something is not known to work channel by channel
    return _with_products(selecting)


def _without_gates(network: fx.GraphModule) -> None:
    for node in list(network.graph.nodes):
        module = _module(network, node)
        if isinstance(module, GatedBatchNorm2d):
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
    """A gate as a batch norm that does nothing but scale, so that it can be given more channels;
    for evaluation alone."""

    def __init__(self, factors: Tensor):
        super().__init__(len(factors), eps=0.0)
        self.requires_grad_(False)
        self.weight.copy_(factors)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""


def _with_products(network: fx.GraphModule) -> fx.GraphModule:
    """The gates that batch norms stood for as products: in training a norm would do more than
    that."""
    for node in list(network.graph.nodes):
        if isinstance(module := _module(network, node), _Scale):
            _multiply(
                network,
                node,
                module.weight.view(-1, *[1] * (len(node.meta["tensor_meta"].shape) - 2)),
            )
    return _cleaned(network)


def _multiply(network: fx.GraphModule, node: fx.Node, factors: Tensor) -> None:
    """Puts a product with ``factors``, which are not trained, in the place of a node."""
    path = _beside(network, node, "factors", factors.detach().clone())
    with network.graph.inserting_before(node):
        product = network.graph.call_function(
            torch.mul, (node.args[0], network.graph.get_attr(path))
        )
    product.meta = dict(node.meta)
    _replace(network, node, product)


def _with_index_selects(network: fx.GraphModule) -> fx.GraphModule:
    """Every selection as torch's own index_select; where it fills in zeros, times a mask."""
    for node in list(network.graph.nodes):
        if isinstance(module := _module(network, node), Selection):
            channels = module.get_buffer("index")
            index = _beside(network, node, "index", channels.clamp(min=0))
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
    """A buffer with ``tensor``, beside the layer that a node calls, and its path."""
    parent, _, name = str(node.target).rpartition(".")
    network.get_submodule(parent).register_buffer(f"{name}_{what}", tensor)
    return f"{parent}.{name}_{what}".lstrip(".")


def _replace(network: fx.GraphModule, node: fx.Node, new: fx.Node) -> None:
    node.replace_all_uses_with(new)
    network.graph.erase_node(node)


def _widened(network: fx.GraphModule, images: Tensor) -> fx.GraphModule:
    """The network without selections: every layer with all channels of its region, zeros where it
    did not have them.

    A region is what works channel by channel between one layer that mixes channels and the next.
    Raises NotImplementedError where something is not known to do either, and where a layer is used
    twice.
    """
    ShapeProp(network).propagate(images[:1])
    channels, regions = UnionFind(), UnionFind()
    # the channels of a result; those that are one channel of the region have one root
    own: dict[fx.Node, list[int]] = {}
    region: dict[fx.Node, int] = {}
    nodes = [node for node in network.graph.nodes if node.op != "output"]
    for node in nodes:
        module, inputs, region[node] = _module(network, node), node.all_input_nodes, regions.new()
        shape: tuple[int, ...] = getattr(node.meta.get("tensor_meta"), "shape", ())
        # a number, a tuple, a loose parameter
        if len(shape) < 2 or any(inp not in own for inp in inputs):
            raise NotImplementedError(str(node))
        count = shape[1]
        if isinstance(module, Selection) and module.axis == 1:
            own[node] = [
                own[inputs[0]][at] if at >= 0 else channels.new()
                for at in module.get_buffer("index").tolist()
            ]
        elif (
            node.op == "placeholder"
            or (isinstance(module, nn.Conv2d) and module.groups == 1)
            or (isinstance(module, nn.Linear) and len(node.meta["tensor_meta"].shape) == 2)
        ):
            own[node] = [channels.new() for _ in range(count)]
            continue
        elif _by_channel(node, module) and all(len(own[inp]) == count for inp in inputs):
            own[node] = own[inputs[0]]
            for inp in inputs[1:]:
                for one, other in zip(own[inp], own[node]):
                    channels.join(one, other)
        else:
            raise NotImplementedError(str(node))
        for inp in inputs:
            regions.join(region[inp], region[node])
    called = [
        id(module)
        for node in nodes
        if (module := _module(network, node)) and any(True for _ in module.parameters())
    ]
    if len(set(called)) < len(called):
        raise NotImplementedError("a layer is used twice")

    found: dict[int, set[int]] = {}
    roots = {node: [channels.root(channel) for channel in own[node]] for node in nodes}
    for node in nodes:
        found.setdefault(regions.root(region[node]), set()).update(roots[node])
    order = {
        place: {root: at for at, root in enumerate(sorted(members))}
        for place, members in found.items()
    }
    at = {
        node: (
            [order[regions.root(region[node])][root] for root in roots[node]],
            len(order[regions.root(region[node])]),
        )
        for node in nodes
    }  # where its channels lie in its region, and how many that has
    ends = [
        inp for node in network.graph.nodes if node.op == "output" for inp in node.all_input_nodes
    ]
    for node in nodes:
        where, total = at[node]
        if len(set(where)) < len(where) or (
            (node.op == "placeholder" or node in ends) and where != list(range(total))
        ):
            raise NotImplementedError(str(node))
    for node in nodes:
        module = _module(network, node)
        if isinstance(module, Selection):
            node.replace_all_uses_with(node.all_input_nodes[0])
            network.graph.erase_node(node)
        elif isinstance(module, (nn.Conv2d, nn.Linear, _BatchNorm)):
            mixes = not _by_channel(node, module)
            _spread(module, at[node], at[node.all_input_nodes[0]] if mixes else None)
    return _cleaned(network)


def _by_channel(node: fx.Node, module: nn.Module | None) -> bool:
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


def _spread(
    module: nn.Module, rows: tuple[list[int], int], columns: tuple[list[int], int] | None
) -> None:
    """Gives a layer more channels, that do nothing: (where its own lie, how many there are then) of
    outputs and inputs."""
    for name, old in [*module.named_parameters(), *module.named_buffers()]:
        if not old.dim():
            continue
        shape = [rows[1], *old.shape[1:]]
        if columns and old.dim() > 1:
            shape[1] = columns[1]
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
    settle(module)


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
