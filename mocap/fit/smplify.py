"""A body from the 2D joints of single pictures, many at once (Bogo et al., "Keep it SMPL", ECCV 2016).

Everything is in the axes of the camera, whose lens and focal length were taken out: a point (X, Y, Z) is seen at
(X / Z, Y / Z). Distances in pictures are in pixels of a picture that shows the person 150 px tall, to which the paper's
weights and thresholds belong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import PositiveFloat

from mocap import progress
from mocap.bodies import kinematics
from mocap.bodies.model import BodyModel
from mocap.errors import DataError
from mocap.fit.mirrored import ProblemOf, limbs_of, mirrored_ends
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera, Rig
from mocap.options import options
from mocap.skeletons import Skeleton
from mocap.solve.dogleg import dogleg
from mocap.solve.parallel import one_thread_each
from mocap.solve.problem import Problem, State
from mocap.solve.solution import Solution
from mocap.take import Keypoints2D, Motion
from mocap.terms.base import Bound, Data, Repeated, Term
from mocap.terms.capsules import BoundCapsules
from mocap.terms.depth import BoundDepth, Depth
from mocap.terms.k2d import REFERENCE, BoundK2d
from mocap.terms.prior import BoundPrior

TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
DEPTH = 0.08
"""By what part the depth that a torso's size tells is off: the standard deviation on the people of
benchmarks/smplify.py, who bend and have torsos of their own."""
_SAME = 1e-3
"""Ends whose costs differ by less than this part are the same one."""
_CHUNK = 48
"""Pictures whose Jacobians exist at one time on one core."""
_ROOT = 6
"""Th and the root's rotation come first among the parameters of a frame."""
_FACING = np.diag([1.0, -1.0, -1.0])
"""Upright and facing the camera, whose y is down and whose z is away."""
_ROUND = np.diag([-1.0, 1.0, -1.0])
"""Half a turn about the body's own vertical axis."""


@options
class Weights:
    """How much it counts what poses and shapes are like, in one of the fit's stages."""

    pose: PositiveFloat
    """Of the losses that judge poses (prior, hinges): multiplies their residuals [px of a person 150 px tall]."""
    sigma: PositiveFloat | None = None
    """In place of that of k2d [px of a person 150 px tall]; null: as the loss has it."""
    shape: PositiveFloat
    """Of the betas, likewise."""


STAGES = tuple(Weights(pose=p, shape=s) for p, s in ((404.0, 100.0), (404.0, 50.0), (57.4, 10.0), (4.78, 5.0)))
"""Of SMPLify's published program."""


@dataclass(frozen=True)
class PicturesFit:
    """A body in every picture."""

    state: State
    """Of every picture with its own betas, in its camera's axes."""
    cost: Float[np.ndarray, " pictures"]
    tried_both: Bool[np.ndarray, " pictures"]
    """Seen so much from the side that the fit was made from both ways to face."""
    turned: Bool[np.ndarray, " pictures"]
    """The half-turned one of these was the better."""
    other_cost: Float[np.ndarray, " pictures"]
    """Of the way that was not taken; NaN where only one was tried."""
    converged: Bool[np.ndarray, " pictures"]
    """Of the last stage."""
    mirrored: Bool[np.ndarray, " pictures"]
    """A limb that was mirrored in depth made it better."""
    passes: dict[str, Solution]


def unit_rig() -> Rig:
    """The camera that keypoints with the lens taken out are seen by."""
    return Rig((Camera("unit", np.eye(3), np.zeros(0), np.eye(4), (1, 1)),))


def in_unit_camera(
    skeleton: Skeleton,
    plane: Float[np.ndarray, "frames keypoints 2"],
    confidence: Float[np.ndarray, "frames keypoints"],
) -> Keypoints2D:
    """Points (X / Z, Y / Z) as 2D keypoints; frames are numbered in place of moments."""
    return Keypoints2D.of(skeleton, np.arange(float(len(plane))), plane, confidence)


