from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from render.scenes import LENS, SIZE, K, ball, rectangle, sheet

from mocap.errors import SetupError
from mocap.geometry.cameras import Camera
from mocap.render.layer import Layer, Rasteriser
from mocap.render.mesh import Light, Mesh, Surface
from mocap.render.rasterisers import open_rasteriser

LIGHT = Light(towards=(0.0, -0.6, -0.8))


def plain(distortion=None) -> Camera:
    return Camera("a", K, np.zeros(5) if distortion is None else distortion, np.eye(4), SIZE)


@pytest.fixture(params=["software", "gl"], scope="module")
def rasteriser(request: pytest.FixtureRequest):
    try:
        made, _ = open_rasteriser(request.param)
    except SetupError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def coverage(layer: Layer | None) -> np.ndarray:
    whole = np.zeros(SIZE[::-1])
    if layer is not None:
        (x, y), (height, width) = layer.at, layer.rgba.shape[:2]
        whole[y : y + height, x : x + width] = layer.rgba[..., 3] / 255
    return whole


def test_a_rectangle_covers_just_the_pixels_it_reaches(rasteriser: Rasteriser) -> None:
    # pixel 100 reaches from 99.5 to 100.5: pixel (0, 0) is a CENTRE
    cover = coverage(rasteriser.draw(plain(), [rectangle(99.5, 149.5, 49.5, 89.5)], LIGHT))
    rows, columns = np.nonzero(cover > 0.5)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (100, 149, 50, 89)
    assert cover.sum() == pytest.approx(50 * 40, rel=0.01)


def test_edges_are_anti_aliased(rasteriser: Rasteriser) -> None:
    cover = coverage(rasteriser.draw(plain(), [rectangle(100.0, 150.0, 50.0, 90.0)], LIGHT))
    assert cover[70, 100] == pytest.approx(0.5, abs=0.2)
    assert cover.sum() == pytest.approx(50 * 40, rel=0.03)


def test_a_ball_is_drawn_where_the_distorted_camera_sees_it(rasteriser: Rasteriser) -> None:
    centre = np.array([[0.9, 0.7, 3.0]])
    one = plain(LENS)
    cover = coverage(rasteriser.draw(one, [ball(centre[0], 0.05)], LIGHT))
    rows, columns = np.indices(cover.shape)
    found = np.array([(columns * cover).sum(), (rows * cover).sum()]) / cover.sum()
    assert found == pytest.approx(one.project(centre)[0][0], abs=0.25)


