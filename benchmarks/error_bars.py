"""How often the error of a joint is within its error bar: 68 % where the bars are right.

    python benchmarks/error_bars.py

Takes of `synthetic_takes.py`, 300 frames each, in which an arm, a leg and the other arm are hidden for a while in turn
(elbow and wrist; knee, ankle and foot). Printed by kind of motion and by how long they are hidden: the share of errors
per axis within one sigma, of joints with a keypoint of their own while it is seen, of joints without one (spine,
collars, feet, head ...; hands apart), of hands, and of elbows, wrists, knees and ankles while hidden.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
from synthetic_takes import FPS, KINDS, synthetic_take

from mocap.bodies import kinematics
from mocap.fit.motion import fit_motion
from mocap.fit.root import fit_root
from mocap.fit.shape import fit_shape
from mocap.fit.uncertainty import joint_sigma
from mocap.geometry import rotations
from mocap.skeletons import BODY25
from mocap.take import Keypoints3D, Motion
from mocap.terms.base import Data, Term
from mocap.terms.k3d import K3d
from mocap.terms.limits import Limits
from mocap.terms.prior import Prior
from mocap.terms.rest import Rest
from mocap.terms.smooth import Smooth

FRAMES = 300
ARM, LEG = ("elbow", "wrist"), ("knee", "ankle", "heel", "big_toe", "small_toe")
HIDDEN = ((60, "left", ARM), (130, "right", LEG), (200, "right", ARM))
"""From which frame, of which side, which keypoints."""
OWN = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")


def losses(kind: str) -> dict[str, Term]:
    """Those of config/fitSMPL3d.yml; what judges poses is left out where elbows and knees bend both ways."""
    made: dict[str, Term] = {"k3d": K3d(), "smooth": Smooth(), "rest": Rest()}
    return made if kind == "free" else {**made, "limits": Limits(), "prior": Prior()}


def within(kind: str, seed: int, gap: int) -> dict[str, np.ndarray]:
    """Of each group of joints, whether each error is within one sigma."""
    take = synthetic_take(kind, FRAMES, seed=seed)
    names = take.body.joint_names
    confidence = take.points.confidence.copy()
    hidden = np.zeros((FRAMES, len(names)), dtype=bool)
    for start, side, parts in HIDDEN:
        points = [f"{side}_{part}" for part in parts]
        confidence[start : start + gap, BODY25.indices(points)] = 0
        hidden[start : start + gap, [names.index(p) for p in points if p in names]] = True
    p = take.points
    points = Keypoints3D.of(BODY25, p.xyz, confidence, p.covariance, p.reprojection_error)
    shape = fit_shape(take.body, points)
    root = fit_root(take.body, shape.betas, points, take.clock)
    start = Motion(rotations.log(root.R), root.Th, np.zeros((FRAMES, take.body.n_joints - 1, 3)))
    data = dataclasses.replace(take.data, keypoints3d=points)
    assert isinstance(data, Data)
    fit = fit_motion(data, losses(kind), betas=shape.betas, motion=start)
    m, t = fit.motion, take.motion
    joints = kinematics.joints_of(take.body, fit.betas, m.Rh, m.Th, m.poses)
    truth = kinematics.joints_of(take.body, take.betas, t.Rh, t.Th, t.poses)
    ok = np.abs(joints - truth) < joint_sigma(fit.problem, fit.state)
    own = np.array([name.partition("_")[2] in OWN for name in names])
    hand = np.array([name.endswith("_hand") for name in names])
    return {
        "own keypoint": ok[own & ~hidden],
        "no keypoint": ok[~hidden & ~own & ~hand],
        "hands": ok[:, hand],
        "hidden": ok[hidden],
        "all": ok,
    }


def main() -> None:
    """Prints one row a kind of motion and a length of the gap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--gaps", type=int, nargs="+", default=[10, 30])
    options = parser.parse_args()
    for kind in KINDS:
        for gap in options.gaps:
            made = [within(kind, seed, gap) for seed in range(options.seeds)]
            shares = {name: np.concatenate([m[name].ravel() for m in made]).mean() for name in made[0]}
            told = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
            print(f"{kind}, hidden for {gap} frames ({gap / FPS:.2f} s), {options.seeds} takes: {told}", flush=True)


if __name__ == "__main__":
    main()
