"""Detections in a file of their own: the same when read back, refused when they are something else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mocap.detect import stored
from mocap.errors import BadFile, MissingFile
from mocap.skeletons import COCO17


def some(first, count, people, seed=0):
    rng = np.random.default_rng(seed)
    frames = np.arange(first, first + count)
    xy = rng.uniform(0, 1000, (count, people, 17, 2)).astype(np.float32)
    confidence = rng.uniform(0.1, 1, (count, people, 17)).astype(np.float32)
    return stored.Stored(COCO17, frames, frames / 30, xy, confidence, frames[:1], "cam1", "key", 2.5)


def test_what_is_written_is_read_back_bit_by_bit(tmp_path):
    one = some(3, 5, 2)
    stored.write(tmp_path / "a.npz", one)
    back = stored.read(tmp_path / "a.npz")
    for field in dataclasses.fields(one):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(one, field.name))


def test_stretches_are_joined_with_missing_candidates_where_one_had_fewer():
    whole = stored.joined([some(0, 4, 1), some(4, 3, 3)])
    assert whole.xy.shape == (7, 3, 17, 2)
    assert np.isnan(whole.xy[:4, 1:]).all()
    assert (whole.confidence[:4, 1:] == 0).all()
    np.testing.assert_array_equal(whole.frames, np.arange(7))
    assert whole.seconds == 5.0


def test_damaged_files_and_other_arrays_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(MissingFile):
        stored.read(tmp_path / "none.npz")
    path = tmp_path / "a.npz"
    stored.write(path, some(0, 20, 2))
    data = path.read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 5):
        path.write_bytes(data[:cut])
        with pytest.raises(BadFile, match=r"a\.npz"):
            stored.read(path)
    broken = bytearray(data)
    broken[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(broken))
    with pytest.raises(BadFile):
        stored.read(path)
    np.savez(path, xy=np.zeros(3))
    with pytest.raises(BadFile):
        stored.read(path)
    stored.write(path, some(0, 4, 1))
    with np.load(path) as file:
        np.savez(path, **{**file, "timestamps": np.arange(3.0)})
    with pytest.raises(BadFile, match="do not fit together"):
        stored.read(path)


def test_a_file_with_code_in_it_is_not_run(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, xy=np.array([object()], dtype=object))
    with pytest.raises(BadFile):
        stored.read(path)
