"""The stage `write` on unrelated pictures and on one camera's video."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from pictures import pictures_take, truth_of

from mocap import skeletons
from mocap.errors import DataError
from mocap.geometry.cameras import Rig
from mocap.io.results import keypoints_of_result, read_result_npz, remove_left_over
from mocap.io.smplify import read_smplify_npz
from mocap.stages.write import Write
from mocap.take import Keypoints2D, Motion, Person, RunContext, Take
from tests.synthetic import random_motion, ring_rig, toy_body


@pytest.fixture
def example(repository: Path) -> Path:
    return repository / "data" / "examples" / "lsp"


def files(folder: Path) -> list[str]:
    found = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return sorted(p.relative_to(folder).as_posix() for p in found)


def test_what_a_fit_found_of_a_picture_is_written_as_smplify_has_it(example, tmp_path):
    take = Write(formats=("smplify", "obj"))(pictures_take(example, tmp_path, few=2).begun("write", "write"))
    assert files(tmp_path) == [
        "meshes/im0001.obj", "meshes/im0002.obj",
        "smplify/im0001.json", "smplify/im0001.npz", "smplify/im0002.json", "smplify/im0002.npz",
    ]  # fmt: skip
    assert take.reports[-1].facts["files"] == ["smplify", "meshes"]
    truth = truth_of(example)
    for i in range(2):
        one = read_smplify_npz(tmp_path / "smplify" / f"im000{i + 1}.npz")
        for name in ("pose", "cam_t", "joints3d"):
            np.testing.assert_allclose(getattr(one, name)[0], truth[name][i], atol=1e-9)
        assert one.f == pytest.approx(truth["f"][i])
        assert (one.gender, one.body_hash) == (truth["gender"][i], truth["body_hash"][i])
        read = json.loads((tmp_path / "smplify" / f"im000{i + 1}.json").read_text())
        np.testing.assert_allclose(read["cam_t"], truth["cam_t"][i], atol=1e-9)


def test_formats_that_pictures_have_no_use_for_are_told(example, tmp_path):
    take = Write()(pictures_take(example, tmp_path, few=1).begun("write", "write"))
    assert files(tmp_path) == ["smplify/im0001.json", "smplify/im0001.npz"]
    assert take.reports[-1].facts["notes"] == ["Of unrelated pictures smplify/ is written, not easymocap, npz."]


def test_names_of_pictures_never_lead_out_of_the_folder(example, tmp_path):
    Write(formats=("obj",))(pictures_take(example, tmp_path / "out", few=3, names=("../../up", "a/b", "a_b")))
    assert files(tmp_path) == [
        f"out/{name}" for name in (
            "meshes/_.._up.obj", "meshes/a_b.obj", "meshes/a_b_2.obj", "smplify/_.._up.json", "smplify/_.._up.npz",
            "smplify/a_b.json", "smplify/a_b.npz", "smplify/a_b_2.json", "smplify/a_b_2.npz",
        )
    ]  # fmt: skip


def test_a_picture_without_a_fit_is_named_and_the_others_are_written(example, tmp_path):
    take = pictures_take(example, tmp_path, few=2)
    first, second = take.people
    take = take.replace(people=(dataclasses.replace(first, motion=None), second))
    facts = Write()(take.begun("write", "write")).reports[-1].facts
    assert files(tmp_path) == ["smplify/im0002.json", "smplify/im0002.npz"]
    assert facts["warnings"] == ['Nothing is written of picture "im0001": it has no fitted body.']


def test_pictures_of_an_earlier_run_do_not_stay_and_other_files_do(example, tmp_path):
    Write(formats=("obj",))(pictures_take(example, tmp_path, few=3).begun("write", "write"))
    (tmp_path / "smplify" / "mine.npz").write_text("mine")
    Write()(pictures_take(example, tmp_path, few=1).begun("write", "write"))
    assert files(tmp_path) == ["smplify/im0001.json", "smplify/im0001.npz", "smplify/mine.npz"]
    assert not (tmp_path / "meshes").exists()


def test_a_list_of_files_never_removes_what_lies_elsewhere(tmp_path):
    output = tmp_path / "out"
    for name in ("x.npz", "out/x.obj", "out/elsewhere/a.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (output / "smplify").mkdir()
    (output / "meshes").symlink_to(output / "elsewhere")
    (output / "elsewhere" / "a.obj").touch()
    before = files(tmp_path)
    remove_left_over(
        output, ["smplify/../../x.npz", "smplify/../x.obj", "elsewhere/a.npz", "meshes/a.obj", "meshes/..", "smplify/"]
    )
    assert files(tmp_path) == before


# ------------------------------------------------------------------------------------------------------------- a video


def video_take(output: Path, *, cameras: int = 1, frames: int = 4) -> Take:
    rig = ring_rig()
    seen = {
        camera.name: Keypoints2D.of(
            skeletons.BODY25, np.arange(frames) / 30, np.full((frames, 25, 2), 7.0), np.ones((frames, 25))
        )
        for camera in rig.cameras[:cameras]
    }
    person = Person(seen, body=toy_body(), shape=np.zeros(4), motion=Motion(*random_motion(0, frames)))
    return Take(
        RunContext(output), np.arange(frames) / 30, np.arange(frames), rig=Rig(rig.cameras[:cameras]), people=(person,)
    )


def test_a_body_fitted_to_one_camera_has_a_result_without_points_in_3d_that_reads_back(tmp_path):
    take = video_take(tmp_path)
    facts = Write(formats=("smplify", "obj", "easymocap", "amass"))(take.begun("write", "write")).reports[-1].facts
    assert facts["files"] == [
        "result.npz", "smplify.npz", "meshes", "smpl", "amass.npz", "intri.yml", "extri.yml"
    ]  # fmt: skip
    assert facts["warnings"] == []
    result, (person,) = read_result_npz(tmp_path / "result.npz"), take.people
    assert result.keypoints3d is None
    assert result.motion is not None and person.motion is not None
    np.testing.assert_array_equal(result.motion.poses, person.motion.poses)
    assert result.keypoints3d_fit is not None and result.keypoints3d_fit.shape == (4, 25, 3)
    with pytest.raises(DataError, match="one camera"):
        keypoints_of_result(result)
    one = read_smplify_npz(tmp_path / "smplify.npz")
    assert one.pose.shape == (4, 72) and one.keypoints2d is not None
    np.testing.assert_array_equal(one.keypoints2d, 7.0)
    np.testing.assert_array_equal(one.frames, take.frames)
    assert files(tmp_path / "meshes") == [f"{i:06d}.obj" for i in range(4)]
    Write()(take.begun("write", "write"))
    assert not {"smplify.npz", "meshes/000000.obj", "amass.npz"} & set(files(tmp_path))


def test_two_cameras_have_no_smplify_and_it_is_told(tmp_path):
    facts = Write(formats=("smplify",))(video_take(tmp_path, cameras=2).begun("write", "write")).reports[-1].facts
    assert facts["warnings"] == ["smplify.npz is not written: it is of one camera, and the take has 2."]
    assert "smplify.npz" not in files(tmp_path)


def test_people_who_were_not_fitted_have_no_result(tmp_path):
    take = video_take(tmp_path)
    with pytest.raises(DataError, match="a body fitted"):
        Write()(take.replace(people=(dataclasses.replace(take.people[0], motion=None),)))


def test_a_format_that_pictures_cannot_be_written_in_is_refused_before_anything_is_computed(example, tmp_path):
    take = pictures_take(example, tmp_path)
    with pytest.raises(DataError, match="glb cannot be written of unrelated pictures"):
        Write(formats=("smplify", "glb")).check(take)
    Write().check(take)
