"""The capsules of a body, the spheres along them and which of these may not overlap; their files."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from mocap.bodies import kinematics
from mocap.bodies.capsules import (
    CAPSULES,
    INCLUDED,
    SPACING,
    TRUNK,
    check_file,
    incompatible_parts,
    load_capsules,
    posed_spheres,
    spheres_of,
)
from mocap.bodies.load import GENDERS, load_body
from mocap.bodies.ranges import joint_ranges
from mocap.errors import BadFile, MissingFile, ModelError

BODY = load_body()
OWN = load_capsules(BODY)
SPHERES = spheres_of(BODY, OWN)
NOWHERE = np.zeros((1, 3))


def stored():
    with np.load(INCLUDED) as file:
        return dict(file)


# ------------------------------------------------------------------------------------------------------------ capsules


@pytest.mark.parametrize("gender", GENDERS)
def test_the_included_bodies_have_twenty_capsules_and_none_of_fingers_and_toes(gender):
    body = load_body(gender=gender)
    capsules = load_capsules(body)
    assert len(capsules.names) == 20
    assert set(body.joint_names) - set(capsules.names) == {"left_foot", "right_foot", "left_hand", "right_hand"}
    np.testing.assert_array_equal([body.joint_names[j] for j in capsules.joints], capsules.names)


@pytest.mark.parametrize("gender", GENDERS)
def test_left_mirrors_right(gender):
    capsules = load_capsules(load_body(gender=gender))
    ends, radii = capsules.shaped(np.zeros(10))
    for i, name in enumerate(capsules.names):
        if name.startswith("left_"):
            j = capsules.names.index("right_" + name.removeprefix("left_"))
            np.testing.assert_allclose(ends[i], ends[j] * [-1, 1, 1], atol=1e-6)
            assert radii[i] == pytest.approx(radii[j], abs=1e-6)


def test_limbs_capsules_lie_within_the_flesh_and_fill_it():
    """Of each vertex that a limb's joint leads, the distance from the capsule."""
    betas = np.random.default_rng(50).normal(size=10)
    v = BODY.rest(betas).astype(float)
    J = BODY.J_regressor @ v
    ends, radii = OWN.shaped(betas)
    leading = BODY.weights.argmax(1)
    for name in ("left_hip", "right_knee", "left_shoulder", "right_elbow"):
        c = OWN.names.index(name)
        own = v[leading == OWN.joints[c]] - J[OWN.joints[c]]
        a, axis = ends[c, 0], ends[c, 1] - ends[c, 0]
        t = np.clip((own - a) @ axis / (axis @ axis), 0, 1)
        out = np.linalg.norm(own - a - t[:, None] * axis, axis=1) - radii[c]
        assert abs(np.median(out)) < 0.012
        assert np.abs(out).mean() < 0.025


def test_tall_people_have_long_capsules_and_no_radius_vanishes_however_the_shape():
    short, tall = (OWN.shaped(np.eye(10)[0] * b) for b in (-2, 2))
    length = [np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1) for ends, _ in (short, tall)]
    shin = OWN.names.index("left_knee")
    assert length[1][shin] > length[0][shin] + 0.02
    assert (OWN.shaped(np.full(10, 30.0))[1] > 0).all()


def test_fewer_betas_are_the_first_ones_and_many_people_go_at_once():
    betas = np.random.default_rng(1).normal(size=(3, 10))
    betas[:, 4:] = 0
    ends, radii = OWN.shaped(betas[:, :4])
    for k in range(3):
        one = OWN.shaped(betas[k])
        np.testing.assert_allclose(ends[k], one[0], atol=1e-12)
        np.testing.assert_allclose(radii[k], one[1], atol=1e-12)


def test_on_shapes_that_taught_nothing_the_included_capsules_are_nearer_the_skin_than_the_labels():
    facts = json.loads(INCLUDED.with_name("capsules_provenance.json").read_text())["mean_distance_on_held_out_shapes"]
    assert set(facts) == {load_body(gender=g).content_hash for g in GENDERS}
    for each in facts.values():
        before, after = each["held_out"]["labelled"], each["held_out"]["round 2"]
        assert all(after[k] < 0.8 * before[k] for k in before)


# ------------------------------------------------------------------------------------------------------------- spheres


def test_spheres_stand_on_their_axis_from_end_to_end_less_than_their_spacing_apart():
    betas = np.zeros(10)
    ends, radii = OWN.shaped(betas)
    local, own_radii = SPHERES.shaped(betas)
    for c in range(20):
        row = SPHERES.capsule == c
        np.testing.assert_array_equal(own_radii[row], radii[c])
        np.testing.assert_allclose(local[row][[0, -1]], ends[c], atol=1e-12)
        gaps = np.linalg.norm(np.diff(local[row], axis=0), axis=-1)
        assert (gaps <= SPACING * radii[c] + 1e-12).all()
        np.testing.assert_allclose(gaps, gaps[0])


def test_spheres_move_with_their_joint_as_the_chain_of_rotations_says():
    rng = np.random.default_rng(2)
    betas, Rh, Th, poses = (
        rng.normal(size=10),
        rng.normal(size=(1, 3)),
        rng.normal(size=(1, 3)),
        rng.normal(size=(23, 3)),
    )
    centres, _ = posed_spheres(BODY, SPHERES, betas, Rh, Th, 0.5 * poses[None])
    local, _ = SPHERES.shaped(betas)
    R = kinematics.local_rotations(Rh, 0.5 * poses[None])[0]
    J = BODY.J_regressor @ BODY.rest(betas).astype(float)
    for s in range(0, len(local), 7):
        j = SPHERES.joints[s]
        point = J[j] + local[s]
        while j > 0:
            point, j = J[j] + R[j] @ (point - J[j]), BODY.parents[j]
        np.testing.assert_allclose(centres[0, s], R[0] @ point + Th[0], atol=1e-6)


