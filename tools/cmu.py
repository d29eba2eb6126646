"""Clips of the CMU Graphics Lab Motion Capture Database, packed (.npz) or as BVH, turned to the skeleton of SMPL.

"The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF
EIA-0196217." The BVH conversion of the clips and its skeleton are B. Hahne's ("daz-friendly"): y up, z to the front, x
to the subject's left, centimetres, and a T-pose as the rest pose and as frame 0 of every clip.

Both skeletons rest in a T-pose along the same axes, so a bone of SMPL turns in the world as the bone of CMU's does that
lies in the same place: global rotations carry over as they are, and local ones follow from SMPL's own tree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from mocap.bodies.kinematics import Skinner
from mocap.bodies.model import BodyModel
from mocap.geometry import rotations
from mocap.take import Motion

ACKNOWLEDGEMENT = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF "
    "EIA-0196217."
)
FLOOR_WORLD = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""The clips' axes (y up, z forward) to the world's (z up)."""
UNIT = 0.01
"""Of the clips [m]."""

_BONES = {
    "pelvis": "hip", "spine3": "chest", "neck": "neck", "head": "head", "left_hip": "lThigh", "left_knee": "lShin",
    "left_ankle": "lFoot", "left_collar": "lCollar", "left_shoulder": "lShldr", "left_elbow": "lForeArm",
    "left_wrist": "lHand", "right_hip": "rThigh", "right_knee": "rShin", "right_ankle": "rFoot",
    "right_collar": "rCollar", "right_shoulder": "rShldr", "right_elbow": "rForeArm", "right_wrist": "rHand",
}  # fmt: skip
"""For each joint of SMPL the CMU bone that turns with it. spine1 and spine2 share the trunk (:func:`body_rotations`);
toes and fingers were not recorded, so feet and hands keep their parent's rotation."""


@dataclass(frozen=True)
class Clip:
    """One recording."""

    name: str
    """Subject and number, such as 05_02."""
    fps: float
    bones: tuple[str, ...]
    parents: Int[np.ndarray, " bones"]
    offsets: Float[np.ndarray, "bones 3"]
    """From the parent, at rest [m]."""
    local: Float[np.ndarray, "frames bones 3 3"]
    root: Float[np.ndarray, "frames 3"]
    """Place of the first bone [m]."""

    @property
    def subject(self) -> str:
        """Who was recorded."""
        return self.name.partition("_")[0]

    def __getitem__(self, frames: slice) -> Clip:
        """The same clip, some of its frames."""
        fps = self.fps / (frames.step or 1)
        return Clip(self.name, fps, self.bones, self.parents, self.offsets, self.local[frames], self.root[frames])

    def bone(self, name: str) -> int:
        """Place of a bone."""
        if name not in self.bones:
            raise SystemExit(f'Clip {self.name} has no bone "{name}"; it has {", ".join(self.bones)}.')
        return self.bones.index(name)

    def world(self) -> tuple[Float[np.ndarray, "frames bones 3 3"], Float[np.ndarray, "frames bones 3"]]:
        """Rotations and places [m] of the bones, y up."""
        G, place = self.local.copy(), np.repeat(self.root[:, None], len(self.bones), axis=1)
        for j, parent in enumerate(self.parents):
            if parent >= 0:
                G[:, j] = G[:, parent] @ self.local[:, j]
                place[:, j] = place[:, parent] + G[:, parent] @ self.offsets[j]
        return G, place


# -------------------------------------------------------------------------------------------------------------- reading


