"""Stages are held to what they declare; what was computed is kept and used again only where it still holds."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import toys

from mocap import checkpoints, config, pipeline
from mocap.checkpoints import Stale
from mocap.config import Step
from mocap.errors import DataError, FlowError, SetupError, UnknownName
from mocap.pipeline import Interrupted
from mocap.skeletons import BODY25
from mocap.stages.base import Stage, options
from mocap.take import Keypoints2D, Keypoints3D, Motion, Person
from mocap.yaml_tree import Located
from tests.synthetic import toy_body

TEXT = "output: o\nstages: {see: {}, lift: {max_error: 0.5}, fit_shape: {}, write: {}}"


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("o").mkdir()
    return toys.install(tmp_path, monkeypatch)


def steps(text: str = TEXT):
    Path("exp.yml").write_text(text)
    return config.read_experiment(Path("exp.yml")).steps


def run(text: str = TEXT, *, told: list[str] | None = None, **options):
    take = toys.take(Path("o"))
    return pipeline.run(steps(text), take, tell=(told if told is not None else []).append, **options)


def calls() -> list[str]:
    """Which stages were called since the last time this was asked."""
    found = Path("o/calls.txt")
    names = found.read_text().split() if found.exists() else []
    found.unlink(missing_ok=True)
    return names


def report() -> dict:
    return json.loads(Path("o/report.json").read_text())


class TestFlow:
    def test_a_stage_without_what_it_needs_is_told_with_who_gives_it(self):
        with pytest.raises(FlowError, match=r'Stage "lift" needs detections.*"detections" is given by see'):
            pipeline.check_flow(steps("output: o\nstages: {lift: {}, see: {}}"), toys.take(Path("o")))

    def test_what_the_dataset_gives_need_not_be_given_again(self):
        first = toys.take(Path("o"), people=(Person(keypoints3d=_keypoints()),))
        pipeline.check_flow(steps("output: o\nstages: {fit_shape: {}, write: {}}"), first)

    def test_every_stage_is_asked_before_any_runs(self, monkeypatch):
        made = steps()
        asked = []
        monkeypatch.setattr(type(made[2].stage), "check", lambda self, take: asked.append(take))
        pipeline.check(made, toys.take(Path("o")))
        assert len(asked) == 1
        assert calls() == []

    def test_a_stage_that_changes_what_it_does_not_give_is_refused(self):
        text = TEXT.replace("fit_shape: {}", "meddle: {}")
        with pytest.raises(DataError, match='Stage "meddle" changed keypoints3d, which it does not say it gives'):
            run(text)

    def test_a_stage_that_was_given_nobody_is_told(self, monkeypatch):
        made = steps()
        monkeypatch.setattr(type(made[1].stage), "__call__", lambda self, take: take)
        with pytest.raises(DataError, match='Stage "fit_shape" needs keypoints3d, and no stage before it found any'):
            pipeline.run(made, toys.take(Path("o")))


class TestReport:
    def test_holds_every_stage_with_its_time_and_says_that_it_is_complete(self):
        run()
        assert report()["complete"] is True
        assert [s["label"] for s in report()["stages"]] == ["see", "lift", "fit_shape", "write", "quality"]
        assert report()["stages"][0]["seen"] == 4
        assert all(s["seconds"] >= 0 for s in report()["stages"])

    def test_is_written_after_every_stage(self, monkeypatch):
        made = steps()

        def fail(self, take):
            raise DataError("no")

        monkeypatch.setattr(type(made[2].stage), "__call__", fail)
        with pytest.raises(DataError):
            pipeline.run(made, toys.take(Path("o")))
        assert report()["complete"] is False
        assert [s["label"] for s in report()["stages"]] == ["see", "lift"]


class TestResume:
    def test_a_complete_run_is_run_again_whole(self):
        run()
        calls()
        run()
        assert calls() == ["see", "lift", "fit_shape", "write"]

    def test_ctrl_c_says_what_is_kept_and_the_next_run_goes_on_there(self):
        Path("o/stop_here").touch()
        with pytest.raises(Interrupted, match='Stopped in stage "fit_shape": the results of see, lift are kept in o'):
            run()
        Path("o/stop_here").unlink()
        assert calls() == ["see", "lift", "fit_shape"]
        told: list[str] = []
        take = run(told=told)
        assert calls() == ["fit_shape", "write"]
        assert told == ["Continuing at fit_shape; kept from the run before in o: see, lift."]
        assert np.array_equal(take.people[0].keypoints3d.xyz, np.full((4, 25, 3), 0.5))
        assert [r.label for r in take.reports] == ["see", "lift", "fit_shape", "write", "quality"]
        assert take.reports[1].facts["lifted"] == 4

    def test_a_killed_run_goes_on_after_the_last_result_it_left(self, monkeypatch):
        made = steps()
        with monkeypatch.context() as patch:
            patch.setattr(type(made[2].stage), "__call__", lambda self, take: os._exit(9))  # nothing is tidied up
            child = os.fork()
            if child == 0:
                pipeline.run(made, toys.take(Path("o")))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        assert report()["complete"] is False
        assert calls() == ["see", "lift"]
        run()
        assert calls() == ["fit_shape", "write"]
        assert report()["complete"] is True

    def test_a_changed_option_is_computed_anew(self):
        Path("o/stop_here").touch()
        with pytest.raises(Interrupted):
            run()
        Path("o/stop_here").unlink()
        calls()
        take = run(TEXT.replace("0.5", "0.25"))
        assert calls() == ["lift", "fit_shape", "write"]
        assert take.people[0].keypoints3d.xyz[0, 0, 0] == 0.25

    def test_a_damaged_result_is_computed_anew(self):
        Path("o/stop_here").touch()
        with pytest.raises(Interrupted):
            run()
        Path("o/stop_here").unlink()
        stored = Path("o/checkpoints/01_lift.npz")
        stored.write_bytes(stored.read_bytes()[:100])
        calls()
        run()
        assert calls() == ["lift", "fit_shape", "write"]


class TestFrom:
    def test_begins_at_the_stage_with_what_the_ones_before_left(self):
        run()
        calls()
        take = run(start="fitShape")
        assert calls() == ["fit_shape", "write"]
        assert take.people[0].shape is not None

    def test_files_written_before_are_left_as_they_are(self):
        text = "output: o\nstages: {see: {}, lift: {}, fit_shape: {}, write: {}, again: {stage: write}}"
        run(text)
        calls()
        take = run(text, start="again")
        assert calls() == ["write"]
        assert take.reports[3].facts["kept"] is True

    def test_without_an_earlier_run_is_told(self):
        with pytest.raises(Stale, match='--from fit_shape: There is no stored result of stage "see" in o/checkpoints'):
            run(start="fit_shape")

    def test_an_option_changed_before_it_is_told(self):
        run()
        with pytest.raises(Stale, match=r'stage "lift" is out of date: option max_error was 0.5 and is 0.25'):
            run(TEXT.replace("0.5", "0.25"), start="fit_shape")

    def test_a_refusal_leaves_the_finished_run_as_it_was(self):
        run()
        before = Path("o/report.json").read_bytes()
        prepared = []
        with pytest.raises(Stale):
            run(TEXT.replace("0.5", "0.25"), start="fit_shape", prepare=lambda: prepared.append(1))
        assert Path("o/report.json").read_bytes() == before
        assert prepared == []
        run(start="fit_shape", prepare=lambda: prepared.append(1))
        assert prepared == [1]

    def test_another_recording_is_told(self):
        run()
        longer = dataclasses.replace(toys.take(Path("o")), timestamps=np.arange(4) / 25)
        with pytest.raises(Stale, match=r'stage "see" is out of date: its input timestamps has changed'):
            pipeline.run(steps(), longer, start="lift")

    def test_another_version_is_told(self, monkeypatch):
        run()
        monkeypatch.setattr(checkpoints, "__version__", "9.9")
        with pytest.raises(Stale, match=r"made by version 0\.1\.0, this is 9\.9"):
            run(start="lift")

    def test_an_unknown_stage_is_told(self):
        with pytest.raises(UnknownName, match=r'--from: Unknown stage of this experiment "lifft". Did you mean "lift"'):
            run(start="lifft")


def _keypoints() -> Keypoints3D:
    rng = np.random.default_rng(0)
    n = 4
    confidence = rng.random((n, 25)) - 0.2
    return Keypoints3D.of(
        BODY25, rng.normal(size=(n, 25, 3)), confidence, rng.normal(size=(n, 25, 3, 3)), rng.random((n, 25))
    )


class TestCheckpoints:
    def test_give_back_every_field_bit_for_bit(self):
        rng = np.random.default_rng(1)
        seen = Keypoints2D.of(BODY25, np.arange(3) / 7, rng.normal(size=(3, 25, 2)), rng.random((3, 25)))
        motion = Motion(rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), rng.normal(size=(4, 23, 3)))
        person = Person({"07": seen, "Kamera zwölf": seen}, _keypoints(), None, rng.normal(size=10), motion)

        @options
        class All(Stage):
            gives: ClassVar = frozenset({"keypoints2d", "keypoints3d", "shape", "motion"})

            def __call__(self, take):
                return take

        step = Step("all of it", All(), Located(None, "x.yml"))
        before = toys.take(Path("o")).begun("all of it", "all")
        after = before.replace(people=(person, Person())).reported(odd=np.float64(1.5), there=np.arange(2))
        checkpoints.store(step, 3, before, after)
        found = checkpoints.restore(step, 3, before)
        assert checkpoints.digest(found.people) == checkpoints.digest(after.people)
        assert found.people[0].keypoints3d.skeleton is BODY25
        assert found.people[1] == Person()
        assert found.reports[-1].facts == {"odd": 1.5, "there": [0, 1]}

    def test_a_pickle_is_never_loaded(self):
        path = Path("o/checkpoints/00_see.npz")
        path.parent.mkdir()
        np.savez(path, text=np.array([print], dtype=object))
        with pytest.raises(Stale, match="cannot be read"):
            checkpoints.restore(steps()[0], 0, toys.take(Path("o")).begun("see", "see"))

    def test_a_digest_differs_where_content_does(self):
        a, b = np.arange(4.0), np.arange(4.0)
        assert checkpoints.digest(a) == checkpoints.digest(b)
        b[2] += 1e-12
        assert checkpoints.digest(a) != checkpoints.digest(b)
        assert checkpoints.digest(a) != checkpoints.digest(a.reshape(2, 2))
        assert checkpoints.digest({"a": a}) != checkpoints.digest({"b": a})

    def test_a_digest_sees_that_a_file_was_changed(self):
        Path("film.mp4").write_bytes(b"1")
        before = checkpoints.digest(Path("film.mp4"))
        Path("film.mp4").write_bytes(b"12")
        assert checkpoints.digest(Path("film.mp4")) != before

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: [text],
            lambda text: {**text, "given": [1]},
            lambda text: {**text, "given": {}},
            lambda text: {**text, "given": {"keypoints2d": [], "keypoints3d": 3}},
            lambda text: {**text, "made_from": "me"},
            lambda text: {**text, "people": "one"},
            lambda text: {**text, "facts": 3},
            lambda text: {**text, "given": {**text["given"], "keypoints3d": [{"skeleton": "octopus"}]}},
            lambda text: {
                **text,
                "given": {
                    **text["given"],
                    "keypoints3d": [
                        {"record": "Motion", "fields": {n: {"array": i} for i, n in enumerate(("Rh", "Th", "poses"))}}
                    ],
                },
            },
        ],
    )
    def test_damage_that_can_be_loaded_is_stale_all_the_same(self, change):
        run()
        path = Path("o/checkpoints/01_lift.npz")
        with np.load(path) as file:
            arrays = dict(file)
        arrays["text"] = np.array(json.dumps(change(json.loads(str(arrays["text"])))))
        np.savez(path, **arrays)
        with pytest.raises(Stale, match="cannot be read"):
            run(start="fit_shape")

    def test_a_file_that_an_option_names_counts_by_its_content(self):
        @options
        class Inner:
            model: Path

        @options
        class WithFile(Stage):
            gives: ClassVar = frozenset({"shape"})
            losses: dict[str, Inner]

            def __call__(self, take):
                return take

        Path("prior.npz").write_bytes(b"1")
        step = Step("fit", WithFile(losses={"prior": Inner(model=Path("prior.npz"))}), Located(None, "x.yml"))
        before = toys.take(Path("o"), people=(Person(),)).begun("fit", "fit")
        checkpoints.store(step, 0, before, before.with_people(shape=[np.ones(10)]))
        assert checkpoints.restore(step, 0, before).people[0].shape is not None
        Path("prior.npz").write_bytes(b"12")
        with pytest.raises(Stale, match=r"the file of its option losses\.prior\.model has changed"):
            checkpoints.restore(step, 0, before)

    def test_a_digest_of_a_body_sees_its_keypoint_regressors(self):
        body = toy_body()
        name, rows = next(iter(body.regressors.items()))
        other = dataclasses.replace(body, regressors={**body.regressors, name: rows * 0.5})
        assert checkpoints.digest(body) == checkpoints.digest(dataclasses.replace(body))
        assert checkpoints.digest(body) != checkpoints.digest(other)


class TestOutput:
    def test_two_runs_into_one_folder_are_refused(self):
        with pipeline.locked(Path("o")), pytest.raises(SetupError, match="Another run is writing to o"):
            run()
        run()  # and the lock is gone with the one that held it

    def test_a_folder_that_cannot_be_made_is_told(self):
        Path("file").touch()
        with pytest.raises(SetupError, match=r"The output folder file/o cannot be written to: .*--out"):
            pipeline.make_output(Path("file/o"))

    def test_a_full_disk_is_told(self, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=12_000_000))
        with pytest.raises(SetupError, match="Only 12 MB are free on the disk of o; 200 MB are needed"):
            pipeline.make_output(Path("o"))

    def test_a_disk_that_becomes_full_is_told_with_the_stage(self, monkeypatch):
        def full(*args):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(pipeline, "store", full)
        with pytest.raises(SetupError, match='The disk of o became full in stage "see"'):
            run()
