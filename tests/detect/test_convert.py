"""`est_joints.npz` out of joints in any order: by name, with what is lacking missing and said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from mocap import cli, skeletons
from mocap.detect.convert import ORDERS, from_array, lsp_joints
from mocap.errors import BadFile, ConfigError, DataError, MissingFile, MocapError, UnknownName
from mocap.io import lsp
from mocap.skeletons import CPM14, LSP14

PICTURES = 6


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_hush", lambda verbose: None)
    return tmp_path


def where(name: str, picture: int = 0) -> tuple[float, float]:
    """A place of its own for every joint of every picture [px]."""
    return 10.0 + sum(map(ord, name)) % 97, 20.0 + 100 * picture + len(name)


def seen(skeleton: skeletons.Skeleton, picture: int = 0) -> np.ndarray:
    """(joints, 3): x, y, confidence."""
    return np.array([(*where(joint, picture), 0.5 + 0.01 * i) for i, joint in enumerate(skeleton.joints)])


def expected(joint: str, skeleton: skeletons.Skeleton, picture: int) -> np.ndarray | None:
    if skeleton.has(joint):
        return np.array(where(joint, picture))
    parts = skeleton.derived.get(joint)
    return None if parts is None else np.mean([where(part, picture) for part in parts], axis=0)


def check(skeleton: skeletons.Skeleton, path: Path = Path("est_joints.npz")) -> None:
    """That every joint of the file is the source's joint of that name."""
    array = np.load(path, allow_pickle=False)["est_joints"]
    assert array.shape == (5, 14, PICTURES)
    for k, joint in enumerate(LSP14.joints):
        for picture in range(PICTURES):
            wanted = expected(joint, skeleton, picture)
            if wanted is None:
                assert array[:, k, picture].tolist() == [0] * 5
            else:
                np.testing.assert_allclose(array[:2, k, picture], wanted)
                assert array[2, k, picture] >= 0.5
    assert not array[3:].any()


@pytest.mark.parametrize("order", [order for order, name in ORDERS.items() if name])
@pytest.mark.parametrize("layout", ["pictures first", "rows first", "in an npz"])
def test_arrays_of_any_order_are_converted_by_name(order, layout, capsys):
    skeleton = skeletons.get(ORDERS[order])
    array = np.stack([seen(skeleton, i) for i in range(PICTURES)])
    if layout == "in an npz":
        np.savez("in.npz", joints=array)
    else:
        np.save("in.npy", array if layout == "pictures first" else array.transpose(2, 1, 0))
    source = "in.npz" if layout == "in an npz" else "in.npy"
    assert cli.main(["joints", source, "--from", order]) == 0
    check(skeleton)
    out = capsys.readouterr().out
    assert f"est_joints of {PICTURES} pictures, from {skeleton.name}" in out
    assert ("has no head_top" in out) == (expected("head_top", skeleton, 0) is None)


def test_cpms_order_is_head_neck_left_arm_right_arm_left_leg_right_leg():
    def side(s: str) -> list[str]:
        return [f"{s}_{joint}" for joint in ("shoulder", "elbow", "wrist")]

    def leg(s: str) -> list[str]:
        return [f"{s}_{joint}" for joint in ("hip", "knee", "ankle")]

    assert list(CPM14.joints) == ["head_top", "neck", *side("left"), *side("right"), *leg("left"), *leg("right")]


def test_an_est_joints_in_cpms_order_is_turned_into_lsps():
    array = np.zeros((28, 14, PICTURES))
    for i in range(PICTURES):
        array[:3, :, i] = seen(CPM14, i).T
    np.savez("cpm.npz", est_joints=array)
    assert cli.main(["joints", "cpm.npz", "--from", "cpm", "--out", "lsp.npz", "-q"]) == 0
    check(CPM14, Path("lsp.npz"))


@pytest.mark.parametrize("count", [25, 17])
def test_openpose_json_is_one_file_a_picture_and_the_largest_person_is_taken(count):
    skeleton = skeletons.BODY25 if count == 25 else skeletons.COCO17
    Path("json").mkdir()
    for i in range(PICTURES):
        whole = seen(skeleton, i)
        small = whole * [0.1, 0.1, 1.0]
        people = [{"pose_keypoints_2d": p.ravel().tolist()} for p in (small, whole)]
        Path(f"json/im{i + 1}_keypoints.json").write_text(json.dumps({"people": people}))
    found = lsp_joints(Path("json"), "openpose")
    assert any("Several people are in 6 pictures" in note for note in found.notes)
    assert cli.main(["joints", "json", "--from", "openpose", "-q"]) == 0
    check(skeleton)


