"""Small copies for a page: small, short, and none rather than a broken one."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from mocap.io.previews import small_picture, small_video
from mocap.io.video_out import VideoWriter


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with VideoWriter(path, (640, 360), 10.0) as writer:
        for i in range(30):
            writer.write(np.full((360, 640, 3), 8 * i, np.uint8))
    return path


def test_a_video_becomes_small_and_short(film, tmp_path):
    data = small_video(film, width=160, seconds=1.0)
    assert data is not None
    (tmp_path / "small.mp4").write_bytes(data)
    with av.open(str(tmp_path / "small.mp4")) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(frames) == 10
    assert frames[0].shape == (90, 160, 3)
    assert abs(float(frames[9].mean()) - 72) < 4


def test_what_would_be_too_large_or_is_no_video_is_left_out(film, tmp_path):
    assert small_video(film, limit=100) is None
    (tmp_path / "no.mp4").write_bytes(b"no video")
    assert small_video(tmp_path / "no.mp4") is None


def test_a_picture_and_the_first_frame_of_a_video_become_small_jpegs(film, tmp_path):
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((100, 1000, 3), 200, np.uint8))
    for path, height in ((tmp_path / "wide.png", 42), (film, 236)):
        data = small_picture(path, width=420)
        assert data is not None
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (height, 420, 3)
    assert small_picture(tmp_path / "none.png") is None
