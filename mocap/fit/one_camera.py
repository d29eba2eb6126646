"""A moving body from the 2D joints of one camera: the objective of single pictures over all frames at once.

A picture does not tell a person from one who faces the other way, nor a forearm that points at the camera from one that
points away; movement does, since nobody flips from one moment to the next. Keyframes are fitted as pictures, each from
several starts; of their ends the path through the take is taken that moves least for what it costs (Viterbi, 1967);
from there all frames are fitted together, with one shape and with smoothness.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap import progress
from mocap.bodies import kinematics
from mocap.bodies.model import BodyModel
from mocap.errors import DataError
from mocap.fit.mirrored import ProblemOf, limbs_of, mirrored_ends
from mocap.fit.motion import between, spread
from mocap.fit.smplify import (
    DEPTH,
    STAGES,
    Starts,
    Weights,
    body_depth,
    chosen,
    ends_of,
    unit_rig,
    weighted,
)
from mocap.geometry import robust
from mocap.solve.levenberg_marquardt import levenberg_marquardt
from mocap.solve.parallel import one_thread_each
from mocap.solve.problem import Problem, State
from mocap.solve.solution import Solution
from mocap.take import Keypoints2D
from mocap.terms.base import Bound, Data, Term
from mocap.terms.depth import Depth
from mocap.terms.k2d import REFERENCE, BoundK2d
from mocap.terms.smooth import BoundSmooth, Smooth
from mocap.triangulate.sides import parts

TOGETHER = Weights(pose=2.4, shape=5.0, sigma=12.0)
"""Chosen on synthetic takes of CMU clips that the prior was not learned from. Movement tells much of what a single
picture must be told; and runs of frames in which a limb is seen elsewhere, or left and right are exchanged, draw the
body twice as far away with the pictures' sigma."""
_KEYS = 0.167
"""Between keyframes [s]."""
_SPEED = 1.5
"""Of joints relative to the pelvis, as expected between keyframes [m/s]."""
_SWAPPED = 0.02
"""What it costs a frame to be swapped, as a movement by so large a part of the person's size: a path that stays
swapped for long must be told so by more than one moment."""
_MOST_MOVED = 0.05
"""A jump counts no more than this, as the square of a part of the person's size."""
_FASTEST = 3.0
"""A movement that would be faster counts no more than this many times the expected speed: it is a cut, or a mistake."""
_BAD = 6.0
"""Keyframes whose cost is so many deviations above the median teach nothing to the frames about them."""
_STEADY = 1.0
"""Over which a person's distance is taken as about the same [s]."""
_APART = 0.1
"""Ends of limbs that are nearer than this are the same one [m]."""
_FEWEST = 6
"""Keypoints seen in a frame that may be a keyframe."""


def swapped(seen: Keypoints2D, size: Float[np.ndarray, " frames"]) -> dict[str, Bool[np.ndarray, " frames"]]:
    """For legs, arms, trunk and head the frames in which a detector took left for right, told by what would jump.

    Args:
        seen: One view; moments are its own.
        size: Of the person in the picture, in the same unit.
    """
    found = {}
    other = seen.skeleton.mirrored()
    frames = np.flatnonzero((seen.confidence > 0).any(1))
    for part, joints in parts(seen.skeleton).items():
        out = np.zeros(len(seen.xy), dtype=bool)
        if len(joints) and len(frames) > 1:
            xy = seen.xy[frames][:, joints] / size[frames, None, None]
            crossed = seen.xy[frames][:, other[joints]] / size[frames, None, None]

            def moved(a: np.ndarray, b: np.ndarray) -> np.ndarray:
                square = ((a - b) ** 2).sum(-1)
                there = np.isfinite(square)
                return np.minimum(np.where(there, square, 0.0).sum(1) / np.maximum(there.sum(1), 1), _MOST_MOVED)

            same, cross = moved(xy[1:], xy[:-1]), moved(crossed[1:], xy[:-1])
            stay = np.stack([np.stack([same, cross], -1), np.stack([cross, same], -1)], axis=1)
            out[frames] = path(np.array([0.0, _SWAPPED**2]) * np.ones((len(frames), 1)), stay).astype(bool)
        found[part] = out
    return found


