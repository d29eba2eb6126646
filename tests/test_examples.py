"""The main job on the example take, whole, through the command line; detections are replayed, the rest is real."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mocap import cli
from mocap.evaluate import compare_files
from mocap.io.results import read_result_npz

SHORT = ("--ranges", "30", "105", "1")
STAGES = """output: unused
stages:
  detect: {detector: {replay: {folder: %s}}}
  associate: {}
  triangulate: {}
  load_body_model: {}
  fit_shape: {}
  init_rt: {}
  refine_poses: {}
  write: {formats: [easymocap, npz, amass]}
"""


@pytest.fixture(scope="module")
def example(repository: Path) -> Path:
    return repository / "data" / "examples" / "dance"


@pytest.fixture
def run(tmp_path: Path, repository: Path, example: Path):
    """Runs the main job on the example, or on a copy of it, and gives the exit code and the output folder."""

    def go(*words: str, root: Path = example, detections: Path | None = None) -> tuple[int, Path]:
        exp = tmp_path / "exp.yml"
        exp.write_text(STAGES % (detections or example / "detections"))
        out = tmp_path / "out"
        data = repository / "config" / "datasets" / "mvimage.yml"
        code = cli.main(["--data", str(data), "--exp", str(exp), "--root", str(root), "--out", str(out), *words])
        return code, out

    return go


def mpjpe(out: Path, example: Path) -> float:
    """Mean distance of the 24 joints from the truth [mm]."""
    result, truth = read_result_npz(out / "result.npz"), read_result_npz(example / "truth.npz")
    places = np.searchsorted(truth.frames, result.frames)
    return float(1e3 * np.linalg.norm(result.joints - truth.joints[places], axis=-1).mean())


def changed(example: Path, folder: Path, view: str, change) -> Path:
    """The example's detections with those of one view changed: `change(arrays)` edits them in place."""
    shutil.copytree(example / "detections", folder)
    path = folder / f"{view}.npz"
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    change(arrays)
    np.savez(path, **arrays)
    return folder


def warnings_of(out: Path) -> str:
    report = json.loads((out / "report.json").read_text())
    assert report["complete"]
    return " ".join(w for stage in report["stages"] for w in stage.get("warnings", ()))


def test_the_main_job_is_within_25_mm_of_the_truth(run, example):
    code, out = run()
    assert code == 0
    assert mpjpe(out, example) < 25
    report = json.loads((out / "report.json").read_text())
    labels = [s["label"] for s in report["stages"]]
    wanted = "detect associate triangulate load_body_model fit_shape init_rt refine_poses write".split()
    assert [label for label in labels if label in wanted] == wanted
    fit = next(s for s in report["stages"] if s["label"] == "refine_poses")["people"][0]
    assert fit["converged"] and fit["passes"]["take"]["cost_by_term"]
    told = compare_files(out / "result.npz", example / "truth.npz")
    assert told["foot_slide_mm_frame"] < 2
    sigma = fit["joint_sigma"]["by_joint"]
    assert 0.001 < sigma["left_knee"] < 0.03 and sigma["left_hand"] > sigma["left_shoulder"]
    with np.load(out / "result.npz") as result:
        assert set(
            "poses Rh Th shapes keypoints3d keypoints3d_fit joints fps frames timestamps skeleton".split()
        ) <= set(result.files)
    for name in ("keypoints3d/000000.json", "smpl/000179.json", "amass.npz", "intri.yml", "extri.yml"):
        assert (out / name).exists(), name


def test_two_cameras_are_enough(run, example):
    code, out = run("--subs", "01", "02", *SHORT)
    assert code == 0
    assert mpjpe(out, example) < 45
    with np.load(out / "result.npz") as result:
        assert np.isfinite(result["keypoints3d"]).all(-1).mean() > 0.95


def test_two_cameras_tell_more_when_the_images_themselves_are_fitted(run, example):
    losses = "k3d: {}, smooth: {}, limits: {}, prior: {}, ground: {}"
    away = {}
    for more in ("", ", refine_2d: {}"):
        for pair in (("01", "02"), ("03", "04")):
            code, out = run("--subs", *pair, "--set", f"stages.refine_poses.losses={{{losses}{more}}}")
            assert code == 0
            told = compare_files(out / "result.npz", example / "truth.npz")
            away[pair, more] = np.array([told["mpjpe_mm"], told["pa_mpjpe_mm"], told["pve_mm"]])
            fit = next(
                s for s in json.loads((out / "report.json").read_text())["stages"] if s["label"] == "refine_poses"
            )
            assert fit["people"][0]["converged"]
    for pair in (("01", "02"), ("03", "04")):
        assert (away[pair, ", refine_2d: {}"] < away[pair, ""]).all(), away


