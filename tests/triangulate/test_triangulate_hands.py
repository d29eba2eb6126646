"""Claims about hands in 3D: alone, and as part of a body, of which they are a small and finely seen part."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np
import pytest
from toy_hands import hand, resting, rig_round
from walker import ring, walker

from mocap import quality, skeletons
from mocap.geometry.cameras import Rig
from mocap.skeletons import BODY25, HANDS, LEFT_HAND21, MEDIAPIPE33, MEDIAPIPE75, RIGHT_HAND21, Skeleton
from mocap.take import Keypoints2D
from mocap.triangulate import sides
from mocap.triangulate.gate import impossible_limbs, spikes
from mocap.triangulate.observe import noise_of, person_size
from mocap.triangulate.points import Triangulation, triangulate

T = np.arange(150) / 30
OF_HANDS = MEDIAPIPE75.of_hands()


def seen(
    rig: Rig, xyz: np.ndarray, skeleton: Skeleton, noise: float | np.ndarray, *, missing: float = 0.0, seed: int = 0
) -> dict[str, Keypoints2D]:
    """What each camera sees of points (frames, joints, 3), with noise [px] of all or of each joint."""
    rng = np.random.default_rng(seed)
    views = {}
    for camera in rig:
        xy, _ = camera.project(xyz)
        xy = xy + rng.normal(size=xy.shape) * np.broadcast_to(noise, xyz.shape[1])[:, None]
        there = np.isfinite(xy).all(-1) & (rng.uniform(size=xy.shape[:2]) >= missing)
        views[camera.name] = Keypoints2D.of(skeleton, T, xy, np.where(there, 0.9, 0.0))
    return views


def body_with_hands() -> np.ndarray:
    """MEDIAPIPE75 (frames, 75, 3) [m]: a walker with hands that open and close at its wrists."""
    body = walker(T)
    xyz, _ = skeletons.convert(body, np.ones(body.shape[:2]), BODY25, MEDIAPIPE33)
    bend = 0.3 * (1 + np.sin(2 * np.pi * 0.5 * T[:, None] + np.arange(5)))
    down = np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]])  # fingers to the ground
    hands = [resting(s, bend) @ down.T + body[:, BODY25.index(f"{s}_wrist"), None] for s in ("left", "right")]
    return np.concatenate([xyz, *hands], axis=1)


def in_sigmas(made: Triangulation, truth: np.ndarray) -> np.ndarray:
    """How far points are off, in standard deviations: (frames, joints), NaN where missing."""
    k = made.keypoints3d
    off = k.xyz - truth
    inverse = np.linalg.inv(np.where(np.isfinite(k.covariance), k.covariance, np.eye(3)))
    return np.sqrt(np.einsum("tji,tjik,tjk->tj", off, inverse, off))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("views", [2, 4])
def test_a_hand_alone_is_triangulated_with_errors_that_its_covariance_says(side: str, views: int):
    rig = rig_round(views)
    truth = hand(T, side, sways=(0.2, 0.1, 0.1))
    made = triangulate(rig, seen(rig, truth, HANDS[side], 3.0, missing=0.05), T)
    assert made.warnings == []
    assert made.keypoints3d.skeleton is HANDS[side]
    assert made.facts["spikes_dropped"] == 0
    assert np.nanmedian(np.linalg.norm(made.keypoints3d.xyz - truth, axis=-1)) < 0.012
    assert np.nanmedian(in_sigmas(made, truth)) == pytest.approx(1.54, rel=0.25)  # the median of a chi of 3


def test_putting_sides_right_changes_nothing_of_a_hand():
    rig = rig_round(3)
    views = seen(rig, hand(T, "left"), LEFT_HAND21, 3.0)
    found = sides.find_swaps(rig, list(views.values()), T, [noise_of(v, 0.0125) for v in views.values()])
    assert found == {}
    either, other = (triangulate(rig, views, T, unswap=u).keypoints3d.xyz for u in (True, False))
    np.testing.assert_array_equal(either, other)


def test_a_camera_that_is_late_is_named_by_hands_too():
    rig = rig_round(4)
    truth = hand(T, "right", sways=(0.2, 0.1, 0.1), hertz=0.8)
    views = seen(rig, truth, RIGHT_HAND21, 2.0)
    views["cam2"] = dataclasses.replace(views["cam2"], timestamps=T + 0.03)
    (warning,) = triangulate(rig, views, T).warnings
    assert "Camera cam2 seems to be 0.030 s late" in warning


def test_noise_of_a_body_with_hands_is_in_sizes_of_what_was_looked_at():
    rig, xyz = ring(2), body_with_hands()
    view = next(iter(seen(rig, xyz, MEDIAPIPE75, 0.0).values()))
    body = Keypoints2D.of(MEDIAPIPE33, T, view.xy[:, :33], view.confidence[:, :33])
    right = Keypoints2D.of(RIGHT_HAND21, T, view.xy[:, 54:], view.confidence[:, 54:])
    noise = noise_of(view, 0.01)
    np.testing.assert_array_equal(noise[:, :33], np.tile(0.01 * person_size(body)[:, None], 33))
    np.testing.assert_array_equal(noise[:, 54:], np.tile(0.02 * person_size(right)[:, None], 21))
    np.testing.assert_array_equal(noise_of(right, 0.01)[:, 0], 0.01 * person_size(right))
    assert noise[:, 54].max() < 0.3 * noise[:, 0].min()


def test_a_body_with_hands_has_covariances_that_fit_both():
    rig, truth = ring(4), body_with_hands()
    made = triangulate(rig, seen(rig, truth, MEDIAPIPE75, np.where(OF_HANDS, 1.0, 5.0)), T)
    off = in_sigmas(made, truth)
    for part in (OF_HANDS, ~OF_HANDS):
        assert np.nanmedian(off[:, part]) == pytest.approx(1.54, rel=0.25)
    wrists = [made.facts["joints"][j]["sigma_m"] for j in ("left_wrist", "left_hand_wrist")]
    assert wrists[1] < 0.4 * wrists[0]


def test_hands_are_exchanged_with_their_arms():
    rig = ring(3)
    views = seen(rig, body_with_hands(), MEDIAPIPE75, np.where(OF_HANDS, 1.0, 3.0))
    arms, other = sides.parts(MEDIAPIPE75)["arms"], MEDIAPIPE75.mirrored()
    assert OF_HANDS[arms].sum() == 42
    clean = views["cam_2"]
    xy, confidence = clean.xy.copy(), clean.confidence.copy()
    at, source = np.ix_(np.arange(60, 90), arms), np.ix_(np.arange(60, 90), other[arms])
    xy[at], confidence[at] = clean.xy[source], clean.confidence[source]
    views["cam_2"] = dataclasses.replace(clean, xy=xy, confidence=confidence)
    made = triangulate(rig, views, T)
    assert made.facts["cameras"]["cam_2"]["swapped_frames"] == {"arms": 30}
    np.testing.assert_array_equal(made.keypoints2d["cam_2"].xy, clean.xy)


def shifted(views: Mapping[str, Keypoints2D], name: str, joint: str, by: float) -> dict[str, Keypoints2D]:
    view = views[name]
    xy = view.xy.copy()
    xy[:, view.skeleton.index(joint), 1] += by
    return {**views, name: dataclasses.replace(view, xy=xy)}


def test_of_two_views_a_finger_that_is_another_ones_is_refused_where_as_much_is_nothing_to_a_body():
    rig = ring(5).only(["cam_1", "cam_2"])
    views = seen(rig, body_with_hands(), MEDIAPIPE75, np.where(OF_HANDS, 0.5, 2.0))
    hands = [
        np.median(person_size(v, of=OF_HANDS & np.array(["left" in j for j in MEDIAPIPE75.joints])))
        for v in views.values()
    ]
    assert max(hands) < 40
    far = shifted(shifted(views, "cam_2", "left_index_tip", 20.0), "cam_2", "left_elbow", 20.0)
    made = triangulate(rig, far, T, unswap=False)
    assert made.facts["joints"]["left_index_tip"]["found"] < 0.1
    assert made.facts["joints"]["left_middle_tip"]["found"] == 1.0
    assert made.facts["joints"]["left_elbow"]["found"] == 1.0


def test_a_finger_joint_five_centimetres_off_is_impossible_and_an_elbow_is_not():
    xyz = body_with_hands()
    sure = np.broadcast_to(0.002**2 * np.eye(3), (*xyz.shape, 3)).copy()
    tip, elbow = MEDIAPIPE75.index("right_ring_tip"), MEDIAPIPE75.index("left_elbow")
    last = xyz[40:60, tip] - xyz[40:60, MEDIAPIPE75.index("right_ring_dip")]
    xyz[40:60, tip] += 0.05 * last / np.linalg.norm(last, axis=-1, keepdims=True)
    xyz[40:60, elbow, 2] -= 0.05
    expected = np.zeros(xyz.shape[:2], dtype=bool)
    expected[40:60, tip] = True
    np.testing.assert_array_equal(impossible_limbs(xyz, sure, MEDIAPIPE75), expected)
    assert not spikes(hand(T, "right", sways=(0.3, 0, 0), hertz=1.5), np.zeros((150, 21, 3, 3)), T).any()


def test_of_a_hand_all_points_count_and_of_a_body_with_hands_those_of_the_body():
    assert quality.body_points(RIGHT_HAND21).all()
    np.testing.assert_array_equal(quality.body_points(MEDIAPIPE75), [*quality.body_points(MEDIAPIPE33), *[False] * 42])


def test_a_hand_that_is_often_missing_is_named_as_one():
    rig, xyz = rig_round(3), body_with_hands()
    xyz[30:100, MEDIAPIPE75.indices(RIGHT_HAND21.joints)] = np.nan
    xyz[:75, [MEDIAPIPE75.index("left_index_tip"), MEDIAPIPE75.index("nose")]] = np.nan
    warnings = triangulate(rig, seen(rig, xyz, MEDIAPIPE75, 1.0), T).warnings
    (missing,) = [w for w in warnings if w.startswith("Often missing")]
    told = dict(re.findall(r"([\w ]+) \((\d+)% of frames\)", missing.replace(", ", ",").partition(": ")[2]))
    assert (told["nose"], told["left_index_tip"], told["the right hand"]) == ("50", "50", "47")
    assert not set(told) & set(RIGHT_HAND21.joints) and "the left hand" not in told
