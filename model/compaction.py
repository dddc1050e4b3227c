"""Removes from a network, during the search, what its closed gates have made dead. The arithmetic of what is left
does not change: not the survivors' outputs, not their gradients, not their momentum.

Nothing is declared per network. The network is traced once (torch.fx), and two passes over its graph decide which
channels of each intermediate result are worth computing:

- forwards, where a channel is known to be exactly zero: behind its closed gate, and from there through sums of zeros and
  what makes a zero of a zero (ReLU and its kin, pooling, dropout);
- backwards, which channels somebody needs: a convolution needs each input channel that is not known to be zero; what
  works channel by channel (norm, gate, ReLU, pooling, depthwise convolution, sum) needs what it is asked for.

A residual stream is thus kept for as long as anyone downstream reads it, whatever the architecture. The channels of a
result are rounded up to a multiple of 8 with dead ones, because odd widths are slow on every processor; a dead channel
that stays is masked by its gate as before. Where a layer wants other channels than its input has, a selection is
put between them.
"""
import copy
import operator
from collections import Counter

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from model.gate import GatedBatchNorm2d, GateLayer, gates_of
from model.selection import Selection

MULTIPLE = 8
WORTHWHILE = 0.05  # of the filters: every new shape costs the device time to find out how to convolve it
# What works channel by channel and, norms apart, makes a zero of a zero. (Not F.dropout: the graph would hold for good
# whether the network was training when it was traced.)
CHANNELWISE = (GateLayer, _BatchNorm, nn.ReLU, nn.ReLU6, nn.SiLU, nn.LeakyReLU, nn.Dropout, nn.Dropout2d, nn.MaxPool2d,
               nn.AdaptiveAvgPool2d, nn.Identity)
SUMS = {operator.add, operator.iadd, torch.add}
FUNCTIONS = SUMS | {torch.relu, F.relu, F.relu6, F.silu, F.leaky_relu}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, (GateLayer, GatedBatchNorm2d)) or super().is_leaf_module(module, name)


