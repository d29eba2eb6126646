"""Unrelated pictures and one camera's video through `render_ground` and `make_video`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pictures import pictures_take

from mocap.bodies.kinematics import vertices_of
from mocap.errors import UnknownName
from mocap.render.pictures import contact_sheet, from_the_side, panels
from mocap.render.posing import fitted_skeleton
from mocap.render.software import SoftwareRasteriser
from mocap.stages.make_video import MakeVideo
from mocap.stages.render_ground import RenderGround
from mocap.take import Take


@pytest.fixture
def example(repository: Path) -> Path:
    return repository / "data" / "examples" / "lsp"


def drawn(take: Take, **options: Any) -> tuple[dict[str, Any], list[str]]:
    stage = MakeVideo(longer_side=200, **options)
    stage.check(take)
    facts = dict(stage(take.begun("make_video", "make_video")).reports[-1].facts)
    output = take.run.output
    return facts, sorted(p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file())


def vertices(take: Take, i: int) -> np.ndarray:
    person = take.people[i]
    assert person.body is not None and person.shape is not None and person.motion is not None
    m = person.motion
    return vertices_of(person.body, person.shape, m.Rh, m.Th, m.poses)[0].astype(float)


def test_each_picture_is_drawn_and_all_are_on_one_sheet(example, tmp_path):
    facts, files = drawn(pictures_take(example, tmp_path, few=2))
    assert files == ["render/contact.png", "render/overlay_im0001.png", "render/overlay_im0002.png"]
    assert facts["pictures"] == 2 and facts["files"] == ["render/contact.png", "render"] and facts["warnings"] == []
    picture = cv2.imread(str(tmp_path / files[1]))
    assert picture is not None
    width, height = 190, 242
    assert picture.shape == (200, 3 * round(200 * width / height) + 12, 3)


def test_only_the_pictures_asked_for_are_drawn(example, tmp_path):
    take = pictures_take(example, tmp_path, few=3)
    some = take.replace(run=dataclasses.replace(take.run, views_drawn=("im0003",)))
    assert drawn(some)[1] == ["render/contact.png", "render/overlay_im0003.png"]
    with pytest.raises(UnknownName, match="im0001"):
        MakeVideo().check(take.replace(run=dataclasses.replace(take.run, views_drawn=("im7",))))
    none = take.replace(run=dataclasses.replace(take.run, output=tmp_path / "none", views_drawn=()))
    facts, files = drawn(none)
    assert files == [] and facts["files"] == []
    assert drawn(none, overlay=False)[1] == []


def test_a_picture_that_cannot_be_read_costs_only_itself(example, tmp_path):
    take = pictures_take(example, tmp_path / "out", few=2)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    view = dataclasses.replace(take.footage["im0001"], files=(broken,))
    facts, files = drawn(take.replace(footage={**take.footage, "im0001": view}))
    assert files == ["render/contact.png", "render/overlay_im0002.png"]
    assert facts["warnings"] == ['Nothing is drawn over picture "im0001": it cannot be read.']


def test_names_of_pictures_never_lead_out_of_the_render_folder(example, tmp_path):
    _, files = drawn(pictures_take(example, tmp_path / "out", few=2, names=("../../up", "a/b")))
    assert files == ["render/contact.png", "render/overlay__.._up.png", "render/overlay_a_b.png"]


def test_the_body_lies_where_its_vertices_project_and_the_rest_of_the_picture_is_left(example, tmp_path):
    take = pictures_take(example, tmp_path, few=1)
    (camera,), (person,) = take.rig or (), take.people
    grey = np.full((camera.size[1], camera.size[0], 3), 90, np.uint8)
    longer = max(camera.size)
    whole = panels(
        grey, camera, person, "im0001", SoftwareRasteriser(), longer_side=(longer, longer), opacity=1.0, keypoints=False
    )
    seen, over, side = (whole[:, i * (camera.size[0] + 6) :][:, : camera.size[0]] for i in range(3))
    assert (seen == 90).all()
    covered = (over != 90).any(-1)
    xy = np.round(camera.project(vertices(take, 0))[0]).astype(int)
    near = np.zeros_like(covered)
    near[xy[:, 1], xy[:, 0]] = True
    assert covered[xy[:, 1], xy[:, 0]].mean() > 0.97
    reach = cv2.dilate(near.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    assert not (covered & ~reach).any()
    assert 0.5 < (side != 238).any(-1).sum() / covered.sum() < 2


def test_the_camera_at_the_side_is_as_far_away_and_looks_across(example, tmp_path):
    take = pictures_take(example, tmp_path, few=3)
    assert take.rig is not None
    for i, camera in enumerate(take.rig):
        points = vertices(take, i)
        side = from_the_side(camera, points)
        middle = 0.5 * (points.min(0) + points.max(0))
        assert np.linalg.norm(side.R @ side.R.T - np.eye(3)) < 1e-12 and np.linalg.det(side.R) > 0
        np.testing.assert_allclose(side.R[1], camera.R[1], atol=1e-12)  # the same way up
        np.testing.assert_allclose(side.R[2], -camera.R[0], atol=1e-12)  # it stands to the right and looks back
        assert side.to_camera(middle)[2] == pytest.approx(camera.to_camera(middle)[2])
        assert side.project(middle)[0][0] == pytest.approx((camera.size[0] - 1) / 2)


def test_the_skeleton_over_a_picture_is_that_of_its_keypoints(example, tmp_path):
    (person,) = pictures_take(example, tmp_path, few=1).people
    skeleton = fitted_skeleton(person)
    assert skeleton is not None and skeleton.name == "lsp14"


def test_pictures_have_no_ground_and_it_is_told(example, tmp_path):
    take = RenderGround()(pictures_take(example, tmp_path, few=1).begun("render_ground", "render_ground"))
    assert take.renderings == ()
    assert "no ground" in take.reports[-1].facts["notes"][0]


def test_a_contact_sheet_has_a_row_for_every_four(example):
    cell = np.zeros((100, 200, 3), np.uint8)
    one, five = (contact_sheet({str(i): cell for i in range(n)}) for n in (1, 5))
    assert five.shape[0] == 2 * one.shape[0]
    assert five.shape[1] == 4 * one.shape[1]
    assert (five == 0).all(-1).sum() >= 5 * cell.shape[0] * cell.shape[1]
