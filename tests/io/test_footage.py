"""Videos and folders of images: every frame's time, every frame's pixels, and what becomes of damaged files."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mocap.errors import BadFile, DataError, MissingFile, UnknownName
from mocap.io.footage import (
    common_clock,
    content_key,
    discover_views,
    frame_numbers,
    natural_key,
    open_view,
    read_frames,
    view_notes,
)
from mocap.take import View


def picture(i: int, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """Frame number `i` as eight stripes, dark or bright: any encoder keeps them, and a turned picture shows."""
    stripes = np.arange(size[0]) * 8 // size[0]
    row = np.where(i >> stripes & 1, 200, 50).astype(np.uint8)
    return np.repeat(np.tile(row, (size[1], 1))[..., None], 3, axis=-1)


def number(image: np.ndarray | None) -> int | None:
    """Which frame a decoded picture is."""
    if image is None:
        return None
    bits = image[:, image.shape[1] // 16 :: image.shape[1] // 8].mean(axis=(0, 2)) > 125
    return int((bits << np.arange(8)).sum())


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and float(np.abs(a.astype(int) - b).mean()) < 6


def video(
    path: Path, pts: list[int], *, codec="libx264", b_frames=0, gop=12, rate=1000, size=(96, 64), **options: str
) -> Path:
    """A video whose frame i shows `picture(i)` at `pts[i]` / `rate` seconds."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(
            codec, rate=30, options={"bf": str(b_frames), "g": str(gop)} if codec == "libx264" else {}
        )
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, rate)
        if codec == "mpeg4":
            stream.codec_context.gop_size = 1
        stream.codec_context.qmin, stream.codec_context.qmax = 1, 8
        for i, t in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(picture(i, size), format="rgb24")
            frame.pts, frame.time_base = t, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def even(frames: int) -> list[int]:
    return [round(1000 * i / 30) for i in range(frames)]


def images(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        cv2.imwrite(str(folder / name), picture(i))
    return folder


def view(name: str, frames: int, fps: float, start: float = 0.0) -> View:
    return View(name, Path(name), start + np.arange(frames) / fps, (96, 64))


# ------------------------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize("b_frames", [0, 3])
def test_a_video_of_uneven_times_gives_the_times_its_frames_are_shown(tmp_path, b_frames):
    pts = [0, 33, 66, 133, 150, 400, 433, 500, 501, 900]
    v = open_view(video(tmp_path / "a.mp4", pts, b_frames=b_frames), "a", offset=2.0)
    np.testing.assert_allclose(v.timestamps, 2.0 + np.array(pts) / 1000, atol=1e-4)
    assert [(i, number(image)) for i, image in read_frames(v)] == [(i, i) for i in range(10)]
    assert v.size == (96, 64) and v.name == "a" and view_notes(v) == []


def test_a_clock_starts_at_the_first_frame(tmp_path):
    v = open_view(video(tmp_path / "a.mkv", [500 + t for t in even(5)]), "a")
    np.testing.assert_allclose(v.timestamps, np.array(even(5)) / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mov", "mpeg4"), ("avi", "mjpeg"), ("mkv", "libx264")]
)
def test_every_container_reads_alike(tmp_path, suffix, codec):
    v = open_view(video(tmp_path / f"a.{suffix}", list(range(20)), codec=codec, rate=30), "a")
    np.testing.assert_allclose(v.timestamps, np.arange(20) / 30, atol=2e-3)
    assert [number(image) for _, image in read_frames(v)] == list(range(20))


def test_images_are_numbered_by_their_names_and_gaps_are_gaps_in_time(tmp_path):
    v = open_view(images(tmp_path / "a", ["f9.JPG", "f10.png", "f12.jpeg"]), "a", fps=10.0, offset=1.0)
    np.testing.assert_allclose(v.timestamps, [1.0, 1.1, 1.3])
    assert frame_numbers(v).tolist() == [9, 10, 12] and view_notes(v, fps=10.0) == []
    assert [number(image) for _, image in read_frames(v)] == [0, 1, 2]


def test_images_without_numbers_keep_their_order_at_thirty_a_second_and_it_is_said(tmp_path):
    v = open_view(images(tmp_path / "a", ["b.png", "a.png"]), "a")
    np.testing.assert_allclose(v.timestamps, [0, 1 / 30])
    assert frame_numbers(v).tolist() == [0, 1] and [number(i) for _, i in read_frames(v)] == [1, 0]
    assert view_notes(v) == ['View "a" is a folder of images, taken to be at 30 frames a second.']


def test_natural_order_counts():
    names = ["cam10", "cam2", "Cam1", "b", "07", "7b", "cam2a"]
    assert sorted(names, key=natural_key) == ["07", "7b", "Cam1", "b", "cam2", "cam2a", "cam10"]


# ------------------------------------------------------------------------------------------------------------ pixels


def turned(path: Path, quarter_turns: int) -> None:
    """Writes the rotation flag a phone would into the track header of an mp4."""
    c, s = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarter_turns]
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", c << 16, s << 16, 0, -s << 16, c << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_the_rotation_flag_is_obeyed_clockwise(tmp_path, turns):
    path = video(tmp_path / "a.mp4", even(4), size=(90, 64))  # a width FFmpeg pads
    turned(path, turns)
    v = open_view(path, "a")
    assert v.size == ((90, 64) if turns % 2 == 0 else (64, 90))
    for i, image in read_frames(v):
        assert image.flags.c_contiguous
        assert alike(image, np.rot90(picture(i, (90, 64)), -turns))


