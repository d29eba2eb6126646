"""One camera's take of somebody who is known by construction; and the parts that telling flips from movement takes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from moving import moving
from single_view import People, aligned_error, before_camera, joints_of, people
from walker import walker

from mocap.bodies import kinematics
from mocap.errors import DataError
from mocap.fit.mirrored import mirrored_limb
from mocap.fit.one_camera import fit_video, path, swapped, unswapped
from mocap.fit.smplify import STAGES, in_unit_camera
from mocap.skeletons import BODY25, MEDIAPIPE33
from mocap.solve.problem import State
from mocap.stages.smplify import Smplify
from mocap.take import Keypoints2D
from mocap.triangulate.sides import parts

LOSSES = dict(Smplify().losses)
QUICK = {label: term for label, term in LOSSES.items() if label != "capsules"}
LEVEL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""World to the axes of a camera that looks along y."""
FOCAL = 900.0

# ------------------------------------------------------------------------------------------------------------- the path

NUMBERS = st.floats(0, 10, width=16)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(1, 3))
def test_the_path_is_the_cheapest_of_all(data, steps, choices):
    cost = data.draw(arrays.arrays(float, (steps, choices), elements=NUMBERS))
    change = data.draw(arrays.arrays(float, (steps - 1, choices, choices), elements=NUMBERS))

    def total(way):
        return sum(cost[k, c] for k, c in enumerate(way)) + sum(
            change[k, a, b] for k, (a, b) in enumerate(itertools.pairwise(way))
        )

    found = path(cost, change)
    assert found.shape == (steps,)
    best = min(total(way) for way in itertools.product(range(choices), repeat=steps))
    assert total(found) == pytest.approx(best, abs=1e-9)


def test_what_is_forbidden_is_not_on_the_path():
    cost = np.array([[1.0, np.inf], [5.0, np.inf], [5.0, 0.0]])
    change = np.array([[[0.0, 9.0], [9.0, 0.0]]] * 2)
    assert path(cost, change).tolist() == [0, 0, 0]
    assert path(cost, 0.1 * change).tolist() == [0, 0, 1]


# ------------------------------------------------------------------------------------------------------- left and right


def walking(frames: int = 60) -> tuple[Keypoints2D, np.ndarray]:
    """Somebody who walks toward a camera 5 m away, and how tall they are in the picture."""
    xyz = walker(8 + np.arange(frames) / 30) + [0, 5.0, 0]
    plane = np.stack([xyz[..., 0], -xyz[..., 2]], axis=-1) / xyz[..., 1:2]
    noise = 2 / FOCAL * np.random.default_rng(0).normal(size=plane.shape)
    return in_unit_camera(BODY25, plane + noise, np.ones(plane.shape[:2])), 1.7 / xyz[..., 1].mean(1)


def exchanged(seen: Keypoints2D, part: str, rows: slice) -> Keypoints2D:
    xy, other, joints = seen.xy.copy(), seen.skeleton.mirrored(), parts(seen.skeleton)[part]
    xy[rows, joints] = seen.xy[rows, other[joints]]
    return in_unit_camera(seen.skeleton, xy, seen.confidence)


def test_nothing_is_exchanged_on_a_take_that_is_right():
    seen, size = walking()
    assert not any(found.any() for found in swapped(seen, size).values())


@pytest.mark.parametrize("part", ["legs", "arms", "trunk"])
def test_runs_of_frames_with_left_and_right_exchanged_are_found_and_put_right(part):
    seen, size = walking()
    where = np.zeros(60, dtype=bool)
    where[12:18] = where[40:43] = True
    wrong = exchanged(exchanged(seen, part, slice(12, 18)), part, slice(40, 43))
    found = swapped(wrong, size)
    np.testing.assert_array_equal(found[part], where)
    assert not any(f.any() for name, f in found.items() if name != part)
    right = unswapped(wrong, found)
    np.testing.assert_array_equal(right.xy, seen.xy)
    np.testing.assert_array_equal(right.confidence, seen.confidence)


