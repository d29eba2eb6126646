"""Shape from the lengths of limbs in 3D, over all frames at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap.bodies import kinematics
from mocap.bodies.model import BodyModel
from mocap.bodies.ranges import is_hand, joint_ranges
from mocap.errors import DataError, ModelError, SolveError
from mocap.fit.root import align, first_poses, rigid_points
from mocap.geometry import robust
from mocap.solve.parallel import one_thread_each
from mocap.take import Keypoints3D

_INDEPENDENT = 10
"""Errors of neighbouring frames are alike: so many frames count as one independent measurement."""
_POSES = 200
"""Frames, and sampled poses of what is not seen in them, over which the bending of limbs is averaged."""
_ENOUGH = 5000
_RUN = 100
"""Frames in a row, so that noise still shows in differences over time."""
_UNSURE = 0.5
"""Part of a limb's variation over poses that stays in its mean over a take."""
_REPOSED = 3
"""Iterations that pose the limbs anew with the shape reached; later ones keep those poses, so that they converge."""
_STATURE_SIGMA = 0.001
"""How well a stature that is given is known [m]."""
_BONE = 0.5
"""How far the bones of fingers and palm, which are short, may be from the model's, against a body's limbs. With less
the shape would follow where detectors see the knuckles of bent fingers."""


@dataclass(frozen=True)
class LimbLengths:
    """Lengths of limbs as measured over a take."""

    length: Float[np.ndarray, " limbs"]
    """[m]; NaN where a limb was never seen."""
    sigma: Float[np.ndarray, " limbs"]
    """Standard error of `length` [m]."""
    spread: Float[np.ndarray, " limbs"]
    """Robust standard deviation from frame to frame, noise included [m]."""
    frames: Int[np.ndarray, " limbs"]
    """Frames in which both ends were seen."""


@dataclass(frozen=True)
class ShapeFit:
    """A shape and how it was reached."""

    betas: Float[np.ndarray, " betas"]
    sigma: Float[np.ndarray, " betas"]
    """Standard deviation of each coefficient given the data and the prior."""
    limbs: LimbLengths
    fitted: Float[np.ndarray, " limbs"]
    """Lengths of the fitted body's limbs in its rest pose [m]."""
    stature: float
    """Of a body; of a hand by itself its length, from the wrist to the furthest tip [m]."""
    converged: bool

    @property
    def size_ratio(self) -> float:
        """Median over limbs of measured by fitted length: far from 1 where the points are no person of this body."""
        known = np.isfinite(self.limbs.length)
        return float(np.median(self.limbs.length[known] / self.fitted[known])) if known.any() else 1.0


