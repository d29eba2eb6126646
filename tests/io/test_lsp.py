"""SMPLify's files beside the pictures: what is written is read, and what is wrong is told with what would be right."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mocap.errors import BadFile, DataError, MissingFile
from mocap.io import lsp
from mocap.io.lsp import Joints
from mocap.skeletons import LSP14
from mocap.take import masked

PATH = Path("est_joints.npz")


def joints(pictures: int = 3, seed: int = 0) -> Joints:
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.1, 1, (pictures, 14))
    confidence[0, 3] = 0
    return Joints(*masked(rng.uniform(5, 300, (pictures, 14, 2)), confidence))


def array(of: Joints, rows: int) -> np.ndarray:
    """rows x joints x pictures, with rubbish in the rows that mean nothing here."""
    out = np.full((rows, 14, len(of.xy)), 777.0)
    out[:2] = np.nan_to_num(of.xy).transpose(2, 1, 0)
    if rows > 2:
        out[2] = of.confidence.T
    return out


def test_what_is_written_is_read_and_has_smplifys_layout(tmp_path):
    made = joints()
    lsp.write_joints(tmp_path / "est_joints.npz", made)
    again = lsp.read_joints(tmp_path / "est_joints.npz")
    np.testing.assert_array_equal(again.xy, made.xy)
    np.testing.assert_array_equal(again.confidence, made.confidence)
    raw = np.load(tmp_path / "est_joints.npz", allow_pickle=False)["est_joints"]
    assert raw.shape == (5, 14, 3)
    assert raw[:2, LSP14.index("left_knee"), 1].tolist() == made.xy[1, 4].tolist()
    assert raw[:, 3, 0].tolist() == [0, 0, 0, 0, 0]  # the missing one


@pytest.mark.parametrize("rows", [5, 28, 3])
def test_x_y_and_confidence_are_the_first_rows_of_all_layouts(rows):
    made = joints()
    found = lsp.joints_of(array(made, rows), PATH)
    np.testing.assert_array_equal(found.xy, made.xy)
    np.testing.assert_array_equal(found.confidence, made.confidence)


def test_without_confidences_finite_points_are_sure_and_the_corner_is_missing():
    given = array(joints(), 2)
    given[:, 7, 1] = np.nan
    found = lsp.joints_of(given, PATH)
    missing = np.argwhere(found.confidence == 0).tolist()
    assert missing == [[0, 3], [1, 7]]
    assert set(found.confidence.ravel().tolist()) == {0.0, 1.0}
    assert np.isnan(found.xy[0, 3]).all()


@given(hnp.arrays(np.float64, (5, 14, 2), elements=st.one_of(st.floats(-1e3, 1e3), st.just(np.nan), st.just(np.inf))))
def test_missing_is_nan_and_zero_whatever_the_numbers(values):
    values[0, 0, 0], values[1, 0, 0], values[2, 0, 0] = 100.0, 50.0, 1.0  # so that these are pixels
    found = lsp.joints_of(values, PATH)
    there = found.confidence > 0
    assert np.isfinite(found.xy[there]).all()
    assert np.isnan(found.xy[~there]).all()
    assert found.confidence.max() <= 1


@pytest.mark.parametrize("axes", [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
@pytest.mark.parametrize("rows", [5, 3])
def test_turned_axes_are_told_with_what_turns_them_back(axes, rows):
    right = array(joints(7), rows)
    turned = right.transpose(axes)
    with pytest.raises(BadFile) as caught:
        lsp.joints_of(turned, PATH)
    said = str(caught.value)
    assert "est_joints.npz" in said and " x ".join(map(str, turned.shape)) in said and "5 x 14 x pictures" in said
    back = tuple(map(int, re.search(r"array\.transpose\((\d), (\d), (\d)\)", said).groups()))
    np.testing.assert_array_equal(turned.transpose(back), right)


@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ((14, 3), ["14 x 3", "5 x 14 x pictures"]),
        ((5, 14), ["5 x 14,", "array[:, :, None]"]),
        ((5, 17, 9), ["5 x 17 x 9"]),
        ((4, 14, 9), ["4 x 14 x 9"]),
        ((5, 14, 0), ["5 x 14 x 0"]),
        ((), ["a single number"]),
    ],
)
def test_another_shape_is_told(shape, parts):
    with pytest.raises(BadFile) as caught:
        lsp.joints_of(np.ones(shape), PATH)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "transpose" not in str(caught.value)


def test_fractions_of_the_image_are_refused():
    given = array(joints(), 5)
    given[:2] /= 400
    with pytest.raises(BadFile, match="pixels, not fractions"):
        lsp.joints_of(given, PATH)


def test_damaged_pickled_and_other_files_are_told(tmp_path):
    with pytest.raises(MissingFile):
        lsp.read_joints(tmp_path / "none.npz")
    lsp.write_joints(tmp_path / "whole.npz", joints())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:300])
    (tmp_path / "text.npz").write_text("x, y")
    np.savez(tmp_path / "pickled.npz", est_joints=np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "words.npz", est_joints=np.array(["a"]))
    np.savez(tmp_path / "other.npz", joints=np.zeros((5, 14, 2)))
    for name, told in (
        ("cut", "damaged"),
        ("text", "no NumPy file"),
        ("pickled", "no NumPy file"),
        ("words", "no numbers"),
        ("other", 'no array called "est_joints", only joints'),
    ):
        with pytest.raises(BadFile, match=told):
            lsp.read_joints(tmp_path / f"{name}.npz")


class TestPlaces:
    def test_as_many_entries_as_pictures_are_in_their_order(self):
        at, note = lsp.places(["im0002", "im0007"], 2, PATH, "joints")
        assert at.tolist() == [0, 1] and note is None

    def test_a_part_of_the_pictures_is_told_by_number_counted_from_one(self):
        at, note = lsp.places(["im0002", "im0007"], 10, PATH, "joints")
        assert at.tolist() == [1, 6]
        assert "10 pictures, of which 2" in note and "im0002 has entry 2" in note

    def test_from_zero_where_a_picture_has_it(self):
        assert lsp.places(["000000", "000009"], 10, PATH, "joints")[0].tolist() == [0, 9]

    @pytest.mark.parametrize(
        "names", [["a", "b"], ["im0002", "im0011"], ["im1", "x1"], ["im1", "b"], ["i1", "i2", "i3"]]
    )
    def test_what_names_do_not_tell_is_refused_with_both_counts(self, names):
        count = 10 if len(names) == 2 else 2
        with pytest.raises(DataError, match=f"of {count} pictures, and {len(names)} pictures are here"):
            lsp.places(names, count, PATH, "joints")


NAMES = ("im1", "im2", "im3", "im4")
GENDERS = dict(zip(NAMES, ("male", "female", "neutral", "male"), strict=True))


class TestGenders:
    @pytest.mark.parametrize(
        "text",
        [
            "0\n1\n-1\n0\n",
            "0\n1\n\n0\n\n\n",
            "gender\n0\n1\n-1\n0\n",
            "0.000000000000000000e+00\n1.0e+00\n-1.0e+00\n0\n",
            "male\nFemale\nneutral\nm\n",
            "name,gender\nim1.jpg,0\nim2.jpg,1\nim3.jpg,\nim4.jpg,0\n",
            "im4,0\nim2,1\nim1,0\n",
            "\ufeff0\r\n1\r\nnan\r\n0",
        ],
    )
    def test_the_ways_to_write_them_mean_the_same(self, tmp_path, text):
        (tmp_path / "g.csv").write_text(text, encoding="utf-8")
        assert lsp.read_genders(tmp_path / "g.csv", NAMES) == (GENDERS, None)

    @pytest.mark.parametrize(
        ("text", "error", "told"),
        [
            ("0\n1\n2\n0", BadFile, '"2" in row 3 is no gender: 0 is male, 1 female'),
            ("5\n1\n1\n0", BadFile, '"5" in row 1'),
            ("0\n1\n0", DataError, "genders of 3 pictures, and 4 pictures are here"),
            ("", DataError, "genders of 0 pictures"),
        ],
    )
    def test_a_mistake_is_told(self, tmp_path, text, error, told):
        (tmp_path / "g.csv").write_text(text)
        with pytest.raises(error, match=told):
            lsp.read_genders(tmp_path / "g.csv", NAMES)

    def test_what_is_no_text_is_told(self, tmp_path):
        (tmp_path / "g.csv").write_bytes(b"\xff\xfe\x00\x80")
        with pytest.raises(BadFile, match="no text"):
            lsp.read_genders(tmp_path / "g.csv", NAMES)
