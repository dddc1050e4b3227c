"""Gates in a network of its owner's, which goes on running its own code: in its batch norms, and in
hooks of its other modules."""

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

# they may run whatever children they have
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class GateBehind:
    """A forward hook: the result of a module through the gate that is its child of this name."""

    name: str

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Any:
        return module._modules[self.name](output)  # type: ignore[misc]  # it is there


@dataclass(frozen=True)
class GateBefore:
    """A forward pre-hook: what a module is given first through the gate that is its child of this
    name."""

    name: str

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return module._modules[self.name](args[0]), *args[1:]  # type: ignore[misc]


@dataclass
class HookPlan:
    """Where gates of the owner's network are: of a module by its path, the node whose channels it
    gates, and the widths (roots) that have gates there, ``behind`` the module or ``before`` it.
    ``missing``: an operation that no gate can be put before; "" if none.
    """

    behind: dict[str, tuple[str, set[int]]] = field(default_factory=dict)
    before: dict[str, tuple[str, set[int]]] = field(default_factory=dict)
    missing: str = ""


class Planner:
    """Finds the modules of a network that was read at which gates can be put."""

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
        found, readers = HookPlan(), readers_of(self.reading)
        where = places(self.reading, self.free, self.gated_with)
        for name, widths in where.behind.items():
            path = self.module_behind(name)
            assert path is not None  # or it would be no such place
            found.behind.setdefault(path, (name, set()))[1].update(widths)
        for name, widths in where.before.items():
            for reader in readers[name]:
                if call := self.module_before(reader, name):
                    found.before.setdefault(call.path, (str(call.given), set()))[1].update(widths)
                else:
                    found.missing = found.missing or self.reading.operation(self.nodes[reader])
        return found

    def gated_with(self, name: str) -> list[str]:
        """The nodes that are closed where a gate closes ``name``: itself, or the last before it of
        whose zeros it makes zeros."""
        for source in self.sources(name):
            if path := self.module_behind(source):
                return [call.returned for call in self.calls[path] if call.returned]
        return []

    def module_behind(self, name: str) -> str | None:
        """The module whose result a node is, whenever it is called, or another with the same
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
        """Whether what a module returns is made in it, and used outside of it alone."""
        if call.returned is None or call.first > self.number[call.returned]:
            return False
        return all(self.number[user.name] >= call.end for user in self.nodes[call.returned].users)

    def module_before(self, reader: str, name: str) -> ModuleCall | None:
        """The call of the module that reads a node, itself or by functions, where it is given first
        what has these channels; None if there is none, or if it is given others, too."""
        inside = self.number[reader]
        for call in self.reading.module_calls:  # the inner before the outer
            if (
                call.first <= inside < call.end
                and call.given
                and not isinstance(self.reading.layers[call.path], CONTAINERS)
            ):
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
        """A node and those before it of whose zeros it makes zeros, one by one."""
        found = [name]
        while (
            len(inputs := self.reading.steps[found[-1]].inputs) == 1
            and not inputs[0].whole
            and (self.reading.steps[found[-1]].zero_if != "none")
        ):
            found.append(inputs[0].name)
        return found

    def alike(self, one: str | None, other: str) -> bool:
        """Whether a gate for the channels of one node is one for those of the other."""
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
    """Puts a GateLayer per width into a network of its owner's, shared by all the places of a
    width."""
    device = next(network.parameters()).device
    gates = {
        root: GateLayer(width, number) for number, (root, width) in enumerate(zip(free, filters))
    }
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
    for path, (name, widths) in plan.before.items():
        module = network.get_submodule(path)
        module.add_module(
            child := free_name(module), shared_gate(reading, name, widths, gates).to(device)
        )
        module.register_forward_pre_hook(GateBefore(child))


def free_name(module: nn.Module) -> str:
    """A name for a gate that a module has nothing else by."""
    name = "gate"
    while hasattr(module, name):
        name += "_"
    return name


def unhook_gates(network: nn.Module) -> None:
    """Takes the gates out of a network again; they must be open, or what they close be gone."""
    for module in list(network.modules()):
        if isinstance(module, GatedBatchNorm2d):
            module.without_gate()
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key, hook in list(hooks.items()):
                if isinstance(hook, (GateBehind, GateBefore)):
                    del hooks[key]
                    delattr(module, hook.name)
