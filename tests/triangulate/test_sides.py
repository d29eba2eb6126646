"""Claims about left and right."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from walker import ring, seen

from mocap import skeletons
from mocap.skeletons import BODY25
from mocap.take import Keypoints2D
from mocap.triangulate import sides

FRAMES = 150
T = np.arange(FRAMES) / 30
PARTS = sides.parts(BODY25)


def swapped(view: Keypoints2D, frames: np.ndarray, members: np.ndarray | None = None) -> Keypoints2D:
    members = np.arange(25) if members is None else members
    xy, confidence = view.xy.copy(), view.confidence.copy()
    at, source = np.ix_(frames, members), np.ix_(frames, BODY25.mirrored()[members])
    xy[at], confidence[at] = view.xy[source], view.confidence[source]
    return dataclasses.replace(view, xy=xy, confidence=confidence)


def found_in(rig, views: dict[str, Keypoints2D], noise: float = 3.0) -> dict[str, Any]:
    spread = [np.full((len(v.timestamps), 1), noise) for v in views.values()]
    found = sides.find_swaps(rig, list(views.values()), T, spread)
    same = len({len(v.timestamps) for v in views.values()}) == 1
    return {part: np.stack(f) if same else f for part, f in found.items()}


@pytest.mark.parametrize("skeleton", skeletons.SKELETONS.values(), ids=skeletons.SKELETONS)
def test_every_sided_joint_belongs_to_one_part_with_its_counterpart(skeleton: skeletons.Skeleton):
    made = sides.parts(skeleton)
    places = np.concatenate(list(made.values()))
    assert len(set(places.tolist())) == len(places)
    other = skeleton.mirrored()
    assert set(places.tolist()) == {i for i in range(len(skeleton)) if other[i] != i} - {
        skeleton.index(j) for j in skeleton.joints if "collar" in j
    }
    for members in made.values():
        assert set(other[members].tolist()) == set(members.tolist())


@pytest.mark.parametrize("views", [2, 3, 4, 8])
def test_nothing_is_exchanged_where_nothing_is_swapped(views: int):
    rig = ring(views)
    found = found_in(rig, seen(rig, T, noise=3.0))
    assert sum(f.sum() for part, f in found.items() if part != "head") == 0
    assert found["head"].mean() < 0.01  # eyes are 10 px apart here


@pytest.mark.parametrize("views", [3, 4, 8])
def test_a_view_that_swapped_the_whole_body_for_a_while_is_found_in_just_those_frames(views: int):
    rig = ring(views)
    k = seen(rig, T, noise=3.0)
    k["cam_2"] = swapped(k["cam_2"], np.arange(60, 90))
    expected = np.zeros((views, FRAMES), dtype=bool)
    expected[1, 60:90] = True
    for part, flips in found_in(rig, k).items():
        assert (flips != expected).mean() < (0.01 if part == "head" else 0.002), part


def test_legs_swapped_alone_are_exchanged_alone():
    rig = ring(4)
    k = seen(rig, T, noise=3.0)
    k["cam_3"] = swapped(k["cam_3"], np.arange(20, 60), PARTS["legs"])
    found = found_in(rig, k)
    assert found["legs"][2, 20:60].mean() > 0.95
    assert found["legs"].sum() <= 40
    assert found["arms"].sum() + found["trunk"].sum() == 0


@pytest.mark.parametrize("views", [2, 4])
def test_where_half_of_the_views_are_swapped_time_tells_which(views: int):
    rig = ring(5)
    rig = rig.only(rig.names[:views])
    k = seen(rig, T, noise=2.0)
    wrong = list(rig.names)[: views // 2]
    for name in wrong:
        k[name] = swapped(k[name], np.arange(70, 100))
    found = found_in(rig, k, 2.0)
    for part in ("legs", "trunk"):
        assert found[part][: views // 2, 70:100].mean() > 0.95, part
        assert found[part][views // 2 :].mean() < 0.02, part


def test_views_that_see_at_other_moments_and_rates_are_told_apart_too():
    rig = ring(4)
    times = {n: np.arange(FRAMES) / 30 + 0.011 * i for i, n in enumerate(rig.names)}
    times["cam_2"] = np.arange(2 * FRAMES) / 60 + 0.004
    k = seen(rig, times, noise=3.0)
    k["cam_2"] = swapped(k["cam_2"], np.arange(120, 180))
    found = found_in(rig, k)
    legs = found["legs"][1]
    assert legs.shape == (2 * FRAMES,)
    assert legs[121:179].all()
    assert legs[:118].sum() + legs[182:].sum() == 0


def test_a_view_of_somebody_else_is_let_be():
    rig = ring(4)
    k = seen(rig, T, noise=3.0)
    k["cam_3"] = dataclasses.replace(k["cam_3"], xy=k["cam_3"].xy + [150, 30])
    found = found_in(rig, k)
    for part in ("trunk", "arms", "legs"):
        assert found[part].mean() < 0.03


def test_exchanging_gives_back_what_was_swapped():
    rig = ring(2)
    k = seen(rig, T, noise=3.0, missing=0.1, confidence=(0.3, 1.0))["cam_1"]
    frames = np.arange(30, 50)
    once = swapped(k, frames, np.concatenate([PARTS["legs"], PARTS["head"]]))
    flags = np.isin(np.arange(FRAMES), frames)
    back = sides.exchange(once, {"legs": flags, "head": flags, "arms": ~(flags | ~flags)})
    np.testing.assert_array_equal(back.xy, k.xy)
    np.testing.assert_array_equal(back.confidence, k.confidence)


def test_the_nearest_frame_is_taken_and_none_where_there_is_none():
    view = np.array([0.0, 0.1, 0.2, 0.5])
    clock = np.array([-0.2, -0.04, 0.06, 0.149, 0.34, 0.52, 0.7])
    assert sides.nearest_frames(view, clock).tolist() == [-1, 0, 1, 1, -1, 3, -1]
    assert sides.nearest_frames(np.zeros(0), clock).tolist() == [-1] * 7
    assert sides.nearest_frames(np.array([0.06]), clock).tolist() == [-1, -1, 0, -1, -1, -1, -1]
