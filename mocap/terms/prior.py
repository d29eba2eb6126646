"""Loss `prior`: a Gaussian mixture over body poses, as SMPLify uses it."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat

from mocap.bodies.kinematics import Posed
from mocap.bodies.model import BodyModel
from mocap.bodies.ranges import is_hand
from mocap.bodies.unpickle import load_pickle
from mocap.errors import BadFile, MissingFile, ModelError
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term

INCLUDED = Path(__file__).parent / "data" / "pose_prior.npz"
_SLICE = 16
"""Frames whose Jacobians are made at a time, so that they stay in the cache."""


@options
class Prior(Term):
    """Max-mixture of Gaussians over the pose vector (Bogo et al., "Keep it SMPL", 2016, section 3.2)."""

    model: Literal["included"] | Path = "included"
    """"included", or a mixture file: `means` (n, d), `covars` (n, d, d), `weights` (n), as gmm_08.pkl or as npz."""
    weight: NonNegativeFloat = 0.02
    """Multiplies the cost; 0 switches the loss off. Successive frames say much the same, so each counts little."""

    def _read(self) -> Mixture:
        return read_mixture(INCLUDED if self.model == "included" else Path(self.model))

    def check(self) -> None:
        """Reads the file."""
        self._read()

    def bind(self, data: Data) -> BoundPrior | None:
        """The mixture over the joints the body has; of the included one None for a hand by itself."""
        if self.weight == 0 or (self.model == "included" and is_hand(data.body)):
            return None
        mixture = self._read()
        joints, mixture = matched(mixture, data.body, str(self.model))
        return BoundPrior.of(joints, mixture, self.weight)


@dataclass(frozen=True, eq=False)
class Mixture:
    """A Gaussian mixture over rotation vectors [rad]."""

    means: Float[np.ndarray, "n d"]
    covars: Float[np.ndarray, "n d d"]
    weights: Float[np.ndarray, " n"]
    """They sum to 1."""
    joint_names: tuple[str, ...] | None = None
    """Which joint each three parameters turn; None: a body's first ones after the root."""


def read_mixture(path: Path) -> Mixture:
    """A Gaussian mixture from npz or pickle; BadFile says what is wrong with the file."""
    if not path.is_file():
        raise MissingFile(path, what="Pose prior")
    if path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = dict(stored)
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise BadFile(path, f"is not a readable npz ({error}).") from error
    else:
        arrays = load_pickle(path.read_bytes(), path, keys=("means", "covars", "weights"))
    missing = [k for k in ("means", "covars", "weights") if k not in arrays]
    if missing:
        raise BadFile(path, f"a Gaussian mixture needs means, covars and weights; {', '.join(missing)} is not there.")
    means, covars, weights = (np.asarray(arrays[k], dtype=float) for k in ("means", "covars", "weights"))
    weights = weights.ravel()
    n, d = means.shape if means.ndim == 2 else (0, 0)
    if n == 0 or covars.shape != (n, d, d) or weights.shape != (n,):
        raise BadFile(path, f"shapes {means.shape}, {covars.shape}, {weights.shape} are not (n, d), (n, d, d), (n).")
    if not all(np.isfinite(x).all() for x in (means, covars, weights)) or (weights <= 0).any():
        raise BadFile(path, "means, covars and weights must be finite, and weights positive.")
    if (np.linalg.eigvalsh(covars) <= 0).any():
        raise BadFile(path, "a covariance is not positive definite.")
    names = tuple(str(n) for n in arrays["joint_names"].ravel()) if "joint_names" in arrays else None
    if names is not None and (3 * len(names) != d or len(set(names)) != len(names)):
        raise BadFile(path, f"joint_names must be {d / 3:g} different names, three of the {d} parameters each.")
    return Mixture(means, covars, weights / weights.sum(), names)


