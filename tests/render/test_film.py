from __future__ import annotations

import itertools
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from render.scenes import LENS

from mocap import skeletons
from mocap.bodies.load import load_body
from mocap.errors import BadFile
from mocap.geometry.cameras import LEVEL, Camera
from mocap.io.footage import open_view
from mocap.io.video_out import VideoWriter
from mocap.render.film import Film, Pictures, Reel, ahead, nearest_frames, overlay_reel, overlay_size, shoot
from mocap.render.overlay import draw_limbs, draw_points
from mocap.render.rasterisers import open_rasteriser
from mocap.take import Keypoints2D, Keypoints3D, Motion, Person


def test_the_nearest_frame_in_time_is_taken_and_holes_are_holes() -> None:
    seen = np.array([0.1, 0.2, 0.3, 0.8, 0.9])
    index, near = nearest_frames(np.array([-0.2, 0.0, 0.14, 0.16, 0.3, 0.55, 0.84, 1.2]), seen)
    assert index[1:5].tolist() == [0, 0, 1, 2]
    assert index[6] == 3
    assert near.tolist() == [False, True, True, True, True, False, True, False]


def test_a_view_of_one_frame_is_near_every_moment() -> None:
    assert nearest_frames(np.array([0.0, 5.0]), np.array([1.0]))[1].all()


def test_limbs_and_points_that_are_missing_or_far_outside_are_not_drawn() -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    xy = np.array([[np.nan, np.nan], [1e9, 5.0], [20.0, 30.0], [60.0, 30.0]])
    draw_limbs(picture, xy, np.array([[0, 2], [1, 2]]), np.ones((2, 3)))
    draw_points(picture, xy[:2], np.array([0.0, 1.0]))
    assert not picture.any()
    draw_limbs(picture, xy, np.array([[2, 3]]), np.array([[1.0, 0, 0]]))
    assert picture[30, 40, 0] > 200
    assert picture[30, 40, 1] < 60
    draw_points(picture, xy[2:], np.ones(2))
    assert not picture[30, 20, 1] > 100  # hollow: the point itself stays to be seen


SIZE = (320, 240)


@pytest.fixture
def camera() -> Camera:
    T = np.eye(4)
    T[2, 3] = 3.0
    return Camera("a", np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]]), LENS, T, SIZE)


def footage(path: Path, frames: int, fps: float) -> Path:
    """Frame i has the grey level 20 i."""
    with VideoWriter(path, SIZE, fps, crf=5) as video:
        for i in range(frames):
            video.write(np.full((SIZE[1], SIZE[0], 3), 20 * i, np.uint8))
    return path


def test_points_and_footage_of_an_overlay_are_aligned_in_time_and_place(tmp_path: Path, camera: Camera) -> None:
    view = open_view(footage(tmp_path / "a.mp4", 10, 10.0), "a")
    clock = np.arange(12) / 10 + 0.02  # the take's clock runs 20 ms late and longer than the view
    xyz = np.full((12, 17, 3), np.nan)
    # the left shoulder moves along x at 1 m/s: it is drawn where it was when the PICTURE was taken
    left, right = (skeletons.COCO17.index(f"{side}_shoulder") for side in ("left", "right"))
    xyz[:, left] = np.stack([clock - 0.5, np.zeros(12), np.zeros(12)], axis=-1)
    xyz[:, right] = xyz[:, left] + [0, 0.4, 0]
    k3 = Keypoints3D.of(skeletons.COCO17, xyz, np.ones((12, 17)), np.zeros((12, 17, 3, 3)), np.zeros((12, 17)))
    xy = np.full((10, 17, 2), np.nan)
    xy[:, 0] = [40, 200]
    k2 = Keypoints2D.of(skeletons.COCO17, view.timestamps, xy, np.ones((10, 17)))
    rasteriser, _ = open_rasteriser("software")
    size = overlay_size(view.size, longer_side=160)
    reel = overlay_reel(tmp_path / "o.mp4", view, camera, [Person({"a": k2}, k3)], clock, rasteriser, size=size)
    (film,) = shoot([reel], len(clock), fps=10, crf=5)
    assert isinstance(film, Film)
    assert (film.frames, film.without_footage) == (12, 1)  # 1.12 s is more than a frame and a half after the last
    with av.open(str(film.path)) as container:
        pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    assert pictures[0].shape == (120, 160, 3)
    for i in (1, 4, 8):
        assert pictures[i][5, 5, 0] == pytest.approx(20 * i, abs=4)
        where, _ = camera.project(np.array([i / 10 - 0.5, 0.2, 0.0]))
        column, row = np.round((where + 0.5) / 2 - 0.5).astype(int)
        drawn = np.abs(pictures[i][row] - pictures[i][5, 5]).max(-1) > 30
        assert np.flatnonzero(drawn).mean() == pytest.approx(column, abs=1.0)
        assert pictures[i][95:105, 15:25].max() > 150  # the detected point
    assert pictures[11][5, 5].max() < 10


