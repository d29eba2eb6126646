"""How noisy the points are and how fast each joint moves, told by the take itself.

What a solve left over is too small by what it fitted of the noise, and what it moved is too small by what it smoothed
away; both are corrected by the response of the losses to noise (MacKay, "Bayesian interpolation", 1992, section 4: each
scale's own count of well-determined parameters). The response is taken as the same throughout the take: with the mean
curvature H of the single-frame losses, and q_p the precision of parameter p's acceleration, the covariance at circular
frequency w is C(w) = (H + diag(q) (2 - 2 cos w)^2 / dt^4)^-1 (Whittle's approximation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import interp1d
from scipy.ndimage import uniform_filter1d

from mocap.bodies import kinematics
from mocap.bodies.kinematics import KeypointRig
from mocap.bodies.ranges import of_hands
from mocap.geometry import robust, rotations
from mocap.solve.problem import Problem, State
from mocap.terms.base import Bound
from mocap.terms.k3d import BoundK3d
from mocap.terms.refine_2d import BoundRefine2d
from mocap.terms.smooth import BoundSmooth

_FREQUENCIES = 32
_SAMPLES = 32
"""Frames whose mean curvature stands for the take's."""
_FEWEST = 12
"""Frames from which a take can tell scales at all."""
_OWN = 6.0
"""The scales a take begins with count as so many frames."""
_SHARED = 30.0
"""What all keypoints tell about the noise counts in each as so many frames."""
_WINDOW = 0.25
"""Over which a joint's acceleration is taken as of one size [s]."""
_LOCAL = 5.0
"""A joint's size of acceleration over the whole take counts in each window as so many frames."""
_FEW = 1e-3
"""Part of the sigmas of a take that may be raised by chance."""
_CHANGED = 0.1
"""Relative change of sigmas, on the average, that is worth another solve."""
_CLEAR = 1.0
"""How much more than noise must be left over in a window, relative to the noise, to be a motion."""
_RAISED = 1.5
"""By how much a sigma is raised for motion that was smoothed away to be worth another solve."""
_LEVER = (0.05, 0.015)
"""A point nearer to a joint of a body than this says little about its turning, and to one of a hand [m]."""
_CHUNK = 2000


@dataclass(frozen=True)
class _Response:
    """How the losses answer noise at each frequency."""

    H: Float[np.ndarray, "parameters parameters"]
    covariance: Float[np.ndarray, "frequencies parameters parameters"]
    stiffness: Float[np.ndarray, " frequencies"]
    """(2 - 2 cos w)^2 / dt^4"""
    posed: kinematics.Posed
    """The sampled frames, with Jacobians."""
    sampled: np.ndarray


def rescaled(
    rig: KeypointRig, bound: Mapping[str, Bound], state: State, timestamps: Float[np.ndarray, " frames"]
) -> dict[str, Bound]:
    """The losses with the expected errors and accelerations that the take tells, as of this solution."""
    smooth = {k: b for k, b in bound.items() if isinstance(b, BoundSmooth)}
    points = {k: b for k, b in bound.items() if isinstance(b, BoundK3d)}
    if len(timestamps) < _FEWEST or not points:
        return dict(bound)
    response = _response(rig, bound, state, timestamps, next(iter(smooth.values()), None))
    made = dict(bound)
    unexplained = np.zeros((len(timestamps), 1 + rig.body.n_joints))
    for label, term in points.items():
        left = left_over(term, rig, state)
        if term.estimated.any():
            factor = _noise(term, rig, left, response)
            made[label] = term = term.with_errors(factor)
            left /= factor[:, None]
        np.maximum(unexplained, _unexplained(term, rig, left, timestamps), out=unexplained)
    for label, term in smooth.items():
        if term.estimated.any():
            sigma = _accelerations(term, state, timestamps, response)
            raised = float((unexplained[..., None] > _RAISED * sigma)[:, term.estimated].mean())
            made[label] = term.with_sigma(np.maximum(sigma, unexplained[..., None]), raised=raised)
    return _discounted(made)


