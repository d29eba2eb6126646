"""Focal lengths of cameras nobody calibrated: the best that is known wins, and the report says which it was."""

from __future__ import annotations

import json

import av
import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from mocap.errors import BadFile, UnknownName
from mocap.geometry.cameras import level_camera
from mocap.io import focal
from mocap.io.focal import Told, focal_length

SIZE = (1200, 900)
FRAME = float(np.hypot(36, 24))


def exif(**entries: object) -> Image.Exif:
    made = Image.Exif()
    inside = made.get_ifd(ExifTags.IFD.Exif)
    for name, value in entries.items():
        (made if name in ("Orientation", "Model") else inside)[ExifTags.Base[name]] = value
    return made


def picture(path, size=(60, 40), **entries):
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=exif(**entries))
    return path


def test_the_35_mm_equivalent_keeps_the_angle_across_the_diagonal():
    f = focal_length(SIZE, Told(equivalent=26.0)).px
    assert np.arctan(np.hypot(*SIZE) / 2 / f) == pytest.approx(np.arctan(FRAME / 2 / 26))
    assert focal_length(SIZE[::-1], Told(equivalent=26.0)).px == f


def test_the_best_that_is_known_wins_in_order_and_is_named():
    whole = Told(equivalent=26.0, fraction=0.8, model="iPhone 12")
    longer = max(SIZE)
    found = [
        focal_length(SIZE, whole, given=777.0, phone="iPhone XR"),
        focal_length(SIZE, whole, phone="iPhone XR"),
        focal_length(SIZE, Told(None, 0.8, "iPhone 12"), phone="iPhone XR"),
        focal_length(SIZE, Told(model="iPhone 12"), phone="iPhone XR"),
        focal_length(SIZE, Told(model="Camera of nobody"), phone="iPhone XR"),
        focal_length(SIZE, Told(model="Camera of nobody"), paper=True),
        focal_length(SIZE, Told()),
    ]
    table = json.loads((focal._TABLE).read_text())["focal_by_longer_side"]
    median = np.median(list(table.values()))
    wanted = [777, 26 / FRAME * np.hypot(*SIZE), 0.8 * longer, table["iPhone13,2"] * longer]
    wanted += [table["iPhone11,8"] * longer, 5000, median * longer]
    assert [f.px for f in found] == pytest.approx(wanted)
    assert [f.guessed for f in found] == [False] * 6 + [True]
    assert len({f.source for f in found}) == 7


@pytest.mark.parametrize("name", ["iPhone13,2", "iPhone 12", "IPHONE 12", "iphone12"])
def test_a_phone_is_known_by_model_and_by_what_it_is_sold_as(name):
    assert focal.of_phone(name) == focal.of_phone("iPhone13,2") == pytest.approx(0.703, abs=0.002)


def test_an_unknown_phone_is_told_with_those_known():
    with pytest.raises(UnknownName, match=r'phone of the dataset: Unknown phone "iPhone 99".*iPhone 12'):
        focal_length(SIZE, Told(), phone="iPhone 99")


def test_every_name_in_the_table_is_of_a_model_in_it_and_every_value_a_phones():
    phones = focal._phones()
    assert set(phones.names.values()) <= set(phones.fractions)
    assert all(0.6 < f < 1.0 for f in phones.fractions.values())
    assert "Apache-2.0" in focal._TABLE.read_text()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_picture_tells_its_size_as_it_is_read_and_its_camera(tmp_path, suffix, orientation):
    path = picture(tmp_path / f"p.{suffix}", Orientation=orientation, Model="iPhone 12", FocalLengthIn35mmFilm=26)
    size, told = focal.of_picture(path)
    assert size == cv2.imread(str(path)).shape[1::-1]
    assert told == Told(equivalent=26.0, model="iPhone 12")


def test_the_sensors_resolution_tells_the_focal_length_and_counts_for_resized_pictures_too(tmp_path):
    # 50 mm before a sensor of 6000 px on 36 mm: f = 50 / 36 of the longer side
    entries = {
        "FocalLength": 50.0, "FocalPlaneXResolution": 6000 / 3.6, "FocalPlaneResolutionUnit": 3,
        "ExifImageWidth": 6000, "ExifImageHeight": 4000, "Model": "X",
    }  # fmt: skip
    _, told = focal.of_picture(picture(tmp_path / "p.jpg", **entries))
    assert told.fraction == pytest.approx(50 / 36, rel=1e-4)
    assert focal_length((60, 40), told).px == pytest.approx(60 * 50 / 36, rel=1e-4)


def test_nonsense_in_a_file_is_passed_over(tmp_path):
    _, told = focal.of_picture(picture(tmp_path / "p.jpg", Model="X", FocalLengthIn35mmFilm=0, FocalLength=0.0))
    assert told == Told(model="X")
    for told in (Told(equivalent=1e9), Told(equivalent=1e-3), Told(fraction=1e6)):
        assert focal_length(SIZE, told).guessed


def test_damaged_empty_and_other_files_are_told(tmp_path):
    whole = picture(tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:20])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no picture")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "gif.jpg", format="GIF")
    for name in ("cut.png", "empty.png", "text.jpg", "gif.jpg"):
        with pytest.raises(BadFile, match="no picture that can be read"):
            focal.of_picture(tmp_path / name)


def test_an_apple_video_tells_its_model_and_lens(tmp_path):
    path = tmp_path / "v.mov"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata["com.apple.quicktime.model"] = "iPhone 12"
        container.metadata["com.apple.quicktime.camera.focal_length.35mm_equivalent"] = "26"
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    assert focal.of_video(path) == Told(equivalent=26.0, model="iPhone 12")
    (tmp_path / "none.mp4").write_bytes(b"nothing")
    assert focal.of_video(tmp_path / "none.mp4") == Told()


def test_a_level_camera_looks_along_y_with_the_horizon_through_the_middle():
    camera = level_camera("a", 1000.0, (641, 481))
    xy, depth = camera.project(np.array([[0.0, 4.0, 0.0], [1.0, 4.0, 0.0], [0.0, 4.0, 1.0]]))
    np.testing.assert_allclose(xy, [[320, 240], [570, 240], [320, -10]])  # right is right, up is up
    np.testing.assert_allclose(depth, 4)
    np.testing.assert_array_equal(camera.centre, 0)