class Compactor:
    """Holds a gated network at its full width and shrinks it as its gates close.

    ``network`` is the module to train; it stays the same object, and its parameters are sliced.
    ``kept`` maps each node of the graph to the channels it still has (a bool per channel of the full network); it is
    all that is needed to cut a fresh network to the same shape (``restore``). Raises NotImplementedError for a
    network that torch.fx can't trace, or that does something not known to work channel by channel, in a line that names it.
    """

    def __init__(self, network: nn.Module, multiple: int = MULTIPLE):
        self.multiple = multiple
        try:
            self.graph = _Tracer().trace(network)
        except Exception as error:  # whatever a network's own code does with what is no tensor
            reason = " ".join(str(error).split())[:150]
            raise NotImplementedError(f"torch.fx can't trace the network ({type(error).__name__}: {reason})") from None
        self.nodes = [node for node in self.graph.nodes if node.op not in ("placeholder", "output")]
        self.modules = dict(network.named_modules())
        self.device = next(network.parameters()).device
        self.kept: dict[str, Tensor] = {}
        users = Counter(id(tensor) for node in self.nodes for tensor in self._tensors(node))
        for node in self.nodes:
            if any(users[id(tensor)] > 1 for tensor in self._tensors(node)):
                raise NotImplementedError(f"{self._operation(node)} has weights that are used twice, and would be cut twice")
            self.kept[node.name] = torch.ones(self._channels(node), dtype=torch.bool)
        gates = gates_of(network)
        self.gate_nodes = {node.name: gates.index(gate) for node in self.nodes
                           if (module := self._module(node)) for gate in gates_of(module)}
        self.network = fx.GraphModule(network, copy.deepcopy(self.graph))

    def compact(self, alive: list[Tensor], optimizer: torch.optim.Optimizer | None = None, worthwhile: float = WORTHWHILE) -> bool:
        """Removes what the gates outside ``alive`` (a bool per filter, per gate) made dead.

        Only if at least the fraction ``worthwhile`` of the filters goes; returns whether it was done.
        """
        kept = self._wanted([layer.cpu() for layer in alive])
        before, after = (sum(int(masks[name].sum()) for name in self.gate_nodes) for masks in (self.kept, kept))
        if after == before or after > (1 - worthwhile) * before:
            return False
        self._cut(kept, optimizer)
        return True

    def restore(self, kept: dict[str, Tensor], optimizer: torch.optim.Optimizer | None = None) -> None:
        """Cuts a fresh network to the shape that another one had when its ``kept`` was saved."""
        self._cut({name: mask.cpu() for name, mask in kept.items()}, optimizer)

    def kept_filters(self) -> list[Tensor]:
        """For each gate, the indices of the filters that it still holds, on the CPU."""
        return [self.kept[name].nonzero().flatten() for name in sorted(self.gate_nodes, key=self.gate_nodes.__getitem__)]

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.modules[node.target] if node.op == "call_module" else None

    def _tensors(self, node: fx.Node) -> list[Tensor]:
        module = self._module(node)
        return [*module.parameters(), *module.buffers()] if module else []

    def _operation(self, node: fx.Node) -> str:
        module = self._module(node)
        return f"{type(module).__name__} ({node.target})" if module else getattr(node.target, "__name__", str(node.target))

    def _channels(self, node: fx.Node) -> int:
        """The channels of a node's result, dimension 1, in the full network. Refuses what is not understood."""
        module = self._module(node)
        inputs = [len(self.kept[arg.name]) for arg in node.args if isinstance(arg, fx.Node) and arg.name in self.kept]
        own = {len(tensor) for tensor in self._tensors(node) if tensor.dim()}
        if isinstance(module, nn.Conv2d) and module.groups == 1 and {*inputs} <= {module.in_channels}:
            return module.out_channels
        if isinstance(module, nn.Linear) and inputs == [module.in_features] and self._is_flat(node.all_input_nodes[0]):
            return module.out_features
        if self._by_channel(node) and len(inputs) == (2 if node.target in SUMS else 1) and len({*inputs, *own}) == 1:
            return inputs[0]
        raise NotImplementedError(f"{self._operation(node)} is not known to work channel by channel")

    def _by_channel(self, node: fx.Node) -> bool:
        """Whether channel c of the result depends only on channel c of each argument."""
        module = self._module(node)
        if isinstance(module, nn.Conv2d):
            return module.groups == module.in_channels == module.out_channels
        return isinstance(module, CHANNELWISE) or node.target in FUNCTIONS or self._flattens(node)

    def _flattens(self, node: fx.Node) -> bool:
        """Whether a node makes (N, C * H * W) of (N, C, H, W). Where H or W is not 1, what follows expects more than C."""
        if isinstance(module := self._module(node), nn.Flatten):
            return (module.start_dim, module.end_dim) == (1, -1)
        given = {**dict(zip(("start_dim", "end_dim"), node.args[1:])), **node.kwargs}
        flattens = node.target == torch.flatten or (node.op, node.target) == ("call_method", "flatten")
        return flattens and (given.get("start_dim"), given.get("end_dim", -1)) == (1, -1)

    def _is_flat(self, node: fx.Node) -> bool:
        """Whether a node's result is (N, features): of anything else, a linear layer would mix the last dimension."""
        if self._flattens(node) or isinstance(self._module(node), nn.Linear):
            return True
        return self._by_channel(node) and all(self._is_flat(arg) for arg in node.all_input_nodes)

    def _wanted(self, alive: list[Tensor]) -> dict[str, Tensor]:
        """The channels that each node should have, given the filters that are alive."""
        zero: dict[str, Tensor] = {}
        for node in self.nodes:
            inputs = [zero.get(arg.name, torch.zeros(1, dtype=torch.bool)) for arg in node.all_input_nodes]
            if node.name in self.gate_nodes:
                zero[node.name] = ~alive[self.gate_nodes[node.name]]
            elif self._by_channel(node) and not isinstance(self._module(node), (nn.Conv2d, _BatchNorm)):
                zero[node.name] = torch.stack(torch.broadcast_tensors(*inputs)).all(dim=0)
            else:
                zero[node.name] = torch.zeros_like(self.kept[node.name])
        wanted = {node.name: torch.zeros_like(self.kept[node.name]) for node in self.nodes}
        for node in reversed(self.nodes):
            name = node.name
            if any(user.op == "output" for user in node.users):
                wanted[name] = self.kept[name].clone()
            wanted[name] = _rounded_up(wanted[name] & self.kept[name], self.kept[name], self.multiple)
            for arg in node.all_input_nodes:
                if arg.name in wanted:
                    ask = wanted[name] if self._by_channel(node) else ~zero[arg.name]
                    if node.target in SUMS:  # a sum needs no zeros
                        ask = ask & ~zero[arg.name]
                    wanted[arg.name] = wanted[arg.name] | ask
        return wanted

    def _cut(self, kept: dict[str, Tensor], optimizer: torch.optim.Optimizer | None) -> None:
        """Slices the parameters from ``self.kept`` to ``kept``, and puts selects where neighbours then disagree."""
        def left(name: str) -> Tensor:
            """The channels that stay, among those that the node has now."""
            return kept[name][self.kept[name]].nonzero().flatten().to(self.device, non_blocking=True)

        renamed: dict[Tensor, Tensor] = {}
        graph = copy.deepcopy(self.graph)
        selections = nn.ModuleDict()
        for node, new_node in zip(self.graph.nodes, graph.nodes):
            if node.name not in kept:
                continue
            if module := self._module(node):
                mixed = node.all_input_nodes[0].name  # by a layer that does not work channel by channel
                columns = left(mixed) if mixed in kept and not self._by_channel(node) else None
                _slice(module, left(node.name), columns, optimizer, renamed)
            if not self._by_channel(node):
                continue
            for arg, new_arg in zip(node.all_input_nodes, new_node.all_input_nodes):
                if arg.name in kept and not torch.equal(kept[arg.name], kept[node.name]):
                    name = f"{arg.name}_for_{node.name}"
                    selections[name] = Selection(kept[arg.name], kept[node.name]).to(self.device, non_blocking=True)
                    with graph.inserting_before(new_node):
                        select = graph.call_module(f"selections.{name}", (new_arg,))
                    new_node.replace_input_with(new_arg, select)
        for group in optimizer.param_groups if optimizer else []:
            group["params"] = [renamed.get(p, p) for p in group["params"]]
        self.network.selections = selections
        self.kept = kept
        self.network.graph = graph