def unsettled(bound: Mapping[str, Bound], before: Mapping[str, Bound] | None = None) -> bool:
    """Whether scales told from the last solve are not yet right: it had smoothed away some motion.

    Args:
        bound: The losses with the scales just told.
        before: As the last solve had them, when these were no good guess: then also whether they have changed by much.
    """
    for label, term in bound.items():
        if isinstance(term, BoundSmooth) and term.estimated.any():
            if term.raised > _FEW:
                return True
            last = None if before is None else before[label]
            if isinstance(last, BoundSmooth):
                change = np.log(np.median(term.precision, axis=0) / np.median(last.precision, axis=0))
                if np.abs(change[term.estimated]).mean() > _CHANGED:
                    return True
    return False


def _discounted(bound: Mapping[str, Bound]) -> dict[str, Bound]:
    """The losses with those of points and of accelerations counting less, next to those that judge a pose.

    How noisy the points are and how a body accelerates settle each other, whatever the points are off by all the time.
    But that limits what they tell of a pose: a variance `sigma^2` counts as `sigma^2 + place^2` there; each of a body's
    points and of hands' for itself, since noise and place of both are of other sizes.
    """
    parts: tuple[list[float], list[float]] = ([], [])
    for term in bound.values():
        if not isinstance(term, (BoundK3d, BoundRefine2d)):
            continue
        for told, which in zip(parts, (~term.hands, term.hands), strict=True):
            if isinstance(term, BoundK3d):
                which = which & term.estimated
                sigma = term.sigma()[which]
                noise = np.nanmedian(sigma) if np.isfinite(sigma).any() else np.nan
            else:
                noise = term.noise(which)
            place = np.median(term.place[which]) if which.any() else 0.0
            if place and np.isfinite(noise):
                told.append(float(noise**2 / (noise**2 + place**2)))
    lowest = [min(told) for told in parts if told]
    if not lowest:
        return dict(bound)
    both = (lowest[0], lowest[-1])  # where only one of them is there, the other has no points
    return {
        k: b.discounted(both) if isinstance(b, (BoundK3d, BoundRefine2d, BoundSmooth)) else b for k, b in bound.items()
    }


def inherited(
    bound: Mapping[str, Bound], told: Mapping[str, Bound], at: Float[np.ndarray, " keys"]
) -> dict[str, Bound]:
    """The losses on all frames with the scales that the same losses told on some of them, at times `at`."""
    made = dict(bound)
    for label, term in bound.items():
        source = told.get(label)
        if isinstance(term, BoundK3d) and isinstance(source, BoundK3d):
            made[label] = term.with_errors(np.where(term.estimated, source.factor / term.factor, 1.0))
        if isinstance(term, BoundSmooth) and isinstance(source, BoundSmooth):
            sigma = 1 / source.precision
            made[label] = term.with_sigma(interp1d(at, sigma, axis=0)(term.timestamps))
    return _discounted(made)


def rescaled_in_images(
    rig: KeypointRig, bound: Mapping[str, Bound], state: State, timestamps: Float[np.ndarray, " frames"]
) -> dict[str, Bound]:
    """The losses that read the images with the expected errors that each view tells, as of this solution.

    How a body accelerates is told here only where no points have told it before.
    """
    made = dict(bound)
    images = {k: b for k, b in bound.items() if isinstance(b, BoundRefine2d)}
    smooth = {k: b for k, b in bound.items() if isinstance(b, BoundSmooth)}
    if not images:
        return made
    if len(timestamps) >= _FEWEST:
        at_frames = {**bound, **{k: b.at_frames() for k, b in images.items()}}
        response = _response(rig, at_frames, state, timestamps, next(iter(smooth.values()), None))
        for label, term in images.items():
            if term.estimated:
                made[label] = term.with_errors(_noise_in_images(term, rig, state, response))
        for label, term in smooth.items():
            if term.estimated.any() and not np.ptp(term.precision, axis=0).any():
                made[label] = term.with_sigma(_accelerations(term, state, timestamps, response))
    return _discounted(made)