def matched(mixture: Mixture, body: BodyModel, file: str) -> tuple[Int[np.ndarray, " joints"], Mixture]:
    """Which joints of a body the mixture is of, and the mixture of those alone.

    A joint the body has not (an end of a hand that has fingers) is left out of a mixture that names its joints: the
    marginal of a Gaussian is the rest of it. A joint the mixture does not name is free.

    Raises:
        ModelError: The body has too few joints, or none of the mixture's.
    """
    dims = mixture.means.shape[1]
    if mixture.joint_names is None:
        if dims % 3 or dims > 3 * (body.n_joints - 1):
            raise ModelError(
                f"{file}: a mixture over {dims} numbers does not fit the {3 * (body.n_joints - 1)} pose "
                f'parameters of body "{body.name}".'
            )
        return np.arange(1, 1 + dims // 3), mixture
    own: Sequence[str] = body.joint_names[1:]
    shared = [i for i, name in enumerate(mixture.joint_names) if name in own]
    if not shared:
        raise ModelError(
            f'{file}: the pose prior knows {", ".join(mixture.joint_names)}; body "{body.name}" has none of these '
            "joints: leave the loss out, or name a mixture of its poses."
        )
    names = tuple(mixture.joint_names[i] for i in shared)
    kept = (3 * np.array(shared)[:, None] + np.arange(3)).ravel()
    part = Mixture(mixture.means[:, kept], mixture.covars[:, kept[:, None], kept], mixture.weights, names)
    return np.array([1 + own.index(name) for name in names]), part


@dataclass(frozen=True, eq=False)
class BoundPrior(Bound):
    """The loss with its mixture."""

    joints: Int[np.ndarray, " joints"]
    """Places of the mixture's joints among the body's, the root being 0."""
    means: Float[np.ndarray, "n d"]
    whitening: Float[np.ndarray, "n d d"]
    """Inverse Cholesky factors of the covariances: lower triangular."""
    constant: Float[np.ndarray, " n"]
    weight: float
    mean: Float[np.ndarray, " d"]
    """Of the whole mixture."""

    early = False

    @classmethod
    def of(cls, joints: Int[np.ndarray, " joints"], mixture: Mixture, weight: float) -> BoundPrior:
        """A mixture over these joints; `weight` multiplies its cost."""
        # -log(g N) without what all components share; the least is taken as zero, so that costs are never negative
        roots = np.linalg.cholesky(mixture.covars)
        half_log_det = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(1)
        constant = half_log_det - np.log(mixture.weights)
        mean = mixture.weights @ mixture.means
        return cls(joints, mixture.means, np.linalg.inv(roots), constant - constant.min(), weight, mean)

    @cached_property
    def _spread(self) -> Float[np.ndarray, "3 n d d"]:
        """For i = 0, 1, 2 the whitening with each joint's three columns replaced by its column i."""
        spread = self.whitening.reshape(*self.means.shape, -1, 3).transpose(3, 0, 1, 2).repeat(3, axis=3)
        return spread.astype(np.float32)

    def lighter(self, part: float) -> BoundPrior:
        """With so small a part of its weight."""
        return dataclasses.replace(self, weight=self.weight * part)

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Of the component with the least -log(g N), the log-weights and determinants included."""
        theta = posed.vectors[:, self.joints - 1]  # |angle| <= pi, as the mixture was trained
        n, (components, dims) = len(theta), self.means.shape
        gain = np.sqrt(self.weight)
        flat = theta.reshape(n, dims)
        white = (flat @ self.whitening.reshape(-1, dims).T).reshape(n, components, dims)
        white -= (self.whitening @ self.means[..., None])[..., 0]
        best = (0.5 * np.einsum("fni,fni->fn", white, white) + self.constant).argmin(1)
        r = gain * white[np.arange(n), best][:, None]

        # d theta / d step is block-diagonal
        step = gain * posed.by_step[:, self.joints - 1]
        columns = (3 + 3 * self.joints[:, None] + np.arange(3)).ravel()
        by_theta = np.empty((n, dims))
        for k in np.unique(best):
            by_theta[best == k] = r[best == k, 0] @ self.whitening[k]
        gradient = np.zeros((n, 3 + 3 * posed.R.shape[1]))
        gradient[:, columns] = (by_theta.reshape(n, -1, 1, 3) @ step).reshape(n, dims)
        return [
            Residuals.of(
                "parameters",
                r,
                lambda: {0: self._jacobian(best, step, columns, gradient.shape[1])},
                constant=self.weight * self.constant[best][:, None],
                gradient=gradient,
            )
        ]

    def _jacobian(self, best: np.ndarray, step: np.ndarray, columns: np.ndarray, size: int) -> np.ndarray:
        """Of the whitened residuals by all parameters, float32: it serves the curvature."""
        n, dims = len(best), self.means.shape[1]
        # column (j, c) of W times the block-diagonal is the sum over i of W[:, (j, i)] step[j, i, c]
        by_column = step.transpose(2, 0, 1, 3).reshape(3, n, 1, dims).astype(np.float32)
        J = np.zeros((n, 1, dims, size), dtype=np.float32)
        together = bool((np.diff(columns) == 1).all())
        for k in np.unique(best):
            own = np.flatnonzero(best == k)
            for start in range(0, len(own), _SLICE):
                here = own[start : start + _SLICE]
                W, s = self._spread[:, k], by_column[:, here]
                made = W[0] * s[0]
                made += W[1] * s[1]
                made += W[2] * s[2]
                if together:
                    J[here, 0, :, columns[0] : columns[-1] + 1] = made
                else:
                    J[:, 0][np.ix_(here, np.arange(dims), columns)] = made
        return J