def test_what_is_nearer_hides_what_is_farther(rasteriser: Rasteriser) -> None:
    red, green = (
        rectangle(100, 200, 100, 200, depth, colour) for depth, colour in ((2.0, (0.8, 0, 0)), (3.0, (0, 0.8, 0)))
    )
    for order in ([red, green], [green, red]):
        layer = rasteriser.draw(plain(), order, LIGHT)
        assert layer is not None
        middle = layer.rgba[layer.rgba.shape[0] // 2, layer.rgba.shape[1] // 2]
        assert int(middle[0]) > int(middle[1]) + 50


def test_nothing_is_drawn_of_what_is_behind_or_beside_the_camera(rasteriser: Rasteriser) -> None:
    assert rasteriser.draw(plain(), [ball((0, 0, -3))], LIGHT) is None
    assert rasteriser.draw(plain(), [ball((30, 0, 3))], LIGHT) is None
    assert rasteriser.draw(plain(), [], LIGHT) is None


def test_a_mesh_through_the_near_plane_shows_only_its_part_in_front(rasteriser: Rasteriser) -> None:
    # a floor 1 m below the camera, from 4 m behind it to 6 m before it: it fills the picture below its far edge
    floor = sheet(np.array([-8.0, 1, -4]), np.array([16.0, 0, 0]), np.array([0, 0, 10.0]), 100)
    cover = coverage(rasteriser.draw(plain(), [floor], LIGHT))
    edge = int(K[1, 1] / 6 + K[1, 2])
    assert (cover[: edge - 1] == 0).all()
    assert cover[edge + 3 :].mean() > 0.999


def test_triangles_with_a_missing_vertex_are_left_out(rasteriser: Rasteriser) -> None:
    one, other = rectangle(100, 150, 50, 90), rectangle(200, 250, 50, 90)
    faces = np.concatenate([one.surface.faces, other.surface.faces + 4])
    vertices = np.concatenate([one.vertices, other.vertices])
    vertices[4:7] = np.nan
    mesh = Mesh(Surface(faces, np.full((8, 3), 0.5)), vertices)
    cover = coverage(rasteriser.draw(plain(), [mesh], LIGHT))
    assert cover[70, 125] == 1
    assert (cover[:, 190:] == 0).all()


def test_a_mesh_half_outside_is_cut_at_the_border(rasteriser: Rasteriser) -> None:
    layer = rasteriser.draw(plain(), [rectangle(-40, 30, -20, 25)], LIGHT)
    assert layer is not None
    assert layer.at == (0, 0)
    assert coverage(layer).sum() == pytest.approx(30.5 * 25.5, rel=0.01)


def test_both_back_ends_draw_the_same_picture() -> None:
    try:
        gl, _ = open_rasteriser("gl")
    except SetupError as error:
        pytest.skip(str(error))
    software, _ = open_rasteriser("software")
    pictures = []
    for one in (gl, software):
        picture = np.full((*SIZE[::-1], 3), 200, np.uint8)
        layer = one.draw(plain(LENS), [ball((0.1, 0.1, 1.5), 0.4), ball((0.4, 0.2, 1.2), 0.2)], LIGHT)
        assert layer is not None
        layer.over(picture)
        pictures.append(picture.astype(int))
    gl.close()
    difference = np.abs(pictures[0] - pictures[1])
    assert difference.mean() < 0.5
    assert np.percentile(difference, 99.5) < 40  # edges: four samples against nine


def test_a_layer_is_blended_by_its_coverage_and_opacity() -> None:
    rgba = np.array([[[100, 50, 0, 255], [50, 25, 0, 128]]], np.uint8)  # colours are multiplied by coverage
    picture = np.full((3, 4, 3), 200, np.uint8)
    Layer(rgba, (1, 2)).over(picture)
    assert picture[2, 1].tolist() == [100, 50, 0]
    assert picture[2, 2] == pytest.approx(np.array([50, 25, 0]) + 200 * (1 - 128 / 255), abs=1)
    assert (picture[:2] == 200).all()
    picture[:] = 200
    Layer(rgba, (1, 2)).over(picture, opacity=0.5)
    assert picture[2, 1] == pytest.approx(np.array([150, 125, 100]), abs=1)


def test_the_report_says_which_back_end_and_why() -> None:
    assert "as asked" in open_rasteriser("software")[1]
    made, why = open_rasteriser("auto")
    assert made.device in why or made.name == "software"
    made.close()


@pytest.mark.parametrize(
    "environment", [{"__EGL_VENDOR_LIBRARY_DIRS": "/nonexistent"}, {"MESA_GL_VERSION_OVERRIDE": "2.1"}]
)
def test_a_broken_opengl_means_software_and_no_crash(environment: dict[str, str]) -> None:
    code = (
        "from mocap.render.rasterisers import open_rasteriser\n"
        "made, why = open_rasteriser()\n"
        "print(made.name, why)\n"
        "try:\n    open_rasteriser('gl')\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("gl "):
        pytest.skip("this OpenGL does not mind the environment that breaks Mesa's")
    assert done.stdout.startswith("software software, since there is no OpenGL")
    assert "SetupError" in done.stdout
    assert '"backend: software"' in done.stdout


def test_opengl_that_is_not_installed_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moderngl", None)
    made, why = open_rasteriser("auto")
    assert made.name == "software"
    assert "moderngl" in why
    with pytest.raises(SetupError, match="moderngl"):
        open_rasteriser("gl")
