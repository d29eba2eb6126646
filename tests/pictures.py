"""The example pictures as a take whose people have the truth's bodies, by construction."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mocap import skeletons
from mocap.bodies.load import load_body
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera, Rig
from mocap.io.results import from_smpl_root, rest_root
from mocap.take import Keypoints2D, Motion, Person, RunContext, Take, View

LEVEL = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
"""World to camera of one that is level and at the world's origin, looking along y."""


def truth_of(example: Path) -> dict[str, np.ndarray]:
    with np.load(example / "truth.npz") as file:
        return {name: file[name] for name in file.files}


def pictures_take(example: Path, output: Path, *, few: int = 12, names: tuple[str, ...] | None = None) -> Take:
    """`names` renames the views."""
    truth = truth_of(example)
    joints = np.load(example / "est_joints.npz")["est_joints"]
    cameras, footage, people = [], {}, []
    for i in range(few):
        name = str(truth["names"][i]) if names is None else names[i]
        image = example / "images" / f"{truth['names'][i]}.jpg"
        pixels = cv2.imread(str(image))
        assert pixels is not None
        view = View(name, image, np.zeros(1), pixels.shape[1::-1], (image,))
        f, (x, y) = float(truth["f"][i]), truth["center"][i]
        camera = Camera(name, np.array([[f, 0, x], [0, f, y], [0, 0, 1]]), np.zeros(5), LEVEL, view.size)
        body = load_body("embedded", gender=str(truth["gender"][i]))
        betas, pose = truth["betas"][i], truth["pose"][i]
        # the camera's axes are those of the world turned by a quarter
        orient, Th = from_smpl_root(pose[None, :3], truth["cam_t"][i][None], rest_root(body, betas))
        Rh = rotations.log(LEVEL[:3, :3].T @ rotations.exp(orient))
        motion = Motion(Rh, Th @ LEVEL[:3, :3], pose[None, 3:].reshape(1, -1, 3))
        x, y, confidence = joints[:3, :, i]
        seen = Keypoints2D.of(skeletons.LSP14, np.zeros(1), np.stack([x, y], axis=-1)[None], confidence[None])
        people.append(Person({name: seen}, body=body, shape=betas, motion=motion))
        cameras.append(camera)
        footage[name] = view
    return Take(
        RunContext(output), np.zeros(1), np.zeros(1, int), rig=Rig(tuple(cameras)), footage=footage,
        people=tuple(people), apart=True,
    )  # fmt: skip