def start(body: BodyModel, seen: Keypoints2D, pose: Float[np.ndarray, "joints 3"]) -> State:
    """Each frame's body as far away as the size of its torso says, turned in the picture's plane as that is, and facing
    the camera or away as its shoulders and hips are seen; with the betas at zero.

    Args:
        body: The model.
        seen: In the unit camera.
        pose: Of the joints after the root [rad].
    """
    n = len(seen.xy)
    xyz = kinematics.rest_keypoints(body, seen.skeleton)
    ends = {name: seen.xy[:, seen.skeleton.index(name)] for name in TORSO if seen.skeleton.has(name)}
    nowhere = np.full((n, 2), np.nan)

    def mean(*names: str) -> np.ndarray:
        return _nanmean(np.stack([ends.get(name, nowhere) for name in names]), 0)

    up = mean("left_shoulder", "right_shoulder") - mean("left_hip", "right_hip")
    angle = np.arctan2(up[:, 0], -up[:, 1])  # of a turn in the plane that takes "up" there
    angle = np.where(np.isfinite(angle), angle, 0.0)
    across = _nanmean(
        np.stack([ends.get(f"left_{p}", nowhere) - ends.get(f"right_{p}", nowhere) for p in ("shoulder", "hip")]), 0
    )
    cos, sin = np.cos(angle), np.sin(angle)
    to_the_right = np.nan_to_num(cos * across[:, 0] + sin * across[:, 1])  # of the picture: where its left side is
    plane_turn = rotations.exp(angle[:, None] * np.array([0.0, 0.0, 1.0]))
    root = plane_turn @ np.where((to_the_right < 0)[:, None, None], _FACING @ _ROUND, _FACING)
    depth = body_depth(body, seen)
    seen_there = seen.confidence > 0
    torso = seen_there & np.array([name in TORSO for name in seen.skeleton.joints])
    use = np.where(np.asarray(torso.any(1))[:, None], torso, seen_there)
    weight = use / np.maximum(use.sum(1), 1)[:, None]
    middle = np.einsum("fk,fkd->fd", weight, np.nan_to_num(seen.xy))
    at_rest = np.einsum("fk,fkd->fd", weight, (root @ xyz.T).swapaxes(-1, -2))
    Th = np.concatenate([middle * depth[:, None], depth[:, None]], axis=1)
    Th[:, :2] -= at_rest[:, :2]
    R = np.broadcast_to(rotations.exp(np.concatenate([np.zeros((1, 3)), pose])), (n, body.n_joints, 3, 3)).copy()
    R[:, 0] = root
    return State(Th, R, np.zeros((n, body.n_betas)))


def _nanmean(x: np.ndarray, axis: int) -> np.ndarray:
    there = np.isfinite(x)
    with np.errstate(invalid="ignore"):
        return np.where(there, x, 0.0).sum(axis) / there.sum(axis)


def body_depth(body: BodyModel, seen: Keypoints2D) -> Float[np.ndarray, " frames"]:
    """Of every frame [m], from the size of the torso; NaN where nobody is seen."""
    bound = Depth(weight=1.0).bind(Data(body, seen.timestamps, None, {"unit": seen}, unit_rig()))
    assert bound is not None
    return bound.depth


def from_side(seen: Keypoints2D, depth: Float[np.ndarray, " frames"], threshold: float) -> Bool[np.ndarray, " frames"]:
    """Where the shoulders are less than `threshold` apart [px of a person 150 px tall], or one is not seen."""
    a, b = (seen.xy[:, seen.skeleton.index(f"{side}_shoulder")] for side in ("left", "right"))
    apart = np.linalg.norm(a - b, axis=-1) * depth * REFERENCE
    return ~(apart >= threshold)


def of_joints(skeleton: Skeleton, seen: Keypoints2D, joints: Sequence[str]) -> Float[np.ndarray, "frames keypoints"]:
    """Weights of 1 for these joints; for all, in frames that show fewer than three of them."""
    chosen = np.array([name in joints for name in skeleton.joints])
    few = ((seen.confidence > 0) & chosen).sum(1) < 3
    return np.where(few[:, None], 1.0, chosen[None].astype(float))


@dataclass(frozen=True)
class Starts:
    """Where every picture's fit ended, from one start or two."""

    solution: Solution
    source: Int[np.ndarray, " starts"]
    """The picture of each start: all pictures first, then those that were also started half turned."""
    depth: BoundDepth | None
    """None: nobody moves."""
    bound: dict[str, Bound]
    passes: dict[str, Solution]

    def problem_of(self, body: BodyModel, skeleton: Skeleton, weights: Weights) -> ProblemOf:
        """What a stage minimises over further starts."""
        return lambda source, betas: stage_problem(body, skeleton, self.bound, self.depth, weights, source, betas)


