"""A body as 20 capsules, and these as rows of spheres: where its parts are, cheap enough for every step of a solver.

Each capsule is rigid with one joint; its axis and radius are linear in the betas (Bogo et al., "Keep it SMPL", ECCV
2016, section 3.2). `tools/fit_capsules.py` makes them for any body in SMPL's format; those of the included body ship.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap.bodies import kinematics
from mocap.bodies.model import SMPL_JOINTS, BodyModel
from mocap.bodies.ranges import joint_ranges
from mocap.errors import BadFile, MissingFile, ModelError
from mocap.skeletons import Skeleton

INCLUDED = Path(__file__).parent / "data" / "capsules.npz"
CAPSULES = tuple(n for n in SMPL_JOINTS if n not in ("left_foot", "right_foot", "left_hand", "right_hand"))
"""The joints that have one: all of SMPL's but toes and fingers. An ankle's is the foot, a wrist's the palm."""
TRUNK = ("pelvis", "spine1", "spine2", "spine3", "neck", "head", "left_collar", "right_collar")
"""Parts that may overlap one another."""
SPACING = 0.75
"""Of the spheres along an axis, in radii, at most. Two of radius r see each other as a Gaussian of sigma 0.47 r; in
rows like this these add up evenly, to a part in a thousand, and leave no gaps to slip through."""
_THINNEST = 0.3
"""Of the mean radius, however the shape: a line through many bodies passes zero far away from them."""


@dataclass(frozen=True, eq=False)
class Capsules:
    """The capsules of one body, linear in its betas."""

    names: tuple[str, ...]
    """Of the joint each is rigid with."""
    joints: Int[np.ndarray, " capsules"]
    """That joint's place in the body."""
    mean: Float[np.ndarray, "capsules 7"]
    """Both ends of the axis from the joint in the rest pose, and the radius [m]."""
    by_shape: Float[np.ndarray, "capsules 7 betas"]

    def shaped(
        self, betas: Float[np.ndarray, "*people betas"]
    ) -> tuple[Float[np.ndarray, "*people capsules 2 3"], Float[np.ndarray, "*people capsules"]]:
        """Ends of the axes from their joints and radii [m]; fewer betas than there are count as the first ones."""
        values = self.mean + np.einsum("cvb,...b->...cv", self.by_shape[..., : betas.shape[-1]], betas)
        ends = values[..., :6].reshape(*values.shape[:-1], 2, 3)
        return ends, np.maximum(values[..., 6], _THINNEST * self.mean[:, 6])


@dataclass(frozen=True, eq=False)
class Spheres:
    """Capsules as rows of spheres, and which of these may not overlap."""

    capsules: Capsules
    capsule: Int[np.ndarray, " spheres"]
    """Which capsule each belongs to, ascending."""
    along: Float[np.ndarray, " spheres"]
    """Where on its axis: 0 to 1."""
    pairs: Int[np.ndarray, "pairs 2"]
    """The incompatible ones, the first of each pair before the second."""

    @property
    def joints(self) -> Int[np.ndarray, " spheres"]:
        """The joint each is rigid with."""
        return self.capsules.joints[self.capsule]

    def shaped(
        self, betas: Float[np.ndarray, "*people betas"]
    ) -> tuple[Float[np.ndarray, "*people spheres 3"], Float[np.ndarray, "*people spheres"]]:
        """Centres from their joints in the rest pose, and radii [m]."""
        ends, radii = self.capsules.shaped(betas)
        first, last = ends[..., self.capsule, 0, :], ends[..., self.capsule, 1, :]
        return first + self.along[:, None] * (last - first), radii[..., self.capsule]


