"""Points moved to where their reprojection errors are least, with the covariance that remains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mocap.geometry.cameras import Camera
from mocap.geometry.robust import cauchy
from mocap.triangulate.rays import inverse3, times3

_KERNEL = 2.0
"""Scale of the robust kernel [standard deviations]: a view at 2 sigma has half the weight of one at 0. Detectors err
with heavy tails; on Gaussian noise this costs 3 % of accuracy."""
_MEAN_WEIGHT = 0.72
"""Mean weight under the kernel of a view with Gaussian noise: 2 e^2 E1(2)."""
_STILL = 1e-4
"""A point whose step is shorter has arrived [m]; what is left is a fraction of it."""
_PRIOR_DOF = 8.0
"""How many degrees of freedom the common noise level counts for against a point's own residuals."""


@dataclass(frozen=True)
class Refined:
    """Points of least reprojection error."""

    xyz: Float[np.ndarray, "points 3"]
    covariance: Float[np.ndarray, "points 3 3"]
    """[m^2]"""
    error: Float[np.ndarray, "views points"]
    """Reprojection error [px] of every view that saw the point, used or not; NaN elsewhere."""
    chi2: Float[np.ndarray, "views points"]
    """Squared normalised residuals of the views used; 0 elsewhere."""
    leverage: Float[np.ndarray, "views points"]
    """How many of a view's two degrees of freedom the fit took: its residual is that much smaller; 0 if not used."""


def _normal_equations(
    cameras: Sequence[Camera], xy: np.ndarray, sigma: np.ndarray, used: np.ndarray, xyz: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Each view's H (6, views, points), J^T r (3, points), robust cost (points,), error and chi^2 (views, points)."""
    views, points = used.shape
    g, cost = np.zeros((3, points)), np.zeros(points)
    error, s, own = np.full((views, points), np.nan), np.zeros((views, points)), np.zeros((6, views, points))
    for v, camera in enumerate(cameras):
        seen, J = camera.project_with_jacobian(xyz)
        r = xy[v] - seen
        error[v] = np.sqrt(r[:, 0] ** 2 + r[:, 1] ** 2)
        lost = used[v] & ~np.isfinite(error[v])  # the point went behind a camera that sees it
        on = used[v] & ~lost
        information = np.where(on, 1 / sigma[v] ** 2, 0.0)
        s[v] = np.where(on, error[v] ** 2 * information, 0.0)
        rho, weight = cauchy(s[v], _KERNEL)
        cost += np.where(lost, np.inf, rho)
        w = weight * information
        r, J = np.where(on[:, None], r, 0.0), np.where(on[:, None, None], J, 0.0)
        a, b = J[:, 0].T, J[:, 1].T
        wa, wb = w * a, w * b
        for row, (i, k) in enumerate(((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))):
            own[row, v] = wa[i] * a[k] + wb[i] * b[k]
        g += wa * r[:, 0] + wb * r[:, 1]
    return own, g, cost, error, s


def refine(
    cameras: Sequence[Camera],
    xy: Float[np.ndarray, "views points 2"],
    sigma: Float[np.ndarray, "views points"],
    used: Bool[np.ndarray, "views points"],
    xyz: Float[np.ndarray, "points 3"],
    *,
    iterations: int = 3,
) -> Refined:
    """Gauss-Newton on the reprojection error in distorted pixels, all points at once, under a Cauchy kernel.

    A step that raises a point's cost is taken back and quartered. The covariance is the inverse of the information of
    the views used, H^-1 (a view further off than usual counts in proportion to its weight under the kernel), times
    (nu + chi^2) / (nu + 2 views - 3) with nu = 8: the posterior mean of a noise level common to all points seen through
    the point's own residuals, so that a point its views disagree about says so. Nearly parallel rays show as a large
    covariance along them.

    Args:
        cameras: One per view.
        xy: Pixels, NaN where missing.
        sigma: Standard deviation per coordinate [px].
        used: Which views count.
        xyz: Where to start, world [m]; NaN points stay NaN.
        iterations: At most this many steps.
    """
    best, scale, active = xyz.copy(), np.ones(len(xyz)), np.arange(len(xyz))
    equations = _normal_equations(cameras, xy, sigma, used, best)
    own, g, cost, error, s = equations
    for _ in range(iterations):
        step = times3(inverse3(own[..., active].sum(1)), g[:, active]).T * scale[active, None]
        moves = np.abs(step).max(-1) > _STILL  # NaN compares False: no rays, or parallel ones
        active, step = active[moves], step[moves]
        if not len(active):
            break
        trial = best[active] + step
        new = _normal_equations(cameras, xy[:, active], sigma[:, active], used[:, active], trial)
        better = new[2] <= cost[active]
        scale[active] = np.where(better, 1.0, scale[active] / 4)
        taken = active[better]
        best[taken] = trial[better]
        for old, at_trial in zip(equations, new, strict=True):
            old[..., taken] = at_trial[..., better]
    # information as if every view counted whole, but those further off than usual, which count in proportion
    own = own / np.maximum(cauchy(s, _KERNEL)[1], _MEAN_WEIGHT)
    inverse = inverse3(own.sum(1))
    dof = np.maximum(2 * used.sum(0) - 3, 1)
    spread = (_PRIOR_DOF + s.sum(0)) / (_PRIOR_DOF + dof)
    covariance = (inverse * spread)[[0, 1, 2, 1, 3, 4, 2, 4, 5]].T.reshape(-1, 3, 3)
    twice = np.array([1.0, 2.0, 2.0, 1.0, 2.0, 1.0])  # off the diagonal every entry stands for two
    leverage = np.einsum("k,kp,kvp->vp", twice, inverse, own)
    return Refined(best, covariance, error, s, np.nan_to_num(leverage))
