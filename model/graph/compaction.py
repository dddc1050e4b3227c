"""Removes what closed gates have made dead from a network during the search. The arithmetic of the
rest does not change: neither outputs nor gradients nor momentum.

Nothing is declared for a network: its graph is read (model/graph/reading.py), and two passes over
the graph decide which channels of each result are worth computing (model/graph/liveness.py). The
forward pass finds channels that are exactly zero, the backward pass channels that are needed. A
convolution needs each input channel that is not known to be zero; an operation that works channel
by channel needs the channels that are needed of its result. A residual stream is thus kept for as
long as anything downstream reads it, whatever the architecture.

The channels of a result are rounded up to a multiple of 8 with dead ones, because odd widths are
slow on every processor. A dead channel that stays is masked by its gate as before. Where a layer
wants other channels than its input has, a selection is put between them.
"""

import copy
import math

import torch
from torch import Tensor, fx, nn

from model.cost import Cost
from model.gate import GateLayer, SharedGate, gates_of
from model.graph.liveness import mask_to_input, zeros
from model.graph.reading import Reading
from model.graph.resize import chosen, cut
from model.graph.selection import Selection
from model.graph.trace import write_literals
from model.images import ImageSize

MULTIPLE = 8
# the least fraction of filters to remove at once: a device has to find out anew how to convolve
# each new shape
WORTHWHILE = 0.05


