"""Renders a take of two hands with its truth: somebody who gestures in front of four cameras.

    python tools/make_hands.py --detections

makes the take in data/examples/hands: `videos/<view>.mp4`, `intri.yml`, `extri.yml`, `truth.npz` and `truth_1.npz`
(left and right hand), `README.md`. The room, the lens and the sensor are those of `make_example.py`; the person is the
included body with hands, so that the hands have arms, and a truth that the model fitted to them knows nothing of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from gestures import finger_poses
from make_example import film, write_detections

from mocap.bodies.kinematics import Skinner, joints_of, keypoints_of
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.bodies.ranges import finger_of
from mocap.detect.detectors.mediapipe_hands import MediapipeHands
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera, Rig
from mocap.io.calibration import write_calibration
from mocap.io.results import Result, write_result_npz
from mocap.io.video_out import VideoWriter
from mocap.render.mesh import Surface
from mocap.skeletons import HANDS
from mocap.take import Motion

FPS = 30.0
# Where the cameras stand, seen from the hands: to the side and upwards [degrees], how far [m].
STANDS = ((-54.0, 10.0, 0.95), (-18.0, 42.0, 0.9), (24.0, -4.0, 0.95), (60.0, 24.0, 1.0))


def arm_poses(body: BodyModel, seconds: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rotation vectors [rad] of arms, wrists and trunk: upper arms hang, forearms point forward, and all of it moves.

    In the T-pose the left arm lies along x with its palm down, so lowering it by 70 degrees turns the palm inward.
    """

    def sway(degrees: float, slow: float = 0.35, fast: float = 0.8) -> np.ndarray:
        waves = [rng.uniform(0.4, 0.7) * np.sin(2 * np.pi * f * seconds + rng.uniform(0, 7)) for f in (slow, fast)]
        return np.radians(degrees) * np.sum(waves, axis=0)

    def about(axis: int, angle: np.ndarray) -> np.ndarray:
        return rotations.exp(angle[:, None] * np.eye(3)[axis])

    out: dict[str, np.ndarray] = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        down = about(2, sign * (np.radians(-66) + sway(7)))
        forward = about(1, sign * (np.radians(-12) + sway(8)))
        out[f"{side}_shoulder"] = down @ forward @ about(0, np.radians(14) + sway(8))
        bend, roll = about(1, sign * (np.radians(-100) + sway(14))), about(0, sway(38, 0.25, 0.6))
        out[f"{side}_elbow"] = bend @ roll
        out[f"{side}_wrist"] = about(2, sign * sway(28, 0.4, 0.9)) @ about(1, sign * sway(12))
    out["spine3"] = about(1, sway(5, 0.2, 0.4))
    return {name: rotations.log(R) for name, R in out.items() if name in body.joint_names}


def motion_of(body: BodyModel, frames: int, rng: np.random.Generator) -> Motion:
    """The person's motion: it stands on the floor, faces -y, and only its arms and hands move."""
    seconds = np.arange(frames) / FPS
    poses = np.zeros((frames, body.n_joints - 1, 3))
    for name, vectors in (arm_poses(body, seconds, rng) | finger_poses(body, seconds, rng)).items():
        poses[:, body.joint_names.index(name) - 1] = vectors
    lowest = body.rest(np.zeros(body.n_betas))[:, 1].min()
    Rh = np.tile([np.pi / 2, 0.0, 0.0], (frames, 1))
    return Motion(Rh, np.tile([0.0, 0.0, -lowest], (frames, 1)), poses)


def make_rig(middle: np.ndarray, rng: np.random.Generator, size: tuple[int, int]) -> Rig:
    """Cameras that look at the hands, from the side the person faces."""
    cameras = []
    for k, (azimuth, height, away) in enumerate(STANDS):
        a, h = np.radians([azimuth - 90 + rng.uniform(-3, 3), height + rng.uniform(-2, 2)])
        eye = middle + away * np.array([np.cos(a) * np.cos(h), np.sin(a) * np.cos(h), np.sin(h)])
        forward = middle + rng.uniform(-0.02, 0.02, 3) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        tilt = rotations.exp(np.array([0, 0, np.radians(rng.uniform(-1.5, 1.5))]))
        R = tilt @ np.stack([right, np.cross(forward, right), forward])
        focal = size[0] * rng.uniform(1.12, 1.18)
        centre = (np.array(size) - 1) / 2 + rng.uniform(-0.01, 0.01, 2) * size[0]
        K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
        distortion = np.array([rng.uniform(-0.12, -0.06), rng.uniform(0.02, 0.04), *rng.uniform(-5e-4, 5e-4, 2), 0.0])
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, -R @ eye
        cameras.append(Camera(f"{k + 1:02d}", K, distortion, T, size))
    return Rig(tuple(cameras), has_floor=True)


