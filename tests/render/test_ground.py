from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from render.scenes import ball

from mocap.geometry.cameras import Camera
from mocap.render.ground import GroundPainter, GroundView, _chequers, plan_view
from mocap.render.mesh import Light, light_from
from mocap.render.rasterisers import open_rasteriser
from mocap.render.shadow import shadow_of
from mocap.render.strokes import Strokes

FPS = 30.0
SIZES = [(1280, 720), (540, 960)]


def walk(length: float, frames: int = 120) -> np.ndarray:
    """A column of points that wanders along x and sways (frames, points, 3) [m]."""
    s = np.linspace(0, 1, frames)[:, None]
    z = np.linspace(0.05, 1.7, 6)
    x = length * s + 0 * z
    y = 0.3 * np.sin(9 * s) + 0.2 * np.sin(7 * z)
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def facing(frames: int, way=(0.0, -1.0)) -> np.ndarray:
    return np.tile(way, (frames, 1))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["fixed", "follow", "turn"])
def test_every_point_is_in_the_picture_in_every_frame(mode: str, size: tuple[int, int]) -> None:
    points = walk(3.0)
    view = plan_view(points, facing(len(points)), floor=0.0, size=size, fps=FPS, camera=mode)  # type: ignore[arg-type]
    assert view.camera == mode
    for i in range(0, len(points), 7):
        xy, depth = view.at(i).project(points[i])
        assert (depth > 0).all()
        assert (xy > 0).all()
        assert (xy < size).all()


def test_the_fixed_camera_comes_as_near_as_it_can() -> None:
    points = walk(3.0)
    view = plan_view(points, facing(len(points)), floor=0.0, size=SIZES[0], fps=FPS, camera="fixed")
    xy, _ = view.at(0).project(points.reshape(-1, 3))
    filled = np.ptp(xy, axis=0) / view.size
    assert filled.max() > 0.7


def test_auto_stands_still_for_a_short_way_and_follows_a_long_one() -> None:
    modes = [plan_view(walk(length), facing(120), floor=0.0, size=SIZES[0], fps=FPS).camera for length in (1.0, 30.0)]
    assert modes == ["fixed", "follow"]


def test_the_subject_is_seen_from_the_front_and_from_above_the_floor_by_a_level_camera() -> None:
    points = walk(0.5)
    for way in ((0.0, -1.0), (1.0, 0.0), (-0.6, 0.8)):
        view = plan_view(points, facing(len(points), way), floor=0.0, size=SIZES[0], fps=FPS)
        eye = view.at(0).centre
        to_eye = eye[:2] - points[..., :2].mean((0, 1))
        assert to_eye @ way / np.linalg.norm(to_eye) > 0.7
        assert eye[2] > 0.5
        assert view.at(0).R[0, 2] == pytest.approx(0, abs=1e-9)


def test_missing_points_and_nobody_at_all_still_give_a_camera() -> None:
    points = walk(1.0)
    points[3] = np.nan
    points[:, 2] = np.nan
    for mode in ("fixed", "follow"):
        view = plan_view(points, facing(120) * np.nan, floor=0.0, size=SIZES[0], fps=FPS, camera=mode)  # type: ignore[arg-type]
        assert np.isfinite(view.T_camera_world).all()
    nobody = plan_view(points * np.nan, facing(120) * np.nan, floor=0.0, size=SIZES[0], fps=FPS)
    assert np.isfinite(nobody.T_camera_world).all()


def test_chequers_are_sharp_near_by_and_grey_far_away() -> None:
    x, y = np.array([[0.5, 1.5, 0.5, 1.5]]), np.array([[0.5, 0.5, 1.5, 1.5]])
    near = _chequers(x, y, np.full_like(x, 1e-3))
    assert near.tolist() == [pytest.approx([near[0, 0], 1 - near[0, 0], 1 - near[0, 0], near[0, 0]], abs=1e-6)]
    assert set(near.round(6).ravel()) == {0.0, 1.0}
    assert _chequers(x, y, np.full_like(x, 40.0)) == pytest.approx(0.5, abs=0.03)


def painter(view: GroundView) -> GroundPainter:
    return GroundPainter(view, open_rasteriser("software")[0], light_from(view.at(0)))


