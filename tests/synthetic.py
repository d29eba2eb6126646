"""Bodies, motions and rigs made by construction, for tests of the mathematics."""

from __future__ import annotations

import dataclasses

import numpy as np
from rigs import look_at
from scipy.sparse import csr_array

from mocap import skeletons
from mocap.bodies import kinematics
from mocap.bodies.load import JOINT_NAMES
from mocap.bodies.model import SMPL_JOINTS, BodyModel
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera, Rig
from mocap.take import Keypoints2D, Keypoints3D
from mocap.terms.base import Data

SMPL_PARENTS = np.array([-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21])


def _fingers(wrist: int, first: int) -> list[int]:
    """Parents of a hand's 15 joints, five fingers of three, the first of which is number `first`."""
    return [wrist if k % 3 == 0 else first + k - 1 for k in range(15)]


MANO_PARENTS = np.array([-1, *_fingers(0, 1)])
SMPLH_PARENTS = np.array([*SMPL_PARENTS[:22], *_fingers(20, 22), *_fingers(21, 37)])
SMPLX_PARENTS = np.array([*SMPL_PARENTS[:22], 15, 15, 15, *_fingers(20, 25), *_fingers(21, 40)])


def toy_body(
    seed: int = 0, *, parents: np.ndarray = SMPL_PARENTS, n_vertices: int = 200, n_betas: int = 4
) -> BodyModel:
    """A body of random numbers in SMPL's format: nothing in it is symmetric, small or zero by accident."""
    rng = np.random.default_rng(seed)
    n_joints = len(parents)
    weights = np.zeros((n_vertices, n_joints))
    for v in range(n_vertices):
        weights[v, rng.choice(n_joints, 3, replace=False)] = rng.dirichlet([1, 1, 1])
    regressor = np.zeros((n_joints, n_vertices))
    for j in range(n_joints):
        regressor[j, rng.choice(n_vertices, 5, replace=False)] = rng.dirichlet(np.ones(5))
    keypoints = np.zeros((25, n_vertices))
    for k in range(25):
        r = rng.normal(size=4)
        keypoints[k, rng.choice(n_vertices, 4, replace=False)] = r / r.sum() if abs(r.sum()) > 0.3 else 0.25
    return BodyModel(
        name="toy",
        gender="neutral",
        content_hash="0" * 16,
        v_template=0.4 * rng.normal(size=(n_vertices, 3)),
        shapedirs=rng.normal(size=(n_vertices, 3, n_betas)) * 0.05,
        posedirs=rng.normal(size=(n_vertices, 3, 9 * (n_joints - 1))) * 0.02 * (rng.random((n_vertices, 1, 1)) < 0.5),
        weights=weights,
        J_regressor=csr_array(regressor),
        parents=parents,
        faces=rng.integers(0, n_vertices, (50, 3)),
        joint_names=(*SMPL_JOINTS, *(f"left_index{i}" for i in range(n_joints)))[:n_joints],
        regressors={"body25": csr_array(keypoints)},
    )


def _regressors(body: BodyModel, *names: str) -> BodyModel:
    rng = np.random.default_rng(5)
    found = dict(body.regressors)
    for name in names:
        rows = np.zeros((len(skeletons.get(name)), len(body.v_template)))
        for row in rows:
            row[rng.choice(len(row), 3, replace=False)] = rng.dirichlet(np.ones(3))
        found[name] = csr_array(rows)
    return dataclasses.replace(body, regressors=found)


def toy_hand(seed: int = 0, side: str = "right") -> BodyModel:
    """16 joints, MANO's, and the 21 points of that hand."""
    body = toy_body(seed, parents=MANO_PARENTS)
    names = tuple(f"{side}_{name.removeprefix('right_')}" for name in JOINT_NAMES[16])
    body = dataclasses.replace(body, name=f"toy_{side}_hand", joint_names=names, regressors={})
    return _regressors(body, f"{side}_hand21")


def toy_smplh(seed: int = 0) -> BodyModel:
    """52 joints, SMPL-H's."""
    body = dataclasses.replace(toy_body(seed, parents=SMPLH_PARENTS), joint_names=JOINT_NAMES[52])
    return _regressors(body, "left_hand21", "right_hand21", "mediapipe75")


def toy_smplx(seed: int = 0, expressions: int = 10) -> BodyModel:
    """55 joints, SMPL-X's, with facial expressions."""
    body = toy_body(seed, parents=SMPLX_PARENTS)
    dirs = np.random.default_rng(seed).normal(size=(len(body.v_template), 3, expressions))
    body = dataclasses.replace(body, joint_names=JOINT_NAMES[55], expressiondirs=dirs)
    return _regressors(body, "left_hand21", "right_hand21", "mediapipe75")


def random_motion(seed: int, frames: int, n_joints: int = 24, *, spread: float = 0.5) -> tuple[np.ndarray, ...]:
    """Smooth Rh (frames, 3), Th (frames, 3), poses (frames, joints - 1, 3): each a sum of slow sinusoids."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None] / 30
    phase, speed = rng.uniform(0, 2 * np.pi, 3 * n_joints + 3), rng.uniform(0.5, 4, 3 * n_joints + 3)
    wave = spread * np.sin(t * speed + phase)
    return wave[:, :3] + [0.3, 0.2, -0.4], wave[:, 3:6], wave[:, 6:].reshape(frames, n_joints - 1, 3)


def stepped(R: np.ndarray, Th: np.ndarray, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R and Th after a local step `delta` (frames, 3 + 3 joints)."""
    steps = delta.reshape(len(delta), -1, 3)
    return R @ rotations.exp(steps[:, 1:]), Th + steps[:, 0]


def ring_rig(n: int = 4, *, radius: float = 4.0, height: float = 1.5, seed: int = 0) -> Rig:
    """Cameras on a ring around the origin, looking at a person's middle, with some distortion."""
    rng = np.random.default_rng(seed)
    cameras = []
    for i, angle in enumerate(np.linspace(0, 2 * np.pi, n, endpoint=False)):
        eye = np.array([radius * np.cos(angle), radius * np.sin(angle), height + 0.3 * rng.normal()])
        K = np.array([[1000.0, 0, 640], [0, 1000, 360], [0, 0, 1]])
        cameras.append(
            Camera(f"{i:02d}", K, rng.normal(size=5) * [0.05, 0.01, 1e-3, 1e-3, 0.01], look_at(eye), (1280, 720))
        )
    return Rig(tuple(cameras))


def data_of(body: BodyModel, betas: np.ndarray, motion: tuple[np.ndarray, ...], *, shift: float = 0.0) -> Data:
    """Perfect 3D and 2D keypoints, of the body's last set, of a motion at 30 fps; cameras see `shift` of a frame after
    the take's clock."""
    Rh, Th, poses = motion
    frames = len(Rh)
    clock = np.arange(frames) / 30
    skeleton = skeletons.get(list(body.regressors)[-1])
    xyz = kinematics.keypoints_of(body, skeleton, betas, Rh, Th, poses)
    ones = np.ones(xyz.shape[:2])
    points = Keypoints3D.of(skeleton, xyz, ones, np.broadcast_to(1e-4 * np.eye(3), (*xyz.shape, 3)), 0 * ones)
    rig = ring_rig()
    later = np.minimum(np.arange(frames) + 1, frames - 1)
    between = (1 - shift) * xyz + shift * xyz[later]
    seen = {c.name: Keypoints2D.of(skeleton, clock + shift / 30, c.project(between)[0], ones) for c in rig.cameras}
    return Data(body, clock, points, seen, rig)