@one_thread_each()
def fit_pictures(
    body: BodyModel,
    seen: Keypoints2D,
    terms: Mapping[str, Term],
    *,
    stages: Sequence[Weights] = STAGES,
    side_on: float = 25.0,
    mirror: bool = True,
    move: bool = True,
    max_iterations: int = 100,
    tolerance: float = 1e-4,
) -> PicturesFit:
    """Fits a body to every picture by itself, all pictures at once.

    Steps, after the paper's section 3.3:
        camera: Where the body is and which way it faces, from the torso alone, held near the depth its size tells.
        stage 1 ...: Pose and shape, from the mean pose on, with less and less weight of what poses and shapes are like.
        capsules: The last stage again with the capsules, of the size that the shapes before give them: on a body that
            is still on its way they would be walls between it and where it belongs.
        mirrored: The last stage again with each limb in turn pointing toward the camera where it pointed away.
    People seen from the side start from both ways to face. Of all starts of a picture the one that ends lowest is kept.

    Args:
        body: Of all pictures.
        seen: In the unit camera; every frame is a picture.
        terms: By label; of them `k2d` must be one.
        stages: Weights of each.
        side_on: Shoulders closer than this count as seen from the side [px of a person 150 px tall].
        mirror: Whether limbs are mirrored; the paper does not.
        move: Whether the body's place is fitted in the stages too; the paper leaves it where the camera step put it.
        max_iterations: Of each step.
        tolerance: A step has converged when it lowers the cost by less than this part of it.

    Raises:
        DataError: No loss compares the body with the picture; or the depth of somebody is not known.
    """
    ended = ends_of(body, seen, terms, stages, side_on, move, max_iterations, tolerance)
    fit = chosen(ended, len(seen.xy))
    if not mirror:
        return fit
    problem_of = ended.problem_of(body, seen.skeleton, stages[-1])
    state, mirrored = mirrored_ends(body, fit.state, problem_of, limbs_of(body)).better(fit.state)
    if not mirrored.any():
        return fit
    carried = dogleg(
        problem_of(np.arange(len(seen.xy)), state.betas),
        state,
        max_iterations=max_iterations,
        relative_decrease=tolerance,
        only=mirrored,
        by_term=False,
    )
    return dataclasses.replace(
        fit,
        state=carried.state,
        cost=np.where(mirrored, carried.costs, fit.cost),
        converged=np.where(mirrored, carried.settled, fit.converged),
        mirrored=mirrored,
        passes={**fit.passes, "mirrored": carried},
    )


def ends_of(
    body: BodyModel,
    seen: Keypoints2D,
    terms: Mapping[str, Term],
    stages: Sequence[Weights],
    side_on: float,
    move: bool,
    max_iterations: int,
    tolerance: float,
) -> Starts:
    """All starts of :func:`fit_pictures`, carried to their ends."""
    pictures = len(seen.xy)
    data = Data(body, seen.timestamps, None, {"unit": seen}, unit_rig())
    bound = {label: b for label, term in terms.items() if (b := term.bind(data)) is not None}
    images = {label: b for label, b in bound.items() if isinstance(b, BoundK2d)}
    if not images:
        raise DataError("No loss that is switched on compares the body with the picture: give k2d a weight.")
    depth = Depth().bind(data)
    assert depth is not None
    if not np.isfinite(depth.depth).all():
        bad = np.flatnonzero(~np.isfinite(depth.depth))
        raise DataError(f"Too little is seen of {len(bad)} of {pictures} people to tell how far away they are.")
    rig = kinematics.fold(body, seen.skeleton)
    state = start(body, seen, usual_pose(body, bound))
    passes: dict[str, Solution] = {}
    with progress.bar("fitting pictures", None, "iterations") as bar:

        def solve(label: str, problem: Problem, state: State) -> Solution:
            passes[label] = dogleg(
                problem,
                state,
                max_iterations=max_iterations,
                relative_decrease=tolerance,
                by_term=False,
                told=lambda: bar.update(1),
            )
            return passes[label]

        torso = of_joints(seen.skeleton, seen, TORSO)
        held = tuple(range(_ROOT, rig.n_parameters))
        camera: dict[str, Bound] = {label: b.of_joints(torso) for label, b in images.items()}
        solution = solve("camera", Problem(rig, camera | {"depth": depth}, coupled=False, held=held), state)
        both = from_side(seen, depth.depth, side_on)
        source = np.concatenate([np.arange(pictures), np.flatnonzero(both)])
        state = solution.state.at(source)
        state.R[pictures:, 0] = state.R[pictures:, 0] @ _ROUND
        apart = {label: b for label, b in bound.items() if not isinstance(b, BoundCapsules)}
        passed = [(f"stage {number + 1}", weights, apart) for number, weights in enumerate(stages)]
        if len(apart) < len(bound):
            passed.append(("capsules", stages[-1], bound))
        for label, weights, used in passed:
            problem = stage_problem(body, seen.skeleton, used, depth if move else None, weights, source, state.betas)
            solution = solve(label, problem, state)
            state = solution.state
    return Starts(solution, source, depth if move else None, bound, passes)


