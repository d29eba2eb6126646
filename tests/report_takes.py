"""Finished takes for the page: a walker seen by a ring of cameras, one of which is called like a script."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import walker

from mocap import quality
from mocap.bodies.kinematics import keypoints_of
from mocap.bodies.load import load_body
from mocap.geometry.cameras import Rig
from mocap.skeletons import BODY25, HANDS
from mocap.take import Keypoints2D, Keypoints3D, Motion, Person, Report, RunContext, Take

HOSTILE = "</script><img src=x onerror='window.harmed = 1'><script>window.harmed = 1</script>"
"""A name that a page which trusts names would run."""


def hostile_ring(views: int = 4) -> Rig:
    """A ring whose first camera is called HOSTILE."""
    first, *others = walker.ring(views)
    return Rig((replace(first, name=HOSTILE), *others))


def finished_take(
    output: Path, *, frames: int = 90, moved: int | None = None, shift: float = 40.0, rig: Rig | None = None
) -> Take:
    """A take at the end of its stages, seen with a noise of 1 px; no files beside it.

    Args:
        output: The run's output folder.
        frames: At 30 a second.
        moved: From this frame on the last camera sees everything `shift` px to the right.
        shift: [px].
        rig: The cameras; None: `hostile_ring`.
    """
    rng = np.random.default_rng(0)
    clock = np.arange(frames) / 30
    xyz = walker.walker(clock)
    rig = hostile_ring() if rig is None else rig
    seen = {}
    for camera in rig:
        xy, _ = camera.project(xyz)
        xy = xy + rng.normal(0, 1.0, xy.shape)
        if moved is not None and camera.name == rig.names[-1]:
            xy[moved:, :, 0] += shift
        seen[camera.name] = Keypoints2D.of(BODY25, clock, xy, np.ones(xy.shape[:2]))
    confidence = np.ones((frames, 25))
    confidence[::10, 3] = 0
    covariance = np.broadcast_to(np.eye(3) * 0.006**2, (frames, 25, 3, 3))
    points = Keypoints3D.of(
        BODY25, xyz + rng.normal(0, 0.004, xyz.shape), confidence, covariance, np.zeros(confidence.shape)
    )
    reports = (
        Report("dataset", "dataset", {"root": "a & b", "machine": "a test's", "versions": {"mocap": "0"}}),
        Report(
            "triangulate",
            "triangulate",
            {"warnings": [f'Camera "{HOSTILE}" was cleaned.'], "cameras": {HOSTILE: {"offered": 10, "dropped": 3}}},
            1.5,
        ),
    )
    take = Take(RunContext(output), clock, np.arange(frames), rig, people=(Person(seen, points),), reports=reports)
    told = Report("quality", "quality", {"people": quality.of_take(take)})
    return take.replace(reports=(*reports, told))


def hand_take(output: Path, *sides: str, frames: int = 40) -> Take:
    """Hands seen by a ring of cameras with a noise of 1 px, and fitted; their points are off by 1 mm in each axis."""
    rng, clock = np.random.default_rng(0), np.arange(frames) / 30
    rig = walker.ring(3)
    people = []
    for side in sides:
        body, skeleton = load_body(f"embedded_{side}_hand"), HANDS[side]
        motion = Motion(np.zeros((frames, 3)), np.zeros((frames, 3)), np.zeros((frames, 15, 3)))
        motion.Th[:, 0] = 0.05 * np.sin(2 * np.pi * clock)
        betas = np.zeros(body.n_betas)
        xyz = keypoints_of(body, skeleton, betas, motion.Rh, motion.Th, motion.poses)
        ones, seen = np.ones(xyz.shape[:2]), {}
        for camera in rig:
            xy = camera.project(xyz)[0] + rng.normal(0, 1, xyz.shape[:2] + (2,))
            seen[camera.name] = Keypoints2D.of(skeleton, clock, xy, ones)
        covariance = np.broadcast_to(1e-6 * np.eye(3), (*xyz.shape, 3))
        points = Keypoints3D.of(skeleton, xyz + rng.normal(0, 1e-3, xyz.shape), ones, covariance, 0 * ones)
        motion = replace(motion, joint_sigma=np.full((frames, 16, 3), 0.002))
        people.append(Person(seen, points, body, betas, motion))
    take = Take(RunContext(output), clock, np.arange(frames), rig, people=tuple(people))
    views = {camera.name: {"missed_with_candidates": 7, "switches": 1} for camera in rig}
    cameras = {camera.name: {"offered": 840, "dropped": 21, "reprojection_px": 1.4} for camera in rig}
    subjects = {f"hand_{i}": {"side": side, "views": views} for i, side in enumerate(sides)}
    told = Report("quality", "quality", {"people": quality.of_take(take)})
    stages = (
        Report("dataset", "dataset", {"root": "hands"}),
        Report("associate", "associate", subjects if len(sides) > 1 else {"subject": subjects["hand_0"]}),
        Report("triangulate", "triangulate", {"people": [{"cameras": cameras}] * len(sides)}),
    )
    return take.replace(reports=(*stages, told))
