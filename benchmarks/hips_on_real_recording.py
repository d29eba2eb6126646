"""Whether mediapipe's hips, corrected, agree better with OpenPose's on a real recording than uncorrected.

    python benchmarks/hips_on_real_recording.py FOLDER/pose2sim_balancing

mediapipe's systematic offsets (`tools/mediapipe_offsets.json`) were learned on drawn bodies; this measures them on a
real one. The recording is Pose2Sim's balancing demo: `videos/`, `calibration/Calib.qca.txt` and OpenPose's BODY_25B
detections in `openpose/balancing/`. Both detectors' points are triangulated, and mediapipe's are fitted through the
body's mediapipe33 regressor. Then the hips, by each way of having them, against OpenPose's:

- raw: mediapipe's, triangulated (the baseline);
- raw less offset: the same, less what separates the fitted body's mediapipe hips from its anatomical ones;
- fitted: the anatomical hips of the fitted body, which is what a user gets;
- fitted, hips as seen: the same with no offset at the hips (all other offsets kept);
- fitted, all as seen: with no offsets at all.

By the joints other than the hips, OpenPose's file k fits mediapipe in the video's frame k + 1 best, in all four views;
hence `--first-frame -1`.

Distances are medians over frames [mm], in the images over frames and views [px] from OpenPose's own 2D points; heights
are means, positive above OpenPose's. What the detectors differ by at the other joints is printed beside them.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
from scipy.sparse import csr_array

from mocap import quality, skeletons
from mocap.bodies.kinematics import keypoints_of
from mocap.bodies.load import embedded_arrays, load_body, unpack_rows
from mocap.bodies.model import BodyModel
from mocap.dataset import Dataset, first_take
from mocap.detect.detectors.base import Detector
from mocap.detect.detectors.mediapipe import Mediapipe
from mocap.detect.detectors.replay import Replay
from mocap.stages.associate import Associate
from mocap.stages.base import Stage
from mocap.stages.detect import Detect
from mocap.stages.fit_shape import FitShape
from mocap.stages.init_rt import InitRT
from mocap.stages.refine_poses import RefinePoses
from mocap.stages.triangulate import Triangulate
from mocap.take import RunContext, Take
from mocap.terms.k3d import K3d
from mocap.terms.limits import Limits
from mocap.terms.smooth import Smooth

HIPS = ("left_hip", "right_hip")
OTHERS = tuple(
    f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "knee", "ankle") for side in ("left", "right")
)
MEDIAPIPE = skeletons.MEDIAPIPE33


def through(take: Take, stages: Sequence[Stage]) -> Take:
    for stage in stages:
        take = stage(take.begun(type(stage).__name__, type(stage).__name__))
    return take


def triangulated(recording: Path, detector: Detector, out: Path) -> Take:
    """The subject's points in 2D and 3D."""
    dataset = Dataset(root=recording, calibration="calibration/Calib.qca.txt")
    take = first_take(dataset, RunContext(out, workers=os.cpu_count() or 1))
    return through(take, (Detect(detector=detector), Associate(), Triangulate()))


def as_seen(body: BodyModel, joints: Sequence[str]) -> BodyModel:
    """The body with some of mediapipe's points taken for the anatomical ones."""
    anatomical = unpack_rows("keypoints.mediapipe33_anatomical", embedded_arrays(), len(body.v_template)).toarray()
    rows = body.regressor("mediapipe33").toarray()
    chosen = MEDIAPIPE.indices(joints)
    rows[chosen] = anatomical[chosen]
    return dataclasses.replace(body, regressors={**body.regressors, "mediapipe33": csr_array(rows)})


def fitted(take: Take, body: BodyModel) -> dict[str, np.ndarray]:
    """The fitted body's hips, anatomical ("body25") and as mediapipe sees them ("mediapipe33"): (frames, 2, 3) [m]."""
    losses = {"k3d": K3d(), "smooth": Smooth(), "limits": Limits()}
    take = through(take.with_people(body=[body]), (FitShape(), InitRT(), RefinePoses(losses=losses)))
    (person,) = take.people
    assert person.shape is not None and person.motion is not None
    m = person.motion
    return {
        name: keypoints_of(body, name, person.shape, m.Rh, m.Th, m.poses)[:, skeletons.get(name).indices(HIPS)]
        for name in ("body25", "mediapipe33")
    }