def _noise_of(d: np.ndarray, cov: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Scales the covariances of limb vectors `d` (frames, limbs, 3) to the noise the take itself shows.

    Two robust estimates are at hand and the lesser one holds for each limb: how much the length of the limb varies (all
    of it noise if it is rigid), and the third differences in time of its vector (all of it noise if it moves smoothly;
    their variance is 20 times the vector's: 1 + 9 + 9 + 1).
    """
    length = np.linalg.norm(d, axis=-1)
    along = np.einsum("fli,flij,flj->fl", d, cov, d) / np.where(seen, length, 1.0) ** 2
    known = seen & (along > 0)
    along = np.where(known, along, 1.0)
    unit = np.where(known[..., None, None], cov / along[..., None, None], np.eye(3))
    by_length = np.empty(d.shape[1])
    by_time = np.full(d.shape[1], np.inf)
    for limb in range(d.shape[1]):  # tens of limbs, whatever the number of frames
        rows = seen[:, limb]
        if not rows.any():
            by_length[limb] = 0.0
            continue
        by_length[limb] = robust.mad_sigma(length[rows, limb] - np.median(length[rows, limb])) ** 2
        third = np.diff(np.where(rows[:, None], d[:, limb], np.nan), n=3, axis=0)
        third = third[np.isfinite(third).all(-1)]
        if len(third) >= _INDEPENDENT:
            by_time[limb] = (robust.mad_sigma(third, axis=0) ** 2).mean() / 20
    scale = np.where(seen.sum(0) >= _INDEPENDENT, np.minimum(by_length, by_time), np.nan)
    # too few frames to tell: what came with the points, or nothing
    told = np.isfinite(scale)[:, None, None]
    return np.where(told, unit * scale[:, None, None], np.where(known[..., None, None], cov, 0))


def limb_lengths(points: Keypoints3D, limbs: Int[np.ndarray, "limbs 2"]) -> LimbLengths:
    """Lengths of limbs over all frames: robust, weighted by uncertainty, without the bias of noise.

    Noise makes a limb look longer: E |d + n|^2 = |d|^2 + tr(cov n). So squared lengths less that trace are averaged,
    each weighted by its variance 4 d' cov d + 2 tr(cov^2) and by a Tukey weight against gross errors.
    """
    a, b = limbs.T
    d = points.xyz[:, b] - points.xyz[:, a]  # (frames, limbs, 3)
    seen = np.asarray(np.isfinite(d).all(-1))
    d = np.where(seen[..., None], d, 0.0)
    carried = np.where(np.isfinite(points.covariance), points.covariance, 0.0)
    cov = _noise_of(d, carried[:, a] + carried[:, b], seen)
    trace = np.trace(cov, axis1=-2, axis2=-1)
    squared = (d * d).sum(-1) - trace
    # the weight must not know the measured length itself, or short ones would count more than long ones
    unit = d / np.where(seen, np.linalg.norm(d, axis=-1), 1.0)[..., None]
    typical = np.nanmedian(np.where(seen, squared, np.nan)[:, seen.any(0)], axis=0)
    variance = 2 * np.einsum("flij,flji->fl", cov, cov)
    along = np.einsum("fli,flij,flj->fl", unit, cov, unit)
    variance[:, seen.any(0)] += 4 * np.maximum(typical, 0) * along[:, seen.any(0)]
    weight = np.where(seen, 1 / (variance + 1e-8), 0.0) * np.sqrt(points.confidence[:, a] * points.confidence[:, b])
    frames = seen.sum(0)
    some = frames > 0
    hidden = np.where(seen, squared, np.nan)
    hidden[:, ~some] = 0.0
    centre = np.nanmedian(hidden, axis=0)
    scale = robust.mad_sigma(hidden - centre, axis=0) + 1e-9
    for _ in range(5):
        tukey = np.clip(1 - ((squared - centre) / (4.685 * scale)) ** 2, 0, 1) ** 2
        w = weight * tukey
        total = w.sum(0)
        centre = np.where(total > 0, (w * squared).sum(0) / np.where(total > 0, total, 1.0), centre)
    length = np.sqrt(np.maximum(centre, 0.0))
    spread = scale / (2 * np.maximum(length, 1e-3))
    sigma = spread / np.sqrt(np.maximum(frames / _INDEPENDENT, 1.0))
    nothing = ~some | (length <= 0)
    return LimbLengths(
        np.where(nothing, np.nan, length), np.where(nothing, np.nan, sigma), np.where(nothing, np.nan, spread), frames
    )


def _bending(
    rig: kinematics.KeypointRig, limbs: np.ndarray, betas: np.ndarray, points: Keypoints3D
) -> tuple[np.ndarray, np.ndarray]:
    """Length of each limb as the take poses it, relative to its length at rest: mean, and what is unsure of that.

    Points on the skin come closer when a knee bends, and neck and mid hip when the spine does. Arms and legs are posed
    as they were seen, in closed form; the rest is drawn from usual poses.
    """
    body = rig.body
    ranges = joint_ranges(body.joint_names[1:], body)
    sampled = ranges.sample(_POSES)
    R = kinematics.local_rotations(np.zeros((_POSES, 3)), sampled)
    rows = np.linspace(0, len(points.xyz) - 1, _POSES).astype(int)
    part = dataclasses.replace(
        points,
        **{n: getattr(points, n)[rows] for n in ("xyz", "confidence", "covariance", "reprojection_error")},
    )
    names = rigid_points(points.skeleton)
    places = points.skeleton.indices(names)
    rest = kinematics.pose(rig, betas, np.broadcast_to(np.eye(3), R[:1].shape), np.zeros((1, 3))).keypoints
    if names:
        root, _, seen = align(rest[0, places], part.xyz[:, places], part.confidence[:, places])
        posed = first_poses(body, betas, part, root)
        moved = np.abs(posed - np.eye(3)).max((2, 3)) > 1e-9  # joints it could not see stay as they usually are
        moved[:, 0] = False
        R = np.where((moved & seen[:, None])[..., None, None], posed, R)
    length = _lengths(kinematics.pose(rig, betas, R, np.zeros((_POSES, 3))).keypoints, limbs)
    ratio = length / _lengths(rest, limbs)
    return ratio.mean(0), ratio.std(0)


def _lengths(xyz: np.ndarray, limbs: np.ndarray) -> np.ndarray:
    return np.linalg.norm(xyz[:, limbs[:, 1]] - xyz[:, limbs[:, 0]], axis=-1)


def _enough(points: Keypoints3D) -> Keypoints3D:
    """The points of so many frames as tell all there is about lengths, in runs spread evenly over a long take."""
    frames = len(points.xyz)
    if frames <= _ENOUGH:
        return points
    starts = np.linspace(0, frames - _RUN, _ENOUGH // _RUN).astype(int)
    rows = (starts[:, None] + np.arange(_RUN)).ravel()
    names = ("xyz", "confidence", "covariance", "reprojection_error")
    return dataclasses.replace(points, **{n: getattr(points, n)[rows] for n in names})


def size_of(body: BodyModel, betas: Float[np.ndarray, " betas"]) -> float:
    """Stature, or of a hand by itself its length from the wrist to the furthest tip, at rest [m]."""
    if not is_hand(body):
        return body.stature(betas)
    vertices = body.rest(betas)
    return float(np.linalg.norm(vertices - (body.J_regressor @ vertices)[0], axis=1).max())


@one_thread_each()
def fit_shape(
    body: BodyModel,
    points: Keypoints3D,
    *,
    model_sigma: float = 0.004,
    prior_weight: float = 1.0,
    stature: float | None = None,
    max_iterations: int = 20,
) -> ShapeFit:
    """Betas whose limbs have the measured lengths: Gauss-Newton on (length - measured) / sigma with betas ~ N(0, 1).

    Args:
        body: The model; it must have the points' skeleton.
        points: 3D keypoints of one person.
        model_sigma: How far a perfectly measured limb may be from the model's, which is taken at rest [m]; half
            of it for the short bones of hands.
        prior_weight: Of 1/2 |betas|^2; a coefficient is one standard deviation of the population.
        stature: When known [m].
        max_iterations: Gauss-Newton steps at most.

    Raises:
        DataError: No limb was seen in any frame, and no stature is given.
        ModelError: A stature is given of a hand by itself.
    """
    if is_hand(body) and stature is not None:
        raise ModelError(f'Body "{body.name}" is a hand and has no stature: leave it out.')
    limbs = points.skeleton.limb_indices()
    of_model = np.where(points.skeleton.of_hands()[limbs].all(1), _BONE, 1.0) * model_sigma
    points = _enough(points)
    measured = limb_lengths(points, limbs)
    known: Bool[np.ndarray, " limbs"] = np.isfinite(measured.length)
    if not known.any() and stature is None:
        raise DataError(
            f"No limb of {points.skeleton.name} has both ends triangulated in any frame, so no shape can be fitted: "
            "look at the triangulation's report for what was dropped."
        )
    rig = kinematics.fold(body, points.skeleton)
    rest_R = np.broadcast_to(np.eye(3), (1, body.n_joints, 3, 3))
    betas = np.zeros(body.n_betas)
    converged = False
    H = np.eye(body.n_betas)
    target, sigma = np.zeros(len(limbs)), np.ones(len(limbs))
    for iteration in range(max_iterations):
        if iteration < _REPOSED:
            ratio, varies = _bending(rig, limbs, betas, points)
            target = np.where(known, measured.length / ratio, 0.0)
            unsure = measured.sigma**2 + of_model**2 + (_UNSURE * varies * target) ** 2
            sigma = np.where(known, np.sqrt(unsure), np.inf)
        posed = kinematics.pose(rig, betas, rest_R, np.zeros((1, 3)), shape_jacobian=True)
        assert posed.shape_jacobian is not None
        d = posed.keypoints[0, limbs[:, 1]] - posed.keypoints[0, limbs[:, 0]]
        length = np.linalg.norm(d, axis=1)
        dJ = posed.shape_jacobian[0, limbs[:, 1]] - posed.shape_jacobian[0, limbs[:, 0]]
        J = np.einsum("li,lib->lb", d / length[:, None], dJ) / sigma[:, None]
        r = (length - target) / sigma
        if stature is not None:
            vertices = body.rest(betas)
            top, bottom = vertices[:, 1].argmax(), vertices[:, 1].argmin()
            by_betas = (body.shapedirs[top, 1] - body.shapedirs[bottom, 1]).astype(float)
            J = np.vstack([J, by_betas / _STATURE_SIGMA])
            r = np.append(r, (body.stature(betas) - stature) / _STATURE_SIGMA)
        H = J.T @ J + prior_weight * np.eye(body.n_betas)
        try:
            step = np.linalg.solve(H, -(J.T @ r + prior_weight * betas))
        except np.linalg.LinAlgError as error:
            raise SolveError(f"The shape cannot be told from {known.sum()} limbs alone; give it a prior.") from error
        betas = betas + step
        if iteration >= _REPOSED and np.abs(step).max() < 1e-6:
            converged = True
            break
    fitted = kinematics.pose(rig, betas, rest_R, np.zeros((1, 3))).keypoints[0]
    return ShapeFit(
        betas,
        np.sqrt(np.diagonal(np.linalg.inv(H))),
        measured,
        _lengths(fitted[None], limbs)[0],
        size_of(body, betas),
        converged,
    )
