"""The stage `write`: which files appear, and what it says when something cannot be written."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mocap import skeletons
from mocap.errors import UnknownName
from mocap.io.calibration import read_calibration
from mocap.io.results import read_result_npz
from mocap.stages.write import Write
from mocap.take import Keypoints3D, Motion, Person, RunContext, Take
from tests.synthetic import random_motion, ring_rig, toy_body


def take(tmp_path, *, fitted: bool = True, people: int = 1) -> Take:
    frames = 4
    ones = np.ones((frames, 25))
    points = Keypoints3D.of(skeletons.BODY25, np.ones((frames, 25, 3)), ones, np.ones((frames, 25, 3, 3)), ones)
    one = Person(keypoints3d=points)
    if fitted:
        one = dataclasses.replace(one, body=toy_body(), shape=np.zeros(4), motion=Motion(*random_motion(0, frames)))
    return Take(
        RunContext(tmp_path / "out"), np.arange(frames) / 30, np.arange(frames), ring_rig(), people=(one,) * people
    )


def names(folder) -> set[str]:
    return {p.name for p in folder.iterdir() if not p.name.startswith(".")}


def test_everything_asked_for_is_written_into_the_output_folder_and_reported(tmp_path):
    t = take(tmp_path)
    after = Write(formats=("easymocap", "npz", "amass"))(t.begun("write", "write"))
    out = tmp_path / "out"
    assert names(out) == {"result.npz", "amass.npz", "keypoints3d", "smpl", "intri.yml", "extri.yml"}
    assert names(tmp_path) == {"out"} and set(after.reports[-1].facts["files"]) == names(out)
    assert after.people is t.people and after.rig is t.rig
    assert read_calibration(out).names == t.rig.names


def test_the_result_is_always_written(tmp_path):
    Write(formats=())(take(tmp_path))
    assert names(tmp_path / "out") == {"result.npz", "intri.yml", "extri.yml"}


def test_further_people_have_files_of_their_own(tmp_path):
    Write(formats=("amass",))(take(tmp_path, people=3))
    assert {"result.npz", "result_1.npz", "result_2.npz", "amass.npz", "amass_2.npz"} <= names(tmp_path / "out")


def test_without_a_body_keypoints_are_written_and_it_is_said(tmp_path):
    after = Write(formats=("easymocap", "amass"))(take(tmp_path, fitted=False))
    assert names(tmp_path / "out") == {"result.npz", "keypoints3d", "intri.yml", "extri.yml"}
    assert read_result_npz(tmp_path / "out" / "result.npz").motion is None
    assert after.reports[-1].facts["warnings"] == ["amass.npz is not written: person 0 has no fitted body."]


def test_what_an_earlier_run_wrote_and_this_one_does_not_is_removed(tmp_path):
    out = tmp_path / "out"
    Write(formats=("easymocap", "amass"))(take(tmp_path, people=2).begun("write", "write"))
    assert {"result_1.npz", "amass.npz", "amass_1.npz", "smpl"} <= names(out)
    (out / "result_7.npz").write_text("somebody else's")
    (out / "smpl" / "notes.txt").write_text("mine")
    Write(formats=("easymocap",))(take(tmp_path, fitted=False).begun("write", "write"))
    assert names(out) == {"result.npz", "result_7.npz", "keypoints3d", "smpl", "intri.yml", "extri.yml"}
    assert names(out / "smpl") == {"notes.txt"}


def test_what_another_stage_of_the_run_wrote_stays(tmp_path):
    for formats, label in (((), "bare"), (("amass",), "write"), ((), "bare")):
        Write(formats=formats)(take(tmp_path).begun(label, "write"))
    assert {"result.npz", "amass.npz"} <= names(tmp_path / "out")


@pytest.mark.parametrize("text", ["", "[1]", '{"write": 3}', '{"write": ["../x.npz", 4, "out"]}'])
def test_a_damaged_list_of_files_removes_nothing(tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "x.npz").touch()
    (tmp_path / "out" / ".written.json").write_text(text)
    Write()(take(tmp_path).begun("write", "write"))
    assert (tmp_path / "x.npz").exists()


def test_an_uneven_clock_is_said_beside_amass_one_frame_rate(tmp_path):
    t = dataclasses.replace(take(tmp_path), timestamps=np.array([0, 1, 2, 9]) / 30)
    warnings = Write(formats=("amass",))(t).reports[-1].facts["warnings"]
    assert any("knows one frame rate (30/s)" in w for w in warnings)


def test_an_unknown_format_is_refused():
    with pytest.raises(UnknownName, match=r'Unknown format "nonsense".* Known: .*npz'):
        Write(formats=("nonsense",))
