"""Points where rays meet, in closed form, and which rays to believe.

All functions work on (views, points) arrays: every joint of every frame at once. Residuals here are angles between a
ray and the direction to the point, in units of the ray's own standard deviation, so that neither lens distortion nor
image size matters; the refinement in `refine.py` is on pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import chi2

from mocap.geometry.cameras import Camera

_TAU2 = 12.0
"""A ray whose squared normalised residual is larger counts as an outlier when hypotheses are compared (3.5 sigma)."""
_ALL_PAIRS = 10
"""With more views than this, pairs are drawn from the most confident ones of each point."""


@dataclass(frozen=True)
class Rays:
    """Directions in which the views saw the points."""

    origins: Float[np.ndarray, "views 3"]
    """Camera centres in the world [m]."""
    directions: Float[np.ndarray, "3 views points"]
    """Unit vectors in the world; 0 where missing."""
    sigma: Float[np.ndarray, "views points"]
    """Standard deviation of the direction across itself [rad]; infinite where missing."""
    confidence: Float[np.ndarray, "views points"]
    """0 where missing."""
    pixels_per_radian: Float[np.ndarray, "views points"]
    """How many pixels an angle across the ray is, at its place in the image."""

    def of(self, points: np.ndarray) -> Rays:
        """These points only."""
        return Rays(
            self.origins,
            self.directions[:, :, points],
            self.sigma[:, points],
            self.confidence[:, points],
            self.pixels_per_radian[:, points],
        )


def rays_through(
    cameras: Sequence[Camera],
    xy: Float[np.ndarray, "views points 2"],
    confidence: Float[np.ndarray, "views points"],
    sigma: Float[np.ndarray, "views points"],
) -> Rays:
    """Rays through pixels, with pixel noise [px] turned into angles."""
    views, points = confidence.shape
    directions, scale = np.zeros((3, views, points)), np.ones((views, points))
    for v, camera in enumerate(cameras):
        plane = camera.undistort(xy[v])
        scale[v] = camera.pixels_per_radian(plane)
        d = np.concatenate([plane, np.ones((points, 1))], axis=1)
        directions[:, v] = (d / np.linalg.norm(d, axis=1, keepdims=True) @ camera.R).T
    there = np.isfinite(directions).all(0) & (confidence > 0)  # a pixel beyond the distortion's fold has no ray
    directions[:, ~there] = 0.0
    return Rays(
        np.stack([c.centre for c in cameras]),
        directions,
        np.where(there, sigma / np.where(there, scale, 1.0), np.inf),
        np.where(there, confidence, 0.0),
        np.where(there, scale, 1.0),
    )


def moments(rays: Rays) -> Float[np.ndarray, "9 views points"]:
    """Each ray's share of the nearest point's normal equations: M = I - d d^T (xx xy xz yy yz zz), and M c."""
    x, y, z = rays.directions
    there = (rays.confidence > 0).astype(float)
    m = np.stack([there - x * x, -x * y, -x * z, there - y * y, -y * z, there - z * z])
    c = rays.origins.T[:, :, None]
    return np.concatenate(
        [
            m,
            np.stack(
                [
                    m[0] * c[0] + m[1] * c[1] + m[2] * c[2],
                    m[1] * c[0] + m[3] * c[1] + m[4] * c[2],
                    m[2] * c[0] + m[4] * c[1] + m[5] * c[2],
                ]
            ),
        ]
    )


def inverse3(m: Float[np.ndarray, "6 points"]) -> Float[np.ndarray, "6 points"]:
    """Inverses of symmetric 3x3 matrices (xx xy xz yy yz zz) by cofactors; NaN where singular."""
    a, b, c, d, e, f = m
    A, B, C = d * f - e * e, c * e - b * f, b * e - c * d
    det = a * A + b * B + c * C
    trace = a + d + f
    det = np.where(det > 1e-15 * trace**3, det, np.nan)
    return np.stack([A, B, C, a * f - c * c, b * c - a * e, a * d - b * b]) / det


def times3(m: Float[np.ndarray, "6 points"], v: Float[np.ndarray, "3 points"]) -> Float[np.ndarray, "3 points"]:
    """Symmetric 3x3 matrices times vectors."""
    return np.stack(
        [
            m[0] * v[0] + m[1] * v[1] + m[2] * v[2],
            m[1] * v[0] + m[3] * v[1] + m[4] * v[2],
            m[2] * v[0] + m[4] * v[1] + m[5] * v[2],
        ]
    )


def nearest_point(
    m: Float[np.ndarray, "9 views points"], weight: Float[np.ndarray, "views points"]
) -> Float[np.ndarray, "3 points"]:
    """The point least far from its rays in weighted squares of distance [m]; NaN where the rays are parallel."""
    total = np.einsum("kvp,vp->kp", m, weight)
    return times3(inverse3(total[:6]), total[6:])


def residuals(
    rays: Rays, xyz: Float[np.ndarray, "3 points"]
) -> tuple[Float[np.ndarray, "views points"], Float[np.ndarray, "views points"]]:
    """Squared sine of the angle of each ray to the point, and the distance [m] along the ray.

    Infinite (the sine) where the point is behind the camera or not finite; 0 where the ray is missing.
    """
    x, y, z = (xyz[i] - rays.origins[:, i, None] for i in range(3))
    d = rays.directions
    along = x * d[0] + y * d[1] + z * d[2]
    square = x * x + y * y + z * z
    with np.errstate(invalid="ignore", divide="ignore"):
        sine2 = np.where(along > 0, np.maximum(1 - along * along / square, 0.0), np.inf)
    return np.where(rays.confidence > 0, sine2, 0.0), along


def residual_pixels(rays: Rays, xyz: Float[np.ndarray, "3 points"]) -> Float[np.ndarray, "views points"]:
    """Residuals in pixels; infinite where the point is behind the camera, 0 where the ray is missing."""
    return np.sqrt(residuals(rays, xyz)[0]) * rays.pixels_per_radian


def _weighted(rays: Rays, m: np.ndarray, start: np.ndarray, believed: np.ndarray) -> np.ndarray:
    """The point of least squared ANGLES: distance weights made of angular ones with the distances of `start`."""
    _, along = residuals(rays, start)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(believed & (along > 1e-3), 1 / (rays.sigma * along) ** 2, 0.0)
    return nearest_point(m, weight)


def _normalised(rays: Rays, xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared residuals in units of their variance, and residuals in pixels."""
    sine2, _ = residuals(rays, xyz)
    return sine2 / rays.sigma**2, np.sqrt(sine2) * rays.pixels_per_radian


