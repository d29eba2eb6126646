"""What `emc view` puts into a rerun recording, read back by rerun's own reader."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import numpy as np
import pytest
import walker
from report_takes import HOSTILE, finished_take, hand_take, hostile_ring

from mocap import cli, view
from mocap.bodies.load import load_body
from mocap.errors import DataError, SetupError
from mocap.io.formats.base import Finished
from mocap.io.results import result_of, write_result_npz
from mocap.take import Motion


def finished(tmp_path: Path, *, frames: int = 12, rig=None):
    """A take with a fitted body, and 2D keypoints."""
    take = finished_take(tmp_path, frames=frames, rig=rig)
    body = load_body("embedded")
    poses = np.zeros((frames, 23, 3))
    motion = Motion(np.zeros((frames, 3)), np.linspace(0, 1, 3 * frames).reshape(frames, 3), poses)
    take = take.with_people(body=[body], shape=[np.zeros(10)], motion=[motion])
    result, _ = result_of(take, take.people[0])
    return take, Finished(result, body, take.rig)


def recorded(path: Path) -> dict[str, list]:
    """The chunks of a file by the path of their entity."""
    rerun_chunk = pytest.importorskip("rerun.chunk", reason="rerun is not installed (extra `view`)")
    found: dict[str, list] = {}
    for chunk in rerun_chunk.RrdReader(str(path)).stream():
        found.setdefault(str(chunk.entity_path), []).append(chunk)
    return found


def column(chunks: list, name: str) -> list:
    """The rows of one column, of the chunks that have it."""
    rows = []
    for chunk in chunks:
        batch = chunk.to_record_batch()
        rows += [row for field in batch.schema.names if field == name for row in batch.column(field).to_pylist()]
    return rows


def saved(tmp_path: Path, finished: Finished, seen) -> dict[str, list]:
    rerun = pytest.importorskip("rerun", reason="rerun is not installed (extra `view`)")
    recording = rerun.RecordingStream("test")
    recording.save(tmp_path / "take.rrd")
    view.log(recording, [finished], [seen], {})
    recording.flush()
    recording.disconnect()
    return recorded(tmp_path / "take.rrd")


def test_every_part_of_a_take_is_there_with_its_numbers(tmp_path):
    take, one = finished(tmp_path, rig=walker.ring(2))
    found = saved(tmp_path, one, take.people[0].keypoints2d)
    parts = {"points", "skeleton", "body", "error_bars"}
    assert {f"/world/person_0/{part}" for part in parts} <= found.keys()
    assert {f"/world/cameras/cam_{i}" for i in (1, 2)} | {
        f"/world/cameras/cam_{i}/person_0" for i in (1, 2)
    } <= found.keys()
    points = column(found["/world/person_0/points"], "Points3D:positions")
    assert len(points) == 12
    xyz = one.result.keypoints3d
    assert xyz is not None
    assert np.array(points[1]) == pytest.approx(xyz[1], abs=1e-6)
    assert len(points[0]) == 24  # a joint that is missing there
    meshes = [row for row in column(found["/world/person_0/body"], "Mesh3D:vertex_positions") if row]
    assert len(meshes) == 12
    assert np.ptp(np.array(meshes[0])[:, 1]) == pytest.approx(np.ptp(one.body.rest(np.zeros(10))[:, 1]), abs=1e-3)


def test_2d_keypoints_lie_where_the_points_are_projected_without_distortion(tmp_path):
    take, one = finished(tmp_path, rig=walker.ring(2))
    found = saved(tmp_path, one, take.people[0].keypoints2d)
    rig = take.rig
    assert rig is not None
    camera = rig["cam_1"]
    shown = np.array(column(found["/world/cameras/cam_1/person_0"], "Points2D:positions")[1])
    truth = camera.to_camera(walker.walker(take.timestamps)[1])
    K = np.array(column(found["/world/cameras/cam_1"], "Pinhole:image_from_camera")[0]).reshape(3, 3).T
    projected = truth @ K.T
    assert np.abs(shown - projected[:, :2] / projected[:, 2:]).max() < 3.0  # the noise is 1 px of twice the size


def test_a_view_called_like_a_path_stays_one_part_of_the_path(tmp_path):
    take, one = finished(tmp_path, rig=hostile_ring(2))
    found = saved(tmp_path, one, take.people[0].keypoints2d)
    depth = {path.count("/") - path.count("\\/") for path in found if "harmed" in path}
    assert depth == {3, 4}
    assert HOSTILE


def test_a_hand_is_drawn_finer_than_a_body(tmp_path):
    rerun = pytest.importorskip("rerun", reason="rerun is not installed (extra `view`)")
    assert rerun
    take = hand_take(tmp_path, "left", frames=5)
    one = Finished(result_of(take, take.people[0])[0], take.people[0].body, take.rig)
    found = saved(tmp_path, one, take.people[0].keypoints2d)
    assert np.max(column(found["/world/person_0/points"], "Points3D:radii")[0]) == pytest.approx(0.0024)
    assert len(column(found["/world/person_0/points"], "Points3D:positions")[0]) == 21
    assert len(column(found["/world/person_0/error_bars"], "Ellipsoids3D:centers")[0]) == 16
    assert column(found["/world/cameras/cam_1"], "Pinhole:image_plane_distance")[0][0] == pytest.approx(0.1)


def test_images_are_without_distortion():
    camera = walker.ring(1).only(["cam_1"])["cam_1"].scaled_to((320, 180))
    x, y = view._undistortion(camera)
    pixel = np.array([60.0, 40.0])
    source = np.array([x[40, 60], y[40, 60]])
    K = camera.K
    assert camera.undistort(source) @ K[:2, :2].T + K[:2, 2] == pytest.approx(pixel, abs=1e-3)


def test_the_command_writes_a_file_and_says_that_there_are_no_images(tmp_path, capsys):
    pytest.importorskip("rerun", reason="rerun is not installed (extra `view`)")
    _, one = finished(tmp_path)
    write_result_npz(tmp_path / "result.npz", one.result)
    assert cli.main(["view", str(tmp_path), "--save", str(tmp_path / "a" / "take.rrd")]) == 0
    assert "No images" in capsys.readouterr().out
    assert "/world/person_0/body" in recorded(tmp_path / "a" / "take.rrd")


def test_unrelated_pictures_are_refused_with_what_to_look_at_instead(tmp_path):
    pytest.importorskip("rerun", reason="rerun is not installed (extra `view`)")
    (tmp_path / "smplify").mkdir()
    with pytest.raises(DataError, match=r"report\.html"):
        view.show(tmp_path)


def test_without_rerun_a_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "rerun":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "rerun", raising=False)
    with pytest.raises(SetupError, match="pip install rerun-sdk"):
        view.show(tmp_path)
