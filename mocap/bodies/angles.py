"""Angles of joints as biomechanics has them, of a body with SMPL's joints or of hands: docs/angles.md.

Axes of every segment: x to the front, y up, z to the right, in the anatomical zero: standing upright, arms hanging,
palms to the thighs. The model's own rest pose is that but for the arms, which a T-pose stretches out to the sides. The
left side is computed as the right side of the mirror image, so that one motion has one sign on both.

Orders of rotation: hip, ankle, trunk, neck as Wu et al., "ISB recommendation on definitions of joint coordinate
system ..., part I: ankle, hip, and spine" (2002); elbow and wrist as part II (2005), but for the forearm's own turning;
knee as Grood and Suntay (1983): all flexion (z), then abduction (x), then rotation (y). Pelvis: Baker, "Pelvic angles:
a mathematically rigorous definition ..." (2001). Shoulder: tilt and torsion (Campeau-Lecours et al., "Alternative
representation of the shoulder orientation based on the tilt-and-torsion angles", 2020), since the ISB's y-x-y has its
gimbal lock where arms hang.

Fingers have axes of their own, along their bones (:func:`mocap.bodies.ranges.bone_axes`): flexion, then abduction, then
twist, as Wu et al. part II (2005) has them. Their zero is the model's rest pose, in which they are bent a little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mocap.bodies.ranges import bone_axes, finger_of
from mocap.errors import DataError
from mocap.geometry import rotations
from mocap.geometry.cardan import unbroken_cardan
from mocap.skeletons import HANDS

_OF_MODEL = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
"""Of coordinates in the model's axes (x left, y up, z front), those to the front, up and to the right."""
_OF_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Of coordinates in the world (z up), those with y up: somebody with heading 0 looks along the world's x."""
_MIRROR = np.diag([1.0, 1, -1])
_SIDES = ("left", "right")

# Joint: the model's joints whose rotations, one after the other, make it up.
_CENTRAL = {"trunk": ("spine1", "spine2", "spine3"), "neck": ("neck", "head")}
_SIDED = {
    "hip": ("hip",),
    "knee": ("knee",),
    "ankle": ("ankle",),
    "toes": ("foot",),
    "shoulder": ("collar", "shoulder"),
    "elbow": ("elbow",),
    "wrist": ("wrist",),
}
_TO_WRIST = ("spine1", "spine2", "spine3", *(f"{{side}}_{part}" for part in ("collar", "shoulder", "elbow", "wrist")))
"""From the root of a body to a hand."""
_HANGING = {"shoulder": (False, True), "elbow": (True, True), "wrist": (True, True)}
"""Whether the segments above and below a joint belong to an arm, which hangs in the anatomical zero."""

# Joint: the order of its axes; of each angle what it is called and the sign that makes it positive. Right side.
_ANGLES: dict[str, tuple[str, tuple[tuple[str, int], ...]]] = {
    "pelvis": ("YXZ", (("rotation", 1), ("list", 1), ("tilt", -1))),
    "trunk": ("ZXY", (("flexion", -1), ("bending", 1), ("rotation", 1))),
    "neck": ("ZXY", (("flexion", -1), ("bending", 1), ("rotation", 1))),
    "hip": ("ZXY", (("flexion", 1), ("abduction", -1), ("rotation", 1))),
    "knee": ("ZXY", (("flexion", -1), ("abduction", -1), ("rotation", 1))),
    "ankle": ("ZXY", (("dorsiflexion", 1), ("inversion", 1), ("rotation", 1))),
    "toes": ("ZXY", (("extension", 1),)),
    "shoulder": ("tilt", (("flexion", 1), ("abduction", -1), ("rotation", 1))),
    "elbow": ("ZXY", (("flexion", 1), ("abduction", -1), ("pronation", 1))),
    "wrist": ("YXZ", (("pronation", 1), ("flexion", 1), ("ulnar_deviation", -1))),
}


@dataclass(frozen=True)
class JointAngles:
    """Angles over time."""

    names: tuple[str, ...]
    """`pelvis_tilt`, `left_knee_flexion` ...: docs/angles.md says which way each is positive."""
    degrees: Float[np.ndarray, "frames angles"]
    """Without jumps of whole turns from frame to frame."""

    def of(self, name: str) -> Float[np.ndarray, " frames"]:
        """One of them [degrees]."""
        return self.degrees[:, self.names.index(name)]