def points_of(take: Take, joints: Sequence[str]) -> np.ndarray:
    """Triangulated joints (frames, joints, 3) [m]."""
    points = take.people[0].keypoints3d
    assert points is not None
    return points.xyz[:, points.skeleton.indices(joints)]


def pixels_from(openpose: Take, hips: np.ndarray) -> np.ndarray:
    """Distances of projected hips from OpenPose's own points: (views x frames, 2) [px]."""
    assert openpose.rig is not None
    out = []
    for name, seen in openpose.people[0].keypoints2d.items():
        xy, _ = openpose.rig[name].project(quality.at_times(openpose.timestamps, hips, seen.timestamps))
        out.append(np.linalg.norm(xy - seen.xy[:, seen.skeleton.indices(HIPS)], axis=-1))
    return np.concatenate(out)


def compared(openpose: Take, ways: dict[str, np.ndarray]) -> list[str]:
    truth = points_of(openpose, HIPS)
    both = np.flatnonzero(np.isfinite(truth + ways["raw"]).all((1, 2)))
    lines = [
        f"{len(both)} of {len(truth)} frames in which both detectors' hips could be triangulated",
        f"{'':24}{'left':>7}{'right':>7} mm {'left':>8}{'right':>7} px {'left':>9}{'right':>7} mm up {'width':>8} mm",
    ]
    for name, hips in {**ways, "OpenPose, triangulated": truth}.items():
        off = hips[both] - truth[both]
        far = np.median(np.linalg.norm(off, axis=-1), axis=0) * 1e3
        px = np.nanmedian(pixels_from(openpose, hips), axis=0)
        up = off[..., 2].mean(0) * 1e3
        width = np.linalg.norm(hips[both, 0] - hips[both, 1], axis=-1).mean() * 1e3
        lines.append(
            f"{name:24}{far[0]:7.1f}{far[1]:7.1f}    {px[0]:8.1f}{px[1]:7.1f}    {up[0]:9.1f}{up[1]:7.1f} {width:14.0f}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, help="folder of Pose2Sim's balancing demo")
    parser.add_argument(
        "--first-frame", type=int, default=-1, help="number of OpenPose's file for the videos' first frame"
    )
    parser.add_argument("--gender", default="neutral", choices=("neutral", "female", "male"))
    asked = parser.parse_args()
    lacking = [
        name
        for name in ("videos", "calibration/Calib.qca.txt", "openpose/balancing")
        if not (asked.recording / name).exists()
    ]
    if lacking:
        print(f"Skipped: the recording is not at {asked.recording} ({', '.join(lacking)} missing).")
        return
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("mediapipe", "numpy"))
    print(f"{platform.processor() or platform.machine()}; Python {platform.python_version()}, {versions}")
    recording = asked.recording.absolute()
    with tempfile.TemporaryDirectory(prefix="hips-") as scratch:
        stored = Replay(folder=recording / "openpose" / "balancing", first_frame=asked.first_frame)
        openpose = triangulated(recording, stored, Path(scratch))
        mediapipe = triangulated(recording, Mediapipe(), Path(scratch))
    raw, body = points_of(mediapipe, HIPS), load_body("embedded", gender=asked.gender)
    fit = fitted(mediapipe, body)
    ways = {
        "raw": raw,
        "raw less offset": raw - (fit["mediapipe33"] - fit["body25"]),
        "fitted": fit["body25"],
        "fitted, hips as seen": fitted(mediapipe, as_seen(body, HIPS))["body25"],
        "fitted, all as seen": fitted(mediapipe, as_seen(body, MEDIAPIPE.joints))["body25"],
    }
    print("\n".join(compared(openpose, ways)))
    other = points_of(mediapipe, OTHERS) - points_of(openpose, OTHERS)
    far, up = np.nanmedian(np.linalg.norm(other, axis=-1)) * 1e3, np.nanmean(other[..., 2]) * 1e3
    print(f"the other joints, raw: {far:.1f} mm apart, {up:.1f} mm up")


if __name__ == "__main__":
    main()
