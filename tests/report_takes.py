"""Finished takes for the page: a walker seen by a ring of cameras, one of which is called like a script."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import walker

from mocap import quality
from mocap.geometry.cameras import Rig
from mocap.skeletons import BODY25
from mocap.take import Keypoints2D, Keypoints3D, Person, Report, RunContext, Take

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
