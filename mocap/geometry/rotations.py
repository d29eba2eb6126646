"""Rotations as vectors (axis times angle, radians) and matrices, with the Jacobians of the exponential map.

All functions take any leading axes. Conventions and formulas: Sola, Deray, Atchuthan, "A micro Lie theory for state
estimation in robotics" (2018), section on SO(3). A local (right) step is R <- R exp(delta).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_WIDE = -1.6
"""Twice the cosine of the angle beyond which the antisymmetric part of a matrix tells little of its axis."""
_SMALL = 1e-4
"""Below this angle [rad] the series of the coefficients is exact to double precision (next term is angle^4 / 120)."""


def skew(v: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """The matrix of the cross product: skew(v) @ u = v x u."""
    m = np.zeros((*v.shape, 3), dtype=v.dtype)
    m[..., 0, 1], m[..., 0, 2], m[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    m[..., 1, 0], m[..., 2, 0], m[..., 2, 1] = v[..., 2], -v[..., 1], v[..., 0]
    return m


def _coefficients(angle: np.ndarray | np.floating) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """sin(a)/a, (1 - cos a)/a^2, (a - sin a)/a^3, by their series near zero."""
    small = angle < _SMALL
    a = np.where(small, 1.0, angle)
    s = np.where(small, 1 - angle**2 / 6, np.sin(a) / a)
    half = np.sin(a / 2) / a
    c = np.where(small, 0.5 - angle**2 / 24, 2 * half**2)
    d = np.where(small, 1 / 6 - angle**2 / 120, (a - np.sin(a)) / a**3)
    return s, c, d


def exp(v: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Rotation matrix of a rotation vector [rad] (Rodrigues' formula)."""
    v = np.asarray(v, dtype=float)
    angle = np.linalg.norm(v, axis=-1)
    s, c, _ = _coefficients(angle)
    k = skew(v)
    return np.eye(3) + s[..., None, None] * k + c[..., None, None] * (k @ k)


def log(R: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Rotation vector [rad] of a rotation matrix, with angle in [0, pi]; accurate at 0 and at pi."""
    m = np.asarray(R, dtype=float)
    v = np.empty(m.shape[:-1])
    for axis, (i, j) in enumerate(((2, 1), (0, 2), (1, 0))):
        np.subtract(m[..., i, j], m[..., j, i], out=v[..., axis])
    sine = np.sqrt(v[..., 0] ** 2 + v[..., 1] ** 2 + v[..., 2] ** 2)  # twice that of the angle
    cosine = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2] - 1  # likewise
    tiny = sine < 1e-12
    out = v * np.where(tiny, 0.5, np.arctan2(sine, cosine) / np.where(tiny, 1.0, sine))[..., None]
    wide = cosine < _WIDE
    if wide.any():
        out[wide] = _log_of_wide(m[wide])
    return out


def _log_of_wide(m: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3"]:
    """Through the quaternion with the largest component (Shepperd, 1978), which is stable at every angle."""
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # four times the outer product of the quaternion (w, x, y, z) with itself
    q4 = np.empty((*m.shape[:-2], 4, 4))
    q4[..., 0, 0], q4[..., 1, 1] = 1 + xx + yy + zz, 1 + xx - yy - zz
    q4[..., 2, 2], q4[..., 3, 3] = 1 - xx + yy - zz, 1 - xx - yy + zz
    q4[..., 0, 1] = q4[..., 1, 0] = m[..., 2, 1] - m[..., 1, 2]
    q4[..., 0, 2] = q4[..., 2, 0] = m[..., 0, 2] - m[..., 2, 0]
    q4[..., 0, 3] = q4[..., 3, 0] = m[..., 1, 0] - m[..., 0, 1]
    q4[..., 1, 2] = q4[..., 2, 1] = m[..., 0, 1] + m[..., 1, 0]
    q4[..., 1, 3] = q4[..., 3, 1] = m[..., 0, 2] + m[..., 2, 0]
    q4[..., 2, 3] = q4[..., 3, 2] = m[..., 1, 2] + m[..., 2, 1]
    best = np.argmax(np.diagonal(q4, axis1=-2, axis2=-1), axis=-1)
    q = np.take_along_axis(q4, best[..., None, None], axis=-2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    q = q * np.where(q[..., :1] < 0, -1.0, 1.0)
    n = np.linalg.norm(q[..., 1:], axis=-1)
    angle = 2 * np.arctan2(n, q[..., 0])
    factor = np.where(n < 1e-9, 2.0, angle / np.where(n < 1e-9, 1.0, n))
    return q[..., 1:] * factor[..., None]


def right_jacobian(v: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """J with exp(v + d) = exp(v) exp(J d) to first order."""
    v = np.asarray(v, dtype=float)
    _, c, d = _coefficients(np.linalg.norm(v, axis=-1))
    k = skew(v)
    return np.eye(3) - c[..., None, None] * k + d[..., None, None] * (k @ k)


def right_jacobian_inverse(v: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """J with log(exp(v) exp(d)) = v + J d to first order; |v| < 2 pi."""
    v = np.asarray(v, dtype=float)
    angle = np.linalg.norm(v, axis=-1)
    small = angle < 1e-2  # the closed form loses digits to cancellation long before _SMALL
    a = np.where(small, 1.0, angle)
    factor = np.where(small, 1 / 12 + angle**2 / 720 + angle**4 / 30240, 1 / a**2 - 1 / (2 * a * np.tan(a / 2)))
    k = skew(v)
    return np.eye(3) + 0.5 * k + factor[..., None, None] * (k @ k)


def between(a: Float[np.ndarray, "*#batch 3"], b: Float[np.ndarray, "*#batch 3"]) -> Float[np.ndarray, "*_ 3 3"]:
    """The smallest rotation that turns direction `a` into direction `b` (any axis across when they are opposed)."""
    a = a / np.linalg.norm(a, axis=-1, keepdims=True)
    b = b / np.linalg.norm(b, axis=-1, keepdims=True)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    cosine = (a * b).sum(-1, keepdims=True)
    helper = np.where(np.abs(a[..., :1]) < 0.9, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    across = np.cross(a, helper)
    across = across / np.linalg.norm(across, axis=-1, keepdims=True)
    unit = np.where(sine > 1e-9, axis / np.where(sine > 1e-9, sine, 1.0), across)
    return exp(unit * np.arctan2(sine, cosine))