def _noise_in_images(
    term: BoundRefine2d, rig: KeypointRig, state: State, response: _Response
) -> list[Float[np.ndarray, " keypoints"]]:
    """By what factor each view's expected errors are too small, of a body's points and of hands'."""
    unit = 1 / np.sqrt(term.weight * term.discount)
    left: list[list[np.ndarray]] = [[] for _ in term.views]
    for s in range(0, len(state.Th), _CHUNK):
        numbers = np.arange(s, min(s + _CHUNK + 1, len(state.Th)))
        posed = kinematics.pose(rig, state.betas, state.R[numbers], state.Th[numbers])
        for view, made in zip(left, term.residuals(posed, numbers), strict=True):
            view.append(unit[:, None] * made.r[made.frame < _CHUNK])
    J = response.posed.jacobian
    assert J is not None
    C = response.covariance.mean(0)
    factors = []
    sampled = term.at_frames().residuals(response.posed, response.sampled)
    for view, made in zip(left, sampled, strict=True):
        size = np.concatenate(view)
        there = size.any(-1)
        # part of the noise that the fit follows
        WJ = unit[:, None, None] * (made.jacobians[0] @ J[made.frame])
        followed = np.einsum("fkip,pq,fkiq->fk", WJ, C, WJ, optimize=True) / 2
        factor = np.ones(rig.n_keypoints)
        for which in (~term.hands, term.hands):
            part, left_over = followed[made.r.any(-1) & which], size[there & which]
            if len(part) and len(left_over):
                remains = np.clip(1 - part.mean(), 0.2, 1.0)
                factor[which] = max(float(robust.mad_sigma(left_over) / np.sqrt(remains)), 1e-3)
        factors.append(factor)
    return factors


def _response(
    rig: KeypointRig, bound: Mapping[str, Bound], state: State, timestamps: np.ndarray, smooth: BoundSmooth | None
) -> _Response:
    frames = len(timestamps)
    sampled = np.unique(np.linspace(0, frames - 1, _SAMPLES).astype(int))
    single = Problem(rig, {k: b for k, b in bound.items() if b.span == 1}, coupled=False)
    H = single.linearised(state, sampled, slice(0, len(sampled))).blocks.diagonal.mean(0)
    H = H + 1e-3 * np.eye(len(H))  # parameters that nothing tells
    dt = np.median(np.diff(timestamps))
    w = (np.arange(_FREQUENCIES) + 0.5) / _FREQUENCIES * np.pi
    stiffness = (2 - 2 * np.cos(w)) ** 2 / dt**4
    q = np.zeros(len(H)) if smooth is None else (smooth.gain * np.median(smooth.precision, axis=0)).ravel() ** 2
    C = np.linalg.inv(H + stiffness[:, None, None] * np.diag(q))
    posed = kinematics.pose(rig, state.betas, state.R[sampled], state.Th[sampled], jacobian=True, approximate=True)
    return _Response(H, C, stiffness, posed, sampled)


def left_over(term: BoundK3d, rig: KeypointRig, state: State) -> Float[np.ndarray, "frames keypoints 3"]:
    """What a solution leaves of the points: they less the body's, in expected errors; NaN where there is no point."""
    frames, unit = len(state.Th), 1 / np.sqrt(term.weight * term.discount)[:, None]
    left = np.empty((frames, rig.n_keypoints, 3))
    for s in range(0, frames, _CHUNK):
        numbers = np.arange(s, min(s + _CHUNK, frames))
        posed = kinematics.pose(rig, state.betas, state.R[numbers], state.Th[numbers])
        left[numbers] = unit * (term.whitening(numbers) @ (term.xyz[numbers] - posed.keypoints)[..., None])[..., 0]
    left[term.gain == 0] = np.nan
    return left


