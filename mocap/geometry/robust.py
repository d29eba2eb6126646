"""Robust kernels: rho(s) of a squared, unitless residual s, with the weight rho'(s) that reweights its quadratic.

A kernel replaces s by rho(s); Gauss-Newton then uses weight rho'(s) on the residual (Triggs et al., "Bundle
adjustment - a modern synthesis", 2000, section 4.3, without the second-order correction, so that H stays positive).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def geman_mcclure(
    s: Float[np.ndarray, "*batch"], scale: float | Float[np.ndarray, ...] = 1.0
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """rho = c s / (c + s) with c = scale^2, and rho' = (c / (c + s))^2 (Geman and McClure, 1987).

    The scale may differ from residual to residual.
    """
    c = scale * scale
    ratio = c / (c + s)
    return s * ratio, ratio * ratio


def cauchy(
    s: Float[np.ndarray, "*batch"], scale: float | Float[np.ndarray, ...] = 1.0
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """rho = c log(1 + s / c) with c = scale^2, and rho' = c / (c + s)."""
    c = scale * scale
    return c * np.log1p(s / c), c / (c + s)


def mad_sigma(x: Float[np.ndarray, "*batch"], axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Standard deviation of a Gaussian from the median absolute value of zero-mean `x`, NaN ignored."""
    return np.asarray(1.4826 * np.nanmedian(np.abs(x), axis=axis))
