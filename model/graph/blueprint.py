"""A network that is read from its graph, at any widths: what it costs, and how it is built."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model.cost import Cost, Number
from model.errors import UnreadableNetwork
from model.graph.compaction import MULTIPLE
from model.graph.cut import Cutter
from model.graph.hooks import hook_gates
from model.graph.reading import run_on_shapes
from model.graph.resizable import Resizable, fixed_layers
from model.graph.resize import replace, tensors_of
from model.graph.trial import why_no_hooks, why_not_own_code


class Blueprint(Resizable):
    """A network that is read from its graph, at any widths.

    Whatever is built of it is the network that its owner's code makes, with other tensors; only
    where that code can't be run at other widths, or with gates, its graph is run instead.
    """

    # --- what is run ------------------------------------------------------------------------------

    @cached_property
    def why_graph(self) -> str:
        """Return why its graph is run and not its own code; "" where its own code is run."""
        return why_not_own_code(self, self.network)

    @cached_property
    def why_graph_with_gates(self) -> str:
        """Return the same for the network with gates."""
        return self.why_graph or why_no_hooks(self, self.network)

    def build(self, network: nn.Module, filters: Sequence[int], gated: bool) -> nn.Module:
        """Build ``network``, freshly made by its own code, at other widths.

        At its own widths it keeps its own numbers. Returns the same object, or where its own code
        can't be run, a GraphModule with its layers. Raises UnreadableNetwork where neither is
        possible.
        """
        self.resized(network, filters)
        if why := self.why_graph_with_gates if gated else self.why_graph:
            if self.claimed:
                raise UnreadableNetwork(
                    f"has a part named {next(iter(self.claimed))}, which a network that runs its "
                    f"graph can't have; give it another name ({why})"
                )
            return self.run_graph(network, filters, gated)
        if gated:
            hook_gates(network, self.reading, self.hooks, self.free, filters)
        return network

    def rebuilt(self, network: nn.Module, gated: bool) -> nn.Module:
        """Build ``network`` at its own widths in the way it is built at others.

        Each tensor that has a width is replaced by a copy, with the same numbers.
        """
        tensors = tensors_of(network)
        replace(
            network,
            self.reading,
            {path: tensors[path].detach().clone() for path in self.reading.dims if path in tensors},
        )
        return self.build(network, self.template, gated)

    def cutter(
        self, network: nn.Module, multiple: int = MULTIPLE, through_norms: bool = False
    ) -> Cutter:
        """Return the Cutter that removes closed filters from a network that was built with
        gates."""
        return Cutter(self, network, self.count, multiple, through_norms)

    # --- what it costs ----------------------------------------------------------------------------

    def count(self, cost: Cost, filters: Number) -> None:
        """Add the network's parameters and multiply-accumulates at these widths to ``cost``.

        ``filters`` are widths of shape (L,), or (L, n) for n networks.
        """
        parameters, calls, other_macs = self.counted
        for path in parameters:
            cost.params = cost.params + self.numel(path, filters)
        for path, places, each in calls:
            cost.macs = cost.macs + places * self.numel(path, filters) * (
                self.channels(each, filters) if each else 1
            )
        cost.macs = cost.macs + other_macs

    @cached_property
    def counted(self) -> tuple[list[str], list[tuple[str, int, str]], int]:
        """Return its parameters, by name; its multiplications; and its other multiply-accumulates.

        A multiplication is (weight, places, node): the weight's numbers are each used ``places``
        times, for each channel of ``node`` where one is named. The other multiply-accumulates are
        those without weights, attention for example, whose widths are fixed.

        Its own code has and computes more than its graph where the logits don't depend on some
        layers.
        """
        run, path_of = self.run_graph(self.network, self.template), self.reading.path
        own_names = {other: part for part, other in self.claimed.items()}
        every = {path_of[name]: None for name, _ in self.network.named_parameters()}
        used = {
            path_of[".".join(own_names.get(part, part) for part in name.split("."))]: None
            for name, _ in run.named_parameters()
        }

        # is all of it counted, or only what the logits depend on?
        own = (
            len(every) == len(used) and len(self.reading.live) == len(self.reading.graph.nodes)
        ) or not self.why_graph
        module = self.graph_module(self.network) if own else run

        # run it on shapes: every result's numbers, and torch's own count
        with FlopCounterMode(display=False) as flops:
            numbers = run_on_shapes(module, module.graph, 1, self.image_size)
        calls = [
            (path, *self.places(name, axis, numbers[name]))
            for path, name, axis in self.reading.calls
            if name in numbers and (own or path_of[path] in used)
        ]

        # what torch counts beyond the multiplications with weights
        with_weights = sum(
            places
            * int(self.numel(path, self.template))
            * (self.reading.values[each].channels if each else 1)
            for path, places, each in calls
        )
        return list(every if own else used), calls, flops.get_total_flops() // 2 - with_weights

    def places(self, name: str, axis: int, numbers: int) -> tuple[int, str]:
        """Return at how many places a weight makes dimension ``axis`` of a result with ``numbers``
        numbers, and the node for each of whose channels it does so ("" for none)."""
        value, places = self.reading.values.get(name), numbers // self.reading.shapes[name][axis]
        return (places // value.channels, name) if value and value.axis != axis else (places, "")

    # --- what is told -----------------------------------------------------------------------------

    def layers(self) -> list[list[str]]:
        """Return the layers that make each width."""
        return [self.reading.widths.layers[width] for width in self.free]

    def described(self) -> list[str]:
        """Return a line for each width with its number, units and layers, a line for each fixed
        width with the reason, and a line that says whose code is run."""
        lines = [f"{'width':>5} {'filters':>8}  layers"]

        for position, (width, units) in enumerate(zip(self.free, self.template)):
            size = self.group_sizes[position]
            of = f" in groups of {size}" * (size > 1)
            layers = self.reading.widths.layers[width]
            tied = f" ({len(layers)} tied)" * (len(layers) > 1)
            lines.append(
                f"{position:5} {units:8}  "
                f"{', '.join(layers[:4])}{', …' * (len(layers) > 4)}{tied}{of}"
            )
        return [*lines, *fixed_layers(self.reading), self.whose_code()]

    def whose_code(self) -> str:
        """Return a line that says whose code is run, and why."""
        if not self.why_graph_with_gates:
            return "it is trained and searched as its own object, by its own code"
        more = "" if self.reading.whole else "; in training that does what it does in evaluation"
        if self.why_graph:
            return f"its graph is run, not its own code{more}: {self.why_graph}"
        return (
            "it is trained as its own object, by its own code; in searches its graph is "
            f"run{more}: {self.why_graph_with_gates}"
        )
