"""The operations of a network in order, and the modules that they are in."""

import copy
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from model.errors import UnreadableNetwork
from model.graph.operations import key
from model.graph.trace import TrainingFlagCall, trace
from model.images import ImageSize
from utils.export.source.layers import activated
from utils.export.source.literals import NotWritableError

ASSERTIONS = ("_assert", "_assert_is_none")
SMALL = 64  # most numbers of a constant that is written out


@dataclass
class Steps:
    """The operations of a network in order, without those that have no effect.

    ``scopes`` has the calls of modules that each is in, outermost first, as paths (with @n from the
    second call on); ``kinds`` has the classes of these modules, by path.
    """

    network: nn.Module
    images: fx.Node
    nodes: list[fx.Node]
    output: fx.Node
    graph: fx.Graph
    scopes: dict[fx.Node, list[str]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)

    def layer(self, node: fx.Node) -> nn.Module | None:
        """Return the layer that an operation calls; None for a function."""
        module = self.network.get_submodule(str(node.target)) if node.op == "call_module" else None
        return None if isinstance(module, TrainingFlagCall) else module

    def tensor(self, node: fx.Node) -> Tensor:
        """Return the tensor of a ``get_attr``. Raises NotWritableError."""
        owner, _, name = str(node.target).rpartition(".")
        found = getattr(self.network.get_submodule(owner), name)
        if not isinstance(found, Tensor):
            raise NotWritableError(f"{node.target}: is no tensor")
        return found

    def place(self, node: fx.Node) -> str:
        """Return the name and place of an operation, for messages."""
        layer = self.layer(node)
        what = type(layer).__name__ if layer else str(getattr(node.target, "__name__", node.target))
        where = str(node.target) if layer else next(iter(reversed(self.scopes.get(node, []))), "")
        return f"{what} ({where})" if where else what


def steps_of(network: nn.Module, image_size: ImageSize | None = None) -> Steps:
    """Read a network, a GraphModule or one that torch.fx can trace, for images of this size.

    Modules ``mode_<n>`` are added to it for functions with an argument for training, and buffers
    for its constants. Raises NotWritableError.
    """
    try:
        if isinstance(network, fx.GraphModule):
            graph = copy.deepcopy(network.graph)
        else:
            _replace_drop_paths(network)
            graph = trace(network, image_size)[0]
    except UnreadableNetwork as error:
        raise NotWritableError(str(error)) from None

    nodes = list(graph.nodes)
    inputs, outputs = (
        [node for node in nodes if node.op == op] for op in ("placeholder", "output")
    )
    if len(inputs) != 1 or len(outputs) != 1 or not isinstance(outputs[0].args[0], fx.Node):
        raise NotWritableError("its forward pass takes more than images, or gives more than logits")

    # from the end: remove unused operations, and layers that do nothing
    for node in reversed(nodes):
        is_identity = (
            node.op == "call_module"
            and type(network.get_submodule(str(node.target))) is nn.Identity
        )
        if is_identity:
            node.replace_all_uses_with(node.all_input_nodes[0])
        if (
            is_identity
            or _is_assertion(node)
            or (not node.users and node.op not in ("placeholder", "output"))
        ):
            graph.erase_node(node)
    _split_activated_norms(network, graph)

    found = Steps(
        network,
        inputs[0],
        [node for node in graph.nodes if node.op not in ("placeholder", "output")],
        outputs[0],
        graph,
    )
    _find_scopes(found)
    _keep_constants(found, graph)
    return found