def path(
    cost: Float[np.ndarray, "steps choices"], change: Float[np.ndarray, "gaps choices choices"]
) -> Int[np.ndarray, " steps"]:
    """The choices of least cost in all, with `change[k, a, b]` for going from a at step k to b at step k + 1 (Viterbi,
    "Error bounds for convolutional codes", 1967)."""
    total = cost[0]
    back = np.empty((len(change), cost.shape[1]), dtype=int)
    for k in range(len(change)):  # each a few numbers
        through = total[:, None] + change[k]
        back[k] = through.argmin(0)
        total = through.min(0) + cost[k + 1]
    out = np.empty(len(cost), dtype=int)
    out[-1] = total.argmin()
    for k in range(len(change) - 1, -1, -1):
        out[k] = back[k, out[k + 1]]
    return out


@dataclass(frozen=True)
class VideoFit:
    """A moving body in the camera's axes."""

    state: State
    """Of every frame, with one shape."""
    keys: Int[np.ndarray, " keys"]
    """The frames that were fitted as pictures."""
    turned: int
    """Keyframes that movement made face the other way than the picture by itself would."""
    unflipped: int
    """Limbs of keyframes that movement made point toward the camera where the picture by itself had them point away,
    or the other way round."""
    swapped: dict[str, int]
    """Frames in which a detector had left and right exchanged, by part of the body."""
    passes: dict[str, Solution]

    @property
    def converged(self) -> bool:
        """Whether the last pass, over all frames, did."""
        return self.passes["take"].converged


@one_thread_each()
def fit_video(
    body: BodyModel,
    seen: Keypoints2D,
    terms: Mapping[str, Term],
    timestamps: Float[np.ndarray, " frames"],
    *,
    stages: Sequence[Weights] = STAGES,
    weights: Weights = TOGETHER,
    side_on: float = 25.0,
    max_iterations: int = 100,
    tolerance: float = 1e-4,
) -> VideoFit:
    """Fits a take seen by one camera.

    Args:
        body: Of the person.
        seen: In the unit camera; frames are numbered in place of moments.
        terms: By label; of them `k2d` must be one, and `smooth` should be.
        timestamps: Of the frames [s].
        stages: Weights of each of the keyframes' stages.
        weights: Of what is fitted after these: movement tells much of what a picture must be told.
        side_on: As for pictures.
        max_iterations: Of each pass.
        tolerance: A pass has converged when it lowers the cost by less than this part of it.

    Raises:
        DataError: Nobody is seen, or as for pictures.
    """
    ppm = 1 / body_depth(body, seen)
    swaps = swapped(seen, 1.7 * ppm)
    seen = unswapped(seen, swaps)
    there = np.flatnonzero((seen.confidence > 0).sum(1) >= _FEWEST)
    if not len(there):
        raise DataError("No frame shows enough of the person to fit a body to.")
    keys = there[spread(timestamps[there], _KEYS)]
    single = {label: term for label, term in terms.items() if not isinstance(term, Smooth)}
    few = Keypoints2D.of(seen.skeleton, np.arange(float(len(keys))), seen.xy[keys], seen.confidence[keys])
    ended = ends_of(body, few, single, stages, side_on, True, max_iterations, tolerance)
    alone = chosen(ended, len(keys))
    fit = chosen(ended, len(keys), _followed(body, ended, timestamps[keys], stages[-1].pose))
    problem_of = ended.problem_of(body, few.skeleton, stages[-1])
    state, unflipped = _unflipped(body, fit.state, problem_of, timestamps[keys], stages[-1].pose)
    good = fit.cost <= np.median(fit.cost) + _BAD * robust.mad_sigma(fit.cost - np.median(fit.cost))
    state, at = state.at(np.flatnonzero(good)), timestamps[keys[good]]
    betas = np.median(state.betas, axis=0)
    state = State(state.Th, state.R, betas)
    state = between(state, at, np.clip(timestamps, at[0], at[-1]))
    data = Data(body, timestamps, None, {"unit": dataclasses.replace(seen, timestamps=timestamps)}, unit_rig())
    bound: dict[str, Bound] = {}
    for label, term in terms.items():
        b = term.bind(data)
        if isinstance(b, BoundK2d):
            scales = tuple(REFERENCE * state.Th[v.first, 2] for v in b.views)
            bound[label] = weighted(dataclasses.replace(b, scales=scales), weights, betas, np.arange(len(timestamps)))
        elif isinstance(b, BoundSmooth):
            bound[label] = b
        elif b is not None:
            bound[label] = weighted(b, weights, betas, np.arange(len(timestamps)))
    depth = Depth().bind(data)
    assert depth is not None
    # one frame's torso tells its size badly; frames nearby together better
    filled = np.interp(timestamps, timestamps[there], depth.depth[there])
    steady = robust.running_median(filled, _steps(timestamps, _STEADY))
    bound["depth"] = dataclasses.replace(depth, depth=np.where(np.isfinite(depth.depth), steady, np.nan)).known_to(
        DEPTH / weights.pose
    )
    rig = kinematics.fold(body, seen.skeleton)
    # every frame says the same wrong thing about the shape, so that each brings its own part of what shapes are like
    shape_weight = len(there) * weights.shape**2
    problem = Problem(rig, bound, coupled=True, free_shape=True, shape_weight=shape_weight)
    passes = dict(ended.passes)
    with progress.bar("fitting all frames", None, "iterations") as bar:
        passes["take"] = levenberg_marquardt(
            problem, state, max_iterations=max_iterations, relative_decrease=tolerance, told=lambda: bar.update(1)
        )
    return VideoFit(
        passes["take"].state,
        keys,
        int((alone.turned != fit.turned).sum()),
        unflipped,
        {part: int(s.sum()) for part, s in swaps.items()},
        passes,
    )