def test_exif_orientation_is_obeyed(tmp_path):
    plain = cv2.imencode(".jpg", picture(5), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    clockwise = 6
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, clockwise, 0, 0)
    (tmp_path / "a").mkdir()
    marked = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    (tmp_path / "a" / "1.jpg").write_bytes(marked)
    v = open_view(tmp_path / "a", "a")
    assert v.size == (64, 96)
    assert alike(next(read_frames(v))[1], np.rot90(picture(5), -1))


@pytest.mark.parametrize(("suffix", "b_frames"), [("mp4", 0), ("mp4", 3), ("mkv", 0), ("mkv", 3), ("avi", 0)])
def test_a_late_start_gives_exactly_the_asked_frames(tmp_path, suffix, b_frames):
    codec = "mjpeg" if suffix == "avi" else "libx264"
    v = open_view(video(tmp_path / f"a.{suffix}", list(range(60)), rate=30, b_frames=b_frames, codec=codec), "a")
    for start in range(60):
        asked = [start, min(start + 3, 59)]
        assert [(i, number(image)) for i, image in read_frames(v, asked)] == [(i, i) for i in sorted(set(asked))]


def test_a_late_start_does_not_decode_what_is_before(tmp_path, monkeypatch):
    v = open_view(video(tmp_path / "a.mp4", even(80), gop=10), "a")
    seen = []
    monkeypatch.setattr("mocap.io.footage._frames", _spied("mocap.io.footage", seen))
    assert [number(image) for _, image in read_frames(v, [75])] == [75] and len(seen) <= 11


def _spied(module: str, seen: list):
    import importlib

    real = importlib.import_module(module)._frames

    def frames(*arguments):
        for frame in real(*arguments):
            seen.append(frame.pts)
            yield frame

    return frames


def test_indices_are_given_once_and_in_order(tmp_path):
    v = open_view(video(tmp_path / "a.mp4", even(10)), "a")
    assert [i for i, _ in read_frames(v, [7, 2, 2, 5])] == [2, 5, 7]
    assert list(read_frames(v, [])) == []
    with pytest.raises(DataError, match='View "a" has frames 0 to 9, and frame 10 was asked for'):
        next(read_frames(v, [3, 10]))


# ----------------------------------------------------------------------------------------------------- damaged files


def test_frames_that_cannot_be_decoded_come_as_none_and_the_others_in_their_places(tmp_path):
    path = video(tmp_path / "a.avi", list(range(20)), codec="mjpeg", rate=30)
    data = bytearray(path.read_bytes())
    at = [i for i in range(data.find(b"movi"), len(data)) if data[i : i + 4] == b"00dc"][5]
    size = struct.unpack("<I", data[at + 4 : at + 8])[0]
    data[at + 8 : at + 8 + size] = bytes(size)
    path.write_bytes(data)
    v = open_view(path, "a")
    found = {i: number(image) for i, image in read_frames(v)}
    assert list(found) == list(range(v.frames)) and sum(n is None for n in found.values()) == 1
    assert [n for n in found.values() if n is not None] == [n for n in range(20) if n != 5]


def test_noise_in_a_video_costs_frames_and_not_the_run(tmp_path):
    path = video(tmp_path / "a.mp4", even(60), gop=6)
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + (len(data) - data.find(b"mdat")) // 3
    data[start : start + 300] = np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    v = open_view(path, "a")
    found = list(read_frames(v))
    assert [i for i, _ in found] == list(range(60))
    lost = [i for i, image in found if image is None]
    assert 1 <= len(lost) <= 12 and [number(found[i][1]) for i in range(50, 60)] == list(range(50, 60))


