"""Removes from a network, during the search, what its closed gates have made dead. The arithmetic of what is left
does not change: not the survivors' outputs, not their gradients, not their momentum.

Nothing is declared per network. The network is traced once (torch.fx), and two passes over its graph decide which
channels of each intermediate result are worth computing:

- forwards, where a channel is known to be exactly zero: behind its closed gate, and through ReLU, pooling and sums of
  zeros from there;
- backwards, which channels somebody needs: a convolution needs each input channel that is not known to be zero; what
  works channel by channel (norm, gate, ReLU, pooling, depthwise convolution, sum) needs what it is asked for.

A residual stream is thus kept for as long as anyone downstream reads it, whatever the architecture. The channels of a
result are rounded up to a multiple of 8 with dead ones, because odd widths are slow on every processor; a dead channel
that stays is masked by its gate as before. Where a layer wants other channels than its input has, a selection is
put between them.
"""
from __future__ import annotations

import copy
import operator

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from model.gate import GatedBatchNorm2d, GateLayer, gates_of

MULTIPLE = 8
WORTHWHILE = 0.05  # of the filters: every new shape costs the device time to find out how to convolve it
CHANNELWISE = (GateLayer, _BatchNorm, nn.ReLU, nn.ReLU6, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Identity)
BY_CHANNEL_METHODS = {"flatten"}
SUMS = {operator.add, operator.iadd, torch.add}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, (GateLayer, GatedBatchNorm2d)) or super().is_leaf_module(module, name)


class Compactor:
    """Holds a gated network at its full width and shrinks it as its gates close.

    ``network`` is the module to train; it stays the same object, and its parameters are sliced.
    ``kept`` maps each node of the graph to the channels it still has (a bool per channel of the full network); it is
    all that is needed to cut a fresh network to the same shape (``restore``). Raises NotImplementedError for a
    network that does something not known to work channel by channel.
    """

    def __init__(self, network: nn.Module, multiple: int = MULTIPLE):
        self.multiple = multiple
        self.graph = _Tracer().trace(network)
        self.modules = dict(network.named_modules())
        self.device = next(network.parameters()).device
        self.kept = {node.name: torch.ones(self._channels(node), dtype=torch.bool) for node in self._inner_nodes()}
        self.gate_nodes = {}
        for node in self._inner_nodes():
            module = self._module(node)
            if isinstance(module, (GateLayer, GatedBatchNorm2d)):
                gate = module if isinstance(module, GateLayer) else module.gate
                self.gate_nodes[node.name] = [id(g) for g in gates_of(network)].index(id(gate))
        self.network = fx.GraphModule(network, copy.deepcopy(self.graph))

    def compact(self, alive: list[Tensor], optimizer: torch.optim.Optimizer | None = None,
                worthwhile: float = WORTHWHILE) -> bool:
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
        """For each gate, the indices of the filters that it still holds."""
        nodes = sorted(self.gate_nodes, key=self.gate_nodes.get)
        return [self.kept[name].nonzero().flatten().to(self.device) for name in nodes]

    def _inner_nodes(self) -> list[fx.Node]:
        return [node for node in self.graph.nodes if node.op not in ("placeholder", "output")]

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.modules[node.target] if node.op == "call_module" else None

    def _channels(self, node: fx.Node) -> int:
        """The channels of a node's result, dimension 1, in the full network. Refuses what is not understood."""
        module = self._module(node)
        if isinstance(module, nn.Conv2d) and (module.groups == 1 or self._by_channel(node)):
            return module.out_channels
        inputs = [self._channels(arg) for arg in node.args if isinstance(arg, fx.Node) and arg.op != "placeholder"]
        if isinstance(module, nn.Linear) and module.in_features == inputs[0]:
            return module.out_features
        if self._by_channel(node) and len(set(inputs)) == 1 and (node.target not in SUMS or len(inputs) == 2):
            return inputs[0]
        raise NotImplementedError(f"{node.format_node()} is not known to work channel by channel")

    def _by_channel(self, node: fx.Node) -> bool:
        """Whether channel c of the result depends only on channel c of each argument."""
        module = self._module(node)
        if isinstance(module, nn.Conv2d):
            return module.groups == module.in_channels == module.out_channels
        return (isinstance(module, CHANNELWISE) or (node.op == "call_method" and node.target in BY_CHANNEL_METHODS)
                or (node.op == "call_function" and node.target in SUMS))

    def _wanted(self, alive: list[Tensor]) -> dict[str, Tensor]:
        """The channels that each node should have, given the filters that are alive."""
        nodes = self._inner_nodes()
        zero = {}
        for node in nodes:
            inputs = [zero.get(arg.name, torch.zeros(1, dtype=torch.bool)) for arg in node.all_input_nodes]
            if node.name in self.gate_nodes:
                zero[node.name] = ~alive[self.gate_nodes[node.name]]
            elif self._by_channel(node) and not isinstance(self._module(node), (nn.Conv2d, _BatchNorm)):
                zero[node.name] = torch.stack(torch.broadcast_tensors(*inputs)).all(dim=0)
            else:
                zero[node.name] = torch.zeros_like(self.kept[node.name])
        wanted = {node.name: torch.zeros_like(self.kept[node.name]) for node in nodes}
        for node in reversed(nodes):
            name = node.name
            if any(user.op == "output" for user in node.users):
                wanted[name] = self.kept[name].clone()
            wanted[name] = _rounded_up(wanted[name] & self.kept[name], self.kept[name], self.multiple)
            for arg in node.all_input_nodes:
                if arg.name in wanted:
                    ask = wanted[name] if self._by_channel(node) else ~zero[arg.name]
                    if node.op == "call_function":  # a sum needs no zeros
                        ask = ask & ~zero[arg.name]
                    wanted[arg.name] = wanted[arg.name] | ask
        return wanted

    def _cut(self, kept: dict[str, Tensor], optimizer: torch.optim.Optimizer | None) -> None:
        """Slices the parameters from ``self.kept`` to ``kept``, and puts selects where neighbours then disagree."""
        renamed: dict[Tensor, Tensor] = {}
        graph = copy.deepcopy(self.graph)
        selections = nn.ModuleDict()
        for node, new_node in zip(self.graph.nodes, graph.nodes):
            if node.name not in kept:
                continue
            out = kept[node.name]
            module = self._module(node)
            if module is not None:
                rows = out[self.kept[node.name]].nonzero().flatten().to(self.device)
                columns = None
                arg = node.all_input_nodes[0]
                if not self._by_channel(node) and arg.name in kept:
                    columns = kept[arg.name][self.kept[arg.name]].nonzero().flatten().to(self.device)
                _slice(module, rows, columns, optimizer, renamed)
            if not self._by_channel(node):
                continue
            for arg, new_arg in zip(node.all_input_nodes, new_node.all_input_nodes):
                if arg.name in kept and not torch.equal(kept[arg.name], out):
                    name = f"{arg.name}_for_{node.name}"
                    selections[name] = Selection(kept[arg.name], out).to(self.device)
                    with graph.inserting_before(new_node):
                        select = graph.call_module(f"selections.{name}", (new_arg,))
                    new_node.replace_input_with(new_arg, select)
        for group in optimizer.param_groups if optimizer else []:
            group["params"] = [renamed.get(p, p) for p in group["params"]]
        self.network.selections = selections
        self.kept = kept
        self.network.graph = graph


