"""`emc` as a user meets it: exit codes, what is printed where, and every flag."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rigs
import synthetic
import toys

from mocap import __version__, cli, config, progress
from mocap.bodies import kinematics, load
from mocap.geometry import rotations
from mocap.registry import Named

EXPERIMENT = "output: out\nstages: {see: {}, lift: {max_error: 0.5}, fit_shape: {}, write: {}}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_hush", lambda verbose: None)  # it changes warnings for the whole process
    toys.install(tmp_path, monkeypatch)
    rigs.recording(tmp_path / "take")
    (tmp_path / "data.yml").write_text("root: take\n")
    (tmp_path / "exp.yml").write_text(EXPERIMENT)
    return tmp_path


def emc(*words: str) -> int:
    return cli.main(["--data", "data.yml", "--exp", "exp.yml", *words])


def calls(out: str = "out") -> list[str]:
    found = Path(out, "calls.txt")
    names = found.read_text().split() if found.exists() else []
    found.unlink(missing_ok=True)
    return names


def test_runs_every_stage_and_ends_with_a_table_and_paths(capsys):
    assert emc() == 0
    assert calls() == ["see", "lift", "fit_shape", "write"]
    out = capsys.readouterr().out
    assert "take: 2 views (01, 07), 4 frames at 30 a second" in out
    for part in ("seconds", "fit_shape", "median reprojection [px]", "body joints found", "limb lengths vary by"):
        assert part in out
    assert "Results in out:" in out
    assert f"  {Path('out/report.json')}" in out
    assert json.loads(Path("out/report.json").read_text())["stages"][0]["versions"]["mocap"] == __version__


def test_the_saved_configuration_runs_again(tmp_path, monkeypatch):
    assert emc("--subs", "07", "--ranges", "0", "3", "1", "--set", "stages.lift.min_views=1") == 0
    config = (tmp_path / "out/config/data.yml").absolute(), (tmp_path / "out/config/exp.yml").absolute()
    assert "min_views: 1" in config[1].read_text()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cli.main(["--data", str(config[0]), "--exp", str(config[1]), "--out", "again"]) == 0
    report = json.loads(Path("again/report.json").read_text())
    assert report["views"] == ["07"]
    assert report["frames"] == 3
    (tmp_path / "out" / "report.json").unlink()
    assert cli.main(["--data", str(config[0]), "--exp", str(config[1])]) == 0  # into the folder it was made in
    assert (tmp_path / "out" / "report.json").exists()
    assert sorted(p.name for p in Path.cwd().iterdir()) == ["again"]


def test_from_goes_on_in_a_folder_however_its_path_is_spelled(tmp_path, monkeypatch):
    assert emc() == 0
    config = [str(tmp_path / f"out/config/{name}.yml") for name in ("data", "exp")]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cli.main(["--data", config[0], "--exp", config[1], "--from", "fit_shape"]) == 0


def test_quiet_prints_nothing_and_mistakes_still(capsys):
    assert emc("-q") == 0
    assert capsys.readouterr() == ("", "")
    assert emc("-q", "--subs", "7") == 2
    assert capsys.readouterr().err == 'emc: --subs: Unknown view "7". Did you mean "07"? Known: 01, 07.\n'


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--set", "stages.lift.max_error=9"], '--set stages.lift.max_error=9: stage "lift": max_error must be'),
        (["--set", "data.fps=fast"], "--set data.fps=fast: the dataset: fps must be a number"),
        (["--set", "stages.lifft.x=1"], 'Did you mean "lift"?'),
        (["--from", "lifft"], '--from: Unknown stage of this experiment "lifft"'),
        (["--from", "fit_shape"], 'no stored result of stage "see"'),
        (["--root", "nowhere"], "Data folder not found: nowhere"),
        (["--ranges", "7", "9", "1"], "leaves no frame"),
        (["--data", "nothing.yml"], "Configuration file not found: nothing.yml"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_two(words, part, capsys):
    assert emc(*words) == 2
    err = capsys.readouterr().err
    assert part in err
    assert err.startswith("emc: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_verbose_shows_where_a_mistake_was_found():
    from mocap.errors import UnknownName

    with pytest.raises(UnknownName):
        emc("-v", "--subs", "7")


@pytest.mark.parametrize("words", [["--nothing"], ["--workers", "0"], ["--ranges", "1", "2"], ["--sub", "01"]])
def test_a_wrong_flag_is_told_by_the_parser(words):
    with pytest.raises(SystemExit) as caught:
        emc(*words)
    assert caught.value.code == 2


def test_without_data_the_words_that_are_needed_are_shown(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 2
    assert "--data config/datasets/mvimage.yml --exp config/fitSMPL.yml" in capsys.readouterr().err


def test_check_runs_nothing(capsys):
    assert emc("--check") == 0
    assert calls() == []
    assert "All is well: see, lift, fit_shape, write would write to out" in capsys.readouterr().out
    assert not Path("out/report.json").exists()


def test_check_finds_what_would_fail(capsys):
    assert emc("--check", "--set", "stages.see=off") == 2
    assert 'Stage "lift" needs detections' in capsys.readouterr().err


def test_flags_take_the_place_of_the_files_options():
    os.rename("take", "other")
    assert emc("--root", "other", "--out", "there", "--subs", "07", "01", "--subs_vis", "07", "--workers", "1") == 0
    report = json.loads(Path("there/report.json").read_text())
    assert report["views"] == ["07", "01"]
    assert calls("there") == ["see", "lift", "fit_shape", "write"]


def test_subs_vis_of_nothing_draws_nothing(monkeypatch):
    from mocap import dataset

    seen = []
    first = dataset.first_take
    monkeypatch.setattr(
        dataset, "first_take", lambda d, run, **k: (seen.append(run.views_drawn), first(d, run, **k))[1]
    )
    emc("--check", "--subs_vis")
    emc("--check", "--subs_vis", "07")
    emc("--check")
    assert seen == [(), ("07",), None]


def test_from_continues_there(capsys):
    assert emc() == 0
    calls()
    capsys.readouterr()
    assert emc("--from", "fitShape") == 0
    assert calls() == ["fit_shape", "write"]
    assert "Continuing at fit_shape; kept from the run before" in capsys.readouterr().out


def test_ctrl_c_is_one_sentence_and_exit_code_130(capsys):
    Path("out").mkdir()
    Path("out/stop_here").touch()
    assert emc() == 130
    err = capsys.readouterr().err
    assert 'emc: Stopped in stage "fit_shape": the results of see, lift are kept in' in err
    Path("out/stop_here").unlink()
    calls()
    assert emc() == 0
    assert calls() == ["fit_shape", "write"]


def test_ctrl_c_outside_any_stage_is_told_too(capsys, monkeypatch):
    def stopped(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", stopped)
    assert emc() == 130
    assert capsys.readouterr().err == "\nemc: Stopped.\n"


def test_a_second_run_into_the_same_folder_is_refused(capsys):
    from mocap import pipeline

    Path("out").mkdir()
    with pipeline.locked(Path("out")):
        assert emc() == 2
    assert "Another run is writing to" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_told(capsys):
    Path("file").touch()
    assert emc("--out", "file/x") == 2
    assert "cannot be written to" in capsys.readouterr().err


def test_help_of_a_stage(capsys):
    assert cli.main(["--help-stage", "fitShape"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("fit_shape\n\nFits.")
    assert "loss k3d:" in out
    assert cli.main(["--help-stage", "nothing"]) == 2
    assert 'Unknown stage "nothing"' in capsys.readouterr().err


def test_a_configuration_that_came_with_the_program_is_found_from_anywhere(capsys):
    assert cli.main(["--data", "config/datasets/mvimage.yml", "--exp", "exp.yml", "--check", "--root", "take"]) == 0
    out = capsys.readouterr().out
    assert "config/datasets/mvimage.yml is not here; using the one that came with emc: " in out


def run_emc(*words: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "mocap.cli", *words], capture_output=True, text=True, **options)


def test_version_and_help_need_no_heavy_library():
    code = (
        "import sys; from mocap import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'pydantic', 'cv2', 'mediapipe', 'torch', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    assert run_emc("--version").stdout == f"emc {__version__}\n"


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m mocap.cli --help | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


class TestKeypoints3D:
    """`--data config/datasets/keypoints3d.yml --exp config/fitSMPL3d.yml --root FILE`, with the stages that ship."""

    @pytest.fixture(autouse=True)
    def shipped(self, monkeypatch):
        monkeypatch.setattr(config, "STAGES", Named("mocap.stages", "stage"))

    def emc(self, *words: str) -> int:
        return cli.main(
            ["--data", "config/datasets/keypoints3d.yml", "--exp", "config/fitSMPL3d.yml", "--root", "points.npz"]
            + ["--out", "out", *words]
        )

    def save(self, body, seed: int = 0) -> np.ndarray:
        """points.npz of somebody who sways, and the true joints."""
        Rh, Th, poses = synthetic.random_motion(seed, 12, spread=0.15)
        upright = rotations.log(rotations.exp(np.array([np.pi / 2, 0, 0])))  # the body's y axis to the world's z
        Rh = np.broadcast_to(upright, Rh.shape)
        betas = np.zeros(body.n_betas)
        xyz = kinematics.keypoints_of(body, "body25", betas, Rh, Th, poses)
        values = np.concatenate([xyz, np.ones((12, 25, 1))], axis=-1)
        np.savez("points.npz", keypoints3d=values, fps=30.0, skeleton="body25")
        return kinematics.joints_of(body, betas, Rh, Th, poses)

    def own_body(self) -> list[str]:
        """A model of fewer vertices in SMPL's format and its keypoint regressor, as a user has them: the words."""
        body = load.load_body("embedded")
        keypoints = body.regressors["body25"].toarray()
        used = np.flatnonzero(keypoints.any(0) | body.J_regressor.toarray().any(0))
        parts = {
            "v_template": body.v_template[used],
            "shapedirs": body.shapedirs[used],
            "posedirs": body.posedirs[used],
            "weights": body.weights[used],
            "J_regressor": body.J_regressor.toarray()[:, used],
            "kintree_table": np.array([body.parents % 2**32, np.arange(24)], dtype=np.uint32),
            "f": np.array([[0, 1, 2]], dtype=np.uint32),
        }
        Path("SMPL_NEUTRAL.pkl").write_bytes(pickle.dumps(parts, 2))
        np.save("J_regressor_body25.npy", keypoints[:, used])
        words = ("model=SMPL_NEUTRAL.pkl", "regressor=J_regressor_body25.npy")
        return [w for word in words for w in ("--set", f"stages.load_body_model.{word}")]

    def test_a_users_body_is_fitted_to_points(self, capsys):
        truth = self.save(load.load_body("embedded"))
        assert self.emc(*self.own_body(), "--set", "stages.refine_poses.losses.limits.weight=0") == 0
        out = capsys.readouterr().out
        assert "points.npz: npz, 1 person, body25 in m (the format's), 12 frames at 30 a second" in out
        assert "distance from the fit" in out
        assert "reprojection" not in out
        with np.load("out/result.npz") as found:
            assert str(found["body"]) == "SMPL_NEUTRAL"
            assert np.linalg.norm(found["joints"] - truth, axis=-1).mean() < 0.03
        report = json.loads(Path("out/report.json").read_text())
        assert report["complete"]
        assert [s["label"] for s in report["stages"]][1:-1] == [
            "load_body_model", "fit_shape", "init_rt", "refine_poses", "write"
        ]  # fmt: skip
        assert all(s["seconds"] >= 0 for s in report["stages"])
        assert report["stages"][-1]["people"][0]["distance_fit_m"] < 0.02
        assert not Path("out/intri.yml").exists()

    def test_a_changed_file_is_fitted_anew(self, capsys):
        body = load.load_body("embedded")
        self.save(body)
        assert self.emc() == 0
        assert self.emc("--from", "write") == 0
        self.save(body, seed=1)
        capsys.readouterr()
        assert self.emc("--from", "write") == 2
        assert "its input keypoints3d has changed" in capsys.readouterr().err

    def test_check_reads_the_points_and_runs_nothing(self, capsys):
        self.save(load.load_body("embedded"))
        assert self.emc("--check") == 0
        assert "All is well: load_body_model, fit_shape, init_rt, refine_poses, write" in capsys.readouterr().out
        assert not Path("out/report.json").exists()

    def test_check_finds_that_a_body_lacks_the_keypoints(self, capsys):
        self.save(load.load_body("embedded"))
        assert self.emc("--check", *self.own_body()[:2]) == 2
        assert "no keypoints are known on such a mesh" in capsys.readouterr().err

    def test_an_experiment_that_needs_footage_is_refused_with_the_one_that_does_not(self, capsys):
        self.save(load.load_body("embedded"))
        assert self.emc("--exp", "config/fitSMPL.yml") == 2
        err = capsys.readouterr().err
        assert 'Stage "detect" needs footage' in err
        assert "--exp config/fitSMPL3d.yml" in err
        assert err.count("\n") == 1

    def test_a_file_that_is_none_is_one_sentence(self, capsys):
        Path("points.npz").write_bytes(b"PK\x03\x04 and no more")
        assert self.emc() == 2
        err = capsys.readouterr().err
        assert err.startswith("emc: points.npz: this is no npz of numbers")
        assert err.count("\n") == 1


