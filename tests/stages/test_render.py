from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from mocap import cli, skeletons
from mocap.bodies.kinematics import keypoints_of
from mocap.bodies.load import load_body
from mocap.config import read_experiment
from mocap.errors import ConfigError, UnknownName
from mocap.geometry.cameras import Camera, Rig
from mocap.io.footage import open_view
from mocap.io.names import file_names
from mocap.io.video_out import VideoWriter
from mocap.render.ground import GroundView
from mocap.render.mosaic import layout
from mocap.stages.make_video import MakeVideo
from mocap.stages.render_ground import RenderGround
from mocap.take import Keypoints3D, Motion, Person, RunContext, Take

Takes = Callable[..., Take]
FRAMES = 6
SIZE = (160, 120)


@pytest.fixture(scope="module")
def person() -> Person:
    body = load_body("embedded")
    Th = np.tile([0.0, 0, 1.2], (FRAMES, 1)) + np.arange(FRAMES)[:, None] * [0.02, 0, 0]
    motion = Motion(np.tile([np.pi / 2, 0, 0], (FRAMES, 1)), Th, np.zeros((FRAMES, 23, 3)))
    xyz = keypoints_of(body, "body25", np.zeros(10), motion.Rh, motion.Th, motion.poses)
    ones = np.ones(xyz.shape[:2])
    keypoints = Keypoints3D.of(skeletons.BODY25, xyz, ones, np.zeros((*xyz.shape, 3)), 0 * ones)
    return Person(keypoints3d=keypoints, body=body, shape=np.zeros(10), motion=motion)


def camera(name: str, x: float) -> Camera:
    R = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # looks along y
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ [x, -4.0, 1.0]
    return Camera(name, np.array([[160.0, 0, 79.5], [0, 160, 59.5], [0, 0, 1]]), np.zeros(5), T, SIZE)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    with VideoWriter(path, SIZE, 30, crf=10) as video:
        for i in range(FRAMES):
            video.write(np.full((SIZE[1], SIZE[0], 3), 20 + 10 * i, np.uint8))
    return path.read_bytes()


@pytest.fixture
def take_of(tmp_path: Path, person: Person, video: bytes) -> Takes:
    """A take of the person, or of others, seen by cameras of the given names."""

    def made(names: tuple[str, ...] = ("01", "02"), out: str = "out", **changes: Any) -> Take:
        rig = Rig(tuple(camera(name, 0.3 * i) for i, name in enumerate(names)), has_floor=True)
        footage = {}
        for i, name in enumerate(names):
            (tmp_path / f"{i}.mp4").write_bytes(video)
            footage[name] = open_view(tmp_path / f"{i}.mp4", name)
        run = RunContext(tmp_path / out, views_drawn=changes.pop("views_drawn", None))
        take = Take(run, np.arange(FRAMES) / 30, np.arange(FRAMES), rig=rig, footage=footage, people=(person,))
        return take.replace(**changes)

    return made