def _cost(rays: Rays, s: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Truncated squares in proportion to confidence and trust (MSAC: Torr and Zisserman, "MLESAC", 2000)."""
    return np.minimum(s, _TAU2 * rays.confidence * trust[:, None]).sum(0)


@dataclass(frozen=True)
class Selection:
    """Points and the views they rest on."""

    xyz: Float[np.ndarray, "3 points"]
    """World [m]; NaN where there is none."""
    used: Bool[np.ndarray, "views points"]


def select(
    rays: Rays,
    max_error: Float[np.ndarray, " views *points"],
    *,
    min_views: int = 2,
    trust: Float[np.ndarray, " views"] | None = None,
) -> Selection:
    """The point most views agree on, and which those are.

    Where all views agree within their noise (99th percentile of chi^2), that is it. Elsewhere every pair of views
    proposes a point, all views judge it by truncated squares, and the best proposal is refined twice on the views that
    agree with it. A view is used when its error is at most `max_error` and at most 6 standard deviations (though never
    less than a quarter of `max_error` is asked of it). With two views nothing can be outvoted: both must come within
    `max_error` of the point nearest to both.

    Args:
        rays: What the views saw.
        max_error: Largest reprojection error of a view that is used [px]; of each view, or also of each point.
        min_views: A point with fewer agreeing views is missing.
        trust: How much each view's dissent counts, in (0, 1]: a camera that is usually wrong should not break a tie.
    """
    offered, max_error = rays.confidence > 0, _per_point(max_error)
    count = offered.sum(0)
    m = moments(rays)
    xyz = nearest_point(m, offered.astype(float))
    xyz = _weighted(rays, m, xyz, offered)

    s, px = _normalised(rays, xyz)
    with np.errstate(invalid="ignore"):
        agree = (s.sum(0) <= chi2.ppf(0.99, np.maximum(2 * count - 3, 1))) & (px <= max_error).all(0)
    doubt = np.flatnonzero(~agree & (count > 2))
    if len(doubt):
        xyz[:, doubt] = _best_proposal(
            rays.of(doubt), m[:, :, doubt], xyz[:, doubt], np.ones(len(rays.origins)) if trust is None else trust
        )
        s, px = _normalised(rays, xyz)
    gate = np.clip(6 * rays.sigma * rays.pixels_per_radian, 0.25 * max_error, max_error)
    used = offered & (px <= gate)
    two = count == 2
    used = np.where(two, offered & (px <= max_error), used)
    enough = used.sum(0) >= max(min_views, 2)
    return Selection(np.where(enough, xyz, np.nan), used & enough)


def _per_point(limit: np.ndarray) -> np.ndarray:
    return limit[:, None] if limit.ndim == 1 else limit


def _best_proposal(rays: Rays, m: np.ndarray, start: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Of all pairs' points (and `start`), the one with the least cost over all views, refined on those that agree."""
    views, points = rays.confidence.shape
    if views > _ALL_PAIRS:
        slots = np.argsort(-rays.confidence, axis=0, kind="stable")[:_ALL_PAIRS]
    else:
        slots = np.broadcast_to(np.arange(views)[:, None], (views, points))
    index = np.arange(points)
    best, cost = start, np.full(points, np.inf)

    def judge(xyz: np.ndarray) -> None:
        nonlocal best, cost
        c = _cost(rays, _normalised(rays, xyz)[0], trust)
        better = c < cost
        best, cost = np.where(better, xyz, best), np.where(better, c, cost)

    judge(start)
    for i, j in combinations(slots, 2):
        judge(nearest_point(m[:, [i, j], index], (rays.confidence[[i, j], index] > 0).astype(float)))
    for _ in range(2):
        believed = (rays.confidence > 0) & (_normalised(rays, best)[0] <= _TAU2)
        judge(_weighted(rays, m, best, believed))
    return best


def select_near(
    rays: Rays,
    max_error: Float[np.ndarray, " views *points"],
    expected: Float[np.ndarray, "3 points"],
    *,
    min_views: int = 2,
) -> Selection:
    """The point of the views that see something near where it is expected, whatever the other views say.

    For points whose views agreed on something impossible: two of four may agree on somebody else's wrist. Views within
    twice `max_error` of the expected place are asked, and used when they come within `max_error` of their own point.
    """
    m, max_error = moments(rays), _per_point(max_error)
    believed = (rays.confidence > 0) & (_normalised(rays, expected)[1] <= 2 * max_error)
    xyz = _weighted(rays, m, expected, believed)
    used = believed & (_normalised(rays, xyz)[1] <= max_error)
    used &= used.sum(0) >= max(min_views, 2)
    xyz = _weighted(rays, m, xyz, used)
    return Selection(np.where(used.any(0), xyz, np.nan), used)
