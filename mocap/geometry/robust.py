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


def running_median(x: Float[np.ndarray, " n"], width: int) -> Float[np.ndarray, " n"]:
    """The median of each value and its neighbours, `width` (odd) in all; the ends stand for what is beyond them.

    SciPy's `median_filter` until 1.15 gives zeros where the width is more than the values there are.
    """
    padded = np.pad(x, width // 2, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=-1))