def _steps(timestamps: Float[np.ndarray, " frames"], seconds: float) -> int:
    """How many frames make up so many seconds, an odd number."""
    step = float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else seconds
    return 2 * round(0.5 * seconds / step) + 1


def unswapped(seen: Keypoints2D, swaps: Mapping[str, Bool[np.ndarray, " frames"]]) -> Keypoints2D:
    """With left and right put right in the frames of `swaps`."""
    xy, confidence = seen.xy.copy(), seen.confidence.copy()
    other = seen.skeleton.mirrored()
    for part, joints in parts(seen.skeleton).items():
        rows = np.flatnonzero(swaps[part])[:, None]
        xy[rows, joints] = seen.xy[rows, other[joints]]
        confidence[rows, joints] = seen.confidence[rows, other[joints]]
    return Keypoints2D.of(seen.skeleton, seen.timestamps, xy, confidence)


def _joints(body: BodyModel, state: State) -> Float[np.ndarray, "frames joints 3"]:
    """From the root joint [m]."""
    joints = kinematics.pose(kinematics.fold(body, "smpl24"), state.betas, state.R, state.Th).joints
    return joints - joints[:, :1]


def _moved(
    joints: Float[np.ndarray, "keys choices joints 3"], moments: Float[np.ndarray, " keys"], weight: float
) -> Float[np.ndarray, "gaps choices choices"]:
    """What it costs to get from each choice at one keyframe to each at the next."""
    apart = np.linalg.norm(joints[:-1, :, None] - joints[1:, None], axis=-1)
    speed = apart / np.diff(moments)[:, None, None, None] / _SPEED
    return 0.5 * weight**2 * np.minimum(speed**2, _FASTEST**2).sum(-1)


def _followed(
    body: BodyModel, ended: Starts, moments: Float[np.ndarray, " keys"], pose_weight: float
) -> Bool[np.ndarray, " keys"]:
    """Which keyframes face the half-turned way, on the path that moves least for what it costs."""
    n = len(moments)
    rows = np.stack([np.arange(n), np.arange(n)], axis=1)
    rows[ended.source[n:], 1] = np.arange(n, len(ended.source))
    cost = ended.solution.costs[rows]
    cost[rows[:, 0] == rows[:, 1], 1] = np.inf
    joints = _joints(body, ended.solution.state)[rows]
    return path(cost, _moved(joints, moments, pose_weight)).astype(bool)


def _unflipped(
    body: BodyModel, state: State, problem_of: ProblemOf, moments: Float[np.ndarray, " keys"], pose_weight: float
) -> tuple[State, int]:
    """Keyframes with each limb as the path has it that moves least for what it costs; and how many were changed."""
    rows, changed = np.arange(len(moments)), 0
    for limb in limbs_of(body):  # one after the other: four times as many ends would have to be in memory together
        mirrored = mirrored_ends(body, state, problem_of, (limb,))
        ends = [mirrored.of(0, way) for way in range(mirrored.ways)]
        before = _joints(body, state)[:, limb[1:]]
        joints = np.stack([before, *(_joints(body, s)[:, limb[1:]] for s in ends)], axis=1)
        cost = np.stack([mirrored.begun, *mirrored.costs[0]], axis=1)
        took = path(cost, _moved(joints, moments, pose_weight))
        R = state.R.copy()
        for way, s in enumerate(ends):
            here = rows[took == way + 1][:, None]
            R[here, limb] = s.R[here, limb]
        changed += int((np.linalg.norm(joints[rows, took, 1] - before[:, 1], axis=-1) > _APART).sum())
        state = State(state.Th, R, state.betas)
    return state, changed
