"""What the included pose prior does to fits of people it has not seen, against `limits` alone and neither.

    python benchmarks/prior_on_held_out.py --cmu PATH/cmu_30fps.npz

Clips of the subjects its training held out, on random shapes of the included body, at 30 frames a second: body25 points
with 10 mm of noise per axis and 5 % missing. Four conditions:

- seen: nothing else is missing;
- hand: the left elbow and wrist are not seen for 30 frames, the right ones for 30 later ones;
- leg: the knee, ankle, heel and toes likewise;
- depth: 40 mm of noise along one axis, as two cameras side by side leave it, with its covariance.

Printed in millimetres, means over the dancer's clips and over the others': the error of the 24 joints over all frames
(`24`), of hips, knees, ankles, shoulders, elbows and wrists (`limbs`), of the two hidden joints of a side while hidden
(`hidden`); and for `seen` how far the limbs are from where the fit with `limits` alone has them (`moved`) and by how
much their error grew (`grew`).

CMU recorded neither collar bones nor toes nor ends of hands: those joints of the truth rest relative to their parents.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
import scipy

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
from cmu import clip_motion, cut

from mocap.bodies import kinematics
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.fit.motion import fit_motion
from mocap.fit.root import fit_root
from mocap.fit.shape import fit_shape
from mocap.geometry import rotations
from mocap.skeletons import BODY25
from mocap.take import Keypoints3D, Motion
from mocap.terms.base import Data, Term
from mocap.terms.k3d import K3d
from mocap.terms.limits import Limits
from mocap.terms.prior import Prior
from mocap.terms.smooth import Smooth

CLIPS = {
    "03_01": (0, 108), "05_02": (95, 245), "05_07": (60, 210), "05_12": (60, 210), "09_12": (100, 250),
    "11_01": (0, 150),
}  # fmt: skip
CONDITIONS = ("seen", "hand", "leg", "depth")
HIDDEN = {
    "hand": ("elbow", "wrist"),
    "leg": ("knee", "ankle", "heel", "big_toe", "small_toe"),
}
REFERENCE = "limits"
LIMBS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
GAP = 30
NOISE, DEPTH = 0.01, 0.04


@dataclass(frozen=True)
class Truth:
    """A person of some shape, moving."""

    motion: Motion
    points: np.ndarray
    joints: np.ndarray


def truth_of(cmu: Path, clip: str, body: BodyModel, seed: int) -> Truth:
    """The clip on a random shape."""
    betas = np.random.default_rng(seed).normal(size=body.n_betas)
    motion = cut(clip_motion(cmu, clip, body, betas)[0], *CLIPS[clip])
    parts = (betas, motion.Rh, motion.Th, motion.poses)
    return Truth(motion, kinematics.keypoints_of(body, "body25", *parts), kinematics.joints_of(body, *parts))


def gaps_of(frames: int) -> dict[str, slice]:
    """When each side is hidden."""
    starts = {"left": frames // 3 - GAP // 2, "right": 2 * frames // 3 - GAP // 2}
    return {side: slice(start, start + GAP) for side, start in starts.items()}


def measured(truth: Truth, condition: str, seed: int) -> Keypoints3D:
    """Noisy points of a condition; the same noise in each."""
    rng = np.random.default_rng(seed)
    shape = truth.points.shape
    seen = rng.random(shape[:2]) >= 0.05
    sigma = np.array([NOISE, DEPTH if condition == "depth" else NOISE, NOISE])
    noisy = truth.points + sigma * rng.normal(size=shape)
    if condition in HIDDEN:
        for side, gap in gaps_of(len(seen)).items():
            seen[gap, BODY25.indices([f"{side}_{part}" for part in HIDDEN[condition]])] = False
    covariance = np.full((*shape, 3), np.nan)
    if condition == "depth":
        covariance[:] = np.diag(sigma**2)
    return Keypoints3D.of(BODY25, noisy, seen.astype(float), covariance, np.full(shape[:2], np.nan))


def fitted(body: BodyModel, points: Keypoints3D, extra: Mapping[str, Term]) -> np.ndarray:
    """Joints (frames, 24, 3) of the whole fit: shape, root, poses."""
    clock = np.arange(len(points.xyz)) / 30
    shape = fit_shape(body, points)
    root = fit_root(body, shape.betas, points, clock)
    start = Motion(rotations.log(root.R), root.Th, np.zeros((len(clock), body.n_joints - 1, 3)))
    terms = {"k3d": K3d(), "smooth": Smooth(), **extra}
    fit = fit_motion(Data(body, clock, points), terms, betas=shape.betas, motion=start)
    return kinematics.joints_of(body, fit.betas, fit.motion.Rh, fit.motion.Th, fit.motion.poses)


def variants(weights: list[float]) -> dict[str, dict[str, Term]]:
    out: dict[str, dict[str, Term]] = {REFERENCE: {"limits": Limits()}, "neither": {}}
    for w in weights:
        out[f"prior {w:g}"] = {"prior": Prior(weight=w)}
        out[f"prior {w:g}, limits"] = {"prior": Prior(weight=w), "limits": Limits()}
    return out


def figures(
    joints: Mapping[str, np.ndarray], reference: np.ndarray, truth: Truth, names: tuple[str, ...]
) -> list[float]:
    """A row of the table for one clip, from the fitted joints of each condition [mm]."""
    limbs = [i for i, n in enumerate(names) if n.partition("_")[2] in LIMBS]
    error = {c: 1e3 * np.linalg.norm(j - truth.joints, axis=-1) for c, j in joints.items()}
    moved = 1e3 * np.linalg.norm(joints["seen"] - reference, axis=-1)[:, limbs].mean()
    before = 1e3 * np.linalg.norm(reference - truth.joints, axis=-1)[:, limbs].mean()
    seen = error["seen"][:, limbs].mean()
    row = [error["seen"].mean(), seen, moved, seen - before]
    for condition, parts in HIDDEN.items():
        hidden = [
            error[condition][gap, names.index(f"{side}_{part}")]
            for side, gap in gaps_of(len(truth.joints)).items()
            for part in parts[:2]
        ]
        row += [error[condition].mean(), np.mean(hidden)]
    return [*row, error["depth"].mean(), error["depth"][:, limbs].mean()]


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cmu", type=Path, required=True)
    parser.add_argument("--clips", nargs="+", default=list(CLIPS), choices=list(CLIPS))
    parser.add_argument("--weights", type=float, nargs="+", default=[0.02, 0.05, 0.1])
    o = parser.parse_args()
    body = load_body("embedded")
    truths = {clip: truth_of(o.cmu, clip, body, seed) for seed, clip in enumerate(o.clips)}
    print(
        f"{platform.machine()}; Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}; "
        f"{', '.join(o.clips)}: {sum(len(t.points) for t in truths.values())} frames"
    )
    print(f"{'':28}| {'seen: 24':>8}{'limbs':>7}{'moved':>7}{'grew':>7} | {'hand: 24':>8}{'hidden':>8} | {'leg: 24':>8}"
          f"{'hidden':>8} | {'depth: 24':>9}{'limbs':>7} | CPU s")  # fmt: skip
    reference: dict[str, np.ndarray] = {}
    for label, extra in variants(o.weights).items():
        start = time.process_time()
        groups: dict[str, list[list[float]]] = {"others": [], "dancer": []}
        for seed, (clip, truth) in enumerate(truths.items()):
            joints = {c: fitted(body, measured(truth, c, 100 + seed), extra) for c in CONDITIONS}
            reference.setdefault(clip, joints["seen"])
            row = figures(joints, reference[clip], truth, body.joint_names)
            groups["dancer" if clip.startswith("05") else "others"].append(row)
        seconds = time.process_time() - start
        for group, rows in groups.items():
            if rows:
                m = np.mean(rows, axis=0)
                print(
                    f"{label:20} {group:7}| {m[0]:8.2f}{m[1]:7.2f}{m[2]:7.2f}{m[3]:+7.2f} | {m[4]:8.2f}{m[5]:8.1f} | "
                    f"{m[6]:8.2f}{m[7]:8.1f} | {m[8]:9.2f}{m[9]:7.2f} | {seconds:.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
