"""Gates in a user's network, which goes on running its own code: in its batch norms, and in hooks
of its other modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from model.gate import GatedBatchNorm2d, GateLayer
from model.graph.insert_gates import owners, places, readers_of, shared_gate
from model.graph.reading import Reading
from model.graph.tracer import ModuleCall

# these may run any of their children
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class GateBehind:
    """A forward hook that passes a module's result through the gate that is its child ``name``."""

    name: str

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Any:
        return module._modules[self.name](output)  # type: ignore[misc]  # it is there


@dataclass(frozen=True)
class GateBefore:
    """A forward pre-hook that passes a module's first input through the gate that is its child
    ``name``."""

    name: str

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return module._modules[self.name](args[0]), *args[1:]  # type: ignore[misc]


@dataclass
class HookPlan:
    """The places of gates in a user's network.

    ``behind`` and ``before`` map the path of a module to the node whose channels its gate has, and
    to the widths (roots) that are gated there. ``missing`` names an operation before which no gate
    can be put; "" if there is none.
    """

    behind: dict[str, tuple[str, set[int]]] = field(default_factory=dict)
    before: dict[str, tuple[str, set[int]]] = field(default_factory=dict)
    missing: str = ""


class HookPlanner:
    """Finds the modules at which gates can be put into a network that was read."""

    def __init__(self, reading: Reading, free: Sequence[int]):
        self.reading, self.free = reading, free
        self.number = {node.name: number for number, node in enumerate(reading.graph.nodes)}
        self.nodes: dict[str, fx.Node] = {node.name: node for node in reading.graph.nodes}
        self.owner = owners(reading, free)
        self.calls: dict[str, list[ModuleCall]] = {}  # by path
        # by node: the paths of modules that return it, the inner before the outer
        self.returning: dict[str, list[str]] = {}
        for call in reading.module_calls:
            self.calls.setdefault(call.path, []).append(call)
            if call.returned:
                self.returning.setdefault(call.returned, []).append(call.path)

    def plan(self) -> HookPlan:
        """Return the modules at which gates have to be put."""
        found, readers = HookPlan(), readers_of(self.reading)
        where = places(self.reading, self.free, self.gated_with)
        for name, widths in where.behind.items():
            path = self.module_behind(name)
            assert path is not None  # or it would be no such place
            found.behind.setdefault(path, (name, set()))[1].update(widths)

        # gates before a module, where no place behind one closes all that is read
        for name, widths in where.before.items():
            for reader in readers[name]:
                if call := self.module_before(reader, name):
                    found.before.setdefault(call.path, (str(call.given), set()))[1].update(widths)
                else:
                    found.missing = found.missing or self.reading.operation(self.nodes[reader])
        return found

    def gated_with(self, name: str) -> list[str]:
        """Return the nodes that are zero where a gate closes ``name``: the node itself, or the last
        one before it whose zeros it keeps; none where no gate can be put."""
        for source in self.sources(name):
            if path := self.module_behind(source):
                return [call.returned for call in self.calls[path] if call.returned]
        return []

    def module_behind(self, name: str) -> str | None:
        """Return the path of the module that returns a node, or always another node with the same
        channels; None if there is none."""
        for path in self.returning.get(name, []):
            inside = isinstance(self.reading.layers[path], CONTAINERS)
            if not inside and all(
                self.is_made_in(call) and self.alike(call.returned, name)
                for call in self.calls[path]
            ):
                return path
        return None

    def is_made_in(self, call: ModuleCall) -> bool:
        """Return True if a module makes what it returns, and nothing else in it is used outside."""
        if call.returned is None or call.first > self.number[call.returned]:
            return False
        return all(self.number[user.name] >= call.end for user in self.nodes[call.returned].users)

    def module_before(self, reader: str, name: str) -> ModuleCall | None:
        """Return the call of the module that reads a node, itself or by functions, and is first
        given a result with the node's channels; None if there is none, or if other channels are
        given to it too.
        """
        inside = self.number[reader]

        # the inner before the outer
        for call in self.reading.module_calls:
            if (
                call.first <= inside < call.end
                and call.given
                and not isinstance(self.reading.layers[call.path], CONTAINERS)
            ):
                # nothing but what keeps zeros may lie between the module's input and the node
                on_the_way = self.sources(name)
                known = call.given in on_the_way and all(
                    self.number[node] >= call.first
                    for node in on_the_way[: on_the_way.index(call.given)]
                )
                if known and all(
                    self.alike(other.given, call.given) for other in self.calls[call.path]
                ):
                    return call
        return None

    def sources(self, name: str) -> list[str]:
        """Return a node and the nodes before it whose zeros it keeps, one by one."""
        found = [name]
        while (
            len(inputs := self.reading.steps[found[-1]].inputs) == 1
            and not inputs[0].whole
            and (self.reading.steps[found[-1]].zero_if != "none")
        ):
            found.append(inputs[0].name)
        return found

    def alike(self, one: str | None, other: str) -> bool:
        """Return True if two nodes need the same gate."""
        values = self.reading.values
        return one == other or (
            one in values
            and values[one].axis == values[other].axis
            and torch.equal(self.owner[one], self.owner[other])
        )


def hook_gates(
    network: nn.Module,
    reading: Reading,
    plan: HookPlan,
    free: Sequence[int],
    filters: Sequence[int],
) -> None:
    """Put a GateLayer for each width into a user's network; all places of a width share it."""
    device = next(network.parameters()).device
    gates = {
        root: GateLayer(width, number) for number, (root, width) in enumerate(zip(free, filters))
    }

    # behind modules: in a batch norm, or in a hook
    for path, (name, widths) in plan.behind.items():
        module, gate = (
            network.get_submodule(path),
            shared_gate(reading, name, widths, gates).to(device),
        )
        if GatedBatchNorm2d.takes(module):
            GatedBatchNorm2d.gate_in(module, gate)
        else:
            module.add_module(child := free_name(module), gate)
            module.register_forward_hook(GateBehind(child))

    # before modules
    for path, (name, widths) in plan.before.items():
        module = network.get_submodule(path)
        module.add_module(
            child := free_name(module), shared_gate(reading, name, widths, gates).to(device)
        )
        module.register_forward_pre_hook(GateBefore(child))


def free_name(module: nn.Module) -> str:
    """Return a name that no attribute of the module has."""
    name = "gate"
    while hasattr(module, name):
        name += "_"
    return name


def unhook_gates(network: nn.Module) -> None:
    """Remove the gates from a network. They must be open, or what they close be gone."""
    for module in list(network.modules()):
        if isinstance(module, GatedBatchNorm2d):
            module.without_gate()
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key, hook in list(hooks.items()):
                if isinstance(hook, (GateBehind, GateBefore)):
                    del hooks[key]
                    delattr(module, hook.name)
