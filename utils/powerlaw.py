"""phi_l(tau) = alpha_l * tau ** beta_l: how the width of a layer grows with its network: with the
parameters, or other costs."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

FEWEST_ROWS = 6  # below it a line through the points says nothing
FITTED = "power law"
FIRST_ROW = "first row, scaled uniformly"


@dataclass(frozen=True)
class PowerLaw:
    """One alpha and one beta per layer (paper, equation 3). ``fit`` says where they come from."""

    alpha: list[float]
    beta: list[float]
    fit: str = field(default=FITTED, compare=False)

    @property
    def sane(self) -> bool:
        """Whether every alpha is positive, and no number beyond all that networks which fit in a
        computer give."""
        return all(0 < a < 1e30 for a in self.alpha) and all(-100 < b < 100 for b in self.beta)

    def widths(self, tau: float | np.ndarray) -> np.ndarray:
        """The real-valued widths at ``tau`` parameters, or what it was fitted against: shape (L,),
        or (n, L) for n values of tau."""
        return np.asarray(self.alpha) * np.power.outer(
            np.asarray(tau, float), np.asarray(self.beta)
        )


def fit_power_law(filters: ArrayLike, params: ArrayLike) -> PowerLaw:
    """The least-squares line of ln phi_l against ln h(phi), layer by layer (paper, section 3.2).

    ``filters`` (n, L): the residual filters recorded while pruning; ``params`` (n,): the parameters
    of the network, or its multiply-accumulates, at each row. With fewer than 6 rows, when the
    parameters never change, or when a layer collapses in a network that hardly shrinks, so that its
    law would not be ``sane``, alpha is the first row and beta 0: the shape itself, to be scaled
    uniformly; ``fit`` says why. A layer of one width in all rows has that as alpha, and beta 0,
    exactly. Raises ValueError where the shapes disagree or a number is below 1.
    """
    filters, params = np.asarray(filters, float), np.asarray(params, float)
    if filters.ndim != 2 or params.shape != filters.shape[:1] or not filters.size:
        raise ValueError(
            f"filters must be (n, L) and params (n,) with n >= 1, not {filters.shape} and "
            f"{params.shape}"
        )
    if not (
        np.isfinite(filters).all()
        and np.isfinite(params).all()
        and filters.min() >= 1
        and params.min() >= 1
    ):
        raise ValueError("every number of filters and parameters must be at least 1")
    if len(filters) < FEWEST_ROWS:
        return _first_row(filters, f"fewer than {FEWEST_ROWS} rows")
    x, y = np.log(params), np.log(filters)
    if np.ptp(x) == 0:
        return _first_row(filters, "the parameters never change")
    spread = x - x.mean()
    with np.errstate(all="ignore"):  # an alpha beyond all floats is not sane
        beta = spread @ (y - y.mean(axis=0)) / (spread @ spread)
        alpha = np.exp(y.mean(axis=0) - beta * x.mean())
    # whose logarithm would come back some last digits off, and a filter less
    flat = np.ptp(filters, axis=0) == 0
    alpha, beta = np.where(flat, filters[0], alpha), np.where(flat, 0.0, beta)
    law = PowerLaw(alpha.tolist(), beta.tolist())
    steepest = int(np.abs(beta).argmax())
    return (
        law
        if law.sane
        else _first_row(
            filters,
            f"layer {steepest} would have alpha {alpha[steepest]:.3g}, beta {beta[steepest]:.3g}",
        )
    )


def _first_row(filters: np.ndarray, why: str) -> PowerLaw:
    return PowerLaw(filters[0].tolist(), [0.0] * filters.shape[1], f"{FIRST_ROW}: {why}")