def test_a_picture_with_nobody_is_an_entry_without_joints_and_said():
    Path("json").mkdir()
    for i in range(3):
        people = [] if i == 1 else [{"pose_keypoints_2d": seen(skeletons.BODY25, i).ravel().tolist()}]
        Path(f"json/{i:03d}.json").write_text(json.dumps({"people": people}))
    found = lsp_joints(Path("json"), "body25")
    assert (found.joints.confidence > 0).any(1).tolist() == [True, False, True]
    assert any("Nobody is in 1 of 3 pictures" in note for note in found.notes)
    Path("json/001.json").unlink()
    assert any("lacks 1 of them" in note for note in lsp_joints(Path("json"), "body25").notes)


def test_coco_json_is_read():
    rows = [
        {"image_id": i, "score": 0.9, "keypoints": seen(skeletons.COCO17, i).ravel().tolist()} for i in range(PICTURES)
    ]
    Path("coco.json").write_text(json.dumps(rows))
    assert cli.main(["joints", "coco.json", "--from", "coco", "-q"]) == 0
    check(skeletons.COCO17)


def test_a_shape_that_fits_both_ways_is_refused_unless_its_name_tells():
    both = np.random.default_rng(0).uniform(5, 300, (3, 14, 2))
    np.save("both.npy", both)
    with pytest.raises(BadFile, match=r'3 x 14 x 2 may be read both ways.*"est_joints"'):
        from_array(Path("both.npy"), LSP14)
    np.savez("named.npz", est_joints=both)
    assert len(from_array(Path("named.npz"), LSP14).xy) == 2


@pytest.mark.parametrize(
    ("words", "error", "parts"),
    [
        (["wrong.npy", "--from", "cpm"], BadFile, ["wrong.npy", "4 x 16 x 3", "cpm14", "pictures x 14 x 2 or 3"]),
        (["wrong.npy", "--from", "coco"], BadFile, ["4 x 16 x 3", "pictures x 17 x 2 or 3", "5 x 17 x pictures"]),
        (["wrong.npy", "--from", "openpose"], ConfigError, ["does not name its joints", "body25"]),
        (["wrong.npy", "--from", "dlc"], UnknownName, ['--from: Unknown order of joints "dlc"', "cpm, lsp, openpose"]),
        (["none.npy", "--from", "cpm"], MissingFile, ["Joints not found: none.npy"]),
        (["note.txt", "--from", "cpm"], BadFile, ["none of .npz, .npy, .json"]),
        (["people", "--from", "cpm"], BadFile, ["only mediapipe reads pictures"]),
        (["nothing", "--from", "mediapipe"], MissingFile, ["Pictures not found: nothing"]),
        (["nan.npy", "--from", "lsp"], DataError, ["nobody in any of 4 pictures"]),
        (["good.npz", "--from", "lsp", "--out", "good.npz"], ConfigError, ["is the source itself"]),
        (["good.npz", "--from", "lsp", "--out", "good.json"], ConfigError, ["are an .npz"]),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(words, error, parts, capsys):
    np.save("wrong.npy", np.ones((4, 16, 3)))
    np.save("nan.npy", np.full((4, 14, 3), np.nan))
    lsp.write_joints(Path("good.npz"), from_array(saved("ok.npy"), LSP14))
    Path("note.txt").write_text("x")
    Path("nothing").mkdir()
    Path("people").mkdir()
    cv2.imwrite("people/a.png", np.zeros((8, 8, 3), np.uint8))
    assert cli.main(["joints", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("emc: ") and said.count("\n") == 1
    assert all(part in said for part in parts), said
    with pytest.raises(error):
        cli.main(["joints", *words, "-v"])
    assert issubclass(error, MocapError)


def saved(name: str) -> Path:
    np.save(name, np.stack([seen(LSP14, i) for i in range(4)]))
    return Path(name)


def test_help_says_what_source_may_be(capsys):
    with pytest.raises(SystemExit):
        cli.main(["joints", "--help"])
    out = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert all(part in out for part in ("OpenPose", "COCO", "5 x 14 x pictures", *ORDERS))
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "emc joints SOURCE --from" in capsys.readouterr().out