def matrices(quaternions: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Quaternions (x, y, z, w) of any length as rotation matrices."""
    q = quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
    sine = np.linalg.norm(q[..., :3], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine[..., 0], q[..., 3])
    return rotations.exp(q[..., :3] / np.maximum(sine, 1e-12) * angle[..., None])


def read_packed(path: Path, *, clips: Collection[str] | None = None) -> Iterator[Clip]:
    """The clips of a packed file, all or those named, each without its first frame, which is a T-pose."""
    with np.load(path) as data:
        names = [Path(str(n)).stem for n in data["clip_names"]]
        unknown = sorted(set(clips or ()) - set(names))
        if unknown:
            raise SystemExit(f"{path} has no clip {', '.join(unknown)}; it has {', '.join(names)}.")
        quaternions, root, start = data["quat_xyzw"], data["root_pos"], data["clip_start"]
        bones = tuple(str(n) for n in data["joint_names"])
        parents, offsets, fps = data["parents"], data["offsets"] * UNIT, float(data["fps"])
    for name, first, last in zip(names, start[:-1] + 1, start[1:], strict=True):
        if clips is None or name in clips:
            local = matrices(quaternions[first:last].astype(float))
            yield Clip(name, fps, bones, parents, offsets, local, root[first:last].astype(float) * UNIT)


def read_bvh(path: Path) -> Clip:
    """A BVH file, without its first frame, which is a T-pose in CMU's."""
    head, separator, tail = path.read_text(encoding="utf-8", errors="replace").partition("MOTION")
    words = head.split()
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[list[str]] = []
    open_bones: list[int] = []  # -1: an end site, which is no bone
    try:
        at = 0
        while at < len(words):
            word = words[at]
            if word in ("ROOT", "JOINT", "End"):
                if word != "End":
                    names.append(words[at + 1])
                    parents.append(open_bones[-1] if open_bones else -1)
                    offsets.append([0.0] * 3)
                    channels.append([])
                open_bones.append(-1 if word == "End" else len(names) - 1)
                at += 2
            elif word == "OFFSET" and open_bones[-1] >= 0:
                offsets[open_bones[-1]] = [float(x) for x in words[at + 1 : at + 4]]
                at += 4
            elif word == "CHANNELS":
                count = int(words[at + 1])
                channels[open_bones[-1]] = words[at + 2 : at + 2 + count]
                at += 2 + count
            else:
                if word == "}":
                    open_bones.pop()
                at += 1
        lines = tail.strip().splitlines()
        frames, seconds = int(lines[0].split()[-1]), float(lines[1].split()[-1])
        values = np.array(" ".join(lines[2:]).split(), dtype=float).reshape(frames, sum(map(len, channels)))
    except (ValueError, IndexError) as error:
        raise SystemExit(f"{path} is not a readable BVH file ({error}).") from error
    if not separator or not names or seconds <= 0 or frames < 2:
        raise SystemExit(f"{path} is not a BVH file with a skeleton and at least two frames.")
    local = np.broadcast_to(np.eye(3), (frames, len(names), 3, 3)).copy()
    root = np.zeros((frames, 3))
    column = 0
    for j, own in enumerate(channels):
        here = values[:, column : column + len(own)]
        column += len(own)
        turns = [k for k, name in enumerate(own) if name.endswith("rotation")]
        if turns:
            axes = "".join(own[k][0] for k in turns)  # upper case: each about the axes as turned by those before
            local[:, j] = Rotation.from_euler(axes, here[:, turns], degrees=True).as_matrix()
        if j == 0:
            for k, name in enumerate(own):
                if name.endswith("position"):
                    root[:, "XYZ".index(name[0])] = here[:, k]
    whole = Clip(path.stem, 1 / seconds, tuple(names), np.array(parents), np.array(offsets) * UNIT, local, root * UNIT)
    return whole[1:]


# ------------------------------------------------------------------------------------------------------------ to SMPL


def body_rotations(
    clip: Clip,
    joint_names: Sequence[str],
    parents: Int[np.ndarray, " joints"],
    *,
    low: Float[np.ndarray, " frames"] | float = 0.5,
    high: Float[np.ndarray, " frames"] | float = 0.0,
) -> Float[np.ndarray, "frames joints 3 3"]:
    """Global rotations of SMPL's joints, in the clip's axes.

    The trunk bends at two of CMU's bones and at three of SMPL's joints, and nothing tells how the bend is shared: a
    part `low` of the abdomen's bend is at spine1 and the rest at spine2, a part `high` of the chest's is at spine2 and
    the rest at spine3.
    """
    world, _ = clip.world()

    def part(bone: str, share: np.ndarray | float) -> np.ndarray:
        return rotations.exp(np.multiply(share, rotations.log(clip.local[:, clip.bone(bone)]).T).T)

    turned = {
        "spine1": world[:, clip.bone("hip")] @ part("abdomen", low),
        "spine2": world[:, clip.bone("abdomen")] @ part("chest", high),
        **{joint: world[:, clip.bone(bone)] for joint, bone in _BONES.items()},
    }
    G = np.empty((len(clip.root), len(parents), 3, 3))
    for j, name in enumerate(joint_names):
        G[:, j] = turned[name] if name in turned else G[:, parents[j]]
    return G


def body_poses(
    G: Float[np.ndarray, "frames joints 3 3"], parents: Int[np.ndarray, " joints"]
) -> Float[np.ndarray, "frames body_joints 3"]:
    """Rotation vectors [rad], |angle| <= pi, of the joints after the root, from global rotations."""
    return rotations.log(np.swapaxes(G[:, parents[1:]], -1, -2) @ G[:, 1:])


def clip_motion(path: Path, clip: str, body: BodyModel, betas: np.ndarray) -> tuple[Motion, float]:
    """A packed clip on this body, feet on z = 0, centred; and its frame rate."""
    (read,) = read_packed(path, clips={clip})
    G = body_rotations(read, body.joint_names, body.parents)
    poses, R = body_poses(G, body.parents), FLOOR_WORLD @ G[:, 0]
    _, place = read.world()
    J = body.J_regressor @ body.rest(betas).astype(float)
    ours = _leg(J, [body.joint_names.index(n) for n in ("left_hip", "left_knee", "left_ankle")])
    theirs = _leg(place[0], [read.bone(b) for b in ("lThigh", "lShin", "lFoot")])
    hips = place[:, [read.bone("lThigh"), read.bone("rThigh")]].mean(1) @ FLOOR_WORLD.T * (ours / theirs)
    Th = hips - R @ J[[body.joint_names.index("left_hip"), body.joint_names.index("right_hip")]].mean(0)
    Th[:, :2] -= 0.5 * (Th[:, :2].min(0) + Th[:, :2].max(0))
    return grounded(Motion(rotations.log(R), Th, poses), body, betas, read.fps), read.fps


def _leg(p: np.ndarray, joints: list[int]) -> float:
    """Length of thigh and shin [m]."""
    return float(np.linalg.norm(np.diff(p[joints], axis=0), axis=-1).sum())


def cut(motion: Motion, first: int, last: int) -> Motion:
    """Frames `first` to `last`, moved so that the middle of the way is at x = y = 0."""
    Th = motion.Th[first:last].copy()
    Th[:, :2] -= 0.5 * (Th[:, :2].min(0) + Th[:, :2].max(0))
    return Motion(motion.Rh[first:last], Th, motion.poses[first:last])


def grounded(motion: Motion, body: BodyModel, betas: np.ndarray, fps: float) -> Motion:
    """The motion lifted or lowered, smoothly over time, so that the lower sole is on the floor.

    The clips' bones are not this body's: without it soles hover and sink by up to 5 cm. What is higher than 15 cm
    above the floor is a jump and stays one.
    """
    skinner = Skinner(body, betas)
    soles = np.array([v[:, 2].min() for v in skinner.chunks(motion.Rh, motion.Th, motion.poses)])
    standing = np.percentile(soles, 25)
    drop = gaussian_filter1d(np.where(soles - standing < 0.15, soles, standing), 0.08 * fps, mode="nearest")
    return Motion(motion.Rh, motion.Th - drop[:, None] * [0, 0, 1.0], motion.poses)