def test_the_floor_of_a_pixel_projects_back_to_that_pixel() -> None:
    points = walk(1.0)
    view = plan_view(points, facing(120), floor=0.15, size=(320, 180), fps=FPS)
    _, x, y, first = painter(view)._floor(view.at(0), view.centre[0])
    rows, columns = np.indices(x.shape)
    xy, depth = view.at(0).project(np.stack([x, y, np.full_like(x, 0.15)], axis=-1).astype(float))
    near = depth < 30
    assert near.sum() > 1000
    assert xy[near] == pytest.approx(np.stack([columns, rows + first], axis=-1)[near], abs=0.02)


def test_a_shadow_falls_away_from_the_light_and_only_near_the_body() -> None:
    light = Light(towards=(0.6, 0.0, 0.8))
    shade = shadow_of([ball((0.0, 0.0, 1.2), 0.2)], 0.2, light)
    assert shade is not None
    rows, columns = np.indices(shade.kept_off.shape)
    weights = shade.kept_off / shade.kept_off.sum()
    at = np.array([(columns * weights).sum(), (rows * weights).sum()]) * shade.texel + shade.low
    assert at == pytest.approx([-0.75, 0.0], abs=0.02)  # 1 m above the floor, light 0.75 m aside per metre of height
    assert shade.kept_off.max() < 0.6
    border = np.concatenate([shade.kept_off[0], shade.kept_off[-1], shade.kept_off[:, 0], shade.kept_off[:, -1]])
    assert (border == 0).all()


def test_contact_is_darker_than_what_hovers() -> None:
    light = Light(towards=(0.0, 0.0, 1.0))
    touching, hovering = (shadow_of([ball((0, 0, 0.2 + h), 0.2)], 0.0, light) for h in (0.0, 0.5))
    assert touching is not None
    assert hovering is not None
    assert touching.kept_off.max() > hovering.kept_off.max() + 0.1


def test_nobody_casts_no_shadow_and_leaves_an_empty_floor() -> None:
    view = plan_view(walk(1.0), facing(120), floor=0.0, size=(320, 180), fps=FPS)
    empty = painter(view).frame(0, [])
    assert empty.shape == (180, 320, 3)
    assert np.ptp(empty[-20:].astype(int)) > 15  # there are chequers
    assert shadow_of([], 0.0, Light(towards=(0, 0, 1.0))) is None


def test_a_body_and_its_shadow_change_only_their_part_of_the_picture() -> None:
    view = plan_view(walk(1.0), facing(120), floor=0.0, size=(320, 180), fps=FPS)
    one = painter(view)
    empty, drawn = one.frame(0, []).astype(int), one.frame(0, [ball((0.5, 0, 0.3), 0.3)]).astype(int)
    changed = np.abs(drawn - empty).max(-1) > 3
    assert 200 < changed.sum() < 0.5 * changed.size
    (u, v), _ = view.at(0).project(np.array([0.5, 0, 0.3]))
    assert changed[round(v), round(u)]
    assert (one.frame(1, []).astype(int) == empty).all()


def test_cameras_and_trails_are_drawn_and_framed_ones_are_all_in_the_picture() -> None:
    points = walk(1.0)
    look = plan_view(points, facing(120), floor=0.0, size=SIZES[0], fps=FPS).at(0)
    around = [replace(look, name=str(i), T_camera_world=turned(look, i * np.pi / 2)) for i in range(4)]
    plain = plan_view(points, facing(120), floor=0.0, size=(640, 360), fps=FPS)
    framed = plan_view(points, facing(120), floor=0.0, size=(640, 360), fps=FPS, cameras=around, framed=True)
    xy, depth = framed.at(0).project(np.array([c.centre for c in around]))
    assert (depth > 0).all()
    assert ((xy > 0) & (xy < (640, 360))).all()
    assert framed.camera == "fixed"
    assert plain.cameras == ()
    empty = painter(replace(framed, cameras=())).frame(0, [])
    with_cameras = painter(framed).frame(0, [])
    assert (empty != with_cameras).any(-1).sum() > 200
    line = Strokes(np.array([[[0.0, 0, 1], [1.0, 0, 1]]]), np.array([[1.0, 0, 0]]), np.ones(1))
    (u, v), _ = framed.at(0).project(np.array([0.5, 0, 1]))
    assert painter(framed).frame(0, [], line)[round(v), round(u)].tolist()[1:] < [60, 60]


def turned(camera: Camera, angle: float) -> np.ndarray:
    """The pose of a camera carried round the upright axis."""
    T = np.eye(4)
    T[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return camera.T_camera_world @ T
