"""Makes sparse keypoint regressors: points fixed in one joint's frame, and detectors' systematic offsets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse import csr_array

from mocap import skeletons
from mocap.bodies.model import MANO_JOINTS
from mocap.errors import DataError

POSE_SPREAD = 0.3  # about the standard deviation of an entry of R - I in motion


def farthest_points(points: Float[np.ndarray, "n 3"], k: int) -> Int[np.ndarray, " k"]:
    """`k` of the points, each as far as can be from those before it, from the first on."""
    picked = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(picked) < min(k, len(points)):
        picked.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[picked[-1]], axis=1))
    return np.array(picked)


def rigid_rows(
    people: Float[np.ndarray, "people vertices 3"],
    targets: Float[np.ndarray, "people targets 3"],
    weights: Float[np.ndarray, "vertices joints"],
    posedirs: Float[np.ndarray, "vertices 3 features"],
    *joints: int,
    total: float,
    vertices: int = 96,
    ridge: float = 0.01,
) -> csr_array:
    """Sparse signed rows that give points fixed in a joint's frame, for people of every shape in every pose.

    Posing moves the point sum_v w_v x_v by sum_k (R_k M_k + t_k m_k), with M_k = sum_v w_v W_vk x_v and
    m_k = sum_v w_v W_vk over the joints k, and by the blend shapes sum_v w_v P_v. The rows are ridge solutions in which
    M and m of every other joint, and the blend shapes, vanish: the point moves with its joint. A point where two bones
    meet is fixed in both, M_k = m_k x for either, and so keeps both bones' lengths constant.

    Args:
        people: Shapes in the rest pose [m].
        targets: The points, for each shape [m].
        weights: Skin weights.
        posedirs: Pose blend shapes [m].
        joints: The joint in whose frame the points are fixed, or the two that turn about the one point.
        total: What each row sums to: 1 for points, 0 for differences of points.
        vertices: How many vertices are used.
        ridge: Against large weights of both signs [m].

    Returns:
        (targets, vertices)
    """
    mean = people.mean(0)
    own = weights[:, joints].sum(1)
    # of a finger there may be fewer vertices than asked for; those of others tell nothing of where it turns
    candidates = np.flatnonzero(own >= max(min(0.9, np.sort(own)[-2 * vertices]), 0.5 * own.max()))
    middle = targets.mean((0, 1)) if total else mean[candidates].mean(0)
    candidates = candidates[np.argsort(np.linalg.norm(mean[candidates] - middle, axis=1))]
    index = candidates[farthest_points(mean[candidates], vertices)]
    n, count = len(index), np.sqrt(len(people))
    others = [k for k in range(weights.shape[1]) if k not in joints and weights[index, k].any()]
    own_points = people[:, index].transpose(0, 2, 1).reshape(-1, n)
    led = [weights[index, k] * np.concatenate([own_points, np.full((1, n), count)]) for k in others]
    if len(joints) > 1:
        from_hinge = own_points - targets[:, 0].reshape(-1, 1)
        led += [weights[index, k] * from_hinge for k in joints]
    rows = [
        own_points,
        np.full((1, n), 100.0),
        *led,
        POSE_SPREAD * count * posedirs[index].reshape(n, -1).T,
        ridge * np.eye(n),
    ]
    a = np.concatenate(rows)
    b = np.zeros((len(a), targets.shape[1]))
    b[: 3 * len(people)] = targets.transpose(0, 2, 1).reshape(-1, targets.shape[1])
    b[3 * len(people)] = 100.0 * total
    solution = np.linalg.solve(a.T @ a, a.T @ b)
    solution += (total - solution.sum(0)) / n
    out = np.zeros((targets.shape[1], people.shape[1]))
    out[:, index] = solution.T
    return csr_array(out)


def hand_rows(
    people: Float[np.ndarray, "people vertices 3"],
    points: Float[np.ndarray, "people 16 3"],
    weights: Float[np.ndarray, "vertices joints"],
    posedirs: Float[np.ndarray, "vertices 3 features"],
    joint_names: tuple[str, ...],
    side: str,
    tips: Mapping[str, Float[np.ndarray, " vertices"]],
    *,
    vertices: int,
) -> csr_array:
    """A hand's 21 points over the posed mesh, each joint fixed where it turns, so that bones keep their lengths.

    Args:
        people: Shapes in the rest pose [m], of a hand or of a body with hands.
        points: The wrist as detectors see it, and the joints after it in MANO's order [m].
        weights: Skin weights.
        posedirs: Pose blend shapes [m].
        joint_names: The model's.
        side: "left" or "right".
        tips: By finger, the weights of its tip.
        vertices: How many tell of a joint.
    """

    def fixed(name: str, *led: str) -> csr_array:
        numbers = [joint_names.index(f"{side}_{joint}") for joint in led]
        target = points[:, [MANO_JOINTS.index(name)]]
        return rigid_rows(people, target, weights, posedirs, *numbers, total=1.0, vertices=vertices)

    rows = [fixed("wrist", "wrist")]
    for finger in skeletons.FINGERS:
        chain = ("wrist", *(f"{finger}{k}" for k in (1, 2, 3)))
        rows += [fixed(joint, before, joint) for before, joint in itertools.pairwise(chain)]
        rows.append(csr_array(tips[finger][None]))
    return csr_array(sparse.vstack(rows))


@dataclass(frozen=True)
class Offset:
    """Where a detector sees a keypoint, from the anatomical one."""

    joint: str
    """The SMPL joint it turns with."""
    offset: tuple[float, float, float]
    """[m] on a body of mean stature in its rest pose (x to its left, y up, z to the front); grows with stature."""


def parse_offsets(text: str, where: str) -> dict[str, Offset]:
    """The `offsets` of a `mediapipe_offsets.json`: keypoint -> {"joint": ..., "offset": [x, y, z]}."""
    out = {}
    for name, entry in json.loads(text)["offsets"].items():
        skeletons.get("mediapipe33").index(name)
        skeletons.get("smpl24").index(entry["joint"])
        offset = np.asarray(entry["offset"], dtype=float)
        if offset.shape != (3,) or not (np.abs(offset) < 0.2).all():
            raise DataError(f"{where}: the offset of {name} must be three numbers below 0.2 m, not {entry['offset']}.")
        out[name] = Offset(entry["joint"], tuple(offset.tolist()))
    return out


def frame_rows(
    people: Float[np.ndarray, "people vertices 3"],
    weights: Float[np.ndarray, "vertices joints"],
    posedirs: Float[np.ndarray, "vertices 3 features"],
    joint: int,
) -> csr_array:
    """Three rows that sum to 0 and give a joint's axes from the posed mesh, in units of stature / mean stature."""
    stature = np.ptp(people[..., 1], axis=1)
    axes = (stature / stature.mean())[:, None, None] * np.eye(3)
    return rigid_rows(people, axes, weights, posedirs, joint, total=0.0)


def with_offsets(
    anatomical: csr_array,
    offsets: Mapping[str, Offset],
    people: Float[np.ndarray, "people vertices 3"],
    weights: Float[np.ndarray, "vertices joints"],
    posedirs: Float[np.ndarray, "vertices 3 features"],
    joint_names: tuple[str, ...],
) -> csr_array:
    """mediapipe33 as mediapipe sees it: each anatomical row plus its offset along the axes of the joint it turns with.

    The rows are linear in the offsets, so these can be learned by linear least squares.
    """
    out = anatomical.toarray()
    frames = {}
    for name in sorted({o.joint for o in offsets.values()}):
        # bodies with fingers have no joint for the whole hand: the wrist leads it
        led_by = name if name in joint_names else name.replace("_hand", "_wrist")
        frames[name] = frame_rows(people, weights, posedirs, joint_names.index(led_by))
    for name, o in offsets.items():
        out[skeletons.get("mediapipe33").index(name)] += np.asarray(o.offset) @ frames[o.joint].toarray()
    return csr_array(out)
