"""The power law phi_l(tau) = alpha_l * tau ** beta_l: the width of a layer as a function of the
network's parameters, or of another cost (paper, section 3.2)."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

FEWEST_ROWS = 6  # fewer points do not determine a line
FITTED = "power law"
FIRST_ROW = "first row, scaled uniformly"


@dataclass(frozen=True)
class PowerLaw:
    """One alpha and one beta per layer (paper, equation 3). ``fit`` says how they were found."""

    alpha: list[float]
    beta: list[float]
    fit: str = field(default=FITTED, compare=False)

    @property
    def sane(self) -> bool:
        """True if every alpha is positive and no number is beyond those of networks that fit in a
        computer."""
        return all(0 < a < 1e30 for a in self.alpha) and all(-100 < b < 100 for b in self.beta)

    def widths(self, tau: float | np.ndarray) -> np.ndarray:
        """Return the real-valued widths at ``tau``, the parameters or the cost that the law was
        fitted to.

        The shape is (L,), or (n, L) for n values of tau.
        """
        return np.asarray(self.alpha) * np.power.outer(
            np.asarray(tau, float), np.asarray(self.beta)
        )


def fit_power_law(filters: ArrayLike, params: ArrayLike) -> PowerLaw:
    """Fit the least-squares line of ln phi_l against ln h(phi), layer by layer (paper, section
    3.2).

    ``filters`` (n, L) are the residual filters recorded while pruning; ``params`` (n,) are the
    network's parameters, or its multiply-accumulates, at each row. A layer of one width in all rows
    has that width as alpha, and beta 0, exactly.

    The law is the first row with beta 0, a shape to be scaled uniformly, if there are fewer than 6
    rows, if the parameters never change, or if the fit is not ``sane`` because a layer collapses in
    a network that hardly shrinks; ``fit`` then says why.

    Raises ValueError where the shapes disagree or a number is below 1.
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

    # nothing to fit a line to
    if len(filters) < FEWEST_ROWS:
        return _first_row(filters, f"fewer than {FEWEST_ROWS} rows")
    x, y = np.log(params), np.log(filters)
    if np.ptp(x) == 0:
        return _first_row(filters, "the parameters never change")

    # slope and intercept of all layers at once
    spread = x - x.mean()
    with np.errstate(all="ignore"):  # an alpha beyond all floats is not sane
        beta = spread @ (y - y.mean(axis=0)) / (spread @ spread)
        alpha = np.exp(y.mean(axis=0) - beta * x.mean())
    # exact for layers that never change: exp(log) is some digits off, which can cost a filter
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
    """Return the shape of the first row, to be scaled uniformly."""
    return PowerLaw(filters[0].tolist(), [0.0] * filters.shape[1], f"{FIRST_ROW}: {why}")