def write_truth(path: Path, body: BodyModel, betas: np.ndarray, motion: Motion, side: str) -> None:
    """One hand's joints and points, of the whole body's; a fit of another model has no other truth to be held to."""
    frames = np.arange(len(motion.Rh))
    skeleton = HANDS[side]
    moved = (betas, motion.Rh, motion.Th, motion.poses)
    places = [i for i, n in enumerate(body.joint_names) if n == f"{side}_wrist" or (finger_of(n) or "")[:1] == (side,)]
    points = keypoints_of(body, skeleton, *moved)
    write_result_npz(
        path,
        Result(
            frames,
            frames / FPS,
            FPS,
            skeleton.name,
            skeleton.joints,
            keypoints3d=points,
            keypoints3d_confidence=np.ones(points.shape[:2]),
            keypoints3d_covariance=np.zeros((*points.shape, 3), np.float32),
            keypoints3d_fit=points,
            joints=joints_of(body, *moved)[:, places],
            joint_names=tuple(body.joint_names[i] for i in places),
        ),
    )


README = """# An example take of two hands with its truth

Rendered by `tools/make_hands.py --frames {frames} --seed {seed}{options}`.

- `videos/<view>.mp4`: {views} views, {size[0]}x{size[1]} at {fps:g} frames a second, {frames} frames
  (all views triggered together)
- `intri.yml`, `extri.yml`: the cameras in OpenCV's terms, lens distortion included; metres, z up, the floor at z = 0
- `truth.npz`, `truth_1.npz`: the left and the right hand as they were rendered, in the layout of `result.npz`: `joints`
  (16, named as MANO's with their side) and `keypoints3d` (21) [m], `fps frames timestamps`{detections}

Everything seen is synthetic: the person is the project's own body model with hands ({hash}), the room is drawn by the
program, the motion is made by `tools/gestures.py`.

The rendered videos are dedicated to the public domain (CC0-1.0).
"""
DETECTIONS = """
- `detections/<view>.npz`: what mediapipe's hand landmarker saw in the videos, to be replayed"""


def main() -> None:
    """Reads the options and writes the take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/examples/hands"))
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0, help="of the motion and the cameras")
    parser.add_argument("--betas-seed", type=int, default=None, help="a random body instead of the example's")
    parser.add_argument("--gender", default="neutral", choices=("neutral", "female", "male"))
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--crf", type=float, default=23)
    parser.add_argument("--fast", action="store_true", help="a coarser room and quicker encoding")
    parser.add_argument("--detections", action="store_true", help="also store what the hand detector sees")
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    body = load_body("embedded_hands", gender=asked.gender)
    betas = np.zeros(body.n_betas)
    betas[:6] = (-0.5, 0.7, -0.6, 0.5, -0.4, 0.8)
    if asked.betas_seed is not None:
        betas = np.random.default_rng(asked.betas_seed).normal(0, 1, body.n_betas).clip(-2, 2)
    motion = motion_of(body, asked.frames, rng)
    joints = joints_of(body, betas, motion.Rh, motion.Th, motion.poses)
    hands = [body.joint_names.index(f"{side}_middle1") for side in HANDS]
    rig = make_rig(joints[:, hands].mean((0, 1)), rng, tuple(asked.size))
    asked.out.mkdir(parents=True, exist_ok=True)
    write_calibration(rig, asked.out)
    for k, side in enumerate(HANDS):
        write_truth(asked.out / (f"truth_{k}.npz" if k else "truth.npz"), body, betas, motion, side)
    assert body.colours is not None
    surface, skinner = Surface(body.faces, body.colours), Skinner(body, betas)
    for i, camera in enumerate(rig):
        path = asked.out / "videos" / f"{camera.name}.mp4"
        vertices = skinner.chunks(motion.Rh, motion.Th, motion.poses)
        preset = "veryfast" if asked.fast else "veryslow"
        with VideoWriter(path, camera.size, FPS, crf=asked.crf, preset=preset) as video:
            for frame in film(camera, surface, vertices, seed=200 + i, finer=1 if asked.fast else 2):
                video.write(frame)
        print(f"{path}: {video.frames} frames", flush=True)
    if asked.detections:
        write_detections(asked.out, MediapipeHands())
    readme = README.format(
        frames=asked.frames,
        seed=asked.seed,
        options=" --detections" if asked.detections else "",
        views=len(rig),
        size=asked.size,
        fps=FPS,
        hash=f"`{body.name}`, {body.gender}, hash {body.content_hash}",
        detections=DETECTIONS if asked.detections else "",
    )
    (asked.out / "README.md").write_text(readme, encoding="utf-8")


if __name__ == "__main__":
    main()