def _noise(
    term: BoundK3d, rig: KeypointRig, size: Float[np.ndarray, "frames keypoints 3"], response: _Response
) -> Float[np.ndarray, " keypoints"]:
    """By what factor each keypoint's expected error is too small."""
    seen = term.gain > 0
    n = seen.sum(0)
    known = n > 0
    factor = np.ones(rig.n_keypoints)
    # part of each keypoint's noise that the fit follows
    J = response.posed.jacobian
    assert J is not None
    WJ = term.whitening(response.sampled) @ J
    followed = np.einsum("fkip,pq,fkiq->fk", WJ, response.covariance.mean(0), WJ, optimize=True) / 3
    there = term.gain[response.sampled] > 0
    part = np.where(there, followed, 0).sum(0) / np.maximum(there.sum(0), 1)
    left = np.clip(1 - part, 0.2, 1.0)
    variance = np.ones(rig.n_keypoints)
    variance[known] = robust.mad_sigma(size[:, known], axis=(0, 2)) ** 2 / left[known]
    # what moves on from frame to frame is no noise: third differences hold 20 times the variance of noise and little of
    # motion; but a detector's own noise moves on as well
    third = np.diff(size, n=3, axis=0)
    told = known & (term.place == 0) & (np.isfinite(third[..., 0]).sum(0) >= _FEWEST)
    if told.any():
        variance[told] = np.minimum(variance[told], robust.mad_sigma(third[:, told], axis=(0, 2)) ** 2 / 20)
    for which in (~term.hands, term.hands):
        use = known & term.estimated & which
        if use.any():
            shared = np.average(variance[use], weights=n[use])
            own = (n * variance + _SHARED * shared)[use] / (n + _SHARED)[use]
            # a keypoint that is off by more than others for long is no noisier
            factor[use] = np.sqrt(np.where(term.place[use] > 0, shared, own))
    return np.maximum(factor, 1e-3)


def _unexplained(
    term: BoundK3d, rig: KeypointRig, left: Float[np.ndarray, "frames keypoints 3"], timestamps: np.ndarray
) -> Float[np.ndarray, "frames blocks"]:
    """Accelerations about each frame that were smoothed away, by what is left of the points [m/s^2 of Th, rad/s^2].

    A wave that the fit took for noise is left over, and its size E and speed V (mean squares in a window, without what
    noise has of them) tell its acceleration, V / sqrt(E). A joint is given it where every point that hangs below the
    joint and away from it shows it: the elbow for a waving hand, and not the shoulder, whose elbow was still.
    """
    dt = float(np.median(np.diff(timestamps)))
    n = max(5, round(_WINDOW / dt))

    def near(x: np.ndarray) -> np.ndarray:
        """Mean square about the mean in a window; 0 where half of it or more is missing."""
        there = np.isfinite(x[:, 0])
        share = np.maximum(uniform_filter1d(there.astype(float), n, mode="nearest"), 1e-9)
        x = np.where(there[:, None], x, 0.0)
        mean = uniform_filter1d(x, n, axis=0, mode="nearest") / share[:, None]
        square = uniform_filter1d((x * x).mean(-1), n, mode="nearest") / share
        return np.where(share > 0.5, square - (mean**2).mean(-1), 0.0)

    sigma = np.nan_to_num(term.sigma())
    squared = np.zeros(left.shape[:2])  # [m^2/s^4]
    for k in range(left.shape[1]):  # tens of keypoints, whatever the number of frames
        excess = near(left[:, k]) - 1.0  # what noise has of it
        speed = near(np.diff(left[:, k], axis=0, append=left[-1:, k])) - 2.0
        shows = (excess > _CLEAR) & (speed > _CLEAR)
        squared[shows, k] = speed[shows] ** 2 / excess[shows] * (sigma[k] / dt**2) ** 2

    rest = kinematics.pose(rig, np.zeros(0), np.broadcast_to(np.eye(3), (1, rig.body.n_joints, 3, 3)), np.zeros((1, 3)))
    lever = np.linalg.norm(rest.keypoints[0, None] - rest.joints[0, :, None], axis=-1)  # (joints, keypoints)
    out = np.zeros((len(left), 1 + rig.body.n_joints))
    seen = np.asarray(np.isfinite(left[..., 0]).any(0))
    out[:, 0] = squared[:, seen].min(1) if seen.any() else 0.0
    least = np.where(of_hands(rig.body.joint_names), _LEVER[1], _LEVER[0])
    for joint in range(1, rig.body.n_joints):  # tens of joints, whatever the number of frames
        below = rig.moved[rig.moved[:, 1] == joint, 0]
        below = below[seen[below] & (lever[joint, below] > least[joint])]
        if len(below):
            out[:, 1 + joint] = (squared[:, below] / lever[joint, below] ** 2).min(1)
    return np.sqrt(out)