def test_confidences_are_exchanged_with_their_points():
    seen, size = walking()
    confidence = seen.confidence.copy()
    confidence[20, BODY25.index("left_knee")] = 0.3
    wrong = in_unit_camera(BODY25, exchanged(seen, "legs", slice(18, 24)).xy, confidence)
    right = unswapped(wrong, swapped(wrong, size))
    assert right.confidence[20, BODY25.index("right_knee")] == 0.3
    assert right.confidence[20, BODY25.index("left_knee")] == 1.0


# ------------------------------------------------------------------------------------------------------- mirrored limbs

LIMB = ("left_shoulder", "left_elbow", "left_wrist")
WAYS = [(True, False), (False, True), (True, True)]


@pytest.fixture(scope="module")
def few():
    return people(4, 11, spread=1.0, depth=5.0)


def mirrored(made: People, state: State, limb, *way) -> State:
    joints = tuple(made.body.joint_names.index(name) for name in limb)
    return State(state.Th, mirrored_limb(made.body, state, joints, *way), state.betas)


@pytest.mark.parametrize("limb", [LIMB, ("right_hip", "right_knee", "right_ankle")])
@pytest.mark.parametrize("way", WAYS)
def test_mirrored_bones_are_seen_at_the_same_place_and_point_the_other_way(few, limb, way):
    a, b, c = (few.body.joint_names.index(name) for name in limb)
    before = joints_of(few.body, few.state)
    after = joints_of(few.body, mirrored(few, few.state, limb, *way))
    ray = before[:, b] / np.linalg.norm(before[:, b], axis=-1, keepdims=True)

    def along(joints, i, j):
        return ((joints[:, j] - joints[:, i]) * ray).sum(1)

    for (i, j), flipped in zip(((a, b), (b, c)), way, strict=True):
        sign = -1 if flipped else 1
        np.testing.assert_allclose(along(after, i, j), sign * along(before, i, j), atol=1e-9)
        # what is across the line of sight stays
        across = [(x[:, j] - x[:, i]) - along(x, i, j)[:, None] * ray for x in (before, after)]
        np.testing.assert_allclose(*across, atol=1e-9)
    seen = [x[:, :2] / x[:, 2:] for x in (before[:, [b, c]].reshape(-1, 3), after[:, [b, c]].reshape(-1, 3))]
    off = FOCAL * np.linalg.norm(seen[0] - seen[1], axis=-1).reshape(-1, 2)
    assert off[:, 0].max() < (1e-6 if way[0] else 1e-9) or not way[0]
    assert off.max() < 0.06 * FOCAL / 5.0  # cm: the rays of shoulder and wrist are nearly parallel
    # nothing above, beside or below moves in its joint
    moved = np.abs(mirrored(few, few.state, limb, *way).R - few.state.R).max((0, 2, 3)) > 1e-9
    assert set(np.flatnonzero(moved)) <= {a, b}
    assert along(before, a, b).std() > 0.01  # there was something to mirror


@pytest.mark.parametrize("way", WAYS)
def test_mirrored_twice_is_where_it_was(few, way):
    twice = mirrored(few, mirrored(few, few.state, LIMB, *way), LIMB, *way)
    names = [few.body.joint_names.index(name) for name in LIMB]
    np.testing.assert_allclose(
        joints_of(few.body, twice)[:, names], joints_of(few.body, few.state)[:, names], atol=1e-9
    )


# ------------------------------------------------------------------------------------------------------------- the take


@dataclass(frozen=True, eq=False)
class Filmed:
    """Somebody in the axes of a camera some 5 m away, whom mediapipe's points are seen of with noise of 2 px."""

    clock: np.ndarray
    truth: People


@cache
def filmed(frames: int = 40, seed: int = 0) -> Filmed:
    t = moving("anatomical", frames, seed)
    R = kinematics.local_rotations(t.motion.Rh, t.motion.poses)
    R[:, 0] = LEVEL @ R[:, 0]
    state = State((t.motion.Th + [0, 5.0, -1.0]) @ LEVEL.T, R, t.betas)
    return Filmed(t.clock, before_camera(t.body, state, noise=2 / FOCAL, skeleton=MEDIAPIPE33))


def hidden(f: Filmed, rows, joints=slice(None)) -> Keypoints2D:
    confidence = f.truth.seen.confidence.copy()
    confidence[rows, joints] = 0
    return in_unit_camera(MEDIAPIPE33, f.truth.seen.xy, confidence)


