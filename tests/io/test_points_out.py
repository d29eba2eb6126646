"""TRC and C3D, read back by other readers and by this program's own."""

from __future__ import annotations

import sys
from pathlib import Path

import c3d
import numpy as np
import pytest
from synthetic import random_motion

from mocap import skeletons
from mocap.bodies.load import load_body
from mocap.cli import main
from mocap.errors import SetupError
from mocap.io.formats.base import Finished
from mocap.io.formats.c3d import C3d
from mocap.io.formats.parquet import Parquet
from mocap.io.formats.trc import Trc
from mocap.io.results import Result, result_of
from mocap.io.stored_keypoints3d import read_keypoints3d
from mocap.io.tables import point_sets, short_name
from mocap.take import Keypoints3D, Motion, Person, RunContext, Take

FRAMES, FPS, FIRST = 40, 59.94, 100
READ = {"trc": Trc(), "c3d": C3d()}


@pytest.fixture(scope="module")
def result() -> Result:
    return of("embedded", skeletons.BODY25)


def of(model: str, skeleton: skeletons.Skeleton) -> Result:
    """Somebody upright, or a hand; keypoints are the body's with some missing."""
    body, betas = load_body(model), np.array([0.5, -1.0])
    _, Th, poses = random_motion(0, FRAMES, body.n_joints, spread=0.2)
    motion = Motion(np.tile([np.pi / 2, 0, 0], (FRAMES, 1)), Th, poses)
    frames, times = FIRST + np.arange(FRAMES), 1.5 + np.arange(FRAMES) / FPS
    take = Take(RunContext(Path("nowhere")), times, frames)
    n = len(skeleton)
    ones, spread = np.ones((FRAMES, n)), np.ones((FRAMES, n, 3, 3))
    points = Keypoints3D.of(skeleton, np.ones((FRAMES, n, 3)), ones, spread, ones)
    person = Person(keypoints3d=points, body=body, shape=betas, motion=motion)
    fit = result_of(take, person)[0].keypoints3d_fit
    assert fit is not None
    ones[3, 4] = ones[:5, -1] = ones[39, -1] = 0  # the last point too, whose cells end a row
    seen = Keypoints3D.of(skeleton, fit + 0.01, ones, spread, ones)
    return result_of(take, Person(keypoints3d=seen, body=body, shape=betas, motion=motion))[0]


def parsed_trc(path: Path) -> tuple[dict[str, str], list[str], np.ndarray, np.ndarray]:
    """Facts, names, times, and points (frames, points, 3) in the file's axes and unit."""
    lines = path.read_text().split("\n")
    assert lines[0] == f"PathFileType\t4\t(X/Y/Z)\t{path.name}" and lines[5] == "" and lines[-1] == ""
    names = lines[3].split("\t")[2::3]
    assert lines[3].startswith("Frame#\tTime\t") and lines[4].split("\t")[2:5] == ["X1", "Y1", "Z1"]
    cells = [line.split("\t") for line in lines[6:-1]]
    assert {len(row) for row in cells} == {2 + 3 * len(names)}
    table = np.array([[float(c) if c else np.nan for c in row] for row in cells])
    assert (table[:, 0] == FIRST + np.arange(FRAMES)).all()
    facts = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    return facts, names, table[:, 1], table[:, 2:].reshape(FRAMES, -1, 3)


@pytest.mark.parametrize("unit", ["m", "mm"])
def test_a_trc_holds_the_points_y_up_with_blank_cells_where_missing(tmp_path, result, unit):
    files = Trc(unit=unit).write([Finished(result)], tmp_path).files
    assert [f.name for f in files] == ["result_keypoints.trc", "result_fit.trc", "result_joints.trc"]
    for file, (names, xyz) in zip(files, point_sets(result).values(), strict=True):
        facts, written, times, points = parsed_trc(file)
        assert facts["Units"] == unit and facts["NumFrames"] == "40" and facts["NumMarkers"] == str(len(names))
        assert float(facts["DataRate"]) == pytest.approx(FPS, abs=1e-4) and facts["OrigDataStartFrame"] == "100"
        np.testing.assert_allclose(times, result.timestamps, atol=1e-6)
        x, y, z = np.moveaxis(xyz, -1, 0)
        scale = {"m": 1, "mm": 1000}[unit]
        np.testing.assert_allclose(points / scale, np.stack([x, z, -y], axis=-1), atol=1e-6)
        assert len(written) == len(set(written)) == len(names)
    assert np.isnan(parsed_trc(files[0])[3]).any(-1).sum() == 7


@pytest.mark.filterwarnings("ignore:No analog data found", "ignore:incomplete reading of data blocks")
@pytest.mark.parametrize(("unit", "per_metre"), [("mm", 1000), ("m", 1)])
def test_a_c3d_holds_the_points_z_up_and_which_are_missing(tmp_path, result, unit, per_metre):
    """Written by ezc3d, read by another library."""
    files = C3d(unit=unit).write([Finished(result)], tmp_path).files
    for file, (names, xyz) in zip(files, point_sets(result).values(), strict=True):
        with file.open("rb") as stream:
            found = c3d.Reader(stream)
            rows = [(number, points) for number, points, _ in found.read_frames()]
            units = found.get("POINT:UNITS")
            assert found.point_rate == pytest.approx(FPS) and units is not None and units.string_value.strip() == unit
            assert len(found.point_labels) == len(names)
        assert [number for number, _ in rows] == [FIRST + 1 + i for i in range(FRAMES)]  # a C3D counts from 1
        points = np.stack([points for _, points in rows])
        missing = np.isnan(xyz).any(-1)
        np.testing.assert_array_equal(points[..., 3] == -1, missing)
        np.testing.assert_allclose(points[..., :3][~missing] / per_metre, xyz[~missing], atol=1e-6)