def _accelerations(
    term: BoundSmooth, state: State, timestamps: np.ndarray, response: _Response
) -> Float[np.ndarray, "frames blocks 3"]:
    """Sigma of the acceleration of each block about each frame, by axis: a knee bends about one and hardly turns."""
    frames, blocks, _ = term.precision.shape
    squared = np.empty((frames, blocks, 3))
    for s in range(1, frames - 1, _CHUNK):
        rows = slice(s - 1, min(s + _CHUNK, frames - 1) + 1)
        dt = np.diff(timestamps[rows])[:, None, None]
        relative = rotations.log(state.R[rows][:-1].swapaxes(-1, -2) @ state.R[rows][1:])
        velocity = np.concatenate([np.diff(state.Th[rows], axis=0)[:, None], relative], axis=1) / dt
        acceleration = np.diff(velocity, axis=0) / (0.5 * (dt[1:] + dt[:-1]))
        squared[rows.start + 1 : rows.stop - 1] = acceleration**2
    squared[0], squared[-1] = squared[1], squared[-2]
    q = (term.gain * np.median(term.precision, axis=0)) ** 2
    by_frequency = np.einsum("wpp->wp", response.covariance).reshape(_FREQUENCIES, blocks, 3)
    told = np.clip(1 - q * (response.stiffness[:, None, None] * by_frequency).mean(0), 1e-3, 1.0)
    start = 1 / term.precision[0] ** 2 if np.ptp(term.precision, axis=0).max() == 0 else None
    typical = 1 / np.median(term.precision, axis=0) ** 2 if start is None else start
    whole = (frames * squared.mean(0) + _OWN * typical) / (frames * told + _OWN)
    if not _LOCAL:
        return np.broadcast_to(np.sqrt(whole), squared.shape)
    # about each frame: the same with the window's own acceleration, and how well it is told by a single parameter whose
    # information h explains how well the whole take's is
    rate = 1 / np.median(np.diff(timestamps))
    n = max(3, round(_WINDOW * rate))
    ratio = np.logspace(-6, 10, 200)
    curve = (ratio[:, None] / (ratio[:, None] + response.stiffness / response.stiffness.mean())).mean(1)
    h = np.exp(np.interp(told, curve, np.log(ratio))) * q / term.gain**2  # of a parameter alone, by the mean stiffness
    for block in range(blocks):  # tens of them, whatever the number of frames
        near = uniform_filter1d(squared[:, block], n, axis=0, mode="nearest")
        sigma2, centre = np.broadcast_to(whole[block], near.shape), whole[block]
        for _ in range(4):
            known = np.interp(np.log(np.maximum(h[block] * sigma2, 1e-300)), np.log(ratio), curve)
            sigma2 = (n * near + _LOCAL * centre) / (n * known + _LOCAL)
            centre = np.exp(np.log(sigma2).mean(0))  # what is usual, not what the wildest moments make of the mean
        squared[:, block] = sigma2
    return np.sqrt(squared, out=squared)
