"""The gate: one multiplier per filter, through which pruning listens and cuts (paper, section 3.1)."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GateLayer(nn.Module):
    """Multiplies channel c of its input by ``weight[c]``.

    The weights are ones, are never trained and belong to no optimizer: the gradient they receive is the Taylor
    first-order criterion's dL/dg, and setting one to zero removes its filter from everything downstream.

    Shapes: input (N, C, ...), or (C,) for a parameter -> output of the same shape; ``weight`` is (C,).
    """

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.view(-1, *[1] * (x.dim() - 2))

    def extra_repr(self) -> str:
        return str(len(self.weight))


class GatedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm and the gate behind it in one pass over the activations.

    g * (w * x + b) = (g * w) * x + (g * b) for the normalised x: the gate acts on the C scales and shifts instead of
    the N * C * H * W activations, and receives the same gradient. As a layer of its own it would cost a fifth of a
    training step.
    """

    def __init__(self, width: int):
        super().__init__(width)
        self.gate = GateLayer(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.gate(self.weight), self.gate(self.bias),
                            self.training, self.momentum or 0.0, self.eps)


def norm_and_gate(width: int, gated: bool) -> nn.BatchNorm2d:
    """Batch norm, with a gate behind it in a gated network."""
    return GatedBatchNorm2d(width) if gated else nn.BatchNorm2d(width)


def gate(width: int, gated: bool) -> nn.Module:
    """A gate that does not follow a batch norm directly; in an ungated network an identity without parameters."""
    return GateLayer(width) if gated else nn.Identity()


def gates_of(network: nn.Module) -> list[GateLayer]:
    """The gates of a network in the order of its filter list."""
    return [module for module in network.modules() if isinstance(module, GateLayer)]