def joint_rotations(
    joint_names: Sequence[str], Rh: Float[np.ndarray, "frames 3"], poses: Float[np.ndarray, "frames posed_joints 3"]
) -> dict[str, Float[np.ndarray, "frames 3 3"]]:
    """Rotations of segments against the segment above, the identity in the anatomical zero.

    Args:
        joint_names: The body's joints, the root first.
        Rh: Rotation through the world, z up [rad].
        poses: Local rotations of the joints after the root [rad].

    Returns:
        `pelvis` (against the world turned y up), `trunk` (thorax against pelvis), `neck` (head against thorax), and of
        both sides `left_hip`, `left_knee`, `left_ankle`, `left_toes`, `left_shoulder` (upper arm against thorax),
        `left_elbow`, `left_wrist`, as far as the body has their joints. Axes x to the front, y up, z to the right; the
        left side's are the mirror image's.
    """
    place = {name: i for i, name in enumerate(joint_names[1:])}
    found = {}
    if joint_names[0] == "pelvis":
        found["pelvis"] = _OF_WORLD @ rotations.exp(Rh) @ _OF_MODEL.T

    def chain(joints: Sequence[str]) -> Float[np.ndarray, "frames 3 3"]:
        R = np.broadcast_to(np.eye(3), (len(Rh), 3, 3))
        for joint in joints:
            R = R @ rotations.exp(poses[:, place[joint]])
        return _OF_MODEL @ R @ _OF_MODEL.T

    for name, joints in _CENTRAL.items():
        if all(joint in place for joint in joints):
            found[name] = chain(joints)
    down = rotations.exp(np.array([np.pi / 2, 0, 0]))  # a right arm from the T-pose to the side, about the front
    for side in _SIDES:
        for name, parts in _SIDED.items():
            joints = [f"{side}_{part}" for part in parts]
            if not all(joint in place for joint in joints):
                continue
            R = chain(joints)
            R = _MIRROR @ R @ _MIRROR if side == "left" else R
            above, below = _HANGING.get(name, (False, False))
            R = down @ R if above else R
            found[f"{side}_{name}"] = R @ down.T if below else R
    return found


def finger_rotations(
    joint_names: Sequence[str],
    Rh: Float[np.ndarray, "frames 3"],
    poses: Float[np.ndarray, "frames posed_joints 3"],
    joints: Float[np.ndarray, "frames joints 3"],
) -> dict[str, Float[np.ndarray, "frames 3 3"]]:
    """Rotations of fingers' bones against the bone before, the identity in the rest pose.

    Axes x of flexion, y of abduction, z of twist. Where the bones point in the rest pose, and with it their axes, is
    read off the first frame.

    Args:
        joint_names: The body's joints, the root first.
        Rh: Rotation through the world [rad].
        poses: Local rotations of the joints after the root [rad].
        joints: Places of the joints in the world [m].

    Returns:
        `left_index_mcp`, `left_index_pip`, ..., `right_thumb_cmc` ..., as far as the body has fingers.
    """
    place = {name: i for i, name in enumerate(joint_names)}
    found = {}
    for side, hand in HANDS.items():
        for first in [name for name in joint_names if (f := finger_of(name)) is not None and f[::2] == (side, 1)]:
            chain = [f"{first[:-1]}{k}" for k in (1, 2, 3)]
            if not all(name in place for name in chain):
                continue
            R = rotations.exp(Rh[0])
            for name in (part.format(side=side) for part in _TO_WRIST):
                R = R @ rotations.exp(poses[0, place[name] - 1]) if place.get(name, 0) > 0 else R
            finger, axes = first[:-1].removeprefix(f"{side}_"), np.eye(3)
            knuckles = [joint for joint in hand.joints if joint.startswith(first[:-1])]
            for i, name in enumerate(chain):
                R = R @ rotations.exp(poses[0, place[name] - 1])
                if i < 2:  # the last bone, whose end is no joint, goes on as the one before
                    axes = bone_axes(side, finger, R.T @ (joints[0, place[chain[i + 1]]] - joints[0, place[name]]))
                found[knuckles[i]] = axes @ rotations.exp(poses[:, place[name] - 1]) @ axes.T
    return found


def _finger_angles(R: Mapping[str, Float[np.ndarray, "frames 3 3"]]) -> dict[str, Float[np.ndarray, " frames"]]:
    """`left_index_mcp_flexion`, `left_index_mcp_abduction`, `left_index_pip_flexion` ... [degrees]."""
    found = {}
    for name, angles in unbroken_angles(R, dict.fromkeys(R, "XYZ")).items():
        side, finger, knuckle = name.split("_")
        found[f"{name}_flexion"] = np.degrees(angles[:, 0])
        if knuckle == "cmc" or (knuckle == "mcp" and finger != "thumb"):
            # away from the middle finger; that one, and the thumb, toward the thumb's side
            sign = (1 if side == "right" else -1) * (-1 if finger in ("ring", "pinky") else 1)
            found[f"{name}_abduction"] = sign * np.degrees(angles[:, 1])
    return found