class TestProgress:
    def test_lines_say_rate_and_time_left_now_and_then(self, capsys, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        with cli._progress(quiet=False):
            for _ in progress.track(range(30), "detect"):
                now[0] += 1.0
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "detect: 9/30 frames, 0.9 a second, 23 s left" or lines[0].startswith("detect: 10/30 frames")
        assert len(lines) == 4
        assert lines[-1] == "detect: 30 frames in 30 s"

    def test_short_loops_say_nothing(self, capsys):
        with cli._progress(quiet=False):
            list(progress.track(range(3), "detect"))
        assert capsys.readouterr() == ("", "")

    def test_quiet_says_nothing(self, capsys, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        with cli._progress(quiet=True):
            for _ in progress.track(range(30), "detect"):
                now[0] += 1.0
        assert capsys.readouterr() == ("", "")

    def test_a_terminal_has_a_bar(self, monkeypatch, capsys):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        with cli._progress(quiet=False):
            list(progress.track(range(3), "detect"))
        assert capsys.readouterr().err.strip() == ""  # a bar appears only after two seconds


class TestEval:
    def truth(self, path: str, shift: float) -> str:
        joints = np.random.default_rng(0).normal(size=(4, 24, 3)) + [shift, 0, 0]
        np.savez(path, timestamps=np.arange(4) / 30, joints=joints)
        return path

    def test_prints_the_metrics(self, capsys):
        assert cli.main(["eval", self.truth("a.npz", 0.01), self.truth("b.npz", 0)]) == 0
        assert "MPJPE               10.0 mm" in capsys.readouterr().out

    def test_prints_json(self, capsys):
        assert cli.main(["eval", self.truth("a.npz", 0.01), self.truth("b.npz", 0), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["mpjpe_mm"] == pytest.approx(10)
        assert found["pve_mm"] is None

    def test_a_missing_file_is_one_sentence(self, capsys):
        assert cli.main(["eval", "a.npz", "b.npz"]) == 2
        assert capsys.readouterr().err == "emc: Result not found: a.npz.\n"