@pytest.mark.parametrize(("library", "write"), [("ezc3d", C3d()), ("pyarrow", Parquet())])
def test_a_library_that_is_missing_is_named(tmp_path, result, monkeypatch, library, write):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SetupError, match=f"pip install {library}"):
        write.write([Finished(result)], tmp_path)


@pytest.mark.parametrize("suffix", ["trc", "c3d"])
def test_this_program_reads_them_back(tmp_path, result, suffix):
    READ[suffix].write([Finished(result)], tmp_path)
    up = {"trc": (0, 2, 1), "c3d": (0, 1, 2)}[suffix]
    for kind in ("keypoints", "fit"):
        found = read_keypoints3d(tmp_path / f"result_{kind}.{suffix}")
        (points,) = found.people.values()
        assert found.skeleton == skeletons.BODY25 and not found.unmatched and not found.warnings
        assert found.up == {"trc": "y", "c3d": "z"}[suffix]
        truth = point_sets(result)[kind][1][..., up] * ([1, 1, -1] if suffix == "trc" else [1, 1, 1])
        np.testing.assert_allclose(points.xyz, truth, atol=1e-5)
        np.testing.assert_array_equal(points.confidence > 0, ~np.isnan(truth).any(-1))
        np.testing.assert_allclose(np.diff(found.timestamps), 1 / FPS, atol=1e-5)


@pytest.mark.filterwarnings("ignore:No analog data found", "ignore:incomplete reading of data blocks")
@pytest.mark.parametrize("suffix", ["trc", "c3d"])
@pytest.mark.parametrize(
    ("model", "skeleton", "back"),
    [
        ("embedded_left_hand", skeletons.LEFT_HAND21, skeletons.LEFT_HAND21),
        ("embedded_right_hand", skeletons.RIGHT_HAND21, skeletons.RIGHT_HAND21),
        ("embedded_hands", skeletons.MEDIAPIPE75, skeletons.BODYHAND67),
    ],
)
def test_points_of_hands_are_read_back_by_this_program_and_by_another(tmp_path, suffix, model, skeleton, back):
    result = of(model, skeleton)
    READ[suffix].write([Finished(result)], tmp_path)
    found = read_keypoints3d(tmp_path / f"result_keypoints.{suffix}")
    (points,) = found.people.values()
    assert found.skeleton is back
    assert result.keypoints3d is not None and result.keypoints3d_confidence is not None
    wanted, there = skeletons.convert(result.keypoints3d, result.keypoints3d_confidence, skeleton, back)
    up = {"trc": (0, 2, 1), "c3d": (0, 1, 2)}[suffix]
    wanted = wanted[..., up] * ([1, 1, -1] if suffix == "trc" else [1, 1, 1])
    own = [i for i, joint in enumerate(back.joints) if joint in skeleton.joints]  # others are means of several
    np.testing.assert_allclose(points.xyz[:, own], wanted[:, own], atol=1e-5)
    np.testing.assert_array_equal(points.confidence[:, own] > 0, there[:, own] > 0)
    if suffix == "c3d":
        with (tmp_path / "result_joints.c3d").open("rb") as stream:
            other = c3d.Reader(stream)
            rows = np.stack([points[:, :3] for _, points, _ in other.read_frames()])
        assert result.joints is not None
        np.testing.assert_allclose(rows / 1000, result.joints, atol=1e-5)


@pytest.mark.parametrize("file", ["keypoints.trc", "joints.trc", "keypoints.c3d", "joints.c3d"])
def test_a_body_can_be_fitted_to_an_export(tmp_path, result, file, repository, capsys):
    kind, _, suffix = file.partition(".")
    READ[suffix].write([Finished(result)], tmp_path)
    config = repository / "config"
    where = ["--data", str(config / "datasets" / "keypoints3d.yml"), "--exp", str(config / "fitSMPL3d.yml")]
    assert main([*where, "--root", str(tmp_path / f"result_{kind}.{suffix}"), "--check", "--out", str(tmp_path)]) == 0
    capsys.readouterr()


def test_a_long_take_and_many_points_fit_into_a_c3d(tmp_path, result):
    from mocap.io.c3d import read_c3d
    from mocap.io.c3d_out import write_c3d

    xyz = np.random.default_rng(0).normal(size=(66000, 2, 3))  # more frames than its header can count
    write_c3d(tmp_path / "a.c3d", ["a", "b"], xyz, first=0, fps=30)
    assert read_c3d(tmp_path / "a.c3d").frames == 66000
    names = [f"point{i}" for i in range(300)]  # more than one list of labels holds
    write_c3d(tmp_path / "a.c3d", names, xyz[:600].reshape(4, 300, 3), first=0, fps=30, unit="m")
    found = read_c3d(tmp_path / "a.c3d")
    assert list(found.labels) == names
    np.testing.assert_allclose(found.xyz(np.arange(300))[0], xyz[:600].reshape(4, 300, 3), atol=1e-6)


@pytest.mark.parametrize("skeleton", skeletons.SKELETONS)
def test_short_names_of_a_skeleton_are_different_ones(skeleton):
    joints = skeletons.get(skeleton).joints
    assert len({short_name(joint) for joint in joints}) == len(joints)


def test_short_names_are_pose2sim_s():
    assert [short_name(j) for j in ("right_big_toe", "mid_hip", "neck", "nose", "left_knee", "mouth_left")] == [
        "RBigToe", "CHip", "Neck", "Nose", "LKnee", "LMouth",
    ]  # fmt: skip
