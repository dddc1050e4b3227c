"""Criteria, which give each filter of every layer a score. Filters with low scores are removed
first; the goal decides how many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from utils.pruning import taylor_criterion


class Criterion(Protocol):
    """Scores for the filters of all layers together, in the order of the gates."""

    def observe(self) -> None:
        """Read the gradients of a batch, after its backward pass."""

    def scores(self, alive: Sequence[Tensor]) -> Tensor:
        """Return the scores since the last call, (number of filters,), on the CPU; ``alive`` says
        which filters of each layer are still there."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next scores depend on."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""


class Taylor:
    """The mean over the batches of (g * dL/dg)^2, the squared first-order change of the loss
    (Molchanov et al., CVPR 2019)."""

    def __init__(self, gates: Sequence[Any]):
        self.gates = list(gates)
        self.total = (
            self.gates[0].weight.detach().new_zeros(sum(len(gate.weight) for gate in gates))
        )
        self.batches = 0

    def observe(self) -> None:
        weights = torch.cat([gate.weight.detach() for gate in self.gates])
        grads = torch.cat([gate.weight.grad for gate in self.gates])
        self.total += taylor_criterion(weights, grads)
        self.batches += 1

    def scores(self, alive: Sequence[Tensor]) -> Tensor:
        mean = self.total.cpu() / max(1, self.batches)
        self.total.zero_()
        self.batches = 0
        if not mean.isfinite().all():
            raise FloatingPointError("the Taylor criterion is not finite")
        return mean

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total, "batches": self.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.total = state["total"].to(self.total.device)
        self.batches = int(state["batches"])


class Magnitude:
    """The L1 norm of a filter's weights, divided by the mean norm of its layer, since norms differ
    from layer to layer.

    ``norms``, called when scores are asked for, gives (width,) for each gate.
    """

    def __init__(self, norms: Callable[[], list[Tensor]]):
        self.norms = norms

    def observe(self) -> None:
        """Do nothing: scores are computed from the weights alone."""

    def scores(self, alive: Sequence[Tensor]) -> Tensor:
        found = []
        for norm, living in zip((norm.cpu() for norm in self.norms()), alive):
            mean = norm[living].mean()
            found.append(norm / mean if mean > 0 else norm)
        return torch.cat(found)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Random:
    """Random scores, the control that any other criterion must beat. Each round has its own
    generator."""

    def __init__(self, filters: int, seed: int):
        self.filters, self.seed, self.drawn = filters, seed, 0

    def observe(self) -> None:
        """Do nothing: scores do not depend on the training."""

    def scores(self, alive: Sequence[Tensor]) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.drawn)
        self.drawn += 1
        return torch.rand(self.filters, generator=generator)

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.drawn = int(state["drawn"])


def criterion_of(
    name: str, gates: Sequence[Any], norms: Callable[[], list[Tensor]], seed: int
) -> Criterion:
    """Return the criterion ``name`` of the settings for these gates; ``norms`` are those of
    ``Magnitude``."""
    if name == "magnitude":
        return Magnitude(norms)
    if name == "random":
        return Random(sum(len(gate.weight) for gate in gates), seed)
    assert name == "taylor", name
    return Taylor(gates)
