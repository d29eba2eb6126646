from __future__ import annotations

import numpy as np
import pytest
from render.scenes import LENS, SIZE, K, ball

from mocap.bodies.kinematics import vertices_of
from mocap.bodies.load import load_body
from mocap.geometry.cameras import LEVEL, Camera
from mocap.render.layer import Rasteriser
from mocap.render.mesh import Light, Mesh, Surface
from mocap.render.overlay import draw_bodies
from mocap.render.rasterisers import open_rasteriser
from mocap.render.shadow import SeenFloor

LIGHT = Light(towards=(0.0, 0.0, 1.0))
FISHEYE = np.array([0.08, -0.02, 0.004, 0.0])


def level(distortion: np.ndarray, *, fisheye: bool = False, down: float = 0.0) -> Camera:
    """1.5 m above the floor, looks along +y and down by an angle [rad]."""
    c, s = np.cos(down), np.sin(down)
    T = np.eye(4)
    T[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ LEVEL
    T[:3, 3] = -T[:3, :3] @ [0.0, 0.0, 1.5]
    return Camera("a", K, distortion, T, SIZE, fisheye)


@pytest.fixture(params=["software", "gl"])
def rasteriser(request: pytest.FixtureRequest):
    made, _ = open_rasteriser("auto")
    if request.param == "software":
        made.close()
        made, _ = open_rasteriser("software")
    elif made.name != "gl":
        pytest.skip("there is no OpenGL here")
    yield made
    made.close()


@pytest.mark.parametrize(("distortion", "fisheye"), [(LENS, False), (FISHEYE, True)])
def test_a_body_at_the_edge_of_a_strongly_distorting_lens_covers_just_the_pixels_that_see_it(
    rasteriser: Rasteriser, distortion: np.ndarray, fisheye: bool
) -> None:
    body = load_body("embedded")
    one = level(distortion, fisheye=fisheye)
    moment = np.array([[np.pi / 2, 0, 0]]), np.array([[1.1, 2.6, 1.1]]), np.zeros((1, 23, 3))
    (vertices,) = vertices_of(body, np.zeros(10), *moment)
    surface = Surface(np.asarray(body.faces, np.int32), np.full(body.v_template.shape, 0.7))
    picture = np.zeros((*SIZE[::-1], 3), np.uint8)
    draw_bodies(picture, one, [Mesh(surface, vertices)], rasteriser, LIGHT, opacity=1.0)
    drawn = np.asarray(picture.any(-1))

    # the other way: every vertex through the camera's own projection, with nothing of the renderer
    def seen(camera: Camera) -> np.ndarray:
        where = np.zeros(SIZE[::-1], bool)
        u, v = np.round(camera.project(vertices.astype(float))[0]).astype(int).T
        inside = (u >= 0) & (v >= 0) & (u < SIZE[0]) & (v < SIZE[1])
        where[v[inside], u[inside]] = True
        return where

    assert drawn[seen(one)].mean() > 0.98  # a vertex on the outline may round to the pixel beside it
    low, high = (f(np.argwhere(drawn), axis=0) for f in (np.min, np.max))
    lowest, highest = (f(np.argwhere(seen(one)), axis=0) for f in (np.min, np.max))
    assert np.abs(np.concatenate([low - lowest, high - highest])).max() <= 2
    pinhole = Camera("a", K, np.zeros(5), one.T_camera_world, SIZE)
    assert drawn[seen(pinhole)].mean() < 0.9, "the lens should matter, else this proves nothing"


def test_of_two_bodies_that_cross_each_hides_what_is_behind_it(rasteriser: Rasteriser) -> None:
    """Two long ellipsoids: the red goes from near left to far right, the green the other way."""
    one = level(np.zeros(5))

    def crossing(slope: float, colour: tuple[float, float, float]) -> Mesh:
        round_ = ball((0, 0, 0), 1.0)
        vertices = round_.vertices * [1.2, 0.1, 0.3]
        vertices[:, 1] += slope * vertices[:, 0]
        return Mesh(Surface(round_.surface.faces, np.tile(colour, (len(vertices), 1))), vertices + [0, 3.0, 1.5])

    meshes = [crossing(0.6, (0.8, 0.1, 0.1)), crossing(-0.6, (0.1, 0.8, 0.1))]
    for order in (meshes, meshes[::-1]):
        picture = np.zeros((*SIZE[::-1], 3), np.uint8)
        draw_bodies(picture, one, order, rasteriser, LIGHT, opacity=1.0)
        for x, nearer in ((-0.5, 0), (0.5, 1)):
            u, v = np.round(one.project(np.array([x, 3.0 - 0.6 * abs(x), 1.5]))[0]).astype(int)
            assert int(picture[v, u, nearer]) > int(picture[v, u, 1 - nearer]) + 40


@pytest.mark.parametrize(("distortion", "fisheye"), [(LENS, False), (FISHEYE, True), (np.zeros(5), False)])
def test_each_pixel_of_the_floor_is_seen_where_its_point_projects(distortion: np.ndarray, fisheye: bool) -> None:
    one = level(distortion, fisheye=fisheye, down=0.35)
    floor = SeenFloor(one, 0.1)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    near = (np.abs(floor.x) < 20) & (np.abs(floor.y) < 20)
    assert near.mean() > 0.3
    xyz = np.stack([floor.x[near], floor.y[near], np.full(len(rows[near]), 0.1)], axis=-1).astype(float)
    assert one.project(xyz)[0] == pytest.approx(np.stack([columns[near], rows[near]], axis=-1), abs=0.1)


def test_a_shadow_lies_on_the_floor_below_the_body_and_nowhere_else(rasteriser: Rasteriser) -> None:
    one = level(LENS, down=0.35)
    picture = np.full((*SIZE[::-1], 3), 180, np.uint8)
    without = picture.copy()
    meshes = [ball((0.8, 3.0, 0.9), 0.2)]
    draw_bodies(picture, one, meshes, rasteriser, LIGHT, floor=SeenFloor(one, 0.0))
    draw_bodies(without, one, meshes, rasteriser, LIGHT)
    taken = without.astype(int) - picture
    assert taken.min() >= 0
    weights = taken.sum(-1) / taken.sum()
    rows, columns = np.indices(weights.shape)
    middle = np.array([(weights * columns).sum(), (weights * rows).sum()])
    assert middle == pytest.approx(one.project(np.array([0.8, 3.0, 0.0]))[0], abs=4)
    assert taken[: round(middle[1]) - 60].max() == 0
    assert 10 < taken.max() < 120


def test_a_floor_above_the_camera_or_at_the_horizon_takes_no_shadow() -> None:
    floor = SeenFloor(level(np.zeros(5)), 0.0)
    assert (floor.x[: int(K[1, 2])] > 1e5).all()
    assert np.isfinite(floor.x).all()
    assert np.isfinite(floor.y).all()