# --------------------------------------------------------------------------------------------------------------- files


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of capsules: `names` (capsules), `hashes` (bodies), `mean` (bodies, capsules, 7) and
    `by_shape` (bodies, capsules, 7, betas). BadFile says what is wrong with it."""
    if not path.is_file():
        raise MissingFile(path, what="Capsules", remedy=f"Make them with {_COMMAND}.")
    try:
        with path.open("rb") as opened, zipfile.ZipFile(opened), np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise BadFile(path, f"is not a readable npz of capsules ({error}).") from error
    missing = [k for k in ("names", "hashes", "mean", "by_shape") if k not in arrays]
    if missing:
        raise BadFile(path, f"has no {', '.join(missing)}; {_COMMAND} makes a whole one.")
    names, hashes, mean, by_shape = (arrays[k] for k in ("names", "hashes", "mean", "by_shape"))
    shape = (hashes.size, names.size, 7)
    if mean.shape != shape or by_shape.shape[:-1] != shape or {mean.dtype.kind, by_shape.dtype.kind} != {"f"}:
        raise BadFile(path, f"mean {mean.shape} and by_shape {by_shape.shape} must be numbers {shape} and (*, betas).")
    if not (np.isfinite(mean).all() and np.isfinite(by_shape).all()) or (mean[..., 6] <= 0).any():
        raise BadFile(path, "its numbers must be finite and its radii positive.")
    return arrays


_COMMAND = '"python tools/fit_capsules.py --model FILE --out capsules.npz"'


def check_file(path: Path) -> None:
    """Raises MissingFile or BadFile for a file of capsules that cannot be used."""
    _read(path)


def load_capsules(body: BodyModel, file: Path | None = None) -> Capsules:
    """The capsules of a body.

    Args:
        body: They are found by the hash of its content.
        file: From `tools/fit_capsules.py`; None: the included one.

    Raises:
        MissingFile, BadFile: The file is not there or damaged.
        ModelError: It has none of this body; the sentence says how they are made.
    """
    arrays = _read(INCLUDED if file is None else file)
    hashes = [str(h) for h in arrays["hashes"].ravel()]
    if body.content_hash not in hashes:
        if file is None:
            raise ModelError(
                f'Body "{body.name}" ({body.content_hash}) has no capsules: make them with {_COMMAND} and name the '
                'file with the option "capsules.file".'
            )
        raise ModelError(
            f'{file}: these capsules are of body {", ".join(hashes)}, not of "{body.name}" ({body.content_hash}): make '
            f"its own with {_COMMAND}."
        )
    row = hashes.index(body.content_hash)
    names = tuple(str(n) for n in arrays["names"].ravel())
    unknown = [n for n in names if n not in body.joint_names]
    if unknown or arrays["by_shape"].shape[-1] != body.n_betas:
        why = f"it has no joint {', '.join(unknown)}" if unknown else f"it has {body.n_betas} betas"
        raise ModelError(f'{file or INCLUDED}: these capsules do not fit body "{body.name}": {why}.')
    joints = np.array([body.joint_names.index(n) for n in names])
    return Capsules(names, joints, arrays["mean"][row].astype(float), arrays["by_shape"][row].astype(float))


# ------------------------------------------------------------------------------------------------------------- spheres


def spheres_of(body: BodyModel, capsules: Capsules) -> Spheres:
    """Rows of spheres at most `SPACING` radii apart at the mean shape, and which pairs of them are incompatible.

    Parts are incompatible unless they are the same, parent and child, or both of the `TRUNK`. Of incompatible parts
    those spheres may overlap after all that do so in ordinary poses, since they are neighbours: that touch one another
    (are closer than the sum of their radii) in the rest pose, the usual one or with arms hanging down, at the mean
    shape or at any with one beta at +-1.
    """
    ends, radii = capsules.shaped(np.zeros(body.n_betas))
    count = 1 + np.ceil(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1) / (SPACING * radii)).astype(int)
    capsule = np.repeat(np.arange(len(count)), count)
    along = np.concatenate([np.linspace(0, 1, n) if n > 1 else np.array([0.5]) for n in count])
    first, second = np.triu_indices(len(capsule), 1)
    spheres = Spheres(capsules, capsule, along, np.stack([first, second], axis=1))
    parts = incompatible_parts(body, capsules)[capsule[first], capsule[second]]
    apart = parts & ~_touching(body, spheres, first, second)
    return Spheres(capsules, capsule, along, spheres.pairs[apart])


def incompatible_parts(body: BodyModel, capsules: Capsules) -> Bool[np.ndarray, "capsules capsules"]:
    """Which parts must not overlap: all but a part and itself, its parent or its child, and the trunk's."""
    parent = body.parents[capsules.joints]
    related = (parent[:, None] == capsules.joints) | (capsules.joints[:, None] == parent)
    trunk = np.isin(capsules.names, TRUNK)
    return ~(related | (trunk[:, None] & trunk) | np.eye(len(parent), dtype=bool))


_HANGING = {"left_shoulder": -75, "right_shoulder": 75}
"""Turns about z that let the arms hang down [degrees]."""


def _ordinary_poses(body: BodyModel) -> Float[np.ndarray, "frames joints 3"]:
    """The rest pose, the usual one, and the usual one with arms hanging down."""
    names = body.joint_names[1:]
    usual = joint_ranges(names).usual
    hanging = usual.copy()
    for name, degrees in _HANGING.items():
        if name in names:
            hanging[names.index(name)] = [0, 0, np.radians(degrees)]
    return np.stack([np.zeros_like(usual), usual, hanging])


def _touching(body: BodyModel, spheres: Spheres, first: np.ndarray, second: np.ndarray) -> Bool[np.ndarray, " pairs"]:
    """Which pairs touch in some ordinary pose of some ordinary shape."""
    poses = _ordinary_poses(body)
    nowhere = np.zeros((len(poses), 3))
    shapes = np.concatenate([np.zeros((1, body.n_betas)), np.eye(body.n_betas), -np.eye(body.n_betas)])
    touch = np.zeros(len(first), dtype=bool)
    for betas in shapes:
        centres, radii = posed_spheres(body, spheres, betas, nowhere, nowhere, poses)
        far = np.linalg.norm(centres[:, first] - centres[:, second], axis=-1)
        touch |= (far < radii[first] + radii[second]).any(0)
    return touch


def posed_spheres(
    body: BodyModel,
    spheres: Spheres,
    betas: Float[np.ndarray, " betas"],
    Rh: Float[np.ndarray, "frames 3"],
    Th: Float[np.ndarray, "frames 3"],
    poses: Float[np.ndarray, "frames joints 3"],
) -> tuple[Float[np.ndarray, "frames spheres 3"], Float[np.ndarray, " spheres"]]:
    """Centres in the world and radii [m]."""
    rig = kinematics.fold(body, Skeleton(body.name, body.joint_names, ()))
    posed = kinematics.pose(rig, betas, kinematics.local_rotations(Rh, poses), Th)
    local, radii = spheres.shaped(betas)
    turned = (posed.G[:, spheres.joints] @ local[..., None])[..., 0]
    return posed.joints[:, spheres.joints] + turned, radii
