"""Claims about keypoint sets and their mappings by name."""

from __future__ import annotations

import numpy as np
import pytest

from mocap import skeletons
from mocap.errors import UnknownName

SETS = list(skeletons.SKELETONS.values())
names = [s.name for s in SETS]
COUNTS = {"body25": 25, "body25b": 25, "coco17": 17, "mediapipe33": 33, "lsp14": 14, "cpm14": 14, "smpl24": 24}
COUNTS |= {"left_hand21": 21, "right_hand21": 21, "hands42": 42, "mediapipe75": 75, "bodyhand67": 67}


@pytest.mark.parametrize("s", SETS, ids=names)
def test_every_set_has_its_count_of_distinct_joints(s: skeletons.Skeleton) -> None:
    assert len(s) == COUNTS[s.name] == len(set(s.joints))


@pytest.mark.parametrize("s", SETS, ids=names)
def test_limbs_join_two_known_joints_once(s: skeletons.Skeleton) -> None:
    places = s.limb_indices()
    assert places.shape == (len(s.limbs), 2)
    assert (places[:, 0] != places[:, 1]).all()
    assert len({frozenset(limb) for limb in s.limbs}) == len(s.limbs)


@pytest.mark.parametrize("s", SETS, ids=names)
def test_every_joint_is_drawn(s: skeletons.Skeleton) -> None:
    lone = set(s.joints) - {j for limb in s.limbs for j in limb}
    assert lone <= {j for j in s.joints if "_eye_" in j}


@pytest.mark.parametrize("s", SETS, ids=names)
def test_mirroring_twice_changes_nothing_and_every_sided_joint_has_its_other(s: skeletons.Skeleton) -> None:
    m = s.mirrored()
    np.testing.assert_array_equal(m[m], np.arange(len(s)))
    for i, joint in enumerate(s.joints):
        sided = ("left" in joint.split("_") or "right" in joint.split("_")) and s not in skeletons.HANDS.values()
        assert (m[i] != i) == sided, joint


@pytest.mark.parametrize("s", SETS, ids=names)
def test_mirroring_maps_limbs_on_to_limbs(s: skeletons.Skeleton) -> None:
    m = s.mirrored()
    limbs = {frozenset(pair) for pair in s.limb_indices().tolist()}
    assert {frozenset(pair) for pair in m[s.limb_indices()].tolist()} == limbs


@pytest.mark.parametrize("s", SETS, ids=names)
def test_derived_points_are_means_of_joints_the_set_has_and_not_joints_of_it(s: skeletons.Skeleton) -> None:
    for name, parts in s.derived.items():
        assert s.has(*parts)
        assert not s.has(name)


@pytest.mark.parametrize("source", SETS, ids=names)
@pytest.mark.parametrize("target", SETS, ids=names)
def test_conversion_keeps_every_joint_of_the_same_name(source: skeletons.Skeleton, target: skeletons.Skeleton) -> None:
    rng = np.random.default_rng(0)
    xyz, confidence = rng.normal(size=(4, len(source), 3)), rng.uniform(0.1, 1, (4, len(source)))
    out, conf = skeletons.convert(xyz, confidence, source, target)
    for joint in set(source.joints) & set(target.joints):
        np.testing.assert_array_equal(out[:, target.index(joint)], xyz[:, source.index(joint)])
        np.testing.assert_array_equal(conf[:, target.index(joint)], confidence[:, source.index(joint)])
    m = skeletons.conversion(source, target)
    had = m.any(1)
    np.testing.assert_allclose(m[had].sum(1), 1)
    assert np.isnan(out[:, ~had]).all()
    assert (conf[:, ~had] == 0).all()


def test_a_derived_point_is_the_mean_of_its_parts_and_as_sure_as_the_least_sure() -> None:
    s, t = skeletons.COCO17, skeletons.BODY25
    xyz, confidence = np.random.default_rng(0).normal(size=(2, 17, 2)), np.full((2, 17), 0.9)
    confidence[:, s.index("left_hip")] = 0.4
    xyz[1, s.index("right_shoulder")] = np.nan
    out, conf = skeletons.convert(xyz, confidence, s, t)
    hips = xyz[:, s.indices(("left_hip", "right_hip"))].mean(1)
    np.testing.assert_allclose(out[:, t.index("mid_hip")], hips)
    np.testing.assert_array_equal(conf[:, t.index("mid_hip")], 0.4)
    assert np.isfinite(out[0, t.index("neck")]).all()
    assert np.isnan(out[1, t.index("neck")]).all()
    assert conf[1, t.index("neck")] == 0


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="left_knee"):
        skeletons.COCO17.index("l_knee")
    with pytest.raises(UnknownName, match="body25"):
        skeletons.get("body_25")
