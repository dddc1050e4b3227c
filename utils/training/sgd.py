"""Stochastic gradient descent that starts at once: PyTorch's own loads its compiler at the first
step, which takes seconds."""

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch


class SGD(torch.optim.SGD):
    """torch.optim.SGD, with its arithmetic and its state.

    Its methods are called without the wrappers for torch.compile, which compiles networks here and
    no optimizer.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step by the current gradients."""
        loss: float | None = unwrap(torch.optim.SGD.step)(self, closure)
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        unwrap(torch.optim.SGD.add_param_group)(self, param_group)

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = unwrap(torch.optim.SGD.state_dict)(self)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        unwrap(torch.optim.SGD.load_state_dict)(self, state_dict)