@cache
def fitted():
    f = filmed()
    return f, fit_video(f.truth.body, f.truth.seen, LOSSES, f.clock)


def jitter(joints: np.ndarray) -> float:
    """Mean size of the second differences of joints from the pelvis [m]."""
    return float(np.linalg.norm(np.diff(joints - joints[:, :1], 2, axis=0), axis=-1).mean())


def test_a_take_comes_back_near_the_truth_smooth_and_with_one_shape():
    f, fit = fitted()
    assert fit.converged
    joints = joints_of(f.truth.body, fit.state)
    away = aligned_error(f.truth.joints, joints)
    # measured 24 mm; single pictures of such people are some 50 mm off
    assert away.mean() < 40 and away.max() < 80
    assert fit.state.betas.shape == (10,)
    assert jitter(joints) < 2 * jitter(f.truth.joints)
    # the noise alone would shake points more than that
    assert 2 / FOCAL * 5 * np.sqrt(6 * np.pi / 2) > 2 * jitter(joints)
    assert np.abs(fit.state.Th[:, 2] / f.truth.state.Th[:, 2] - 1).max() < 0.2


def test_it_tells_what_it_did():
    _, fit = fitted()
    assert {"camera", "stage 1", "stage 2", "stage 3", "stage 4", "take"} <= set(fit.passes)
    assert fit.keys[0] == 0 and fit.keys[-1] == 39
    assert np.diff(fit.keys).max() <= 6
    assert fit.swapped == {"trunk": 0, "legs": 0, "arms": 0, "head": 0}


def test_frames_without_anybody_in_the_middle_are_bridged():
    f = filmed()
    fit = fit_video(f.truth.body, hidden(f, slice(15, 25)), QUICK, f.clock)
    assert np.isfinite(fit.state.R).all() and np.isfinite(fit.state.Th).all()
    np.testing.assert_allclose(np.linalg.det(fit.state.R), 1, atol=1e-6)
    joints = joints_of(f.truth.body, fit.state)
    away = aligned_error(f.truth.joints, joints)
    assert away[15:25].mean() < 90 and np.delete(away, np.s_[15:25]).mean() < 60
    # from one end to the other without a jump
    speed = np.linalg.norm(np.diff(joints - joints[:, :1], axis=0), axis=-1).max(1)
    assert speed[14:25].max() < 3 * speed[:14].max()
    assert not np.isin(fit.keys, np.arange(15, 25)).any()


def test_somebody_who_comes_late_stands_still_before():
    f = filmed(24)
    fit = fit_video(f.truth.body, hidden(f, slice(0, 15)), QUICK, f.clock)
    assert np.isfinite(fit.state.R).all() and np.isfinite(fit.state.Th).all()
    joints = joints_of(f.truth.body, fit.state)
    assert np.linalg.norm(joints[0] - joints[15], axis=-1).max() < 1.0


def test_somebody_seen_in_a_single_frame_gets_a_body_in_all():
    f = filmed(12)
    fit = fit_video(f.truth.body, hidden(f, np.arange(12) != 5), QUICK, f.clock)
    assert np.isfinite(fit.state.R).all() and np.isfinite(fit.state.Th).all()
    assert fit.keys.tolist() == [5]


def test_nobody_at_all_is_one_sentence():
    f = filmed(12)
    with pytest.raises(DataError, match="No frame shows enough of the person"):
        fit_video(f.truth.body, hidden(f, slice(None)), QUICK, f.clock)
    with pytest.raises(DataError, match="No frame shows enough of the person"):
        fit_video(f.truth.body, hidden(f, slice(None), slice(5, None)), QUICK, f.clock)


def test_frames_with_legs_exchanged_are_fitted_as_if_they_were_not():
    f = filmed(24)
    ends = [
        fit_video(f.truth.body, seen, QUICK, f.clock, stages=STAGES[:1], max_iterations=5)
        for seen in (f.truth.seen, exchanged(f.truth.seen, "legs", slice(9, 14)))
    ]
    assert [fit.swapped for fit in ends] == [dict.fromkeys(parts(MEDIAPIPE33), 0) | {"legs": n} for n in (0, 5)]
    np.testing.assert_allclose(ends[1].state.R, ends[0].state.R, atol=1e-6)
