"""The gate: one multiplier per filter, by which pruning measures and cuts (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Gate(nn.Module):
    """Multiplies the channels of its input, along dimension ``axis``, by its gates.

    ``index`` has the gate of each channel; None stands for gate c at channel c. A network that is
    cut keeps its gates; their index is cut. Shapes: input (N, C, ...) -> output of the same shape.
    """

    axis = 1
    index: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("index", None, persistent=False)

    def weights(self) -> Tensor:
        """Return the multipliers of all its gates, shape (number of gates,)."""
        raise NotImplementedError

    def multipliers(self) -> Tensor:
        """Return one multiplier per channel, shape (C,)."""
        return self.weights() if self.index is None else self.weights().index_select(0, self.index)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.multipliers().view(-1, *[1] * (x.dim() - 1 - self.axis))

    def cut(self, channels: Tensor) -> None:
        """Keep the channels with these numbers."""
        self.index = channels if self.index is None else self.index[channels]


class GateLayer(Gate):
    """The gates of one width: ``weight`` of shape (C,), ones. ``number`` is the width's place in
    the network's filter list.

    They are never trained and belong to no optimizer. Their gradient is dL/dg of the first-order
    Taylor criterion, and setting one to zero removes its filter from everything downstream.
    """

    def __init__(self, width: int, number: int = 0):
        super().__init__()
        self.number = number
        self.weight = nn.Parameter(torch.ones(width))

    def weights(self) -> Tensor:
        return self.weight

    def extra_repr(self) -> str:
        return str(len(self.weight))


class SharedGate(Gate):
    """Gates of other GateLayers, so that one gate closes a filter everywhere.

    Channels without a gate have an index past the last one, and stay as they are. ``place`` is the
    node of the network's graph whose channels these are.
    """

    one: Tensor

    def __init__(
        self, layers: Sequence[GateLayer], index: Tensor | None, axis: int = 1, place: str = ""
    ):
        super().__init__()
        self.layers, self.index, self.axis, self.place = nn.ModuleList(layers), index, axis, place
        self.register_buffer("one", torch.ones(1), persistent=False)

    def weights(self) -> Tensor:
        if self.index is None:
            # torch types every attribute of a module alike
            return self.layers[0].weight  # type: ignore[return-value]
        return torch.cat([*[layer.weight for layer in self.layers], self.one])  # type: ignore[list-item]


class GatedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm and the gate behind it in one pass over the activations.

    g * (w * x + b) = (g * w) * x + (g * b) for the normalised x: the gate acts on the C scales and
    shifts instead of the N * C * H * W activations, and receives the same gradient. As a layer of
    its own it would cost a fifth of a training step.
    """

    gate: Gate

    def __init__(self, width: int):
        super().__init__(width)
        self.gate = GateLayer(width)

    @staticmethod
    def takes(module: nn.Module) -> bool:
        """Return True if a module is a batch norm into which a gate can be put."""
        return (
            type(module) is nn.BatchNorm2d
            and module.affine
            and module.track_running_stats
            and module.momentum is not None
        )

    @classmethod
    def gate_in(cls, norm: nn.Module, gate: Gate) -> None:
        """Put a gate into a batch norm, which stays the same object for all that refer to it."""
        norm.__class__, norm.gate = cls, gate

    def without_gate(self) -> None:
        """Make this a batch norm again. Its gates must be open."""
        del self.gate
        self.__class__ = nn.BatchNorm2d  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate.multipliers()
        if self.training:
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]  # as a batch norm does
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            gate * self.weight,
            gate * self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )


def norm_and_gate(width: int, gated: bool) -> nn.BatchNorm2d:
    """Return a batch norm, with a gate behind it in a gated network."""
    return GatedBatchNorm2d(width) if gated else nn.BatchNorm2d(width)


def gate(width: int, gated: bool) -> nn.Module:
    """Return a gate that does not directly follow a batch norm; in an ungated network an
    identity."""
    return GateLayer(width) if gated else nn.Identity()


def gates_of(network: nn.Module) -> list[GateLayer]:
    """Return the gates of a network in the order of its filter list."""
    return sorted(
        (module for module in network.modules() if isinstance(module, GateLayer)),
        key=lambda gate: gate.number,
    )
