"""Loss `ground`: feet that stand keep their place, and no foot sinks into the floor."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat
from scipy import ndimage

from mocap.bodies import kinematics
from mocap.bodies.kinematics import KeypointRig, Posed
from mocap.bodies.model import BodyModel
from mocap.geometry import robust
from mocap.options import options
from mocap.skeletons import Skeleton
from mocap.terms.base import Bound, Data, Residuals, Term

_POINTS = (("heel", "big_toe", "small_toe", "foot_index"), ("ankle", "foot"))
"""Points of a foot; the second ones only where a skeleton has none of the first."""
_HALF_WINDOW = 0.1
"""Speeds are slopes over this much time before and after [s]: 10 mm of noise at 30 fps are 0.06 m/s then, not 0.4."""
_SHORTEST = 0.15
"""A foot that is slow for a shorter time [s] turns back in mid-air: at the top of a jump, of a kick."""
_SLOW = (0.12, 0.3)
"""A foot slower than the first stands, one faster than the second does not, and between them it may [m/s]."""
_NEAR = (0.02, 0.05)
"""The same of its height above the floor [m]: what the detector is off by, with some noise."""
_LOWEST = (0.015, 0.04)
"""The same of its height above the body's lowest point: it stands on something else, such as a beam, or on a floor that
is not known [m]."""
_MARGIN = 0.03
"""How much further from a keypoint than the sole is straight below it skin still counts as near it [m]."""


@options
class Ground(Term):
    """Feet in contact hold still, at the height of their sole where the floor is known; nowhere do they sink below it.

    Which points are in contact, and how high each is above the skin below it, is told from a solution
    (:meth:`BoundGround.updated`) and then held. A foot stands where it is slow for a while, and near the floor or the
    lowest of the body; so a foot on a beam holds still but is not drawn to the floor.
    """

    sigma: PositiveFloat = 0.05
    """Expected speed of a foot that stands, per axis [m/s]."""
    sigma_height: PositiveFloat = 0.02
    """Expected distance of its sole from the floor, where that is known [m]."""
    robust: PositiveFloat = 3.0
    """What is beyond this many sigmas counts less and less (Cauchy): a foot that was taken to stand may yet go."""
    weight: NonNegativeFloat = 1.0
    """Multiplies the cost; 0 switches the loss off."""

    def bind(self, data: Data) -> BoundGround | None:
        """The feet's points by name, none of them in contact yet; None for a body or a skeleton without feet."""
        points = data.keypoints3d or next(iter((data.keypoints2d or {}).values()), None)
        if self.weight == 0 or points is None:
            return None
        rig = kinematics.fold(data.body, points.skeleton)
        feet = _feet(data.body, rig.skeleton)
        if not feet:
            return None
        none = np.zeros((len(data.timestamps), len(feet)))
        soles = tuple(_sole(rig, k, side) for k, side in feet.items())
        return BoundGround(
            timestamps=data.timestamps,
            keypoints=np.array(list(feet), dtype=np.intp),
            soles=soles,
            floor=data.rig is not None and data.rig.has_floor,
            held=none,
            landed=none,
            clearance=none + np.concatenate([sole.clearance(np.eye(3)[None]) for sole in soles]),
            gain=np.sqrt(self.weight) / self.sigma,
            gain_height=np.sqrt(self.weight) / self.sigma_height,
            scale=self.robust * np.sqrt(self.weight),
        )


@dataclass(frozen=True, eq=False)
class Sole:
    """The skin near one point of a foot."""

    joint: int
    """Of the body: the point moves with it."""
    offsets: Float[np.ndarray, "vertices 3"]
    """From the point, in the rest pose [m]; only vertices that may be the lowest."""

    def clearance(self, G: Float[np.ndarray, "frames 3 3"]) -> Float[np.ndarray, " frames"]:
        """How high the point is above the lowest of this skin when its joint is turned by G [m]."""
        return -(G[:, 2] @ self.offsets.T).min(1)


def _feet(body: BodyModel, skeleton: Skeleton) -> dict[int, str]:
    """Keypoint -> side, for the points of feet that the body has."""
    found = {}
    for side in ("left", "right"):
        if f"{side}_ankle" in body.joint_names:
            sets = ([n for p in points if (n := f"{side}_{p}") in skeleton.joints] for points in _POINTS)
            found |= {skeleton.index(name): side for name in next((names for names in sets if names), [])}
    return found


def _sole(rig: KeypointRig, keypoint: int, side: str) -> Sole:
    """The sole of the mean shape near a keypoint; the keypoint itself where there is no skin."""
    body = rig.body
    foot = [body.joint_names.index(f"{side}_ankle")]
    for joint in foot:
        foot += body.children[joint]
    rest = np.broadcast_to(np.eye(3), (1, body.n_joints, 3, 3))
    place = kinematics.pose(rig, np.zeros(0), rest, np.zeros((1, 3))).keypoints[0, keypoint]
    skin = body.v_template[body.weights[:, foot].sum(1) > 0.5] - place
    if len(skin):
        skin = skin[np.linalg.norm(skin, axis=1) <= max(0.0, -skin[:, 1].min()) + _MARGIN]
    share = np.bincount(rig.pair_joint[rig.pair_keypoint == keypoint], rig.A[rig.pair_keypoint == keypoint])
    joint = int(share.argmax())
    if not len(skin):
        return Sole(joint, np.zeros((1, 3)))
    ways = np.random.default_rng(0).normal(size=(500, 3))  # whichever way is down, the lowest is among these to 1 mm
    return Sole(joint, skin[np.unique((skin @ ways.T).argmax(0))].astype(float))


