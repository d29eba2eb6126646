"""A body's skeleton and motion as BVH (Biovision hierarchy).

y up, front +z, in centimetres unless asked otherwise. The rest pose, all rotations zero, is the body's T-pose. The
root's OFFSET is zero and its position channels are where it is in the world, since readers disagree about adding the
two. Rotations are Z, X, Y: a joint turns by R = Rz(z) Rx(x) Ry(y), about the axes of its parent, angles in degrees.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from mocap.bodies.kinematics import Skinner, rest_keypoints
from mocap.bodies.model import BodyModel
from mocap.bodies.ranges import finger_of
from mocap.geometry import rotations
from mocap.geometry.cardan import unbroken_cardan
from mocap.io.atomic import replacing
from mocap.io.meshes import Y_UP_OF_WORLD
from mocap.skeletons import HANDS
from mocap.take import Motion

_SCALE = {"cm": 100.0, "m": 1.0}
_DIGITS = {"cm": 4, "m": 6}
"""Behind the point: micrometres."""
_CHUNK = 4096
"""Frames turned to text at a time."""


def _ends(body: BodyModel, betas: Float[np.ndarray, " betas"], skinner: Skinner) -> dict[int, Float[np.ndarray, " 3"]]:
    """For each joint without children where its part of the body ends [m]: a finger at its tip, the rest as far as the
    mesh goes on in the bone's direction."""
    mine = body.weights.argmax(1)
    ends = {}
    tips: dict[str, np.ndarray] = {}
    for hand in HANDS.values():
        if hand.name in body.regressors:
            tips |= dict(zip(hand.joints, rest_keypoints(body, hand, betas), strict=True))
    for j in (j for j in range(body.n_joints) if not body.children[j]):
        finger = finger_of(body.joint_names[j])
        tip = None if finger is None else tips.get(f"{finger[0]}_{finger[1]}_tip")
        if tip is not None:
            ends[j] = tip - skinner.J[j]
            continue
        bone = skinner.J[j] - skinner.J[max(body.parents[j], 0)]
        length = float(np.linalg.norm(bone))
        direction = bone / length if length > 0 else np.array([0.0, 1.0, 0.0])
        reach = (skinner.rest[mine == j] - skinner.J[j]) @ direction
        ends[j] = direction * max(float(reach.max(initial=0.0)), 0.01)  # some readers refuse an end of no length
    return ends


def _hierarchy(
    body: BodyModel, betas: Float[np.ndarray, " betas"], skinner: Skinner, scale: float, digits: int
) -> tuple[list[str], list[int]]:
    """The lines that describe the skeleton, and its joints in their order there: each before its children."""
    lines, order = ["HIERARCHY"], []
    ends = _ends(body, betas, skinner)

    def offset(v: np.ndarray) -> str:
        return "OFFSET " + " ".join(f"{scale * x:.{digits}f}" for x in v)

    def add(j: int, depth: int) -> None:
        tab, root = "\t" * depth, depth == 0
        order.append(j)
        lines.append(f"{tab}{'ROOT' if root else 'JOINT'} {body.joint_names[j]}")
        lines.append(f"{tab}{{")
        lines.append(f"{tab}\t{offset(np.zeros(3) if root else skinner.J[j] - skinner.J[body.parents[j]])}")
        position = "Xposition Yposition Zposition " if root else ""
        lines.append(f"{tab}\tCHANNELS {6 if root else 3} {position}Zrotation Xrotation Yrotation")
        for child in body.children[j]:
            add(child, depth + 1)
        if j in ends:
            lines.extend((f"{tab}\tEnd Site", f"{tab}\t{{", f"{tab}\t\t{offset(ends[j])}", f"{tab}\t}}"))
        lines.append(f"{tab}}}")

    add(0, 0)
    return lines, order


def write_bvh(
    path: Path,
    body: BodyModel,
    betas: Float[np.ndarray, " betas"],
    motion: Motion,
    fps: float,
    *,
    unit: Literal["cm", "m"] = "cm",
) -> None:
    """One person's skeleton and motion as a BVH file, whole or not at all.

    The root is at Y (Th + R(Rh) J0) and turned by Y R(Rh), with Y the turn from z up to y up and J0 the root joint of
    the shaped body in its rest pose. A joint's angles go on from frame to frame (:func:`unbroken_cardan`).

    Args:
        path: Where to.
        body: The model: its joints' names, tree and, shaped, the lengths of the bones.
        betas: Its shape.
        motion: In the z-up world [rad, m].
        fps: Frame rate [1/s]: BVH knows a constant one only.
        unit: Of lengths.
    """
    skinner = Skinner(body, betas)
    scale, digits = _SCALE[unit], _DIGITS[unit]
    lines, order = _hierarchy(body, betas, skinner, scale, digits)
    frames = len(motion.Rh)
    R_root = rotations.exp(motion.Rh)
    root = scale * (motion.Th + R_root @ skinner.J[0]) @ Y_UP_OF_WORLD.T
    angles = np.empty((frames, body.n_joints, 3))
    for joint in range(body.n_joints):  # matrices of one at a time
        R = Y_UP_OF_WORLD @ R_root if joint == 0 else rotations.exp(motion.poses[:, joint - 1])
        angles[:, joint] = unbroken_cardan(R[:, None], "ZXY")[:, 0]
    turns = np.degrees(angles)[:, order].reshape(frames, -1)
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write("\n".join(lines) + f"\nMOTION\nFrames: {frames}\nFrame Time: {1 / fps:.8f}\n")
        for s in range(0, frames, _CHUNK):
            text = StringIO()
            rows = np.concatenate([root[s : s + _CHUNK], turns[s : s + _CHUNK]], axis=1)
            np.savetxt(text, rows, fmt=[f"%.{digits}f"] * 3 + ["%.5f"] * turns.shape[1])
            file.write(text.getvalue())