def test_what_is_made_ahead_comes_in_order_and_what_fails_fails_in_its_place() -> None:
    def items():
        yield from range(10)
        raise ValueError("here")

    made = []
    with pytest.raises(ValueError, match="here"):
        made.extend(ahead(items()))
    assert made == list(range(10))
    assert list(ahead(range(100))) == list(range(100))
    assert list(ahead([])) == []


def test_leaving_early_ends_the_thread_that_works_ahead() -> None:
    before = threading.active_count()
    some = ahead(itertools.count())
    assert [next(some) for _ in range(3)] == [0, 1, 2]
    some.close()
    assert threading.active_count() == before


def test_footage_that_breaks_in_the_middle_costs_its_own_film_alone(tmp_path: Path) -> None:
    def pictures(until: int) -> Pictures:
        for _ in range(until):
            yield np.full((48, 64, 3), 90, np.uint8), True
        raise BadFile(tmp_path / "footage", "broken.")

    reels = [Reel(tmp_path / f"{n}.mp4", str(n), (64, 48), pictures(n)) for n in (20, 3, 0)]
    whole, broken, never, mosaic = shoot(reels, 6, fps=10, mosaic=tmp_path / "mosaic.mp4")
    assert isinstance(whole, Film)
    assert isinstance(broken, BadFile)
    assert isinstance(never, BadFile)
    assert isinstance(mosaic, Film)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["20.mp4", "mosaic.mp4"]
    assert whole.frames == mosaic.frames == 6


def test_a_film_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    reel = Reel(tmp_path / "file" / "a.mp4", "a", (64, 48), (x for x in [(np.zeros((48, 64, 3), np.uint8), True)]))
    with pytest.raises(BadFile, match="folder"):
        shoot([reel], 1, fps=10)


def test_the_skeleton_of_somebody_behind_another_body_is_hidden(tmp_path: Path) -> None:
    view = open_view(footage(tmp_path / "a.mp4", 2, 10.0), "a")
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = LEVEL, -LEVEL @ [0.0, -3.0, 1.2]
    camera = Camera("a", np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]]), np.zeros(5), T, SIZE)
    body, ones = load_body("embedded"), np.ones((2, 1))

    def somebody(x: float, y: float) -> Person:
        motion = Motion(ones * [np.pi / 2, 0, 0], ones * [x, y, 1.2], np.zeros((2, 23, 3)))
        return Person(body=body, shape=np.zeros(10), motion=motion)

    def lines_of_the_other(people: list[Person]) -> int:
        pictures = []
        for shown in (people[:1], people):
            reel = overlay_reel(
                tmp_path / "o.mp4",
                view,
                camera,
                shown,
                np.arange(2) / 10,
                open_rasteriser("software")[0],
                size=SIZE,
                opacity=0.0,
            )
            pictures.append(next(reel.pictures)[0].astype(int))
            reel.pictures.close()
        return int((np.abs(pictures[1] - pictures[0]).max(-1) > 40).sum())

    hidden, beside = (lines_of_the_other([somebody(0, 0), somebody(x, 0.6)]) for x in (0.0, 1.4))
    assert beside > 300
    assert hidden < 0.35 * beside
