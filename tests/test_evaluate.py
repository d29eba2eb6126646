"""Metrics against truths that are known by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mocap import evaluate
from mocap.bodies.kinematics import joints_of, keypoints_of
from mocap.bodies.load import load_body
from mocap.errors import BadFile, DataError, MissingFile

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(20, 24, 3))
TIMES = np.arange(20) / 30


def test_mpjpe_of_the_truth_is_zero_and_of_a_shift_its_length():
    assert np.array_equal(evaluate.mpjpe(TRUTH, TRUTH), np.zeros(24))
    assert evaluate.mpjpe(np.add(TRUTH, [0.03, 0, 0.04]), TRUTH) == pytest.approx(np.full(24, 0.05))


def test_missing_points_count_for_nothing():
    points = np.add(TRUTH, [0, 0, 0.1])
    points[3:, 5] = np.nan
    points[:, 7] = np.nan
    each = evaluate.mpjpe(points, TRUTH)
    assert each[5] == pytest.approx(0.1)
    assert np.isnan(each[7])


def test_alignment_takes_out_any_similarity_but_no_reflection():
    R = Rotation.from_rotvec([0.3, -2.0, 1.0]).as_matrix()
    points = 1.7 * TRUTH @ R.T + [1, 2, 3]
    assert evaluate.aligned(points, TRUTH) == pytest.approx(TRUTH)
    mirrored = TRUTH * [-1, 1, 1]
    assert np.nanmean(evaluate.mpjpe(evaluate.aligned(mirrored, TRUTH), TRUTH)) > 0.1


def test_alignment_uses_only_points_both_have():
    points = 0.5 * TRUTH + [1, 2, 3]
    points[:, 2:4] = np.nan
    points[9, 2:] = np.nan  # two points left
    moved = evaluate.aligned(points, TRUTH)
    assert moved[:9, 4:] == pytest.approx(TRUTH[:9, 4:])
    assert np.isnan(moved[9]).all()


def test_acceleration_error_of_a_constant_acceleration_is_itself():
    wrong = TRUTH + 0.5 * 3.0 * (TIMES**2)[:, None, None] * [0, 0, 1]
    assert evaluate.acceleration_error(wrong, TRUTH, TIMES) == pytest.approx(3.0)
    assert evaluate.acceleration_error(TRUTH + 5, TRUTH, TIMES) == pytest.approx(0, abs=1e-9)
    assert np.isnan(evaluate.acceleration_error(TRUTH[:2], TRUTH[:2], TIMES[:2]))


def test_a_gap_in_time_is_no_acceleration():
    wrong = TRUTH + np.where(np.arange(20) < 10, 0.0, 1.0)[:, None, None]
    apart = TIMES + np.where(np.arange(20) < 10, 0.0, 5.0)
    assert evaluate.acceleration_error(wrong, TRUTH, apart) == pytest.approx(0, abs=1e-9)


def test_foot_slide_counts_standing_feet_only():
    feet = np.zeros((20, 2, 3))
    feet[:, 1] = np.stack([TIMES * 2.0, 0 * TIMES, 0.3 + 0 * TIMES], axis=-1)  # in the air, moving
    feet[:2, 1] = 0.0
    stands = evaluate.standing(feet, TIMES)
    assert stands[:, 0].all()
    assert not stands[2:, 1].any()
    sliding = feet + (TIMES * 0.1)[:, None, None] * [1.0, 0, 0]
    assert evaluate.foot_slide(sliding[:, :1], stands[:, :1], TIMES) == pytest.approx(0.1)
    assert np.isnan(evaluate.foot_slide(sliding, np.zeros_like(stands), TIMES))


def test_frames_are_matched_by_their_moments():
    mine, theirs = evaluate.matched(np.array([0.1, 0.2, 0.31, 0.9]), np.array([0.0, 0.1, 0.2004, 0.3]))
    assert mine.tolist() == [0, 1]
    assert theirs.tolist() == [1, 2]
    assert evaluate.matched(np.array([0.5]), np.array([0.5]))[0].tolist() == [0]


@pytest.fixture(scope="module")
def body():
    return load_body("embedded", gender="neutral")


def write(path: Path, model, betas, motion, *, first: int = 0, **changes) -> Path:
    Rh, Th, poses = motion
    frames = np.arange(first, len(Rh))
    arrays = {
        "frames": frames,
        "timestamps": frames / 30,
        "Rh": Rh,
        "Th": Th,
        "poses": poses,
        "shapes": betas,
        "joints": joints_of(model, betas, Rh, Th, poses),
        "keypoints3d": keypoints_of(model, "body25", betas, Rh, Th, poses),
        "skeleton": "body25",
        "body": model.name,
        "gender": model.gender,
        "body_hash": model.content_hash,
    }
    for name in ("Rh", "Th", "poses", "joints", "keypoints3d"):
        arrays[name] = arrays[name][first:]
    arrays.update(changes)
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


@pytest.fixture(scope="module")
def motion(body):
    rng = np.random.default_rng(3)
    n = 6
    return rng.normal(0, 0.3, (n, 3)), rng.normal(0, 1, (n, 3)), rng.normal(0, 0.2, (n, body.n_joints - 1, 3))


class TestFiles:
    def test_a_result_shifted_by_five_millimetres_is_five_millimetres_off(self, tmp_path, body, motion):
        betas = np.zeros(body.n_betas)
        truth = write(tmp_path / "truth.npz", body, betas, motion)
        Rh, Th, poses = motion
        result = write(tmp_path / "result.npz", body, betas, (Rh, np.add(Th, [0.003, 0, 0.004]), poses), first=2)
        for joints in ("body", "keypoints", "triangulated"):
            found = evaluate.compare_files(result, truth, joints=joints)
            assert found["frames"] == 4
            assert found["mpjpe_mm"] == pytest.approx(5)
            assert found["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-6)
            assert found["pve_mm"] == pytest.approx(5, rel=1e-4)
            assert found["acceleration_error_m_s2"] == pytest.approx(0, abs=1e-6)
            assert found["notes"] == []
        assert "MPJPE               5.0 mm" in evaluate.told(found)

    def test_slide_of_a_body_that_drifts_is_its_drift_in_every_frame_the_truth_stands(self, tmp_path, body):
        n = 10
        upright = np.tile([np.pi / 2, 0, 0], (n, 1))
        still = (upright, np.zeros((n, 3)), np.zeros((n, body.n_joints - 1, 3)))
        drifting = (upright, np.arange(n)[:, None] * [0.002, 0, 0], still[2])
        truth = write(tmp_path / "truth.npz", body, np.zeros(10), still)
        found = evaluate.compare_files(write(tmp_path / "result.npz", body, np.zeros(10), drifting), truth)
        assert found["foot_slide_mm_frame"] == pytest.approx(2.0)
        assert found["foot_slide_mm_s"] == pytest.approx(60.0)
        assert found["foot_slide_truth_mm_frame"] == pytest.approx(0, abs=1e-9)
        assert found["foot_contacts"] == 6 * (n - 1)  # heels and toes of both feet, all the time
        # of another body too, each by its own: joints called foot are two, and higher
        hands = load_body("embedded_hands")
        names = np.array(hands.joint_names)
        with_hands = (drifting[0], drifting[1], np.zeros((n, hands.n_joints - 1, 3)))
        other = evaluate.compare_files(
            write(tmp_path / "other.npz", hands, np.zeros(10), with_hands, joint_names=names), truth
        )
        assert other["foot_contacts"] == 6 * (n - 1)
        assert other["foot_slide_mm_frame"] == pytest.approx(2.0)

    def test_folders_stand_for_the_file_in_them(self, tmp_path, body, motion):
        for name in ("result", "truth"):
            (tmp_path / name).mkdir()
            write(tmp_path / name / f"{name}.npz", body, np.zeros(10), motion)
        assert evaluate.compare_files(tmp_path / "result", tmp_path / "truth")["mpjpe_mm"] == pytest.approx(0)

    def test_betas_of_another_body_are_never_compared(self, tmp_path, body, motion):
        truth = write(tmp_path / "truth.npz", body, np.zeros(10), motion)
        result = write(tmp_path / "result.npz", body, np.zeros(10), motion, body="SMPL", body_hash="0123")
        found = evaluate.compare_files(result, truth)
        assert found["pve_mm"] is None
        refused = 'No PVE (--body embedded): The betas belong to body "SMPL" (neutral, hash 0123) and cannot'
        assert found["notes"][1].startswith(refused)
        both = evaluate.compare_files(result, result)
        assert both["notes"][0].startswith(refused)

    def test_what_is_not_there_is_told(self, tmp_path, body, motion):
        truth = write(tmp_path / "truth.npz", body, np.zeros(10), motion)
        with pytest.raises(MissingFile, match="Result not found"):
            evaluate.compare_files(tmp_path / "nothing.npz", truth)
        (tmp_path / "empty").mkdir()
        with pytest.raises(MissingFile, match=r"empty/result\.npz"):
            evaluate.compare_files(tmp_path / "empty", truth)
        late = write(tmp_path / "late.npz", body, np.zeros(10), motion, timestamps=np.arange(6) + 100.0)
        with pytest.raises(DataError, match="no moment in common"):
            evaluate.compare_files(late, truth)
        bare = write(tmp_path / "bare.npz", body, np.zeros(10), motion, joints=None)
        with pytest.raises(BadFile, match='has no "joints" to compare'):
            evaluate.compare_files(bare, truth)
        lost = write(tmp_path / "lost.npz", body, np.zeros(10), motion, joints=np.full((6, 24, 3), np.nan))
        with pytest.raises(DataError, match="all are missing"):
            evaluate.compare_files(lost, truth)
        (tmp_path / "text.npz").write_text("no")
        with pytest.raises(BadFile, match="not a result in npz"):
            evaluate.compare_files(tmp_path / "text.npz", truth)
        np.savez(tmp_path / "evil.npz", timestamps=np.array([print], dtype=object))
        with pytest.raises(BadFile, match="not a result"):
            evaluate.compare_files(tmp_path / "evil.npz", truth)


def hand_truth(path: Path, side: str, *, shift: float = 0.0, bend: float = 0.0, far: float = 0.0) -> Path:
    """A hand that waves; the whole of it moved by `shift` [m], one of its joints bent by `bend` [rad]."""
    model, n = load_body(f"embedded_{side}_hand"), 6
    rng = np.random.default_rng(4)
    Rh, Th, poses = rng.normal(0, 0.3, (n, 3)), rng.normal(0, 0.1, (n, 3)), rng.normal(0, 0.2, (n, 15, 3))
    poses[:, model.joint_names.index(f"{side}_index1") - 1, 2] += bend
    frames, betas, name = np.arange(n), np.zeros(model.n_betas), f"{side}_hand21"
    motion = (Rh, np.add(Th, [far + shift, 0, 0]), poses)
    np.savez(
        path,
        frames=frames,
        timestamps=frames / 30,
        **dict(zip(("Rh", "Th", "poses"), motion, strict=True)),
        shapes=betas,
        joints=joints_of(model, betas, *motion),
        joint_names=model.joint_names,
        keypoints3d=keypoints_of(model, name, betas, *motion),
        skeleton=name,
        body=model.name,
        gender=model.gender,
        body_hash=model.content_hash,
    )
    return path


JOINT_NAMES_OF = {side: load_body(f"embedded_{side}_hand").joint_names for side in ("left", "right")}


class TestHands:
    def test_a_hand_is_measured_by_its_16_joints_and_5_tips(self, tmp_path):
        truth = hand_truth(tmp_path / "truth.npz", "right")
        found = evaluate.compare_files(hand_truth(tmp_path / "result.npz", "right", shift=0.005), truth)
        assert len(found["mpjpe_mm_by_point"]) == 21 and "right_thumb_tip" in found["mpjpe_mm_by_point"]
        assert found["mpjpe_mm"] == pytest.approx(5) and found["pve_mm"] == pytest.approx(5, rel=1e-4)
        assert found["mpjpe_without_fingers_mm"] is None and found["notes"] == []
        # with the wrists as one nothing is left of a shift
        assert set(found["hands"]) == {"right"}
        assert found["hands"]["right"] == pytest.approx({"mpjpe_mm": 0, "pa_mpjpe_mm": 0}, abs=1e-6)
        told = evaluate.told(found)
        assert "right hand          0.0 mm with the wrists as one" in told and "foot" not in told
        for joints in ("keypoints", "triangulated"):
            found = evaluate.compare_files(tmp_path / "result.npz", truth, joints=joints)
            assert len(found["mpjpe_mm_by_point"]) == 21 and found["mpjpe_mm"] == pytest.approx(5)

    def test_a_bent_finger_is_an_error_of_that_finger_alone(self, tmp_path):
        truth = hand_truth(tmp_path / "truth.npz", "left")
        found = evaluate.compare_files(hand_truth(tmp_path / "result.npz", "left", bend=0.3), truth)
        off = {name for name, error in found["mpjpe_mm_by_point"].items() if error > 1e-6}
        assert off == {"left_index2", "left_index3", "left_index_tip"}
        fingers = sum(found["mpjpe_mm_by_point"].values()) / 20  # all but the wrist, which is right
        assert found["hands"]["left"]["mpjpe_mm"] == pytest.approx(fingers)

    def test_two_hands_are_matched_by_side_and_two_of_a_side_by_place(self, tmp_path):
        (tmp_path / "truth").mkdir()
        (tmp_path / "out").mkdir()
        hand_truth(tmp_path / "truth" / "truth.npz", "right")
        hand_truth(tmp_path / "truth" / "truth_1.npz", "left")
        hand_truth(tmp_path / "truth" / "truth_2.npz", "right", far=1.0)
        hand_truth(tmp_path / "out" / "result.npz", "right", far=1.0, shift=0.002)
        hand_truth(tmp_path / "out" / "result_1.npz", "left", far=1.0, shift=0.004)
        hand_truth(tmp_path / "out" / "result_2.npz", "right", shift=0.006)
        found = evaluate.compare_files(tmp_path / "out", tmp_path / "truth")
        assert [Path(one["result"]).name for one in found["people"]] == ["result_2.npz", "result_1.npz", "result.npz"]
        assert [one["mpjpe_mm"] for one in found["people"]] == pytest.approx([6, 1004, 2])
        assert found["mpjpe_mm"] == pytest.approx(np.mean([6, 1004, 2]))
        assert found["missing"] == found["further"] == []
        told = evaluate.told(found)
        assert "mean of all: MPJPE 337.3 mm" in told and told.count("MPJPE  ") == 6

        (tmp_path / "out" / "result_1.npz").unlink()
        found = evaluate.compare_files(tmp_path / "out", tmp_path / "truth")
        assert found["missing"] == [str(tmp_path / "truth" / "truth_1.npz")]
        alone = evaluate.compare_files(tmp_path / "out", tmp_path / "truth" / "truth_2.npz")
        assert alone["result"].endswith("result.npz") and "not with" in alone["notes"][-1]
        with pytest.raises(DataError, match="no point of the same name"):
            evaluate.compare_files(tmp_path / "out", tmp_path / "truth" / "truth_1.npz")

    def test_a_body_with_hands_has_figures_for_each_and_for_what_is_no_finger(self, tmp_path):
        model = load_body("embedded_hands")
        rng, n, betas = np.random.default_rng(3), 6, np.zeros(model.n_betas)
        motion = rng.normal(0, 0.3, (n, 3)), rng.normal(0, 1, (n, 3)), rng.normal(0, 0.2, (n, 51, 3))
        kept = {"joint_names": model.joint_names, "skeleton": "mediapipe75"}
        truth = write(tmp_path / "truth.npz", model, betas, motion, **kept,
                      keypoints3d=keypoints_of(model, "mediapipe75", betas, *motion))  # fmt: skip
        poses = motion[2].copy()
        poses[:, model.joint_names.index("left_wrist") - 1] += [0, 0.3, 0]
        moved = (motion[0], motion[1], poses)
        result = write(tmp_path / "result.npz", model, betas, moved, **kept,
                       keypoints3d=keypoints_of(model, "mediapipe75", betas, *moved))  # fmt: skip
        found = evaluate.compare_files(result, truth)
        assert len(found["mpjpe_mm_by_point"]) == 62
        assert found["mpjpe_without_fingers_mm"] == pytest.approx(0, abs=1e-9) and found["mpjpe_mm"] > 1
        assert found["hands"]["left"]["mpjpe_mm"] > 5 and found["hands"]["right"]["mpjpe_mm"] == pytest.approx(0)
        assert found["hands"]["left"]["pa_mpjpe_mm"] < 0.01  # the hand itself is as it was
        assert found["pve_mm"] > 1 and found["notes"] == []
        assert "  without fingers   0.0 mm" in evaluate.told(found)

    def test_a_body_with_its_fingers_is_compared_with_each_of_two_hands_and_they_with_it(self, tmp_path):
        model = load_body("embedded_hands")
        n, betas, off = 6, np.zeros(model.n_betas), {"left": 0.002, "right": 0.005}
        motion = np.zeros((n, 3)), np.zeros((n, 3)), np.random.default_rng(3).normal(0, 0.2, (n, 51, 3))
        points = keypoints_of(model, "mediapipe75", betas, *motion)
        body, two = tmp_path / "body.npz", tmp_path / "two"
        two.mkdir()
        write(body, model, betas, motion, joint_names=model.joint_names, skeleton="mediapipe75", keypoints3d=points)
        joints = joints_of(model, betas, *motion)
        for name, side in (("result", "left"), ("result_1", "right")):
            here = [i for i, joint in enumerate(model.joint_names) if joint in JOINT_NAMES_OF[side]]
            np.savez(
                two / f"{name}.npz",
                timestamps=np.arange(n) / 30,
                joints=joints[:, here] + [off[side], 0, 0],
                joint_names=np.array(model.joint_names)[here],
            )
        for result, truth in ((two, body), (body, two)):
            found = evaluate.compare_files(result, truth)
            assert [one["mpjpe_mm"] for one in found["people"]] == pytest.approx([2, 5])
            assert found["missing"] == found["further"] == []

    def test_feet_are_not_spoken_of_where_none_is_compared(self, tmp_path):
        model, n = load_body("embedded"), 6
        motion = np.zeros((n, 3)), np.zeros((n, 3)), np.zeros((n, 23, 3))
        truth = write(tmp_path / "truth.npz", model, np.zeros(10), motion)
        told = evaluate.told(evaluate.compare_files(hand_truth(tmp_path / "hand.npz", "left"), truth))
        assert "furthest off        left_wrist" in told and "foot" not in told
