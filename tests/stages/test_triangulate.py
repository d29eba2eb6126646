"""Claims about the stage `triangulate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from toy_hands import hand
from walker import ring, seen, walker

from mocap.errors import CalibrationError, DataError
from mocap.geometry.cameras import Rig
from mocap.skeletons import HANDS
from mocap.stages.triangulate import Triangulate
from mocap.take import Keypoints2D, Person, RunContext, Take, called

T = np.arange(60) / 30


def take(rig: Rig | None, *people: dict[str, Keypoints2D]) -> Take:
    run = RunContext(output=Path("nowhere"))
    return Take(run, T, np.arange(60), rig=rig, people=tuple(Person(keypoints2d=p) for p in people)).begun(
        "triangulate", "triangulate"
    )


def test_fills_keypoints3d_and_reports_cameras_joints_and_warnings():
    rig = ring(4)
    after = Triangulate()(take(rig, seen(rig, T, noise=2.0)))
    assert after.has("keypoints3d")
    made = after.people[0].keypoints3d
    assert made is not None
    assert np.nanmean(np.linalg.norm(made.xyz - walker(T), axis=-1)) < 0.02
    facts = after.reports[-1].facts
    assert facts["joints_found"] == 1
    assert set(facts["cameras"]) == set(rig.names)
    assert facts["warnings"] == []


def test_several_people_are_triangulated_and_told_apart_in_the_report():
    rig = ring(4)
    blind = seen(rig, T, noise=2.0)
    blind["cam_2"] = Keypoints2D.of(blind["cam_2"].skeleton, T, blind["cam_2"].xy, 0 * blind["cam_2"].confidence)
    after = Triangulate()(take(rig, seen(rig, T, noise=2.0), blind))
    facts = after.reports[-1].facts
    assert len(facts["people"]) == 2
    assert facts["warnings"] == ["Person 1: Camera cam_2 saw nobody in all 60 frames."]


def test_hands_are_called_by_their_sides():
    rig, clear = ring(3), np.ones((60, 21))
    clear[:30] = 0
    hands = [
        {c.name: Keypoints2D.of(HANDS[side], T, c.project(hand(T, side))[0], clear) for c in rig}
        for side in ("left", "right")
    ]
    warnings = Triangulate()(take(rig, *hands)).reports[-1].facts["warnings"]
    assert "The left hand: Camera cam_1 saw no hand in 30 of 60 frames." in warnings
    assert {w.partition(": ")[0] for w in warnings} == {"The left hand", "The right hand"}
    same = ["the left hand (person 0)", "person 1", "the left hand (person 2)", "the right hand"]
    assert called(["left", None, "left", "right"]) == same


def test_options_reach_the_function():
    rig = ring(3)
    k = seen(rig, T, noise=2.0, missing=0.2)
    two, three = (Triangulate(min_views=n)(take(rig, k)).reports[-1].facts["joints_found"] for n in (2, 3))
    assert three < 0.7 < two


@pytest.mark.parametrize(
    "wrong", [{"max_error": 0}, {"max_error": 2.0}, {"min_views": 1}, {"max_sigma": -1}, {"sigma": 1}]
)
def test_options_out_of_range_are_refused(wrong: dict):
    with pytest.raises(ValidationError):
        Triangulate(**wrong)


def test_one_camera_is_refused_before_the_first_frame_is_read():
    rig = ring(3)
    with pytest.raises(CalibrationError, match="at least 2 calibrated cameras"):
        Triangulate().check(take(rig.only(("cam_1",))))
    with pytest.raises(CalibrationError, match="at least 4"):
        Triangulate(min_views=4).check(take(rig))
    Triangulate().check(take(rig))
    Triangulate().check(take(None))


def test_nobody_is_an_error_in_a_sentence():
    with pytest.raises(DataError, match="Nobody"):
        Triangulate()(take(ring(3)))