def stage_problem(
    body: BodyModel,
    skeleton: Skeleton,
    bound: Mapping[str, Bound],
    depth: BoundDepth | None,
    weights: Weights,
    source: Int[np.ndarray, " starts"],
    betas: Float[np.ndarray, "starts betas"],
) -> Problem:
    """What a stage minimises over starts, each of the picture `source` says; without a depth nobody moves.

    The capsules have the shapes `betas`.
    """
    used = {label: weighted(b, weights, betas, source) for label, b in bound.items()}
    if depth is not None:  # beside poses and shapes, by the weight of what is expected of poses
        used["depth"] = Repeated(depth.known_to(DEPTH / weights.pose), source)
    return Problem(
        kinematics.fold(body, skeleton),
        used,
        coupled=False,
        free_shape=True,
        shape_weight=weights.shape**2,
        chunk=_CHUNK,
        held=() if depth is not None else (0, 1, 2),
    )


def usual_pose(body: BodyModel, bound: Mapping[str, Bound]) -> Float[np.ndarray, "joints 3"]:
    """The weighted mean of the prior's Gaussians, as SMPLify starts from; at rest without a prior [rad]."""
    pose = np.zeros((body.n_joints - 1, 3))
    for b in bound.values():
        if isinstance(b, BoundPrior):
            pose[b.joints - 1] = b.mean.reshape(-1, 3)
    return pose


def weighted(bound: Bound, weights: Weights, betas: np.ndarray, source: Int[np.ndarray, " starts"]) -> Bound:
    """A term as it is in a stage: data of the starts' pictures, capsules with the betas of the stage before."""
    if isinstance(bound, BoundK2d):
        sigma = bound.sigma if weights.sigma is None else weights.sigma
        return Repeated(dataclasses.replace(bound, sigma=sigma), source)
    if isinstance(bound, BoundCapsules):
        return bound.with_betas(betas)
    # the weights multiply residuals; SMPLify's costs are twice ours, and 1/2 is in its prior's residual
    return bound.lighter(0.5 * weights.pose**2)


def chosen(ended: Starts, pictures: int, turned: Bool[np.ndarray, " pictures"] | None = None) -> PicturesFit:
    """Of two starts the one that ended lower, or as `turned` says."""
    solution, source = ended.solution, ended.source
    first, second = solution.costs[:pictures], np.full(pictures, np.nan)
    second[source[pictures:]] = solution.costs[pictures:]
    turned = second < (1 - _SAME) * first if turned is None else turned
    row_of = np.full(pictures, -1)
    row_of[source[pictures:]] = np.arange(pictures, len(source))
    place = np.where(turned, row_of, np.arange(pictures))
    return PicturesFit(
        solution.state.at(place),
        np.where(turned, second, first),
        np.isfinite(second),
        turned,
        np.where(turned, first, second),
        solution.settled[place],
        np.zeros(pictures, dtype=bool),
        ended.passes,
    )


def in_world(state: State, camera: Camera) -> Motion:
    """A motion in the axes of a camera as one in the world."""
    R = state.R.copy()
    R[:, 0] = camera.R.T @ R[:, 0]
    vectors = rotations.log(R)
    return Motion(vectors[:, 0], (state.Th - camera.t) @ camera.R, vectors[:, 1:])
