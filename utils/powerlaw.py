"""phi_l(tau) = alpha_l * tau ** beta_l: how the width of a layer grows with the parameters of its network."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEWEST_ROWS = 6  # below it a line through the points says nothing


@dataclass(frozen=True)
class PowerLaw:
    """One alpha and one beta per layer (paper, equation 3)."""

    alpha: list[float]
    beta: list[float]

    def widths(self, tau: float | np.ndarray) -> np.ndarray:
        """The real-valued widths at ``tau`` parameters: shape (L,), or (n, L) for n values of tau."""
        return np.asarray(self.alpha) * np.power.outer(np.asarray(tau, float), np.asarray(self.beta))


def fit_power_law(filters, params) -> PowerLaw:
    """The least-squares line of ln phi_l against ln h(phi), layer by layer (paper, section 3.2).

    ``filters`` (n, L): the residual filters recorded while pruning; ``params`` (n,): the parameters of the network at
    each row. With fewer than 6 rows, or when the parameters never change, alpha is the first row and beta 0: the
    shape itself, to be scaled uniformly. Raises ValueError where the shapes disagree or a number is below 1.
    """
    filters, params = np.asarray(filters, float), np.asarray(params, float)
    if filters.ndim != 2 or params.shape != filters.shape[:1] or not filters.size:
        raise ValueError(f"filters must be (n, L) and params (n,) with n >= 1, not {filters.shape} and {params.shape}")
    if not (np.isfinite(filters).all() and np.isfinite(params).all() and filters.min() >= 1 and params.min() >= 1):
        raise ValueError("every number of filters and parameters must be at least 1")
    x, y = np.log(params), np.log(filters)
    spread = x - x.mean()
    if len(filters) < FEWEST_ROWS or np.ptp(params) == 0:
        return PowerLaw(filters[0].tolist(), [0.0] * filters.shape[1])
    beta = spread @ (y - y.mean(axis=0)) / (spread @ spread)
    alpha = np.exp(y.mean(axis=0) - beta * x.mean())
    return PowerLaw(alpha.tolist(), beta.tolist())