@pytest.mark.parametrize("gender", GENDERS)
def test_what_must_not_go_through_one_another_is_told(gender):
    body = load_body(gender=gender)
    spheres = spheres_of(body, load_capsules(body))
    names = np.array(spheres.capsules.names)
    told = {tuple(p) for p in names[spheres.capsule[spheres.pairs]].tolist()}
    told |= {(b, a) for a, b in told}
    for a, b in (
        ("left_elbow", "spine1"), ("left_wrist", "pelvis"), ("right_wrist", "head"), ("left_wrist", "left_hip"),
        ("left_elbow", "right_elbow"), ("left_knee", "right_knee"), ("left_hip", "right_hip"),
        ("left_ankle", "right_ankle"), ("left_shoulder", "spine2"), ("left_ankle", "right_knee"),
    ):  # fmt: skip
        assert (a, b) in told
    parents = {(n, body.joint_names[body.parents[j]]) for n, j in zip(names, spheres.capsules.joints, strict=True)}
    assert not told & (parents | {(a, b) for a in TRUNK for b in TRUNK})
    assert incompatible_parts(body, spheres.capsules).sum() == len(told)


def test_beside_the_armpit_the_arm_may_touch_the_trunk_and_farther_down_it_may_not():
    partners = np.bincount(SPHERES.pairs.ravel(), minlength=len(SPHERES.capsule))
    for side in ("left", "right"):
        arm = partners[SPHERES.capsule == OWN.names.index(f"{side}_shoulder")]
        assert arm[0] < arm[-1] == arm.max()


@pytest.mark.parametrize("gender", GENDERS)
def test_in_ordinary_poses_nothing_touches(gender):
    body = load_body(gender=gender)
    spheres = spheres_of(body, load_capsules(body))
    usual = joint_ranges(body.joint_names[1:]).usual
    i, j = spheres.pairs.T
    for betas in (np.zeros(10), np.eye(10)[1], -np.eye(10)[2]):
        for pose in (np.zeros_like(usual), usual):
            centres, radii = posed_spheres(body, spheres, betas, NOWHERE, NOWHERE, pose[None])
            assert (np.linalg.norm(centres[0, i] - centres[0, j], axis=-1) >= radii[i] + radii[j]).all()


# --------------------------------------------------------------------------------------------------------------- files


def test_a_users_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **stored())
    check_file(path)
    np.testing.assert_array_equal(load_capsules(BODY, path).mean, OWN.mean)


def test_capsules_of_another_body_are_refused_and_a_body_without_is_told_the_command(tmp_path):
    other = dataclasses.replace(BODY, name="mine", content_hash="0123456789abcdef")
    with pytest.raises(ModelError, match=r'"mine" \(0123456789abcdef\) has no capsules.*python tools/fit_capsules\.py'):
        load_capsules(other)
    path = tmp_path / "female.npz"
    arrays = stored()
    np.savez(path, **{k: v if k == "names" else v[1:2] for k, v in arrays.items()})
    with pytest.raises(ModelError, match=rf"female\.npz.*{arrays['hashes'][1]}.*not of.*{BODY.content_hash}"):
        load_capsules(BODY, path)


def damaged(**changes):
    return {k: v for k, v in (stored() | changes).items() if v is not None}


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        (lambda: damaged(mean=None), "has no mean"),
        (lambda: damaged(mean=stored()["mean"][:, :5]), "must be numbers"),
        (lambda: damaged(by_shape=stored()["by_shape"][..., 0]), "must be numbers"),
        (lambda: damaged(by_shape=np.full((3, 20, 7, 10), "x")), "must be numbers"),
        (lambda: damaged(mean=stored()["mean"] * np.nan), "finite"),
        (lambda: damaged(mean=-stored()["mean"]), "positive"),
        (lambda: damaged(mean=np.array([{"run": "me"}], dtype=object)), "not a readable npz"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, arrays, why):
    path = tmp_path / "broken.npz"
    np.savez(path, **arrays())
    for read in (check_file, lambda p: load_capsules(BODY, p)):
        with pytest.raises(BadFile, match=rf"broken\.npz.*{why}"):
            read(path)


def test_a_cut_off_file_and_one_that_is_not_there_are_named(tmp_path):
    path = tmp_path / "cut.npz"
    path.write_bytes(INCLUDED.read_bytes()[:5000])
    with pytest.raises(BadFile, match=r"cut\.npz"):
        check_file(path)
    for content in (b"", b"betas", np.lib.format.MAGIC_PREFIX):
        path.write_bytes(content)
        with pytest.raises(BadFile, match=r"cut\.npz"):
            check_file(path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(path)
    with pytest.raises(BadFile, match=r"cut\.npz"):
        check_file(path)
    with pytest.raises(MissingFile, match=r"nowhere\.npz.*tools/fit_capsules\.py"):
        check_file(tmp_path / "nowhere.npz")


def test_capsules_with_joints_or_betas_the_body_has_not_are_refused(tmp_path):
    path = tmp_path / "odd.npz"
    np.savez(path, **damaged(names=np.array([*CAPSULES[:-1], "tail"])))
    with pytest.raises(ModelError, match="no joint tail"):
        load_capsules(BODY, path)
    np.savez(path, **damaged(by_shape=stored()["by_shape"][..., :4]))
    with pytest.raises(ModelError, match="10 betas"):
        load_capsules(BODY, path)