class Compactor:
    """Holds a gated network at its full width and shrinks it as its gates close.

    ``network`` is the module to train. It stays the same object; its parameters are sliced, its
    gates are not. ``kept`` maps each node of the graph to the channels that it still has (a bool
    per channel of the full network); with it alone a fresh network can be cut to the same shape
    (``restore``).

    Raises UnreadableNetwork, with the name of the operation, for a network that does something not
    known to keep channels apart.
    """

    exact = True  # what is removed changes no output

    def __init__(self, network: nn.Module, image_size: ImageSize = 32, multiple: int = MULTIPLE):
        self.multiple = multiple
        self.reading = reading = Reading(network, image_size)
        self.nodes = [node for node in reading.graph.nodes if node.name in reading.values]
        self.device = next(network.parameters()).device
        self.kept = {
            node.name: torch.ones(reading.values[node.name].channels, dtype=torch.bool)
            for node in self.nodes
        }

        # the gates of each node: which of them, and which filter each channel has
        gates = gates_of(network)
        self.gate_nodes: dict[str, tuple[list[int], Tensor | None]] = {}
        for node in self.nodes:
            gate = reading.gate_of(node)
            if isinstance(gate, GateLayer):
                self.gate_nodes[node.name] = [gates.index(gate)], None
            elif isinstance(gate, SharedGate):
                index = None if gate.index is None else gate.index.cpu()
                self.gate_nodes[node.name] = [gates.index(layer) for layer in gate.layers], index  # type: ignore[arg-type]

        self.network = fx.GraphModule(network, copy.deepcopy(reading.graph))
        if gates_of(self.network) != gates:  # torch.fx took its modules in another order
            others = dict(self.network.named_children())
            self.network._modules.clear()
            for name, module in {"gates": nn.ModuleList(gates), **others}.items():
                self.network.add_module(name, module)

    def compact(
        self,
        alive: list[Tensor],
        optimizer: torch.optim.Optimizer | None = None,
        worthwhile: float = WORTHWHILE,
    ) -> bool:
        """Remove the channels that are dead now that only the filters ``alive`` have open gates.

        ``alive`` has a bool per filter for each gate, on the CPU. Nothing is done unless at least
        the fraction ``worthwhile`` of the gated channels can go. Returns True if something was
        removed.
        """
        kept = self._wanted(alive, self.multiple)
        before, after = (
            sum(int(masks[name].sum()) for name in self.gate_nodes) for masks in (self.kept, kept)
        )
        if after == before or after > (1 - worthwhile) * before:
            return False
        self._cut(kept, optimizer)
        return True

    def restore(
        self, kept: dict[str, Tensor], optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Cut a fresh network to the shape that another one had when its ``kept`` was saved."""
        self._cut({name: mask.cpu() for name, mask in kept.items()}, optimizer)

    def kept_filters(self) -> list[Tensor]:
        """Return for each gate the indices of the filters that remain anywhere."""
        there = [torch.zeros(len(gate.weight), dtype=torch.bool) for gate in gates_of(self.network)]
        for name, (layers, index) in self.gate_nodes.items():
            # index -1 stands for a channel without a gate; it goes to a place of its own at the end
            filters = torch.cat(
                [*[there[layer] for layer in layers], torch.zeros(1, dtype=torch.bool)]
            )
            filters[
                (torch.arange(len(filters) - 1) if index is None else index)[self.kept[name]]
            ] = True
            for layer, part in zip(
                layers, filters[:-1].split([len(there[layer]) for layer in layers])
            ):
                there[layer] = part
        return [filters.nonzero().flatten() for filters in there]

    def count(self, alive: list[Tensor]) -> Cost:
        """Return the cost of the network with the filters ``alive`` alone.

        A layer has the channels that anything behind it needs, which may be more than its own gate
        leaves.
        """
        kept, cost = self._wanted(alive, 1), Cost()
        channels = {name: int(mask.sum()) for name, mask in kept.items()}
        gates = {
            f"{name}.weight"
            for name, module in self.reading.layers.items()
            if isinstance(module, GateLayer)
        }
        sizes = {
            path: math.prod(
                size if name is None else channels[name]
                for size, name in zip(
                    tensor.shape, self.reading.dims.get(path, (None,) * tensor.dim())
                )
            )
            for path, tensor in self.reading.tensors.items()
            if isinstance(tensor, nn.Parameter) and path not in gates
        }
        cost.params = sum(sizes.values())
        for path, name, axis in self.reading.calls:
            shape = self.reading.shapes[name]
            cost.macs += sizes[path] * (math.prod(shape) // shape[0] // shape[axis])
        return cost

    def channel_mask(self, name: str) -> Tensor:
        """Return which channels of a node's result in the full network remain (bools)."""
        return self.kept[name]

    def finished(self) -> nn.Module:
        """Return the network, with its gates and selections."""
        return self.network

    def channels(self, name: str) -> int:
        """Return the number of channels of a node's result in the full network."""
        return self.reading.values[name].channels

    def sliced(self, path: str, tensor: Tensor) -> Tensor:
        """Return the part of a tensor of the full network that remains."""
        dims = self.reading.dims.get(path, ())
        return chosen(
            tensor,
            dims,
            {name: self.kept[name].nonzero().flatten() for name in dims if name is not None},
        )

    def _closed(self, name: str, alive: list[Tensor]) -> Tensor | None:
        """Return a mask of the channels of a node that its gates close; None for a node without
        gates."""
        if name not in self.gate_nodes:
            return None
        layers, index = self.gate_nodes[name]
        closed = torch.cat([*[~alive[layer] for layer in layers], torch.zeros(1, dtype=torch.bool)])
        return closed[:-1] if index is None else closed[index]

    def _wanted(self, alive: list[Tensor], multiple: int) -> dict[str, Tensor]:
        """Return the channels that each node should have, given the filters that are alive: of
        each width a multiple of ``multiple``."""
        reading, zero = self.reading, zeros(self.reading, lambda name: self._closed(name, alive))
        wanted = {
            name: torch.full_like(mask, name in reading.pinned) for name, mask in self.kept.items()
        }

        # backwards, so that everything that reads a node has said what it needs of it
        for node in reversed(self.nodes):
            step, name = reading.steps[node.name], node.name
            for begin, end in step.solid:
                wanted[name][begin:end] = True
            wanted[name] = self._rounded_up(name, wanted[name] & self.kept[name], multiple)
            # a result that is joined to itself has the same channels at both places
            for source in step.inputs:
                again = [
                    other for other in step.inputs if other.name == source.name and not other.whole
                ]
                size = len(zero[source.name]) // source.taken * source.given
                both = [wanted[name][other.start : other.start + size] for other in again]
                if len(both) > 1:
                    union = torch.stack(both).any(dim=0)
                    for part in both:
                        part.copy_(union)

            for source in step.inputs:
                if source.whole:  # a norm of all channels needs the zeros too
                    ask = (
                        ~zero[source.name] if not step.solid else torch.ones_like(zero[source.name])
                    )
                else:
                    ask = mask_to_input(wanted[name], source, len(zero[source.name]))
                    # a sum needs no zeros
                    if (
                        len(step.inputs) > 1
                        and step.zero_if == "all"
                        and source.taken == source.given == 1
                    ):
                        ask = ask & ~zero[source.name]
                wanted[source.name] = wanted[source.name] | ask
        return wanted

    def _rounded_up(self, name: str, wanted: Tensor, multiple: int) -> Tensor:
        """Return ``wanted`` with enough other available channels to make it a multiple.

        That holds for each width, and units are kept whole.
        """
        available, start = self.kept[name], 0
        for piece in self.reading.values[name].pieces:
            part, unit = slice(start, start + piece.channels), self.reading.per_unit(piece)
            here, there = (mask[part].view(-1, unit).any(dim=1) for mask in (wanted, available))

            # as many spare units as are missing, in their order
            units = multiple // math.gcd(unit, multiple)
            missing = -int(here.sum()) % units or (0 if here.any() else units)
            spare = (there & ~here).nonzero().flatten()[:missing]
            wanted[part] = here.index_fill(0, spare, True).repeat_interleave(unit) & available[part]
            start += piece.channels
        return wanted

    def _cut(self, kept: dict[str, Tensor], optimizer: torch.optim.Optimizer | None) -> None:
        """Slice the weights from ``self.kept`` to ``kept``, and put selections where neighbours
        differ."""
        left = {
            name: kept[name][self.kept[name]].nonzero().flatten().to(self.device, non_blocking=True)
            for name in kept
        }
        cut(self.network, self.reading, left, optimizer)

        # a fresh copy of the graph, with a selection wherever a node takes other channels
        graph, selections = copy.deepcopy(self.reading.graph), nn.ModuleDict()
        for node, new_node in zip(self.reading.graph.nodes, graph.nodes):
            if node.name not in kept:
                continue
            if gate := self.reading.gate_of(node):
                gate.cut(left[node.name])
            for source in self.reading.steps[node.name].inputs:
                if source.whole:
                    continue
                target = mask_to_input(kept[node.name], source, len(kept[source.name]))
                # a result that is taken twice was replaced already
                there = any(new.name == source.name for new in new_node.all_input_nodes)
                if there and not torch.equal(kept[source.name], target):
                    name = f"{source.name}_for_{node.name}"
                    selection = Selection(
                        kept[source.name], target, self.reading.values[source.name].axis
                    )
                    selections[name] = selection.to(self.device, non_blocking=True)
                    new_source = next(
                        new for new in new_node.all_input_nodes if new.name == source.name
                    )
                    with graph.inserting_before(new_node):
                        new_node.replace_input_with(
                            new_source, graph.call_module(f"selections.{name}", (new_source,))
                        )

        write_literals(
            graph, self.reading.literals, {name: int(mask.sum()) for name, mask in kept.items()}
        )
        self.network.selections = selections
        self.kept = kept
        self.network.graph = graph
