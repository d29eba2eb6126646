"""Detection of all views: in processes of their own, kept by content and settings, and told when one dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from mocap import progress
from mocap.detect import run, stored
from mocap.detect.detectors.base import Detector, Seen
from mocap.errors import DataError, SetupError
from mocap.io.footage import open_view, read_frames
from mocap.options import options
from mocap.skeletons import COCO17

FRAMES = 12


@options
class Fake(Detector):
    """Sees one person whose every point is (brightness, frame), writes down which frames it looked at."""

    log: Path
    shift: float = 0.0
    dies_at: int | None = None
    killed_at: int | None = None
    lacks: str = ""

    def skeleton(self, view):
        return COCO17

    def key(self):
        return f"fake {self.shift}"

    def check(self, footage):
        if self.lacks:
            raise SetupError(self.lacks)

    def detect_view(self, view, indices):
        for index, image in read_frames(view, indices.tolist()):
            with self.log.open("a") as log:
                log.write(f"{view.name} {index}\n")
            if index == self.dies_at:
                raise RuntimeError("the network exploded")
            if index == self.killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if image is None:
                yield index, None
            elif index == 5:
                yield index, Seen(np.zeros((0, 17, 2)), np.zeros((0, 17)))
            else:
                people = 1 + index % 2
                xy = np.tile([image.mean() + self.shift, float(index)], (people, 17, 1))
                yield index, Seen(xy, np.full((people, 17), 0.5))


@pytest.fixture
def footage(tmp_path):
    views = {}
    for number, name in enumerate(("left", "right")):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for k in range(FRAMES):
            cv2.imwrite(str(folder / f"{k:06d}.png"), np.full((24, 32, 3), 40 * (number + 1) + k, np.uint8))
        views[name] = open_view(folder, name, fps=30)
    return views


def every(footage):
    return {name: np.arange(view.frames) for name, view in footage.items()}


def looked(log):
    return log.read_text().splitlines() if log.exists() else []


def test_views_side_by_side_give_all_candidates_and_a_second_run_looks_at_no_frame(tmp_path, footage):
    log, cache = tmp_path / "log", tmp_path / "cache"
    steps = []

    class Bar:
        def __init__(self, label, total, unit):
            steps.append((label, total))

        def update(self, n):
            steps.append(n)

        def close(self):
            pass

    with progress.listening(Bar):
        found, facts = run.detect_views(footage, every(footage), Fake(log=log), workers=2, cache=cache)
    assert steps[0] == ("detect", 2 * FRAMES)
    assert sum(steps[1:]) == 2 * FRAMES
    assert len(looked(log)) == 2 * FRAMES
    right = found["right"]
    assert right.xy.shape == (FRAMES, 2, 17, 2)
    np.testing.assert_array_equal(right.timestamps, footage["right"].timestamps)
    np.testing.assert_allclose(right.xy[3, :, 0], [[83, 3], [83, 3]])
    assert np.isnan(right.xy[2, 1]).all()
    assert (right.confidence[2, 1] == 0).all()
    assert facts["views"]["left"]["nobody"] == 1
    assert facts["views"]["left"]["frames_cached"] == 0

    again, facts = run.detect_views(footage, every(footage), Fake(log=log), workers=2, cache=cache)
    assert len(looked(log)) == 2 * FRAMES
    np.testing.assert_array_equal(again["left"].xy, found["left"].xy)
    assert facts["views"]["left"]["frames_cached"] == FRAMES
    assert facts["fps"] is None


def test_key_changes_with_settings_frames_pixels_and_nothing_else(tmp_path, footage):
    view, frames, log = footage["left"], np.arange(FRAMES), tmp_path / "log"
    key = run._key(run._settings(Fake(log=log)), view, frames)
    assert run._key(run._settings(Fake(log=tmp_path / "elsewhere")), view, frames) == key
    later = open_view(view.path, "left", fps=30, offset=2.0)
    assert run._key(run._settings(Fake(log=log)), later, frames) == key
    assert run._key(run._settings(Fake(log=log, shift=1.0)), view, frames) != key
    assert run._key(run._settings(Fake(log=log)), view, frames[::2]) != key
    assert run._key(run._settings(Fake(log=log)), footage["right"], frames) != key
    cv2.imwrite(str(view.files[0]), np.full((24, 32, 3), 200, np.uint8))
    assert run._key(run._settings(Fake(log=log)), view, frames) != key


def test_a_damaged_file_or_one_of_another_key_is_made_anew(tmp_path, footage):
    log, cache = tmp_path / "log", tmp_path / "cache"
    one = {"left": footage["left"]}
    path = cache / "detections" / f"{run._key(run._settings(Fake(log=log)), one['left'], np.arange(FRAMES))}.npz"
    run._detect(lambda message: None, Fake(log=log, shift=9.0), one["left"], np.arange(FRAMES), path, "another key")
    assert run._usable(path, path.stem, np.arange(FRAMES)) is None
    path.write_bytes(path.read_bytes()[:500])
    found, _ = run.detect_views(one, every(one), Fake(log=log), cache=cache)
    assert found["left"].xy[3, 0, 0].tolist() == [43, 3]
    assert stored.read(path).key == path.stem


def test_a_worker_that_dies_is_named_with_its_view_and_last_words_and_the_finished_view_is_kept(tmp_path, footage):
    log, cache = tmp_path / "log", tmp_path / "cache"
    with pytest.raises(DataError, match=r'view "left".*exit code 1.*the network exploded'):
        run.detect_views({"left": footage["left"]}, every(footage), Fake(log=log, dies_at=7), cache=cache)
    if hasattr(signal, "SIGKILL"):
        with pytest.raises(DataError, match=r'view "right".*signal 9 .*memory'):
            run.detect_views({"right": footage["right"]}, every(footage), Fake(log=log, killed_at=3), cache=cache)


def test_a_finished_view_is_not_lost_when_another_fails(tmp_path, footage):
    log, cache = tmp_path / "log", tmp_path / "cache"
    cv2.imwrite(str(footage["right"].files[6]), np.zeros((10, 10, 3), np.uint8))  # of another size
    with pytest.raises(DataError, match=r'frame 6 of view "right" is 10x10'):
        run.detect_views(footage, every(footage), Fake(log=log), workers=1, cache=cache)
    assert [stored.read(p).view for p in (cache / "detections").glob("*.npz")] == ["left"]


def test_a_frame_that_cannot_be_read_is_reported_and_nobody_is_in_it(tmp_path, footage):
    footage["left"].files[4].write_bytes(b"no picture")
    one = {"left": footage["left"]}
    found, facts = run.detect_views(one, every(one), Fake(log=tmp_path / "log"))
    assert facts["views"]["left"]["unreadable"] == [4]
    assert facts["views"]["left"]["nobody"] == 1
    assert facts["warnings"] == ['View "left": 1 of 12 frames cannot be read (4).']
    assert (found["left"].confidence[4] == 0).all()


def test_a_stopped_detection_goes_on_where_it_was_kept_last(tmp_path, footage, monkeypatch):
    monkeypatch.setattr(run, "KEEP_EVERY", -1.0)  # keep every frame
    view, path, log = footage["left"], tmp_path / "cache" / "view.npz", tmp_path / "log"
    with pytest.raises(RuntimeError):
        run._detect(lambda message: None, Fake(log=log, dies_at=7), view, np.arange(FRAMES), path, "key")
    assert not path.exists()
    damaged = sorted(path.with_suffix(".parts").glob("*.npz"))[5]
    damaged.write_bytes(b"")

    told = []
    run._detect(told.append, Fake(log=log), view, np.arange(FRAMES), path, "key")
    assert told[0] == ("resumed", 5)
    assert looked(log)[8:] == [f"left {k}" for k in range(5, FRAMES)]
    whole = tmp_path / "whole.npz"
    run._detect(lambda message: None, Fake(log=log), view, np.arange(FRAMES), whole, "key")
    np.testing.assert_array_equal(stored.read(path).xy, stored.read(whole).xy)
    assert not path.with_suffix(".parts").exists()


def test_an_unreadable_end_is_no_mistake_where_detection_goes_on(tmp_path, footage, monkeypatch):
    monkeypatch.setattr(run, "KEEP_EVERY", -1.0)
    view, path, log = footage["left"], tmp_path / "view.npz", tmp_path / "log"
    for file in view.files[8:]:
        file.write_bytes(b"no picture")
    with pytest.raises(RuntimeError):
        run._detect(lambda message: None, Fake(log=log, dies_at=8), view, np.arange(FRAMES), path, "key")
    run._detect(lambda message: None, Fake(log=log), view, np.arange(FRAMES), path, "key")
    assert stored.read(path).unreadable.tolist() == list(range(8, FRAMES))


def test_a_view_of_which_nothing_can_be_read_is_told(tmp_path, footage):
    view = footage["left"]
    for file in view.files[3:]:
        file.write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of the 9 frames asked for can be decoded"):
        run.detect_views({"left": view}, {"left": np.arange(3, FRAMES)}, Fake(log=tmp_path / "log"))


def test_parts_of_other_settings_are_not_gone_on_from(tmp_path, footage, monkeypatch):
    monkeypatch.setattr(run, "KEEP_EVERY", -1.0)
    view, path, log = footage["left"], tmp_path / "view.npz", tmp_path / "log"
    with pytest.raises(RuntimeError):
        run._detect(lambda message: None, Fake(log=log, dies_at=7), view, np.arange(FRAMES), path, "key")
    run._detect(lambda message: None, Fake(log=log), view, np.arange(FRAMES), path, "another key")
    assert looked(log)[8] == "left 0"


def test_what_the_detector_lacks_is_its_own_sentence(tmp_path, footage):
    with pytest.raises(SetupError, match="no such library"):
        run.check(Fake(log=tmp_path / "log", lacks="no such library"), footage)
    run.check(Fake(log=tmp_path / "log"), footage)


@pytest.mark.parametrize(
    ("clock", "needed"),
    [
        ([0.0, 0.1, 0.2], [0, 1, 2]),  # the view's own clock
        ([0.1 + 1e-9], [1]),  # the same moment up to rounding
        ([0.05], [0, 1]),  # in between
        ([-1.0, 0.32], [0, 3, 4]),  # before the view began: its first
        ([9.0], [4]),  # after it ended: its last
        ([0.0, 0.2, 0.4], [0, 2, 4]),  # every second
    ],
)
def test_frames_needed_are_those_around_each_moment(clock, needed):
    got = run.frames_needed(np.arange(5) / 10, np.array(clock))
    np.testing.assert_array_equal(got, needed)
