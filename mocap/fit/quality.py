"""How good a fit is, in numbers a user can judge."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from mocap.bodies import kinematics
from mocap.take import Motion
from mocap.terms.base import Data


def fit_quality(data: Data, motion: Motion, betas: Float[np.ndarray, " betas"]) -> dict[str, Any]:
    """Distance from the triangulated points, reprojection by camera, and jitter of the joints.

    Returns:
        `distance` median and root mean square from triangulated points [m]; `reprojection` by camera, median of the
        points seen there [px], and over all; `jitter`, root mean square of the joints' third differences [m/s^3].
    """
    assert data.keypoints3d is not None
    rig = kinematics.fold(data.body, data.keypoints3d.skeleton)
    keypoints = np.empty_like(data.keypoints3d.xyz)
    joints = np.empty((len(keypoints), data.body.n_joints, 3))
    for s in range(0, len(keypoints), 512):
        part = slice(s, s + 512)
        R = kinematics.local_rotations(motion.Rh[part], motion.poses[part])
        posed = kinematics.pose(rig, betas, R, motion.Th[part])
        keypoints[part], joints[part] = posed.keypoints, posed.joints
    away = np.linalg.norm(keypoints - data.keypoints3d.xyz, axis=-1)
    facts: dict[str, Any] = {
        "distance": {"median": float(np.nanmedian(away)), "rms": float(np.sqrt(np.nanmean(away**2)))},
        "jitter": jitter(joints, data.timestamps),
    }
    if data.keypoints2d is not None and data.rig is not None:
        errors = {}
        for name, seen in data.keypoints2d.items():
            at = np.stack(
                [
                    np.stack([np.interp(seen.timestamps, data.timestamps, keypoints[:, k, i]) for i in range(3)], -1)
                    for k in range(keypoints.shape[1])
                ],
                axis=1,
            )
            inside = (seen.timestamps >= data.timestamps[0]) & (seen.timestamps <= data.timestamps[-1])
            xy, _ = data.rig[name].project(at[inside])
            errors[name] = np.linalg.norm(xy - seen.xy[inside], axis=-1).ravel()
        whole = np.concatenate(list(errors.values()))
        facts["reprojection"] = {
            "median": _median(whole),
            "by_camera": {name: _median(e) for name, e in errors.items()},
        }
    return facts


def jitter(xyz: Float[np.ndarray, "frames joints 3"], timestamps: Float[np.ndarray, " frames"]) -> float | None:
    """Root mean square jerk [m/s^3] over frames and joints; None when the take is shorter than four frames."""
    if len(xyz) < 4:
        return None
    dt = float(np.median(np.diff(timestamps)))
    return float(np.sqrt(np.mean((np.diff(xyz, n=3, axis=0) / dt**3) ** 2) * 3))


def _median(x: np.ndarray) -> float | None:
    return float(np.nanmedian(x)) if np.isfinite(x).any() else None
