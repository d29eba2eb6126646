"""Pickles give arrays and never run code."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from mocap.bodies.unpickle import load_pickle
from mocap.errors import BadFile, UnsafeFile

HERE = Path("model.pkl")


def read(data: bytes, **options: Any) -> Any:
    return load_pickle(data, HERE, **options)


@pytest.fixture
def chumpy() -> Iterator[types.ModuleType]:
    """A module that pickles as chumpy does; it is gone when the pickle is read."""
    root, ch, reordering = (types.ModuleType(n) for n in ("chumpy", "chumpy.ch", "chumpy.reordering"))

    class Ch:
        def __init__(self, x: Any = None) -> None:
            self.x = x
            self._dirty_vars = {"x"}

    class Select:
        def __init__(self, a: Any, idxs: np.ndarray, shape: tuple[int, ...]) -> None:
            self.a, self.idxs, self.preferred_shape = a, idxs, shape

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    Select.__module__, Select.__qualname__ = "chumpy.reordering", "Select"
    ch.Ch, reordering.Select = Ch, Select  # type: ignore[attr-defined]
    sys.modules |= {"chumpy": root, "chumpy.ch": ch, "chumpy.reordering": reordering}
    yield ch
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.arange(12, dtype=np.uint32).reshape(3, 4).T,
        np.array(3.5),
        np.zeros((0, 3), np.float32),
        np.array([[1, 2]], dtype=">i4"),
        np.array(["a", "bc"]),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ],
)
def test_arrays_of_every_protocol_come_back_equal(protocol: int, array: np.ndarray) -> None:
    got = read(pickle.dumps({"a": array, "n": array.dtype.type(1) if array.dtype.kind in "fui" else 1}, protocol))
    assert got["a"].dtype == array.dtype and got["a"].shape == array.shape
    np.testing.assert_array_equal(got["a"], array)
    assert got["n"] == 1


@pytest.mark.parametrize("kind", ["csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_sparse_matrices_come_back_equal(kind: str, protocol: int) -> None:
    dense = np.random.default_rng(0).normal(size=(4, 7)) * (np.random.default_rng(1).random((4, 7)) > 0.5)
    got = read(pickle.dumps(getattr(sparse, kind)(dense), protocol))
    np.testing.assert_array_equal(got.toarray(), dense)


def test_sparse_matrices_with_indices_outside_are_refused() -> None:
    matrix = sparse.csc_matrix(np.eye(3))
    matrix.indices[0] = 77
    with pytest.raises(BadFile, match="indices"):
        read(pickle.dumps(matrix, 2))


def test_names_of_python_2_are_known() -> None:
    """What a Python 2 pickle of a float32 pair looks like: text for bytes, NumPy's and SciPy's old module names."""
    data = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08\x00\x00\x80?\x00\x00\x00\xc0tb."
    )
    np.testing.assert_array_equal(read(data), np.array([1, -2], np.float32))


def test_chumpy_arrays_are_read_without_chumpy(chumpy: types.ModuleType) -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    select = sys.modules["chumpy.reordering"].Select(chumpy.Ch(x), np.arange(23, -1, -1), (4, 6))
    data = pickle.dumps({"shapedirs": chumpy.Ch(x), "nested": chumpy.Ch(chumpy.Ch(x)), "select": select}, 2)
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        del sys.modules[name]
    got = read(data)
    np.testing.assert_array_equal(got["shapedirs"], x)
    np.testing.assert_array_equal(got["nested"], x)
    np.testing.assert_array_equal(got["select"], x.ravel()[::-1].reshape(4, 6))


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_calls_the_system_is_refused_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "was_here"
    with pytest.raises(UnsafeFile, match=rf"model\.pkl: asks for {os.system.__module__}\.system"):
        read(pickle.dumps({"v_template": Evil(os.system, f"touch {trace}")}, protocol))
    assert not trace.exists()


@pytest.mark.parametrize("call", [eval, exec, getattr, __import__, open, np.load, np.frombuffer, compile])
def test_other_callables_are_refused_by_name(call: Any) -> None:
    with pytest.raises(UnsafeFile, match=r"asks for \S+ when it is read"):
        read(pickle.dumps(Evil(call, "1"), 2))


def test_names_inside_allowed_modules_are_still_refused() -> None:
    for module, name in (("numpy", "ndarray.tofile"), ("scipy.sparse", "save_npz"), ("builtins", "eval")):
        data = b"\x80\x04" + b"\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)])
        with pytest.raises(UnsafeFile):
            read(data + name.encode() + b"\x93.")


def test_arrays_of_raw_objects_cannot_be_forged() -> None:
    """An object array whose data are raw bytes would be pointers; it is not made."""
    data = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"
        b"\x89U\x08AAAAAAAAtb."
    )
    with pytest.raises(BadFile):
        read(data)


@pytest.mark.parametrize("data", [b"", b"not a pickle", pickle.dumps(np.eye(3))[:-20], b"\x80\x02}q\x00."[:3]])
def test_a_broken_pickle_is_one_sentence(data: bytes) -> None:
    with pytest.raises(BadFile, match=r"model\.pkl"):
        read(data)


def test_a_pickle_that_holds_itself_is_one_sentence() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(BadFile, match=r"model\.pkl"):
        read(pickle.dumps(ring))
    with pytest.raises(BadFile, match=r"model\.pkl: f: "):
        read(pickle.dumps({"f": ring}), keys=("f",))


def test_a_pickle_that_claims_more_than_any_memory_is_one_sentence() -> None:
    with pytest.raises(BadFile, match=r"model\.pkl"):
        read(b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"abc.")


def test_only_wanted_keys_are_made() -> None:
    got = read(pickle.dumps({"f": np.eye(2), "other": np.eye(3)}, 2), keys=("f", "v_template"))
    assert list(got) == ["f"]