def test_a_camera_that_sees_nobody_for_a_while_is_done_without(run, example, tmp_path):
    def blind(arrays):
        arrays["confidence"][60:80] = 0
        arrays["xy"][60:80] = np.nan

    code, out = run(*SHORT, detections=changed(example, tmp_path / "blind", "02", blind))
    assert code == 0
    assert mpjpe(out, example) < 27


def test_a_camera_shifted_in_time_is_named_and_its_offset_puts_it_right(run, example, tmp_path, capsys):
    def late(arrays):
        for name in ("xy", "confidence"):
            arrays[name][:] = np.concatenate([arrays[name][4:], arrays[name][-4:]])

    late_folder = changed(example, tmp_path / "late", "03", late)
    code, out = run(*SHORT, detections=late_folder)
    assert code == 0
    told = warnings_of(out)
    assert "amera 03 seems" in told, told
    assert mpjpe(out, example) < 40
    capsys.readouterr()
    # its frames were seen 4/30 s later than their numbers say
    code, out = run(*SHORT, "--set", "data.offsets.03=0.1333", detections=late_folder)
    assert code == 0
    assert "amera 03 seems" not in warnings_of(out)
    assert mpjpe(out, example) < 27


def test_a_corrupted_video_is_one_sentence(run, example, tmp_path, capsys):
    root = tmp_path / "take"
    shutil.copytree(example, root)
    video = root / "videos" / "02.mp4"
    video.write_bytes(video.read_bytes()[:5000])
    code, _ = run(root=root)
    told = capsys.readouterr().err
    assert code == 2
    assert "02.mp4" in told
    assert "Traceback" not in told


def test_an_empty_folder_is_one_sentence(run, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    code, _ = run(root=tmp_path / "nothing")
    told = capsys.readouterr().err
    assert code == 2
    assert "nothing" in told
    assert len(told.strip().splitlines()) == 1


def test_a_camera_missing_in_the_calibration_is_named(run, example, tmp_path, capsys):
    root = tmp_path / "take"
    shutil.copytree(example, root)
    lines = (root / "extri.yml").read_text().replace("R_03", "R_XX").replace("Rot_03", "Rot_XX")
    (root / "extri.yml").write_text(lines)
    code, _ = run(root=root)
    told = capsys.readouterr().err
    assert code == 2
    assert '"03"' in told
    assert "extri.yml" in told


def test_a_nan_in_a_detection_file_is_a_missing_point(run, example, tmp_path):
    def holes(arrays):
        arrays["xy"][10:15, 0, 13] = np.nan

    code, out = run(*SHORT, detections=changed(example, tmp_path / "holes", "01", holes))
    assert code == 0
    assert mpjpe(out, example) < 27


def test_a_wrong_key_names_file_line_and_the_nearest_known(run, capsys, tmp_path, repository, example):
    exp = tmp_path / "wrong.yml"
    exp.write_text("output: o\nstages:\n  detect: {}\n  triangulate:\n    max_eror: 0.01\n")
    code = cli.main(
        ["--data", str(repository / "config/datasets/mvimage.yml"), "--root", str(example), "--exp", str(exp)]
    )
    told = capsys.readouterr().err
    assert code == 2
    assert f"{exp}:5" in told
    assert "max_error" in told


def test_a_killed_run_goes_on_where_it_was(example, repository, tmp_path):
    exp, out = tmp_path / "exp.yml", tmp_path / "out"
    exp.write_text(STAGES % (example / "detections"))
    words = [
        *(sys.executable, "-m", "mocap.cli", "--data", str(repository / "config/datasets/mvimage.yml")),
        *("--root", str(example), "--exp", str(exp), "--out", str(out), *SHORT),
    ]
    started = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/*triangulate*")) and started.poll() is None:
        assert time.monotonic() < deadline, "it never came to triangulate"
        time.sleep(0.02)
    assert started.poll() is None, started.communicate()[0]
    os.kill(started.pid, signal.SIGKILL)
    started.communicate()
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "triangulate" in (again.stdout + again.stderr).split("stage ")[0], "it does not say what it kept"
    assert mpjpe(out, example) < 27
