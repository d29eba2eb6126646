"""`emc export` and the formats it finds: each writes what it says, from a finished run and from the stage alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from synthetic import random_motion, ring_rig, toy_body

from mocap import registry, skeletons
from mocap.bodies.load import load_body
from mocap.cli import main
from mocap.config import read_experiment
from mocap.errors import ConfigError
from mocap.geometry.cameras import Rig
from mocap.io.finished import read_finished
from mocap.io.formats.base import FORMATS, Format
from mocap.io.results import read_result_npz, remove_left_over
from mocap.io.smplify import read_smplify_npz
from mocap.stages.write import Write
from mocap.take import Keypoints3D, Motion, Person, RunContext, Take

NAMES = registry.names(FORMATS.package)
OPTIONAL = {"parquet": "pyarrow", "c3d": "ezc3d"}


def take(output: Path, *, people: int = 1, fitted: bool = True, body=None, skeleton=skeletons.BODY25) -> Take:
    frames, n = 4, len(skeleton)
    ones = np.ones((frames, n))
    points = Keypoints3D.of(skeleton, np.ones((4, n, 3)), ones, np.ones((4, n, 3, 3)), ones)
    body = body or load_body()
    crowd = [Person(keypoints3d=points) for _ in range(people)]
    if fitted:
        crowd = [
            dataclasses.replace(
                p, body=body, shape=np.full(4, 0.1 * i), motion=Motion(*random_motion(i, frames, body.n_joints))
            )
            for i, p in enumerate(crowd)
        ]
    return Take(RunContext(output), np.arange(frames) / 30, np.arange(frames), ring_rig(), people=tuple(crowd))


def ran(output: Path, **kept) -> Path:
    """An output folder with nothing but the result and the calibration."""
    Write(formats=())(take(output, **kept))
    return output


def files(folder: Path) -> dict[str, bytes]:
    found = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("npz", "smplify")])
def test_a_format_exported_later_is_what_the_stage_writes_and_is_removed_when_left_over(tmp_path, name):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    result, told = ran(tmp_path / "bare", people=2), []
    assert main(["export", str(result), "--to", name, "--out", str(tmp_path / "exported")]) == 0
    exported = files(tmp_path / "exported")
    assert exported
    before = files(result)
    after = Write(formats=(name,))(take(tmp_path / "bare", people=2))
    told = after.reports[-1].facts["files"]
    by_stage = {n: data for n, data in files(result).items() if n not in before}
    assert set(by_stage) == set(exported)
    for file, data in by_stage.items():
        if not file.endswith((".npz", ".parquet")):  # their containers hold the time of writing
            assert exported[file] == data, file
    remove_left_over(result, told)
    assert set(files(result)) == {"intri.yml", "extri.yml"}  # every name a format gives is known


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("model", "skeleton"), [("embedded_right_hand", "right_hand21"), ("embedded_hands", "mediapipe75")]
)
def test_each_format_works_for_hands_or_says_what_does(tmp_path, capsys, name, model, skeleton):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    made = take(tmp_path / "bare", people=2, body=load_body(model), skeleton=skeletons.get(skeleton))
    assert made.rig is not None
    Write(formats=())(made.replace(rig=Rig(made.rig.cameras[:1])))
    code = main(["export", str(tmp_path / "bare"), "--to", name, "--out", str(tmp_path / "exported")])
    told = capsys.readouterr().err
    refused = {"amass": "this is a hand: result.npz has MANO's", "mot": "the angles of a hand are in the tables"}
    if model == "embedded_right_hand" and name in refused:
        assert code == 2 and refused[name] in told and not files(tmp_path / "exported")
        both = ["--to", name, "bvh", "--model", "embedded", "--out", str(tmp_path / "both")]
        assert main(["export", str(tmp_path / "bare"), *both]) == 2 and refused[name] in capsys.readouterr().err
        assert set(files(tmp_path / "both")) == {"result.bvh", "result_1.bvh"}
    else:
        assert code == 0 and len(files(tmp_path / "exported")) >= 2, told


@pytest.mark.parametrize("name", [n for n in NAMES if n != "smplify"])
def test_people_without_a_body_are_named_or_their_keypoints_written(tmp_path, name, capsys):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    result = ran(tmp_path / "bare", fitted=False)
    code = main(["export", str(result), "--to", name, "--out", str(tmp_path / "exported")])
    told = capsys.readouterr().err
    if registry.find(FORMATS.package, name, Format, "format").needs_body:
        assert code == 2 and "is not written" in told and "fitted body" in told
    else:
        assert code == 0 and files(tmp_path / "exported")


def test_one_person_s_file_is_exported_beside_it_and_several_formats_at_once(tmp_path, capsys):
    result = ran(tmp_path, people=2)
    assert main(["export", str(result / "result_1.npz"), "--to", "GLB,bvh", "--to", "amass"]) == 0
    assert {"result.glb", "result.bvh", "amass.npz"} <= set(files(result))
    assert "result_1.glb" not in files(result)
    assert str(result / "result.bvh") in capsys.readouterr().out


def test_smplify_is_of_one_camera_s_result_in_that_camera_s_axes(tmp_path, capsys):
    folder = ran(tmp_path / "four")
    assert main(["export", str(folder), "--to", "smplify"]) == 2
    assert "of one camera, and the take has 4" in capsys.readouterr().err
    one = take(tmp_path / "one")
    assert one.rig is not None
    Write(formats=())(one.replace(rig=Rig(one.rig.cameras[2:3])))
    assert main(["export", str(tmp_path / "one"), "--to", "smplify"]) == 0
    found, result = read_smplify_npz(tmp_path / "one" / "smplify.npz"), read_result_npz(tmp_path / "one" / "result.npz")
    assert result.joints is not None
    np.testing.assert_allclose(found.joints3d, one.rig.cameras[2].to_camera(result.joints), atol=1e-6)
    assert found.keypoints2d is None  # result.npz has none


def test_options_of_formats_are_set_and_checked(tmp_path, capsys):
    result = ran(tmp_path)
    assert main(["export", str(result), "--to", "bvh", "--set", "unit=m"]) == 0
    in_metres = (tmp_path / "result.bvh").read_text()
    assert main(["export", str(result), "--to", "bvh", "glb", "--set", "bvh.unit=cm"]) == 0
    assert in_metres != (tmp_path / "result.bvh").read_text()
    for wrong, told in (
        (["--to", "bvh", "--set", "unit=feet"], "feet"),
        (["--to", "bvh", "--set", "units=m"], 'Unknown option of format "bvh" "units"'),
        (["--to", "bvh", "glb", "--set", "unit=m"], "must begin with one of bvh, glb"),
        (["--to", "bhv"], 'Did you mean "bvh"'),
    ):
        assert main(["export", str(result), *wrong]) == 2
        assert told in capsys.readouterr().err


def test_a_body_of_one_s_own_is_asked_for_and_another_one_is_refused(tmp_path, capsys):
    result = ran(tmp_path, body=toy_body())
    assert main(["export", str(result), "--to", "glb"]) == 2
    assert 'result.npz: the body is "toy" (neutral), a model that is not included' in capsys.readouterr().err
    assert main(["export", str(result), "--to", "glb", "--model", "embedded"]) == 2
    assert "cannot be read against" in capsys.readouterr().err
    assert read_finished(result, body=False)[0].result.body == "toy"


def test_two_hands_of_one_s_own_find_their_files_by_side(tmp_path, capsys):
    (tmp_path / "mano").mkdir()
    for side in ("left", "right"):
        hand = load_body(f"embedded_{side}_hand")
        np.savez(
            tmp_path / "mano" / f"MANO_{side.upper()}.npz",
            v_template=hand.v_template,
            shapedirs=hand.shapedirs,
            posedirs=hand.posedirs,
            weights=hand.weights,
            J_regressor=hand.J_regressor.toarray(),
            kintree_table=np.stack([hand.parents, np.arange(16)]),
            f=hand.faces,
        )
    people = []
    for side in ("right", "left"):
        body = load_body(tmp_path / "mano", side=side, n_betas=4)
        (one,) = take(tmp_path / "out", body=body, skeleton=skeletons.HANDS[side]).people
        people.append(one)
    Write(formats=())(take(tmp_path / "out").replace(people=tuple(people)))
    bare = ["export", str(tmp_path / "out"), "--to", "bvh"]
    assert main(bare) == 2
    assert 'the body is "MANO_RIGHT"' in capsys.readouterr().err
    assert main([*bare, "--model", str(tmp_path / "mano" / "MANO_LEFT.npz")]) == 2
    assert "a right hand is" in capsys.readouterr().err
    assert main([*bare, "--model", str(tmp_path / "mano")]) == 0
    roots = [(tmp_path / "out" / f"{name}.bvh").read_text().split()[2] for name in ("result", "result_1")]
    assert roots == ["right_wrist", "left_wrist"]


def test_there_must_be_a_result(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--to", "glb"]) == 2
    assert "Result not found" in capsys.readouterr().err


def test_formats_are_listed_by_help_and_by_list(capsys):
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    shown = capsys.readouterr().out
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    for name in NAMES:
        assert f"\n  {name} " in shown and name in listed


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("[easymocap, npz, glb]", {"easymocap": {}, "npz": {}, "glb": {}}),
        ("{bvh: {unit: m}, glb: {}}", {"bvh": {"unit": "m"}, "glb": {}}),
        ("[bvh]", {"bvh": {"unit": "cm"}}),
    ],
)
def test_the_stage_takes_names_and_names_with_options(tmp_path, written, expected):
    (tmp_path / "e.yml").write_text(f"output: o\nstages:\n  write:\n    formats: {written}\n")
    assert read_experiment(tmp_path / "e.yml").resolved()["stages"]["write"]["formats"] == expected


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[glb, glb]", "each of them once"),
        ("[{a: b}]", "each of them once"),
        ("glb", "Named options"),
        ("[gbl]", "glb"),
    ],
)
def test_a_mistake_in_formats_is_told_with_its_line(tmp_path, written, told):
    (tmp_path / "e.yml").write_text(f"output: o\nstages:\n  write:\n    formats: {written}\n")
    with pytest.raises(ConfigError, match=r"e\.yml:4: .*" + told):
        read_experiment(tmp_path / "e.yml")


def test_what_cannot_be_a_folder_is_one_sentence_and_no_traceback(tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("")
    for out in (taken, tmp_path / "body.glb"):
        assert main(["export", str(tmp_path), "--to", "bvh", "--out", str(out)]) == 2
        assert "must be a folder" in capsys.readouterr().err