def _tilt_torsion(R: Float[np.ndarray, "frames joints 3 3"]) -> Float[np.ndarray, "frames joints 3"]:
    """z and x of the turn that tilts y the shortest way, and the turn about y before it [rad], going on over time.

    R = exp(t) R_y(torsion), with t across y. The tilt t goes on past half a turn where the arm passes the top, as far
    as three quarters.
    """
    y = R[..., 1]
    sine = np.hypot(y[..., 0], y[..., 2])
    angle = np.arctan2(sine, y[..., 1])
    at_end = sine < 1e-9
    factor = np.where(at_end, np.where(y[..., 1] > 0, 1.0, 0.0), angle / np.where(at_end, 1.0, sine))
    tilt = np.stack([factor * y[..., 2], np.zeros_like(sine), -factor * y[..., 0]], axis=-1)
    tilt[at_end & (y[..., 1] < 0)] = [0.0, 0.0, np.pi]  # straight up: by the front
    upright = rotations.exp(tilt).swapaxes(-1, -2) @ R
    torsion = np.arctan2(upright[..., 0, 2], upright[..., 0, 0])
    raised = np.flatnonzero((np.linalg.norm(tilt, axis=-1) > np.pi / 2).any(1))
    for frame in raised[raised > 0]:
        t, before = tilt[frame], tilt[frame - 1]
        size = np.linalg.norm(t, axis=-1, keepdims=True)
        far = size > np.pi / 2  # the other way round, past the top
        other = np.where(far, t * (1 - 2 * np.pi / np.where(far, size, 1.0)), t)
        nearer = np.linalg.norm(other - before, axis=-1) < np.linalg.norm(t - before, axis=-1)
        tilt[frame] = np.where(nearer[:, None], other, t)
        # circling overhead winds the torsion up; of an arm that is lowered it is within half a turn again
        whole = 2 * np.pi * np.round((torsion[frame - 1] - torsion[frame]) / (2 * np.pi))
        torsion[frame] += np.where(far[:, 0], whole, 0.0)
    return np.stack([tilt[..., 2], tilt[..., 0], torsion], axis=-1)


def unbroken_angles(
    R: Mapping[str, Float[np.ndarray, "frames 3 3"]], orders: Mapping[str, str]
) -> dict[str, Float[np.ndarray, "frames 3"]]:
    """Of each joint the three angles [rad] in its order ("ZXY", or "tilt"), without jumps over time."""
    found = {}
    for order in sorted({orders[name] for name in R}):
        names = [name for name in R if orders[name] == order]
        series = np.stack([R[name] for name in names], axis=1)
        angles = _tilt_torsion(series) if order == "tilt" else unbroken_cardan(series, order)
        found |= {name: angles[:, i] for i, name in enumerate(names)}
    return {name: found[name] for name in R}


def joint_angles(
    joint_names: Sequence[str],
    Rh: Float[np.ndarray, "frames 3"],
    poses: Float[np.ndarray, "frames posed_joints 3"],
    joints: Float[np.ndarray, "frames joints 3"] | None = None,
) -> JointAngles:
    """Named and signed angles of a motion, in degrees; zero when standing upright with hanging arms, and fingers as the
    model has them at rest.

    Args:
        joint_names: The body's joints, the root first; those of SMPL, SMPL-H, SMPL-X or MANO.
        Rh: Rotation through the world, z up [rad].
        poses: Local rotations of the joints after the root [rad].
        joints: Places of the joints in the world [m], for the angles of fingers; None leaves these out.

    Raises:
        DataError: The body has none of the joints.
    """
    R = joint_rotations(joint_names, Rh, poses)
    fingers = {} if joints is None else finger_rotations(joint_names, Rh, poses, joints)
    if not R and not fingers:
        raise DataError(
            f"Joint angles are of bodies with SMPL's joints and of hands; this one has {', '.join(joint_names[:5])} ..."
        )
    kinds = {name: name.split("_", 1)[-1] for name in R}
    angles = unbroken_angles(R, {name: _ANGLES[kind][0] for name, kind in kinds.items()})
    # the radius turns in the elbow and, in a fit, in the wrist too: both are the forearm's
    for side in _SIDES:
        if f"{side}_wrist" in angles and f"{side}_elbow" in angles:
            angles[f"{side}_elbow"][:, 2] += angles[f"{side}_wrist"][:, 0]
    names, columns = [], []
    for name, kind in kinds.items():
        for i, (angle, sign) in enumerate(_ANGLES[kind][1]):
            if (kind, angle) == ("wrist", "pronation"):
                continue
            whole = name.replace("elbow", "forearm") if angle == "pronation" else name
            names.append(f"{whole}_{angle}")
            columns.append(sign * np.degrees(angles[name][:, i]))
    for name, degrees in _finger_angles(fingers).items():
        names.append(name)
        columns.append(degrees)
    return JointAngles(tuple(names), np.stack(columns, axis=1))
