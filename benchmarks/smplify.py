"""How near single pictures bring us to the truth, what each loss does for that, and how many are fitted a second.

    python benchmarks/smplify.py --cmu PATH/cmu_30fps.npz

200 people of random shapes in poses of CMU clips whose subjects the pose prior has not seen, each before a camera of
its own: from anywhere round the person, 10 degrees below to 30 above its horizon, focal lengths 0.8 to 3 times the
picture's 640 px, and so far away that a person of 1.7 m would stand 300 px tall. What is seen are the 14 joints of LSP
with noise of 0, 2, 5 and 10 px per coordinate; the focal length is given. Printed for all losses, and without each:

- `PA`: mean distance of the 24 joints after alignment by a similarity (the paper's protocol) [mm];
- `shape`: mean distance of the vertices of the fitted and the true shape, at rest, their centroids together [mm].

With `--inside` also how deep bodies go through themselves: vertices of one part inside another that is no neighbour,
the deepest of each picture [mm], at 5 px of noise.
"""

from __future__ import annotations

import argparse
import dataclasses
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
from mocap.bodies.penetration import penetration
from mocap.evaluate import aligned
from mocap.fit.smplify import STAGES, PicturesFit, fit_pictures, in_unit_camera
from mocap.geometry import rotations
from mocap.skeletons import LSP14
from mocap.solve.parallel import cores
from mocap.solve.problem import State
from mocap.stages.smplify import Smplify
from mocap.terms.base import Term
from mocap.terms.hinges import Hinges

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
    """Those of the stage, of pictures."""
    return {label: term for label, term in Smplify().losses.items() if label != "smooth"}


def variants() -> dict[str, tuple[dict[str, Term], dict[str, object]]]:
    """Losses and options by what is told of them."""
    every = losses()
    free = [dataclasses.replace(stage, shape=1e-3) for stage in STAGES]
    out: dict[str, tuple[dict[str, Term], dict[str, object]]] = {"all losses": (every, {})}
    out |= {f"without {name}": ({k: t for k, t in every.items() if k != name}, {}) for name in every if name != "k2d"}
    out["hinges of the paper's weight"] = (every | {"hinges": Hinges(weight=20.1)}, {})
    out["without shape prior"] = (every, {"stages": free})
    out["no limbs mirrored"] = (every, {"mirror": False})
    out["one way to face only"] = (every, {"side_on": 0.0})
    out["place held, no limbs mirrored"] = (every, {"move": False, "mirror": False})
    return out


def fitted(truth: Truth, noise: float, terms: Mapping[str, Term], seed: int = 0, **options: object) -> PicturesFit:
    """The fit of all pictures from noisy joints; the noise is the same whatever the losses."""
    rng = np.random.default_rng(seed)
    plane = truth.plane + noise * rng.normal(size=truth.plane.shape) / truth.focal[:, None, None]
    seen = in_unit_camera(LSP14, plane, np.ones(plane.shape[:2]))
    return fit_pictures(truth.body, seen, terms, **options)  # type: ignore[arg-type]


def errors(truth: Truth, fit: PicturesFit) -> tuple[np.ndarray, np.ndarray]:
    """Of each picture, in mm: joints after alignment, and shape."""
    s = fit.state
    joints = kinematics.pose(kinematics.fold(truth.body, "smpl24"), s.betas, s.R, s.Th).joints
    pa = 1e3 * np.linalg.norm(aligned(joints, truth.joints) - truth.joints, axis=-1).mean(1)
    off = np.tensordot(s.betas - truth.betas, truth.body.shapedirs.astype(float), (-1, -1))
    off -= off.mean(1, keepdims=True)
    return pa, 1e3 * np.linalg.norm(off, axis=-1).mean(1)


def depths(truth: Truth, state: State, which: np.ndarray) -> np.ndarray:
    """How deep some of the bodies go through themselves [mm]."""
    vectors = rotations.log(state.R)
    return 1e3 * np.array(
        [
            penetration(
                truth.body, state.betas[i], vectors[i : i + 1, 0], state.Th[i : i + 1], vectors[i : i + 1, 1:]
            ).depth.max()
            for i in which
        ]
    )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cmu", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--inside", action="store_true", help="also measure how parts go through one another")
    o = parser.parse_args()
    body = load_body("embedded")
    truth = truth_of(body, poses_of(o.cmu, body, o.pictures, np.random.default_rng(0)), 1)
    print(
        f"{platform.machine()}, {cores()} cores; Python {platform.python_version()}, numpy {np.__version__}, scipy "
        f"{scipy.__version__}; {o.pictures} pictures of {', '.join(CLIPS)}"
    )
    off = np.tensordot(truth.betas, body.shapedirs.astype(float), (-1, -1))
    off -= off.mean(1, keepdims=True)
    print(f"the mean shape is off by {1e3 * np.linalg.norm(off, axis=-1).mean():.1f} mm")
    print(f"{'PA / shape [mm] at noise of':30}" + "".join(f"{noise:8.0f} px   " for noise in NOISE))
    for label, (terms, options) in variants().items():
        row = []
        for noise in NOISE:
            pa, shape = errors(truth, fitted(truth, noise, terms, **options))
            row.append(f"{pa.mean():6.1f} /{shape.mean():5.1f}")
        print(f"{label:30}" + " ".join(row), flush=True)
    began = time.perf_counter()
    fit = fitted(truth, 5.0, losses())
    took = time.perf_counter() - began
    print(
        f"{o.pictures / took:.1f} pictures a second, all stages and losses ({len(fit.cost) + fit.tried_both.sum()} "
        f"starts, {fit.converged.mean():.0%} converged)"
    )
    if o.inside:
        inside(truth)


def inside(truth: Truth) -> None:
    """Prints how deep bodies go through themselves, and what the capsules change where they do."""
    every = losses()
    bare = {k: t for k, t in every.items() if k != "capsules"}
    with_, without = (fitted(truth, 5.0, terms) for terms in (every, bare))
    everybody = np.arange(len(truth.betas))
    true = depths(truth, State(truth.Th, truth.R, truth.betas), everybody)
    found = [depths(truth, fit.state, everybody) for fit in (without, with_)]
    pa = [errors(truth, fit)[0] for fit in (without, with_)]
    print(f"truth: {true.mean():.1f} mm deep, {(true > 10).sum()} pictures deeper than 10 mm")
    touching = found[0] > 10
    for label, rows in (("all", everybody >= 0), ("deeper than 10 mm without", touching)):
        for name, deep, error in zip(("without capsules", "with"), found, pa, strict=True):
            print(
                f"{label:28}{name:18}{rows.sum():4d} pictures: {deep[rows].mean():6.1f} mm deep, "
                f"{(deep[rows] > 10).sum():3d} deeper than 10 mm; PA {error[rows].mean():.1f} mm"
            )


if __name__ == "__main__":
    main()