def _rounded_up(wanted: Tensor, available: Tensor, multiple: int) -> Tensor:
    """``wanted`` with as many more of the ``available`` channels as make it a multiple (not 0) of ``multiple``."""
    missing = -int(wanted.sum()) % multiple or (0 if wanted.any() else multiple)
    spare = (available & ~wanted).nonzero().flatten()[:missing]
    return wanted.index_fill(0, spare, True)


def _slice(module: nn.Module, rows: Tensor, columns: Tensor | None, optimizer: torch.optim.Optimizer | None,
           renamed: dict[Tensor, Tensor]) -> None:
    """Keeps the output channels ``rows`` and the input channels ``columns`` of a layer, and its momentum. Its gradients go."""

    def sliced(tensor: Tensor) -> Tensor:
        cut = tensor.index_select(0, rows)
        if columns is not None and cut.dim() > 1:
            cut = cut.index_select(1, columns)
        channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
        return cut.contiguous(memory_format=torch.channels_last) if channels_last else cut

    for part in module.modules():
        for name, old in list(part.named_parameters(recurse=False)):
            new = nn.Parameter(sliced(old.detach()), requires_grad=old.requires_grad)
            renamed[old] = new
            setattr(part, name, new)
            if optimizer is not None and old in optimizer.state:
                optimizer.state[new] = {key: sliced(value) if isinstance(value, Tensor) and value.dim() else value
                                        for key, value in optimizer.state.pop(old).items()}
        for name, buffer in list(part.named_buffers(recurse=False)):
            if buffer.dim():
                setattr(part, name, sliced(buffer))
    if isinstance(module, nn.Conv2d):
        module.out_channels = len(rows)
        if module.groups > 1:
            module.groups = module.in_channels = len(rows)
        elif columns is not None:
            module.in_channels = len(columns)
    elif isinstance(module, nn.Linear) and columns is not None:
        module.in_features = len(columns)
    elif isinstance(module, _BatchNorm):
        module.num_features = len(rows)