def _replace_drop_paths(network: nn.Module) -> None:
    """Replace timm's layers that drop branches in training by torchvision's, which a graph
    shows."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if (
                type(child).__name__ == "DropPath"
                and type(child).__module__.startswith("timm.")
                and child.scale_by_keep
            ):
                from torchvision.ops import StochasticDepth

                left_out: Any = child.drop_prob
                setattr(
                    module,
                    name,
                    StochasticDepth(float(left_out or 0.0), "row").train(child.training),
                )


def _split_activated_norms(network: nn.Module, graph: fx.Graph) -> None:
    """Split a norm with an activation into two layers."""
    for node in list(graph.nodes):
        after = (
            activated(network.get_submodule(str(node.target))) if node.op == "call_module" else []
        )

        last = node
        for name in after:
            with graph.inserting_after(last):
                new = graph.call_module(f"{node.target}.{name}", (last,))
            last.replace_all_uses_with(new, delete_user_cb=lambda user, new=new: user is not new)
            stack = list(node.meta.get("nn_module_stack", {}).items())[:-1]
            new.meta, last = {"nn_module_stack": dict(stack)}, new


def _is_assertion(node: fx.Node) -> bool:
    """Return True for an assertion of torch's."""
    return (
        node.op == "call_function"
        and key(node.target) is not None
        and getattr(node.target, "__name__", "") in ASSERTIONS
    )


def _find_scopes(steps: Steps) -> None:
    """Find the calls that each operation is in; one that was inserted is in those of both
    neighbours."""
    stacks: list[list[str] | None] = []
    for node in steps.nodes:
        stack = node.meta.get("nn_module_stack")
        calls = None if stack is None else [path for path in stack if path]
        for path, (_, kind) in (stack or {}).items():
            name = kind if isinstance(kind, str) else kind.__name__
            steps.kinds[path.split("@")[0]] = name.rpartition(".")[2]

        is_layer = node.op == "call_module" and not isinstance(
            steps.network.get_submodule(str(node.target)), TrainingFlagCall
        )
        if calls and is_layer and calls[-1].split("@")[0] == node.target:
            calls.pop()
        stacks.append(calls)

    for number, node in enumerate(steps.nodes):
        calls = stacks[number]
        if calls is None:
            before: list[str] = next(
                (stack for stack in reversed(stacks[:number]) if stack is not None), []
            )
            after = next((stack for stack in stacks[number:] if stack is not None), [])
            shared = next(
                (at for at, (a, b) in enumerate(zip(before, after)) if a != b),
                min(len(before), len(after)),
            )
            calls = before[:shared]
        steps.scopes[node] = calls


def _keep_constants(steps: Steps, graph: fx.Graph) -> None:
    """Make buffers of tensors that are no weights: constants found by tracing where they are used,
    others where they are.

    A state_dict has those with more than SMALL numbers; the source has the others.
    """
    uses: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            uses.setdefault(str(node.target), []).append(node)

    for target, nodes in uses.items():
        owner, _, name = target.rpartition(".")
        module, tensor = steps.network.get_submodule(owner), steps.tensor(nodes[0])
        if name in module._parameters or (
            name in module._buffers and name not in module._non_persistent_buffers_set
        ):
            continue

        if target.startswith("_tensor_constant"):  # of the whole network, as tracing has it
            places = {scope[-1] if (scope := steps.scopes.get(node)) else "" for node in nodes}
            owner = places.pop().split("@")[0] if len(places) == 1 else ""
            module = _submodule(steps.network, owner) or steps.network
            owner, name = (
                (owner, "constant") if module is not steps.network else ("", target.lstrip("_"))
            )
            while hasattr(module, name):
                name += "_"
        else:
            delattr(module, name)

        module.register_buffer(name, tensor.detach(), persistent=tensor.numel() > SMALL)
        for node in nodes:
            node.target = f"{owner}.{name}".lstrip(".")


def _submodule(network: nn.Module, path: str) -> nn.Module | None:
    """Return a module, or None if there is none."""
    try:
        return network.get_submodule(path)
    except AttributeError:
        return None


def is_kept(steps: Steps, node: fx.Node) -> bool:
    """Return True if a state_dict has the tensor of a ``get_attr``."""
    owner, _, name = str(node.target).rpartition(".")
    return name not in steps.network.get_submodule(owner)._non_persistent_buffers_set
