from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from render.scenes import LENS, SIZE, ball, camera

from mocap.geometry.cameras import Camera
from mocap.render.strokes import Depth, Strokes, draw_cameras, draw_strokes, frustum, trail


def line(a, b, opacity=1.0, pieces=20) -> Strokes:
    at = np.linspace(0, 1, pieces + 1)[:, None]
    points = np.array(a) + at * (np.array(b) - np.array(a))
    ends = np.stack([points[:-1], points[1:]], axis=1)
    return Strokes(ends, np.tile([1.0, 0, 0], (pieces, 1)), np.full(pieces, opacity))


def drawn(strokes: Strokes, meshes=(), one: Camera | None = None) -> np.ndarray:
    picture = np.zeros((*SIZE[::-1], 3), np.uint8)
    one = camera() if one is None else one
    draw_strokes(picture, one, strokes, Depth(one, meshes))
    return picture[..., 0]


@pytest.mark.parametrize("opacity", [1.0, 0.6])
def test_a_line_is_drawn_where_the_distorted_camera_sees_its_points(opacity: float) -> None:
    a, b = np.array([-1.0, 0.9, 3.0]), np.array([1.2, 0.7, 3.5])
    red = drawn(line(a, b, opacity, pieces=60))
    points = a + np.linspace(0.05, 0.95, 30)[:, None] * (b - a)
    u, v = np.round(camera().project(points)[0]).astype(int).T
    assert red[v, u].min() > 0.55 * 255 * opacity
    straight = Camera("a", camera().K, np.zeros(5), np.eye(4), SIZE).project(points)[0]
    assert np.abs(straight - np.stack([u, v], axis=-1)).max() > 5, "the lens should matter, else this proves nothing"


@pytest.mark.parametrize("opacity", [1.0, 0.6])
def test_of_a_line_through_a_ball_only_what_is_before_it_is_seen(opacity: float) -> None:
    one = camera(np.zeros(5))
    through = line([-0.6, 0, 2.0], [0.6, 0, 4.0], opacity, pieces=120)
    red = drawn(through, [ball(radius=0.3)], one)
    before, inside, after = (
        np.round(one.project(np.array([x, 0, 3 + x / 0.6]))[0]).astype(int) for x in (-0.45, 0.05, 0.5)
    )
    assert red[before[1], before[0]] > 100
    assert red[inside[1], inside[0]] == 0
    assert red[after[1], after[0]] > 100  # beside the ball again
    assert (red > 0).sum() < 0.8 * (drawn(through, (), one) > 0).sum()


def test_a_trail_fades_from_now_to_nothing_and_has_holes_where_joints_are_missing() -> None:
    points = np.zeros((11, 2, 3))
    points[:, :, 0] = np.arange(11)[:, None]
    points[4, 1] = np.nan
    one = trail(points, np.eye(3)[:2], 10)
    opacity = one.opacity.reshape(10, 2)
    assert (np.diff(opacity[:, 0]) > 0).all()
    assert opacity[0, 0] < 0.1
    assert opacity[-1, 0] > 0.8
    whole = np.isfinite(one.ends).all((1, 2)).reshape(10, 2)
    assert whole[:, 0].all()
    assert np.flatnonzero(~whole[:, 1]).tolist() == [3, 4]
    assert not drawn(replace(one, ends=np.full_like(one.ends, np.nan))).any()


def test_the_pyramid_of_a_camera_opens_where_it_looks_with_its_mark_upwards() -> None:
    T = np.eye(4)
    T[:3, :3] = [[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]  # level, looks along +y
    T[:3, 3] = -T[:3, :3] @ [1.0, 2.0, 1.5]
    ends = frustum(Camera("a", camera().K, LENS, T, SIZE), length=0.3).ends.reshape(-1, 3)
    assert ends[:, 1].min() == pytest.approx(2.0)
    assert 2.15 < ends[:, 1].max() < 2.35
    assert ends[:, 2].max() - 1.5 > 1.3 * (1.5 - ends[:, 2].min())  # the mark
    corners = ends[np.abs(ends[:, 1] - ends[:, 1].max()) < 1e-9]
    within = Camera("a", camera().K, np.zeros(5), T, SIZE).project(corners)[0]
    assert within[:, 0].min() == pytest.approx(-0.5, abs=1e-6)
    assert within[:, 0].max() == pytest.approx(SIZE[0] - 0.5, abs=1e-6)


def test_cameras_are_drawn_where_they_stand_and_not_when_they_are_behind_or_hidden() -> None:
    eye = camera(np.zeros(5))

    def pixels(z: float, meshes=()) -> int:
        T = np.eye(4)
        T[2, 3] = -z
        picture = np.zeros((*SIZE[::-1], 3), np.uint8)
        draw_cameras(picture, eye, [Camera("b", eye.K, np.zeros(5), T, SIZE)], Depth(eye, meshes))
        return int(picture.any(-1).sum())

    assert pixels(4.0) > 200
    assert pixels(-4.0) == 0
    assert pixels(4.0, [ball((0, 0, 2.0), 0.8)]) == 0
    assert pixels(1.5, [ball((0, 0, 4.0), 0.8)]) > 200
