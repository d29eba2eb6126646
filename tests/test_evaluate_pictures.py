"""Single pictures beside their truth."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from pictures import pictures_take

from mocap import cli, evaluate
from mocap.bodies.load import load_body
from mocap.errors import MissingFile
from mocap.geometry import rotations
from mocap.io.smplify import read_smplify_npz, write_smplify_npz
from mocap.stages.write import Write


@pytest.fixture
def example(repository: Path) -> Path:
    return repository / "data" / "examples" / "lsp"


@pytest.fixture
def result(example: Path, tmp_path: Path) -> Path:
    """The truth as a result, of two pictures."""
    Write()(pictures_take(example, tmp_path / "out", few=2))
    return tmp_path / "out"


def change(result: Path, name: str, **changes) -> None:
    path = result / "smplify" / f"{name}.npz"
    write_smplify_npz(path, dataclasses.replace(read_smplify_npz(path), **changes))


def test_the_truth_itself_is_right_and_pictures_without_a_result_are_named(result, example, capsys):
    found = evaluate.compare_files(result, example)
    assert (found["pictures"], found["pictures_of_truth"]) == (2, 12)
    assert found["missing"] == [f"im{i:04d}" for i in range(3, 13)]
    for key in ("mpjpe_mm", "pa_mpjpe_mm", "shape_mm", "stature_mm"):
        assert found[key] == pytest.approx(0, abs=1e-6)
    assert found["notes"] == []
    assert cli.main(["eval", str(result / "smplify"), str(example)]) == 0
    told = capsys.readouterr().out
    assert "2 of 12 pictures, missing: im0003, im0004" in told and "im0002" in told


def test_place_means_nothing_turn_and_scale_mean_nothing_after_alignment(result, example):
    joints = read_smplify_npz(result / "smplify" / "im0001.npz").joints3d
    change(result, "im0001", joints3d=joints + [0.3, -2.0, 5.0])
    turned = 1.2 * joints @ rotations.exp(np.array([0.1, 0.5, -0.2])).T
    change(result, "im0002", joints3d=read_smplify_npz(result / "smplify" / "im0002.npz").joints3d)
    found = evaluate.compare_files(result, example)["by_picture"]
    assert found["im0001"]["mpjpe_mm"] == pytest.approx(0, abs=1e-6)
    change(result, "im0001", joints3d=turned)
    found = evaluate.compare_files(result, example)["by_picture"]
    off = (turned - turned[:, :1]) - (joints - joints[:, :1])
    assert found["im0001"]["mpjpe_mm"] == pytest.approx(1000 * np.linalg.norm(off, axis=-1).mean())
    assert found["im0001"]["mpjpe_mm"] > 50
    assert found["im0001"]["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-6)


def test_a_joint_out_of_place_is_told_by_both(result, example):
    one = read_smplify_npz(result / "smplify" / "im0001.npz")
    moved = one.joints3d.copy()
    moved[0, 20] += [0.0, 0.24, 0.0]
    change(result, "im0001", joints3d=moved)
    found = evaluate.compare_files(result, example)
    assert found["by_picture"]["im0001"]["mpjpe_mm"] == pytest.approx(240 / 24)
    assert 5 < found["by_picture"]["im0001"]["pa_mpjpe_mm"] < 25
    assert found["mpjpe_mm"] == pytest.approx(240 / 24 / 2)  # the mean of two pictures


def test_another_shape_is_as_far_off_as_its_vertices(result, example):
    one = read_smplify_npz(result / "smplify" / "im0001.npz")
    betas = np.zeros(10)
    change(result, "im0001", betas=betas)
    found = evaluate.compare_files(result, example)["by_picture"]["im0001"]
    body = load_body("embedded", gender=one.gender)
    a, b = (body.rest(shape).astype(float) for shape in (betas, one.betas))
    off = (a - b) - (a - b).mean(0)
    assert found["shape_mm"] == pytest.approx(1000 * np.linalg.norm(off, axis=-1).mean(), rel=1e-6)
    assert found["stature_mm"] == pytest.approx(1000 * (body.stature(betas) - body.stature(one.betas)), abs=1e-3)
    assert found["shape_mm"] > 1


def test_betas_of_another_body_are_never_compared(result, example):
    change(result, "im0001", body="SMPL", body_hash="0123")
    found = evaluate.compare_files(result, example)
    assert found["by_picture"]["im0001"]["shape_mm"] is None
    assert found["shape_mm"] == pytest.approx(0, abs=1e-6)  # of the other picture
    assert found["notes"][0].startswith('No shape error (--body embedded): The betas belong to body "SMPL"')
    assert "-" in evaluate.told(found)


def test_a_folder_without_pictures_is_told(result, example):
    shutil.rmtree(result / "smplify")
    with pytest.raises(MissingFile, match=r"Result of a picture not found: .*im0001\.npz"):
        evaluate.compare_files(result, example)


def test_one_alignment_for_all_frames_forgives_another_world_and_not_a_drift():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(5, 6, 3))
    elsewhere = 0.8 * truth @ rotations.exp(np.array([0.3, 2.0, 0.1])) + [3.0, 4.0, 5.0]
    np.testing.assert_allclose(evaluate.aligned_once(elsewhere, truth), truth, atol=1e-12)
    drifting = elsewhere + np.arange(5)[:, None, None] * [0.5, 0, 0]
    each = evaluate.mpjpe(evaluate.aligned(drifting, truth), truth).mean()
    once = evaluate.mpjpe(evaluate.aligned_once(drifting, truth), truth).mean()
    assert each == pytest.approx(0, abs=1e-12)
    assert once > 0.2