def test_a_video_cut_off_gives_what_it_has_and_says_what_it_promised(tmp_path):
    path = video(tmp_path / "a.mp4", even(60), gop=6, movflags="faststart")
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"mdat") + (len(data) - data.find(b"mdat")) // 2])
    v = open_view(path, "a")
    assert 10 < v.frames < 60
    assert [number(image) for _, image in read_frames(v)][: v.frames - 1] == list(range(v.frames - 1))
    assert view_notes(v) == [f'View "a": {path} promises 60 frames and shows {v.frames}.']


@pytest.mark.parametrize("data", [b"", b"hello, I am no video\n" * 50, bytes(5000)])
def test_what_is_no_video_is_told(tmp_path, data):
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(BadFile, match=r"a\.mp4: (not a video|has no video)"):
        open_view(path, "a")
    with pytest.raises(MissingFile, match=r"b\.mp4"):
        open_view(tmp_path / "b.mp4", "b")


def test_a_video_without_its_index_is_told(tmp_path):
    path = video(tmp_path / "a.mp4", even(10))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(BadFile, match="cut off at its end"):
        open_view(path, "a")


def test_sound_alone_is_no_view(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(BadFile, match="has no video in it"):
        open_view(tmp_path / "a.mp4", "a")


def test_a_broken_image_is_none_and_a_folder_of_broken_ones_is_told(tmp_path):
    folder = images(tmp_path / "a", ["1.png", "2.png", "3.png"])
    (folder / "1.png").write_bytes(b"no picture")
    (folder / "2.png").write_bytes(b"")
    v = open_view(folder, "a")
    assert [number(image) for _, image in read_frames(v)] == [None, None, 2]
    assert list(read_frames(v, [0, 1])) == [(0, None), (1, None)]
    (folder / "3.png").write_bytes(b"no picture")
    with pytest.raises(BadFile, match="none of its 3 images"):
        open_view(folder, "a")


def test_an_image_of_another_size_is_told(tmp_path):
    folder = images(tmp_path / "a", ["1.png", "2.png"])
    cv2.imwrite(str(folder / "2.png"), picture(1, (100, 64)))
    with pytest.raises(BadFile, match=r'2\.png: frame 1 of view "a" is 100x64 px and its others are 96x64'):
        list(read_frames(open_view(folder, "a")))


# --------------------------------------------------------------------------------------------------------- discovery


def test_views_are_found_by_name_and_images_win_over_the_video_they_came_from(tmp_path):
    images(tmp_path / "images" / "07", ["000000.jpg"])
    images(tmp_path / "images" / "10", ["000000.jpg"])
    (tmp_path / "images" / "empty").mkdir()
    (tmp_path / "videos").mkdir()
    for name in ("7.mp4", "10.MP4", "2.mov", "notes.txt", "._2.mov"):
        (tmp_path / "videos" / name).touch()
    found = discover_views(tmp_path)
    assert list(found) == ["2", "07", "7", "10"]
    assert found["10"] == tmp_path / "images" / "10" and found["2"] == tmp_path / "videos" / "2.mov"


def test_two_videos_of_one_view_and_an_empty_folder_are_told(tmp_path):
    with pytest.raises(MissingFile, match=r"neither .*images/<view>/\*\.jpg\|png nor .*videos/<view>\.mp4\|mov"):
        discover_views(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "1.mp4").touch()
    (tmp_path / "videos" / "1.mov").touch()
    with pytest.raises(DataError, match='Two videos of view "1"'):
        discover_views(tmp_path)
    (tmp_path / "images" / "a").mkdir(parents=True)
    with pytest.raises(MissingFile, match='Images of view "a"'):
        open_view(tmp_path / "images" / "a", "a")


# --------------------------------------------------------------------------------------------------------- the clock


def test_the_clock_is_the_view_with_most_frames_while_two_views_see():
    views = [view("a", 30, 30), view("b", 120, 60, start=0.5), view("c", 15, 30, start=0.25)]
    clock = common_clock(views)
    assert clock.reference == "b" and clock.frames[0] == 0
    assert clock.timestamps[0] == 0.5 and 0.95 < clock.timestamps[-1] <= 29.5 / 30 + 1e-9
    told = " ".join(clock.notes)
    assert 'View "a" runs at 30 frames a second and "b"' in told and 'View "c" begins 0.250 s before "b"' in told


def test_a_view_that_sees_none_of_the_take_is_named():
    with pytest.raises(DataError, match=r'View "c" sees nothing while the others do .*offset'):
        common_clock([view("a", 30, 30), view("b", 30, 30), view("c", 30, 30, start=30.0)])


def test_one_view_is_a_clock_by_itself():
    clock = common_clock([view("a", 10, 25)])
    assert clock.frames.tolist() == list(range(10)) and clock.notes == []


def test_equal_views_give_no_notes_and_jitter_is_no_difference():
    b = view("b", 100, 30)
    b = View("b", b.path, b.timestamps + np.random.default_rng(0).normal(scale=1e-3, size=100), b.size)
    clock = common_clock([view("a", 100, 30), b])
    assert clock.reference == "a" and len(clock.frames) == 100 and clock.notes == []


def test_uneven_times_are_told():
    t = np.arange(30) / 30
    t[20:] += 0.2
    notes = common_clock([View("a", Path("a"), t, (1, 1)), view("b", 36, 30)]).notes
    assert any('View "a" has uneven times: 1 of its 29 intervals' in n and "longest 233 ms" in n for n in notes)


def test_ranges_count_frame_numbers_of_the_reference(tmp_path):
    a = open_view(images(tmp_path / "a", [f"{i:06d}.png" for i in range(100, 120)]), "a", fps=30.0)
    assert common_clock([a], ranges=(105, 112, 3)).frames.tolist() == [105, 108, 111]
    assert common_clock([a], ranges=(115, -1, 2)).frames.tolist() == [115, 117, 119]
    with pytest.raises(DataError, match='--ranges 0 50 1 leaves no frame: view "a" has frames 100 to 119'):
        common_clock([a], ranges=(0, 50, 1))
    with pytest.raises(DataError, match="must be at least 1"):
        common_clock([a], ranges=(0, 50, 0))


def test_views_that_never_see_together_are_told():
    with pytest.raises(DataError, match=r"No moment is seen by two views: a 0.00-0.97 s, b 5.00-5.97 s"):
        common_clock([view("a", 30, 30), view("b", 30, 30, start=5)])
    with pytest.raises(UnknownName, match='reference view "c"'):
        common_clock([view("a", 30, 30)], reference="c")
    assert common_clock([view("a", 30, 30), view("b", 60, 60)], reference="a").reference == "a"


# ---------------------------------------------------------------------------------------------------------- identity


@pytest.mark.parametrize("whole", [True, False])
def test_the_key_is_that_of_the_pixels_and_not_of_the_name(tmp_path, monkeypatch, whole):
    if not whole:
        monkeypatch.setattr("mocap.io.footage._WHOLE", 100)
        monkeypatch.setattr("mocap.io.footage._BLOCK", 64)
    a, b, c = (tmp_path / n for n in ("a.mp4", "b.mp4", "c.mp4"))
    video(a, even(12))
    b.write_bytes(a.read_bytes())
    video(c, even(11))
    keys = [content_key(open_view(p, n, offset=o)) for p, n, o in ((a, "a", 0.0), (b, "x", 1.0), (c, "a", 0.0))]
    assert keys[0] == keys[1] != keys[2] and len(keys[0]) == 64
    swapped = bytearray(a.read_bytes())
    swapped[-1] ^= 1
    a.write_bytes(swapped)
    assert content_key(View("a", a, np.zeros(1), (96, 64))) != keys[0]


@pytest.mark.parametrize("whole", [True, False])
def test_a_changed_image_changes_the_key(tmp_path, monkeypatch, whole):
    if not whole:
        monkeypatch.setattr("mocap.io.footage._WHOLE", 100)
    folder = images(tmp_path / "a", ["1.png", "2.png"])
    v = open_view(folder, "a")
    key = content_key(v)
    assert content_key(v) == key
    state = os.stat(folder / "1.png")
    cv2.imwrite(str(folder / "1.png"), picture(3))
    os.utime(folder / "1.png", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert content_key(v) != key
    (folder / "1.png").unlink()
    with pytest.raises(MissingFile, match=r"1\.png"):
        content_key(v)


def test_the_recording_is_read_whole(shared_data):
    found = discover_views(shared_data / "pose2sim_balancing")
    assert list(found) == ["cam01", "cam02", "cam03", "cam04"]
    views = [open_view(path, name) for name, path in found.items()]
    assert [v.size for v in views] == [(1080, 1920), (1080, 1920), (1088, 1920), (1088, 1920)]
    clock = common_clock(views)
    assert len(clock.frames) == 100 and clock.notes == [] and np.allclose(clock.timestamps, np.arange(100) / 60)
    assert all(next(read_frames(v, [99]))[1] is not None for v in views)
