"""Hands through the command line: the example take, and a real recording; detections are replayed, the rest is real."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mocap import cli
from mocap.detect import stored
from mocap.evaluate import compare_files
from mocap.io.results import read_result_npz
from mocap.skeletons import HANDS42

STAGES = """output: unused
stages:
  detect: {detector: {replay: {folder: %s}}}
  associate: {}
  triangulate: {}
  load_body_model: {}
  fit_shape: {}
  init_rt: {}
  refine_poses: {losses: {k3d: {}, smooth: {}, limits: {}, fingers: {}}}
  write: {formats: [npz]}
"""
HALF = len(HANDS42) // 2


@pytest.fixture(scope="module")
def example(repository: Path) -> Path:
    return repository / "data" / "examples" / "hands"


@pytest.fixture
def run(tmp_path: Path, repository: Path):
    """Fits hands to a recording, or with changed detections, and gives the output folder and what the report says."""

    def go(root: Path, *words: str, detections: Path | None = None) -> tuple[Path, dict]:
        exp, out = tmp_path / "exp.yml", tmp_path / "out"
        exp.write_text(STAGES % (detections or root / "detections"))
        data = repository / "config" / "datasets" / "mvimage.yml"
        assert cli.main(["--data", str(data), "--exp", str(exp), "--root", str(root), "--out", str(out), *words]) == 0
        return out, {s["label"]: s for s in json.loads((out / "report.json").read_text())["stages"]}

    return go


def test_both_hands_are_within_6_mm_of_the_truth_and_the_left_one_comes_first(run, example):
    out, told = run(example)
    found = compare_files(out, example)
    assert not found["missing"] and not found["further"]
    for one in found["people"]:
        assert one["mpjpe_mm"] < 6 and one["pa_mpjpe_mm"] < 5
    left, right = (read_result_npz(out / name) for name in ("result.npz", "result_1.npz"))
    assert (left.body, right.body) == ("embedded_left_hand", "embedded_right_hand")
    assert left.hand_pose is not None and left.hand_pose.shape == (150, 45)
    for one, name in ((left, "truth.npz"), (right, "truth_1.npz")):
        truth = read_result_npz(example / name)
        assert one.joints is not None and one.joint_sigma is not None and truth.joints is not None
        assert 0.5 < (np.abs(one.joints - truth.joints) < one.joint_sigma).mean() < 0.85  # of Gaussian errors 0.68
    assert all(person["converged"] for person in told["refine_poses"]["people"])


def test_two_cameras_are_enough_for_hands(run, example):
    out, _ = run(example, "--subs", "01", "03")
    found = compare_files(out, example)
    assert len(found["people"]) == 2 and found["mpjpe_mm"] < 10


def test_a_hand_nobody_sees_for_a_while_is_carried_on(run, example, tmp_path):
    hidden = tmp_path / "hidden"
    shutil.copytree(example / "detections", hidden)
    gone = slice(60, 75)
    for path in hidden.glob("*.npz"):
        seen = stored.read(path)
        left_half, right_half = seen.confidence[gone, :, :HALF], seen.confidence[gone, :, HALF:]
        is_left = left_half[..., 0] > right_half[..., 0]
        seen.xy[gone][is_left], seen.confidence[gone][is_left] = np.nan, 0.0
        stored.write(path, seen)
    out, _ = run(example, detections=hidden)
    result, truth = read_result_npz(out / "result.npz"), read_result_npz(example / "truth.npz")
    assert result.joints is not None and truth.joints is not None
    away = 1e3 * np.linalg.norm(result.joints - truth.joints, axis=-1)
    assert np.isfinite(away).all() and away[gone].mean() < 20
    assert np.delete(away, np.r_[gone], axis=0).mean() < 6


def test_a_real_hand_seen_by_two_cameras_reprojects_within_6_px_of_720(run, shared_data, tmp_path):
    source = shared_data / "handpose3d_two_view"
    points = np.load(source / "mediapipe_hand21_2d.npz")
    root = tmp_path / "hand"
    for folder in ("videos", "detections"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(source / "camera_parameters", root / "camera_parameters")
    for k, view in enumerate(("cam0", "cam1")):
        shutil.copy(source / "media" / f"{view}_test.mp4", root / "videos" / f"{view}.mp4")
        seen = points[f"cam{k}"]
        there = np.repeat((seen[..., 2] > 0)[:, None], 2, axis=1).reshape(len(seen), 1, -1)
        xy = np.where(there[..., None], np.tile(seen[:, None, :, :2], (1, 1, 2, 1)), np.nan)
        frames = np.arange(len(seen))
        none = np.zeros(0, int)
        stored.write(
            root / "detections" / f"{view}.npz",
            stored.Stored(HANDS42, frames, frames / 30, xy, 0.5 * there, none, view=view),
        )
    # one square of the chessboard is 43 mm about; the picture shows a right hand, which nothing but its fingers tells
    words = ("calibration=camera_parameters", "unit=0.043", "world={up: -z}")
    out, told = run(root, *(w for word in words for w in ("--set", f"data.{word}")))
    result = read_result_npz(out / "result.npz")
    assert result.body == "embedded_right_hand"
    (quality,) = told["quality"]["people"]
    assert quality["reprojection_fit_px"]["all"] < 6
    fit = result.keypoints3d_fit
    assert fit is not None
    names = list(result.keypoint_names)
    width = np.linalg.norm(fit[:, names.index("right_index_mcp")] - fit[:, names.index("right_pinky_mcp")], axis=-1)
    assert width.std() / width.mean() < 0.03


@pytest.mark.parametrize(
    ("take", "changes", "why"),
    [
        ("hands", ["load_body_model.model=embedded_hands"], "is a model of whole bodies, but hands by themselves"),
        ("dance", ["load_body_model.model=embedded_left_hand"], "is a model of a hand, but whole bodies were seen"),
        ("hands", ["detect_hands={}"], "Hands are added to bodies of mediapipe33"),
    ],
)
def test_what_does_not_go_with_the_keypoints_is_refused_before_the_first_frame(
    repository, tmp_path, capsys, take, changes, why
):
    root, exp = repository / "data" / "examples" / take, tmp_path / "exp.yml"
    stages = STAGES % (root / "detections")
    exp.write_text(stages.replace("  associate: {}\n", "  associate: {}\n  detect_hands: off\n"))
    data = repository / "config" / "datasets" / "mvimage.yml"
    words = [w for change in changes for w in ("--set", f"stages.{change}")]
    asked = ["--data", str(data), "--exp", str(exp), "--root", str(root), "--out", str(tmp_path / "out"), "--check"]
    assert cli.main([*asked, *words]) == 2
    assert why in capsys.readouterr().err