def run(take: Take, **video: Any) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Facts of both stages, and the files made."""
    video = {"longer_side": 96, "mosaic": False} | video
    for stage in (RenderGround(size=(160, 96), backend="software"), MakeVideo(**video)):
        stage.check(take)
        take = stage(take.begun(type(stage).__name__, ""))
    made = sorted(p.relative_to(take.run.output).as_posix() for p in take.run.output.rglob("*") if p.is_file())
    return dict(take.reports[-2].facts), dict(take.reports[-1].facts), made


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def test_the_ground_and_every_view_are_drawn(take_of: Takes, tmp_path: Path) -> None:
    planned, drawn, files = run(take_of())
    assert files == ["render/ground.mp4", "render/overlay_01.mp4", "render/overlay_02.mp4"]
    assert drawn["files"] == files
    assert drawn["frames"] == FRAMES
    assert drawn["backend"] == "software, as asked"
    assert set(drawn["frames_per_second"]) == {"ground", "overlay_01", "overlay_02"}
    assert (planned["camera"], planned["floor"], planned["floor_from"]) == ("fixed", 0.0, "the dataset's")
    pictures = frames_of(tmp_path / "out" / files[1])
    assert len(pictures) == FRAMES
    assert pictures[0].shape == (72, 96, 3)
    # the body stands in the middle of the picture over grey footage
    coloured = np.ptp(pictures[3], axis=-1) > 15
    assert coloured[20:50, 40:56].mean() > 0.3
    assert not coloured[:, :20].any()


def test_a_mosaic_shows_the_ground_and_the_views_at_once(take_of: Takes, tmp_path: Path) -> None:
    _, drawn, files = run(take_of(), mosaic=True)
    assert files == [f"render/{name}.mp4" for name in ("ground", "mosaic", "overlay_01", "overlay_02")]
    assert sorted(drawn["files"]) == files
    render = tmp_path / "out" / "render"
    whole, ground, one = (frames_of(render / f"{name}.mp4") for name in ("mosaic", "ground", "overlay_01"))
    assert len(whole) == FRAMES
    _, tiles = layout([(160, 96), (96, 72), (96, 72)])
    for (x, y, w, h), film in zip(tiles, (ground, one), strict=False):
        tile = whole[3][y + 2 : y + h - 2, x + 2 : x + w - 2].astype(np.uint8)
        film = cv2.resize(film[3].astype(np.uint8), (w, h), interpolation=cv2.INTER_AREA)[2:-2, 2:-2]
        below = np.s_[30:]  # its title
        assert np.abs(tile[below].astype(int) - film[below]).mean() < 6
    # the films themselves are the same with it and without
    run(take_of(out="plain"))
    for name in ("ground", "overlay_02"):
        plain = tmp_path / "plain" / "render" / f"{name}.mp4"
        assert (np.array(frames_of(plain)) == np.array(frames_of(render / f"{name}.mp4"))).all()


def test_one_film_alone_needs_no_mosaic_and_more_than_eight_views_are_too_many_for_one(take_of: Takes) -> None:
    assert run(take_of(views_drawn=()), mosaic=True)[2] == ["render/ground.mp4"]
    names = tuple(f"{i:02}" for i in range(10))
    _, drawn, files = run(take_of(names, out="many"), mosaic=True, keypoints=False)
    assert len(files) == 12
    assert "first 8 of 10" in drawn["mosaic"]


def test_a_video_that_cannot_be_read_has_no_place_in_the_mosaic(take_of: Takes, tmp_path: Path) -> None:
    take = take_of()
    (tmp_path / "0.mp4").write_bytes(b"no video")
    _, drawn, files = run(take, mosaic=True)
    assert files == ["render/ground.mp4", "render/mosaic.mp4", "render/overlay_02.mp4"]
    assert len(drawn["warnings"]) == 1
    size, _ = layout([(160, 96), (96, 72)])
    assert frames_of(tmp_path / "out" / "render" / "mosaic.mp4")[0].shape[1::-1] == tuple(s + s % 2 for s in size)


def test_scale_is_of_the_footage_and_goes_before_the_longer_side(take_of: Takes, tmp_path: Path) -> None:
    for scale, shape in ((0.5, (60, 80, 3)), (1.0, (120, 160, 3)), (1.5, (180, 240, 3))):
        run(take_of(views_drawn=("01",)), scale=scale)
        assert frames_of(tmp_path / "out" / "render" / "overlay_01.mp4")[0].shape == shape


def test_the_flag_scale_is_the_option_of_make_video_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "exp.yml"
    file.write_text("output: out\nstages:\n  render_ground: {}\n  make_video: {}\n")

    def scale_of(words: list[str]) -> float | None:
        flags = cli._flags_of_stages(cli._parser().parse_args(words))
        stage = read_experiment(file, overrides=flags).steps[-1].stage
        assert isinstance(stage, MakeVideo)
        return stage.scale

    assert scale_of([]) is None
    assert scale_of(["--scale", "0.5"]) == 0.5
    with pytest.raises(ConfigError, match=r"--scale 9: .*at most 4"):
        scale_of(["--scale", "9"])


def test_the_shadow_in_the_footage_needs_a_floor_that_is_known(take_of: Takes, tmp_path: Path) -> None:
    def darkest(out: str, take: Take, **video: Any) -> int:
        run(take, keypoints=False, opacity=0.0, **video)
        return int(frames_of(tmp_path / out / "render" / "overlay_01.mp4")[5].min())

    take = take_of(views_drawn=("01",))
    assert take.rig is not None
    unknown = take_of(views_drawn=("01",), out="unknown", rig=Rig(take.rig.cameras, has_floor=False))
    off = take_of(views_drawn=("01",), out="off")
    assert darkest("out", take) < 50
    assert darkest("unknown", unknown) > 62  # the footage is 70
    assert darkest("off", off, shadow=False) > 62


def test_planning_a_film_draws_nothing_and_keeps_only_numbers(take_of: Takes, tmp_path: Path) -> None:
    take = RenderGround()(take_of())
    (planned,) = take.renderings
    assert isinstance(planned, GroundView)
    assert not (tmp_path / "out").exists()
    assert planned.T_camera_world.nbytes + planned.centre.nbytes < 200 * FRAMES


def test_only_the_views_asked_for_are_drawn(take_of: Takes) -> None:
    some = take_of(views_drawn=("02",))
    assert run(some)[2] == ["render/ground.mp4", "render/overlay_02.mp4"]
    none = take_of(out="none", views_drawn=())
    assert run(none)[2] == ["render/ground.mp4"]
    assert run(take_of(out="off"), overlay=False)[2] == ["render/ground.mp4"]


def test_a_view_to_draw_that_does_not_exist_is_told_before_anything_is_drawn(take_of: Takes) -> None:
    take = take_of(views_drawn=("03",))
    with pytest.raises(UnknownName, match="01, 02"):
        MakeVideo().check(take)


def test_names_of_views_never_lead_out_of_the_folder(take_of: Takes, tmp_path: Path) -> None:
    names = ("../../up", "a/b", "a_b", "..")
    _, _, files = run(take_of(names))
    assert len(files) == 5
    assert all(file.startswith("render/") for file in files)
    assert not (tmp_path.parent / "up").exists()
    safe = list(file_names(["a/b", "A_b", "Käse 1"]).values())
    assert safe == ["a_b", "A_b_2", "Käse_1"]


def test_without_footage_the_ground_is_drawn_and_the_report_says_so(take_of: Takes) -> None:
    _, drawn, files = run(take_of(footage={}))
    assert files == ["render/ground.mp4"]
    assert "no footage" in drawn["overlays"]
    one = take_of()
    _, drawn, files = run(one.replace(footage={"01": one.footage["01"]}))
    assert files == ["render/ground.mp4", "render/overlay_01.mp4"]
    assert '"02"' in drawn["warnings"][0]


def test_a_video_that_cannot_be_read_costs_only_its_own_overlay(take_of: Takes, tmp_path: Path) -> None:
    take = take_of()
    (tmp_path / "0.mp4").write_bytes(b"no video")
    _, drawn, files = run(take)
    assert files == ["render/ground.mp4", "render/overlay_02.mp4"]
    assert len(drawn["warnings"]) == 1
    assert '"01"' in drawn["warnings"][0]


def test_without_a_body_the_skeleton_is_drawn(take_of: Takes, tmp_path: Path, person: Person) -> None:
    planned, _, files = run(take_of(people=(Person(keypoints3d=person.keypoints3d),)))
    assert planned["drawn"] == ["skeleton"]
    assert len(files) == 3
    empty = frames_of(tmp_path / "out" / "render" / "ground.mp4")[0]
    assert (np.ptp(empty, axis=-1) > 60).any()  # coloured limbs on a grey floor


def test_a_world_without_a_floor_gets_one_below_the_feet(take_of: Takes) -> None:
    take = take_of()
    assert take.rig is not None
    planned, _, _ = run(take.replace(rig=Rig(take.rig.cameras, has_floor=False)), overlay=False)
    assert planned["floor_from"] == "below the feet"
    assert planned["floor"] == pytest.approx(0.0, abs=0.1)


def test_nobody_at_all_gives_an_empty_floor(take_of: Takes) -> None:
    planned, _, files = run(take_of(people=()))
    assert planned["drawn"] == []
    assert len(files) == 3


def test_a_single_frame_makes_a_film_of_one_frame(take_of: Takes, tmp_path: Path, person: Person) -> None:
    m = person.motion
    assert m is not None
    one = Person(body=person.body, shape=person.shape, motion=Motion(m.Rh[:1], m.Th[:1], m.poses[:1]))
    take = take_of(people=(one,), timestamps=np.zeros(1), frames=np.zeros(1, int))
    run(take)
    assert len(frames_of(tmp_path / "out" / "render" / "ground.mp4")) == 1
