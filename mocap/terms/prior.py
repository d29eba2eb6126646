"""Loss `prior`: a Gaussian mixture over body poses, as SMPLify uses it."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat

from mocap.bodies.kinematics import Posed
from mocap.bodies.unpickle import load_pickle
from mocap.errors import BadFile, MissingFile, ModelError
from mocap.geometry import rotations
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term


@options
class Prior(Term):
    """Max-mixture of Gaussians over the pose vector (Bogo et al., "Keep it SMPL", 2016, section 3.2)."""

    model: Path
    """Mixture file: `means` (n, d), `covars` (n, d, d), `weights` (n), as in gmm_08.pkl or as npz."""
    weight: NonNegativeFloat = 0.1
    """Multiplies the cost; 0 switches the loss off."""

    def check(self) -> None:
        """Reads the file."""
        read_mixture(self.model)

    def bind(self, data: Data) -> BoundPrior | None:
        """The mixture over the body's first pose parameters."""
        if self.weight == 0:
            return None
        means, covariances, weights = read_mixture(self.model)
        dims = means.shape[1]
        if dims % 3 or dims > 3 * (data.body.n_joints - 1):
            raise ModelError(
                f"{self.model}: a mixture over {dims} numbers does not fit the {3 * (data.body.n_joints - 1)} pose "
                f'parameters of body "{data.body.name}".'
            )
        # -log(g N) without what all components share; the least is taken as zero, so that costs are never negative
        half_log_det = np.linalg.slogdet(covariances)[1] / 2
        constant = half_log_det - np.log(weights)
        whitening = np.linalg.inv(np.linalg.cholesky(covariances))
        return BoundPrior(means, whitening, constant - constant.min(), self.weight)


def read_mixture(
    path: Path,
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d d"], Float[np.ndarray, " n"]]:
    """Means, covariances and weights of a Gaussian mixture; BadFile says what is wrong with the file."""
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
    return means, covars, weights / weights.sum()


@dataclass(frozen=True, eq=False)
class BoundPrior(Bound):
    """The loss with its mixture."""

    means: Float[np.ndarray, "n d"]
    whitening: Float[np.ndarray, "n d d"]
    constant: Float[np.ndarray, " n"]
    weight: float

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Of the component with the least -log(g N), the log-weights and determinants included."""
        n_joints = self.means.shape[1] // 3
        R = posed.R[:, 1 : 1 + n_joints]
        theta = rotations.log(R)  # |angle| <= pi, as the mixture was trained
        away = theta.reshape(len(theta), 1, -1) - self.means
        white = np.einsum("nij,fnj->fni", self.whitening, away)
        energy = 0.5 * (white**2).sum(-1) + self.constant
        best = energy.argmin(1)
        gain = np.sqrt(self.weight)
        by_step = rotations.right_jacobian_inverse(theta)  # d theta / d local step
        rows = self.whitening[best].reshape(len(best), -1, n_joints, 3)
        J = np.zeros((len(best), 1, rows.shape[1], 3 + 3 * posed.R.shape[1]))
        J[:, 0, :, 6 : 6 + 3 * n_joints] = gain * np.einsum("fmji,fjik->fmjk", rows, by_step).reshape(
            *rows.shape[:2], -1
        )
        r = gain * white[np.arange(len(best)), best][:, None]
        return [Residuals.of("parameters", r, {0: J}, constant=self.weight * self.constant[best][:, None])]
