"""Stage `smplify`: what it takes, what it refuses, and where in the world it puts whom it has fitted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from pictures import pictures_take
from single_view import aligned_error

from mocap.bodies.kinematics import joints_of
from mocap.errors import DataError
from mocap.fit.smplify import STAGES
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera, Rig
from mocap.skeletons import LEFT_HAND21
from mocap.solve.problem import State
from mocap.stages.smplify import Smplify, in_world
from mocap.take import Keypoints2D, Person, RunContext, Take
from mocap.terms.hinges import Hinges
from mocap.terms.k2d import K2d
from mocap.terms.prior import Prior

QUICK = Smplify(losses={"k2d": K2d(), "prior": Prior(weight=1.0), "hinges": Hinges()}, mirror=False)


@pytest.fixture(scope="module")
def example(repository: Path) -> Path:
    return repository / "data" / "examples" / "lsp"


@pytest.fixture
def take(example, tmp_path) -> Take:
    """Four of the example pictures, of bodies of different genders, that were not fitted yet."""
    made = pictures_take(example, tmp_path, few=4)
    return made.with_people(motion=[None] * 4, shape=[None] * 4)


@pytest.fixture
def truth(example, tmp_path) -> Take:
    return pictures_take(example, tmp_path / "truth", few=4)


@pytest.fixture(scope="module")
def fitted(example, tmp_path_factory) -> Take:
    """All of them, by the quick stage."""
    made = pictures_take(example, tmp_path_factory.mktemp("fitted"), few=4)
    return QUICK(made.with_people(motion=[None] * 4, shape=[None] * 4))


def posed(person: Person) -> np.ndarray:
    m = person.motion
    return joints_of(person.body, person.shape, m.Rh, m.Th, m.poses)


def test_pictures_are_fitted_each_with_its_body_before_its_camera(fitted, truth):
    made = fitted
    assert [p.motion.Rh.shape for p in made.people] == [(1, 3)] * 4
    away = [aligned_error(posed(t), posed(p))[0] for t, p in zip(truth.people, made.people, strict=True)]
    assert np.mean(away) < 80
    for person, before, camera in zip(made.people, truth.people, made.rig, strict=True):
        off = camera.project(posed(person))[0] - camera.project(posed(before))[0]
        # people are about 200 px tall
        assert np.linalg.norm(off[0, 1:22], axis=-1).mean() < 15
        assert posed(person)[0, 15, 2] > posed(person)[0, 0, 2]  # heads up, in a world whose z is up
    assert len({p.body.content_hash for p in made.people}) > 1
    shapes = np.stack([p.shape for p in made.people])
    assert shapes.shape == (4, 10) and np.ptp(shapes, axis=0).max() > 1e-3


def test_the_report_says_how_each_ended_and_which_way_it_was_taken(fitted):
    facts = fitted.reports[-1].facts
    names = list(fitted.rig.names)
    assert [f["view"] for f in facts["people"]] == names
    assert all(f["converged"] for f in facts["people"])
    side = facts["people"][3]  # picture 4 is seen from the side
    assert side["from_side"] and side["cost"] <= 1.001 * side["cost_of_other_way"]
    for told in facts["people"]:
        assert (told["cost_of_other_way"] is None) == (not told["from_side"])
        assert told["from_side"] or not told["half_turned"]
    assert facts["warnings"] == []
    assert sum(p["pictures"] for p in facts["passes"]) == 4
    assert {"camera", "stage 1", "stage 4"} <= set(facts["passes"][0])


def test_pictures_whose_fits_stopped_early_are_warned_of_by_name(take):
    facts = dataclasses.replace(QUICK, max_iterations=1)(take).reports[-1].facts
    (warning,) = facts["warnings"]
    assert "4 of 4 fits stopped" in warning and take.rig.names[0] in warning and "max_iterations" in warning
    assert not any(f["converged"] for f in facts["people"])


def test_one_picture_comes_out_the_same_among_others_and_alone(take, fitted):
    together = fitted.people[1]
    name = take.rig.names[1]
    one = take.replace(people=take.people[1:2], rig=take.rig.only([name]))
    (alone,) = QUICK(one).people
    np.testing.assert_allclose(posed(alone), posed(together), atol=5e-3)


def test_the_pictures_own_options_reach_the_fit(take):
    made = dataclasses.replace(QUICK, side_on=0.0, stages=STAGES[:2])(take)
    facts = made.reports[-1].facts
    assert not any(f["from_side"] for f in facts["people"])
    assert "stage 2" in facts["passes"][0] and "stage 3" not in facts["passes"][0]


def cameras(*names: str) -> Rig:
    K = np.array([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]])
    return Rig(tuple(Camera(name, K, np.zeros(5), np.eye(4), (640, 480)) for name in names))


def test_several_views_are_refused_with_what_to_say(tmp_path):
    take = Take(RunContext(tmp_path), np.arange(3) / 30, np.arange(3), rig=cameras("01", "02", "03"))
    with pytest.raises(DataError, match=r"this take has 3 \(01, 02, 03\): say --subs 01, or .*fitSMPL\.yml"):
        Smplify().check(take)
    Smplify().check(take.replace(rig=cameras("02")))


def test_unrelated_pictures_have_many_cameras_and_may(take):
    assert len(take.rig) > 1
    Smplify().check(take)


def test_somebody_seen_by_two_cameras_is_refused(take):
    (seen,) = take.people[0].keypoints2d.values()
    both = dataclasses.replace(take.people[0], keypoints2d=dict.fromkeys(take.rig.names[:2], seen))
    with pytest.raises(DataError, match=r"a person was seen by .*, .*--subs"):
        QUICK(take.replace(people=(both,)))


def test_hands_by_themselves_are_refused_with_what_they_need(take):
    (seen,) = take.people[0].keypoints2d.values()
    hand = Keypoints2D.of(LEFT_HAND21, seen.timestamps, np.ones((1, 21, 2)), np.ones((1, 21)))
    person = dataclasses.replace(take.people[0], keypoints2d={take.rig.names[0]: hand})
    with pytest.raises(DataError, match=r"hands by themselves were detected: .* two or more calibrated.*fitMANO\.yml"):
        QUICK(take.replace(people=(person,)))


def test_in_the_world_a_body_is_where_the_camera_sees_it():
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotations.exp(np.array([0.4, -1.1, 0.7])), [0.3, -0.2, 2.0]
    camera = Camera("c", np.eye(3), np.zeros(5), T, (1, 1))
    from mocap.bodies import kinematics
    from mocap.bodies.load import load_body

    body, rng = load_body("embedded"), np.random.default_rng(0)
    R = rotations.exp(rng.normal(0, 0.4, (3, 24, 3)))
    state = State(rng.normal(size=(3, 3)) + [0, 0, 4], R, rng.normal(size=10))
    motion = in_world(state, camera)
    there = kinematics.pose(kinematics.fold(body, "smpl24"), state.betas, R, state.Th).joints
    here = joints_of(body, state.betas, motion.Rh, motion.Th, motion.poses)
    np.testing.assert_allclose(camera.to_camera(here), there, atol=1e-9)


def test_a_single_frame_of_one_camera_is_a_picture(take):
    name = take.rig.names[0]
    one = take.replace(apart=False, people=take.people[:1], rig=Rig((take.rig[name],)))
    made = QUICK(one)
    assert made.people[0].motion.Rh.shape == (1, 3)
    assert made.reports[-1].facts["people"][0]["view"] == name


def test_the_lens_is_taken_out(take, fitted):
    # the same points as a camera with a bent lens sees them, of one picture
    camera, person = take.rig[take.rig.names[1]], take.people[1]
    lens = dataclasses.replace(camera, distortion=np.array([-0.2, 0.05, 0.001, -0.001, 0.0]))
    (seen,) = person.keypoints2d.values()
    rays = np.concatenate([camera.undistort(seen.xy), np.ones((*seen.xy.shape[:2], 1))], axis=-1)
    xy, _ = lens.project((rays - camera.t) @ camera.R)
    assert np.nanmax(np.abs(xy - seen.xy)) > 0.1
    moved = Keypoints2D.of(seen.skeleton, seen.timestamps, xy, seen.confidence)
    person = dataclasses.replace(person, keypoints2d={camera.name: moved})
    (other,) = QUICK(take.replace(rig=Rig((lens,)), people=(person,))).people
    assert aligned_error(posed(fitted.people[1]), posed(other))[0] < 10