@dataclass(frozen=True, eq=False)
class BoundGround(Bound):
    """The loss with its feet, and which of their points are in contact."""

    timestamps: Float[np.ndarray, " frames"]
    keypoints: Int[np.ndarray, " points"]
    soles: tuple[Sole, ...]
    floor: bool
    """Whether z = 0 is the floor."""
    held: Float[np.ndarray, "frames points"]
    """How surely each point stands on something, in [0, 1]."""
    landed: Float[np.ndarray, "frames points"]
    """How surely it stands on the floor."""
    clearance: Float[np.ndarray, "frames points"]
    """How high a point is when the skin near it touches the floor [m]."""
    gain: float
    gain_height: float
    scale: float
    standing_height: float | None = None
    """Median height of the soles that stand, as of the last update [m]; far from 0 when the floor is not at z = 0."""

    span = 2
    dense_coupling = True

    def updated(self, posed: Posed) -> BoundGround:
        """The loss with contacts and clearances of this solution.

        Args:
            posed: The whole take.
        """
        x = posed.keypoints[:, self.keypoints]
        clearance = np.stack([sole.clearance(posed.G[:, sole.joint]) for sole in self.soles], axis=1)
        held, landed = contacts(x, clearance, self.timestamps, floor=self.floor)
        height = (x[..., 2] - clearance)[held > 0.5]
        return dataclasses.replace(
            self,
            held=held,
            landed=landed,
            clearance=clearance,
            standing_height=float(np.median(height)) if len(height) else None,
        )

    def facts(self) -> dict[str, object]:
        """For the report: shares are of frames, by any foot."""
        return {
            "floor": "z = 0" if self.floor else "not known: feet that stand hold still at whatever height",
            "standing": float((self.held > 0.5).any(1).mean()),
            "on_the_floor": float((self.landed > 0.5).any(1).mean()) if self.floor else None,
            "standing_height": self.standing_height,
        }

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Velocities between neighbours of points held in both; where the floor is known also heights above it.

        A height counts where the point is in contact, and always where it is below the floor.
        """
        k, n = self.keypoints, posed.keypoints.shape[1]
        x = posed.keypoints[:, k]
        made = []
        if len(frames) > 1:
            held = np.minimum(self.held[frames[1:]], self.held[frames[:-1]])
            gain = self.gain * np.sqrt(held) / np.diff(self.timestamps[frames])[:, None]
            r = np.zeros((len(frames) - 1, n, 3))
            r[:, k] = gain[..., None] * np.diff(x, axis=0)
            J = np.zeros((*r.shape, 3))
            J[:, k] = gain[..., None, None] * np.eye(3)
            made.append(Residuals.of("keypoints", r, {0: -J, 1: J}, kernel=self._kernel))
        if self.floor:
            above = x[..., 2] - self.clearance[frames]
            gain = self.gain_height * np.where(above < 0, 1.0, np.sqrt(self.landed[frames]))
            r = np.zeros((len(frames), n, 1))
            r[:, k, 0] = gain * above
            J = np.zeros((*r.shape, 3))
            J[:, k, 0, 2] = gain
            made.append(Residuals.of("keypoints", r, {0: J}, kernel=self._kernel))
        return made

    def _kernel(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return robust.cauchy(s, self.scale)


def contacts(
    x: Float[np.ndarray, "frames points 3"],
    clearance: Float[np.ndarray, "frames points"],
    timestamps: Float[np.ndarray, " frames"],
    *,
    floor: bool,
) -> tuple[Float[np.ndarray, "frames points"], Float[np.ndarray, "frames points"]]:
    """How surely each point stands on something, and on the floor, in [0, 1].

    Args:
        x: The points [m], z up.
        clearance: How high each is when the skin near it touches the floor [m].
        timestamps: [s]
        floor: Whether the floor is known, at z = 0.
    """
    if len(x) < 2:
        return np.zeros_like(clearance), np.zeros_like(clearance)
    dt = float(np.median(np.diff(timestamps)))
    half = max(1, round(_HALF_WINDOW / dt))
    slope = np.arange(-half, half + 1.0)
    velocity = ndimage.correlate1d(x, slope, axis=0, mode="nearest")
    velocity /= ndimage.correlate1d(timestamps, slope, mode="nearest")[:, None, None]
    slow = _ramp(np.linalg.norm(velocity, axis=-1), _SLOW)
    slow = ndimage.grey_opening(slow, size=(max(1, round(_SHORTEST / dt)), 1), mode="nearest")
    height = ndimage.uniform_filter1d(x[..., 2] - clearance, 2 * half + 1, axis=0, mode="nearest")
    held = slow * _ramp(height - height.min(1, keepdims=True), _LOWEST)
    if not floor:
        return held, np.zeros_like(held)
    landed = slow * _ramp(height, _NEAR)
    return np.maximum(held, landed), landed


def _ramp(value: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """1 below the first end, 0 above the second."""
    return np.clip((ends[1] - value) / (ends[1] - ends[0]), 0.0, 1.0)