class Selection(nn.Module):
    """From a result with the channels ``source``, those of ``target``; zeros for what it does not have.

    Both are bools per channel of the full network. Shapes: (N, C, ...) -> (N, C', ...), C and C' their sums.
    """

    def __init__(self, source: Tensor, target: Tensor):
        super().__init__()
        self.register_buffer("index", _positions(source, target), persistent=False)
        self.register_buffer("back", _positions(target, source), persistent=False)
        self.complete = not (target & ~source).any(), not (source & ~target).any()

    def forward(self, x: Tensor) -> Tensor:
        return _Select.apply(x, self.index, self.back, self.complete)


class _Select(torch.autograd.Function):
    """The backward pass of a selection is the selection back: several times faster than the one of index_select."""

    @staticmethod
    def forward(ctx, x: Tensor, index: Tensor, back: Tensor, complete: tuple[bool, bool]) -> Tensor:
        ctx.save_for_backward(back)
        ctx.complete = complete[1]
        return _select(x, index, complete[0])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _select(grad, *ctx.saved_tensors, ctx.complete), None, None, None


def _select(x: Tensor, index: Tensor, complete: bool) -> Tensor:
    """Channels ``index`` of x, zeros where it is -1 (nowhere, if ``complete``): a gather along the innermost dimension."""
    rows = x.movedim(1, -1)
    picked = rows.gather(-1, index.clamp(min=0).expand(*rows.shape[:-1], -1))
    if not complete:
        picked *= index >= 0
    return picked.movedim(-1, 1)


def _positions(source: Tensor, target: Tensor) -> Tensor:
    """Where each channel of ``target`` lies among those of ``source``; -1 for what is not there."""
    position = source.cumsum(0) - 1
    position[~source] = -1
    return position[target]


def _rounded_up(wanted: Tensor, available: Tensor, multiple: int) -> Tensor:
    """``wanted`` with as many more of the ``available`` channels as make it a multiple (not 0) of ``multiple``."""
    missing = -int(wanted.sum()) % multiple or (0 if wanted.any() else multiple)
    spare = (available & ~wanted).nonzero().flatten()[:missing]
    wanted = wanted.clone()
    wanted[spare] = True
    return wanted


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
        for name, old in list(part.named_buffers(recurse=False)):
            if old.dim():
                setattr(part, name, sliced(old))
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
