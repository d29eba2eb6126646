"""How near single pictures bring us to the truth, what each loss does for that, and how many are fitted a second.

    python benchmarks/smplify.py --cmu PATH/cmu_30fps.npz

200 people of random shapes in poses of CMU clips whose subjects the pose prior has not seen, each before a camera of its
own: from anywhere round the person, 10 degrees below to 30 above its horizon, focal lengths 0.8 to 3 times the picture's
longer side, and so far away that the person would stand 300 px tall. What is seen are the 14 joints of LSP with noise of
0, 2, 5 and 10 px per coordinate; the focal length and the gender are given. Printed for all losses, and without each:

- `PA`: mean distance of the 24 joints after alignment by a similarity (the paper's protocol) [mm];
- `shape`: mean distance of the vertices of the fitted and the true shape, at rest, their centroids together [mm];
- `inside`: how deep vertices of the posed body lie in parts of it that they do not belong to, the deepest of each picture,
  mean over pictures [mm]; that of the truth is printed first.
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
from cmu import clip_motion

from mocap.bodies import kinematics
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.fit.smplify import PicturesFit, fit_pictures, in_unit_camera
from mocap.geometry import rotations
from mocap.skeletons import LSP14
from mocap.terms.base import Term
from mocap.terms.capsules import Capsules
from mocap.terms.hinges import Hinges
from mocap.terms.k2d import K2d
from mocap.terms.prior import Prior

CLIPS = ("03_01", "05_02", "05_07", "05_12", "09_12", "11_01")
"""Of subjects that the included prior has not seen."""
TALL = 300.0
NOISE = (0.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Truth:
    """People before cameras; everything in the cameras' axes."""

    body: BodyModel
    betas: np.ndarray
    R: np.ndarray
    Th: np.ndarray
    focal: np.ndarray
    """[px]"""
    joints: np.ndarray
    plane: np.ndarray
    """Where LSP's joints are seen, (X / Z, Y / Z)."""


def poses_of(cmu: Path, body: BodyModel, n: int, rng: np.random.Generator) -> np.ndarray:
    """Local rotations vectors (n, 23, 3) of frames spread over the clips."""
    found = [clip_motion(cmu, clip, body, np.zeros(body.n_betas))[0].poses[1:] for clip in CLIPS]
    picked = [p[np.sort(rng.choice(len(p), -(-n // len(CLIPS)), replace=False))] for p in found]
    return np.concatenate(picked)[rng.permutation(sum(map(len, picked)))[:n]]


def truth_of(body: BodyModel, poses: np.ndarray, seed: int) -> Truth:
    """The poses on random shapes before random cameras."""
    rng = np.random.default_rng(seed)
    n = len(poses)
    betas = rng.normal(size=(n, body.n_betas))
    around, above = rng.uniform(-np.pi, np.pi, n), np.radians(rng.uniform(-10, 30, n))
    # a person upright before a camera that looks along z with y down, turned round, then seen from above
    root = (
        rotations.exp(above[:, None] * np.array([1.0, 0, 0]))
        @ np.diag([1.0, -1.0, -1.0])
        @ rotations.exp(around[:, None] * np.array([0, 1.0, 0]))
    )
    R = rotations.exp(np.concatenate([np.zeros((n, 1, 3)), poses], axis=1))
    R[:, 0] = root
    focal = 640 * rng.uniform(0.8, 3.0, n)
    depth = 1.7 * focal / TALL
    rig = kinematics.fold(body, LSP14)
    at_origin = kinematics.pose(rig, betas, R, np.zeros((n, 3)))
    off = rng.uniform(-60, 60, (n, 2)) / focal[:, None] * depth[:, None]
    Th = np.concatenate([off, depth[:, None]], axis=1) - at_origin.joints[:, 0]
    posed = kinematics.pose(rig, betas, R, Th)
    return Truth(body, betas, R, Th, focal, posed.joints, posed.keypoints[..., :2] / posed.keypoints[..., 2:])


def losses() -> dict[str, Term]:
    """Those of the stage, by default."""
    from mocap.stages.smplify import Smplify

    return dict(Smplify().losses)


def fitted(truth: Truth, noise: float, terms: Mapping[str, Term], seed: int = 0, **options: object) -> PicturesFit:
    """The fit of all pictures from noisy joints; the noise is the same whatever the losses."""
    rng = np.random.default_rng(seed)
    plane = truth.plane + noise * rng.normal(size=truth.plane.shape) / truth.focal[:, None, None]
    seen = in_unit_camera(LSP14, plane, np.ones(plane.shape[:2]))
    return fit_pictures(truth.body, seen, terms, **options)  # type: ignore[arg-type]


def aligned(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a` (n, points, 3) brought onto `b` by similarities (Umeyama, 1991)."""
    ma, mb = a.mean(1, keepdims=True), b.mean(1, keepdims=True)
    U, D, Vt = np.linalg.svd(np.swapaxes(b - mb, 1, 2) @ (a - ma))
    flip = np.ones_like(D)
    flip[:, 2] = np.sign(np.linalg.det(U @ Vt))
    scale = (D * flip).sum(1) / ((a - ma) ** 2).sum((1, 2))
    return scale[:, None, None] * (a - ma) @ np.swapaxes((U * flip[:, None]) @ Vt, 1, 2) + mb


def errors(truth: Truth, fit: PicturesFit) -> tuple[np.ndarray, np.ndarray]:
    """Of each picture, in mm: joints after alignment, and shape."""
    s = fit.state
    joints = kinematics.pose(kinematics.fold(truth.body, "smpl24"), s.betas, s.R, s.Th).joints
    pa = 1e3 * np.linalg.norm(aligned(joints, truth.joints) - truth.joints, axis=-1).mean(1)
    off = np.tensordot(s.betas - truth.betas, truth.body.shapedirs.astype(float), (-1, -1))
    off -= off.mean(1, keepdims=True)
    return pa, 1e3 * np.linalg.norm(off, axis=-1).mean(1)


if __name__ == "__main__":
    body = load_body("embedded")
    rng = np.random.default_rng(0)
    t = truth_of(body, poses_of(Path(sys.argv[1]), body, 200, rng), 1)
    terms = {"k2d": K2d(), "prior": Prior(weight=1.0), "hinges": Hinges()}
    fitted(t, 0.0, terms, max_iterations=2)
    for noise in NOISE:
        for move in (True, False):
            began = time.perf_counter()
            fit = fitted(t, noise, terms, move=move)
            took = time.perf_counter() - began
            pa, shape = errors(t, fit)
            print(noise, move, f"PA {pa.mean():.1f} median {np.median(pa):.1f} shape {shape.mean():.1f}  {took:.1f} s", "converged", fit.converged.mean(), "turned", fit.turned.sum(), fit.tried_both.sum(), {k: v.iterations for k, v in fit.passes.items()}, "zero-shape", 1e3*np.linalg.norm((lambda o: o-o.mean(1,keepdims=True))(np.tensordot(t.betas, body.shapedirs.astype(float), (-1,-1))),axis=-1).mean().round(4))
