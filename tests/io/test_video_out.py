from __future__ import annotations

import stat
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mocap.errors import BadFile, DataError, SetupError
from mocap.io import video_out
from mocap.io.video_out import VideoWriter

COLOURS = np.array([[220, 40, 30], [30, 200, 60], [40, 60, 210], [128, 128, 128]], np.uint8)


def frames(size: tuple[int, int], count: int = 12) -> list[np.ndarray]:
    """Flat pictures; the colour tells which it is."""
    return [np.broadcast_to(COLOURS[i % len(COLOURS)], (size[1], size[0], 3)) for i in range(count)]


def written(path: Path, size: tuple[int, int], fps: float, count: int = 12) -> Path:
    with VideoWriter(path, size, fps, crf=12) as video:
        for frame in frames(size, count):
            video.write(frame)
    return path


def test_frames_come_back_in_order_and_in_their_colours(tmp_path: Path) -> None:
    with av.open(str(written(tmp_path / "new" / "a.mp4", (96, 64), 25))) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 12
    for i, picture in enumerate(pictures):
        # ffmpeg reads small pictures as BT.601 unless the file says otherwise: ours does
        assert np.abs(picture[32, 48].astype(int) - COLOURS[i % 4]).max() < 12


@pytest.mark.parametrize(
    ("fps", "rate"), [(59.94, Fraction(2997, 50)), (30000 / 1001, Fraction(30000, 1001)), (12.5, Fraction(25, 2))]
)
def test_frame_rates_need_not_be_whole(tmp_path: Path, fps: float, rate: Fraction) -> None:
    with av.open(str(written(tmp_path / "a.mp4", (64, 48), fps))) as container:
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(float(rate), rel=1e-5)


def test_a_browser_can_play_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", (64, 48), 30)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # it starts before all of it has arrived


def test_odd_sides_are_padded_by_one_pixel(tmp_path: Path) -> None:
    with av.open(str(written(tmp_path / "a.mp4", (65, 47), 30))) as container:
        context = container.streams.video[0].codec_context
        assert (context.width, context.height) == (66, 48)


def test_a_run_that_breaks_off_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"earlier")
    with pytest.raises(ZeroDivisionError), VideoWriter(path, (64, 48), 30) as video:
        video.write(frames((64, 48))[0])
        raise ZeroDivisionError
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_no_frames_make_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"a\.mp4"), VideoWriter(tmp_path / "a.mp4", (64, 48), 30):
        pass
    assert not list(tmp_path.iterdir())


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(48, 64, 3\)"), VideoWriter(tmp_path / "a.mp4", (64, 48), 30) as video:
        video.write(np.zeros((64, 48, 3), np.uint8))
    with pytest.raises(DataError, match="0 frames a second"):
        VideoWriter(tmp_path / "a.mp4", (64, 48), 0.0)


def test_ffmpegs_own_words_are_in_the_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho 'No space left on device' >&2\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(video_out, "find_ffmpeg", lambda: str(fake))
    big = np.zeros((480, 640, 3), np.uint8)
    with (
        pytest.raises(BadFile, match="No space left on device"),
        VideoWriter(tmp_path / "a.mp4", (640, 480), 30) as video,
    ):
        for _ in range(50):
            video.write(big)
    assert list(tmp_path.iterdir()) == [fake]


def test_an_ffmpeg_that_cannot_be_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_out, "find_ffmpeg", lambda: str(tmp_path / "gone"))
    with pytest.raises(SetupError, match="gone"):
        VideoWriter(tmp_path / "a.mp4", (64, 48), 30).__enter__()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadFile, match="folder"):
        VideoWriter(tmp_path / "file" / "a.mp4", (64, 48), 30).__enter__()
