"""Reads body models that were pickled, with the power to make arrays and nothing else.

SMPL and MANO come as Python 2 pickles of NumPy arrays, SciPy sparse matrices and chumpy objects. A pickle can name any
function to be called while it is read. Here every name stands for an inert shell that keeps what it is given; arrays
are made from the shells afterwards, and a name outside those few is refused. Neither chumpy nor SciPy's old module
names are needed.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from mocap.errors import BadFile, UnsafeFile

_SPARSE = ("csc", "csr", "coo")
_DAMAGE = (ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError, MemoryError)
"""What objects of other kinds or sizes than they claim raise; RecursionError, those that hold themselves."""


class _Shell:
    """An object that was pickled: its arguments and its state, and no behaviour."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *arguments: Any) -> Any:
        self = super().__new__(cls)
        self.arguments = arguments
        return self

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def value(self) -> Any:
        """The array it stands for; ValueError tells why there is none."""
        raise ValueError(f"holds {type(self).__name__}, which stands for no array")

    def __hash__(self) -> int:
        return id(self)


class _DType(_Shell):
    def value(self) -> np.dtype:
        code = self.arguments[0] if self.arguments else None
        if not isinstance(code, str):
            raise ValueError("holds an array of an unknown number type")
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        out = np.dtype(code)
        if out.kind not in "biufcSUO":
            raise ValueError(f'holds an array of type "{code}"; only plain numbers and text are read')
        return out if order in ("=", "|") else out.newbyteorder(order)


class _ArrayClass(_Shell):
    """`numpy.ndarray` itself, only ever an argument of `_reconstruct`."""


class _Array(_Shell):
    def value(self) -> Any:
        if not (isinstance(self.state, tuple) and len(self.state) in (4, 5)):
            raise ValueError("holds an array without its data")
        shape, dtype, fortran, data = self.state[-4:]
        dtype = _value(dtype)
        if dtype.kind == "O":
            flat = np.empty(len(data), dtype=object)
            flat[:] = [_value(item) for item in data]
        else:
            flat = np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype=dtype)
        return flat.reshape(shape, order="F" if fortran else "C").copy()


class _Scalar(_Shell):
    def value(self) -> Any:
        dtype, data = self.arguments
        return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype=_value(dtype))[0]


class _Sparse(_Shell):
    layout: ClassVar[str] = ""

    def value(self) -> sparse.csr_array:
        state = self.state
        shape = tuple(int(_value(n)) for n in state.get("_shape", state.get("shape")))
        data = _value(state["data"])
        if self.layout == "coo":
            rows, columns = (_value(c) for c in state.get("coords", (state.get("row"), state.get("col"))))
            return sparse.csr_array(sparse.coo_array((data, (rows, columns)), shape=shape))
        make = sparse.csc_array if self.layout == "csc" else sparse.csr_array
        out = make((data, _value(state["indices"]), _value(state["indptr"])), shape=shape)
        out.check_format(full_check=True)  # indices beyond the matrix would be read outside its memory
        return sparse.csr_array(out)


class _Chumpy(_Shell):
    """An object of chumpy: an array `x`, or a selection `idxs` out of another one `a` (MANO's shape directions)."""

    def value(self) -> np.ndarray:
        state = self.state if isinstance(self.state, Mapping) else {}
        for name in ("x", "r", "_r"):
            if state.get(name) is not None:
                return np.asarray(_value(state[name]))
        if "a" in state and "idxs" in state:
            picked = np.asarray(_value(state["a"])).ravel()[np.asarray(_value(state["idxs"]))]
            shape = _value(state.get("preferred_shape"))
            return picked if shape is None else picked.reshape(shape)
        raise ValueError("holds a chumpy object whose value was not stored")


def _reconstruct(cls: Any, shape: Any, typecode: Any) -> _Array:
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """`numpy._core.numeric._frombuffer`, of pickle protocol 5."""
    out = _Array()
    out.state = (shape, dtype, order == "F", bytes(data))
    return out


def _empty_bytes(*arguments: Any) -> bytes:
    """`bytes`, which protocols 0 to 2 call for empty data only."""
    if arguments:
        raise ValueError("makes bytes in an unknown way")
    return b""


def _reconstructor(cls: Any, base: Any, state: Any) -> _Shell:
    """`copy_reg._reconstructor`, of pickle protocols 0 and 1."""
    if not (isinstance(cls, type) and issubclass(cls, _Shell)):
        raise ValueError("makes an object in an unknown way")
    return cls()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """`_codecs.encode`: how Python 3 writes bytes in protocol 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("encodes bytes in an unknown way")
    return text.encode("latin1")


def _known() -> dict[tuple[str, str], Any]:
    out: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): _ArrayClass,
        ("numpy", "dtype"): _DType,
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): OrderedDict,
    }
    for package in ("numpy.core", "numpy._core"):
        out |= {(f"{package}.multiarray", "_reconstruct"): _reconstruct, (f"{package}.multiarray", "scalar"): _Scalar}
        out[f"{package}.numeric", "_frombuffer"] = _from_buffer
    for module in ("copy_reg", "copyreg"):
        out[module, "_reconstructor"] = _reconstructor
    for module in ("builtins", "__builtin__"):
        out |= {(module, "object"): object, (module, "set"): set, (module, "bytes"): _empty_bytes}
    for layout in _SPARSE:
        shell = type(f"_{layout}", (_Sparse,), {"layout": layout})
        for name in (f"{layout}_matrix", f"{layout}_array"):  # SciPy moved its modules; old files name the old places
            for module in ("scipy.sparse", f"scipy.sparse.{layout}", f"scipy.sparse._{layout}"):
                out[module, name] = shell
    return out


_KNOWN = _known()


class _ShellUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "chumpy":
            return _Chumpy
        if (module, name) not in _KNOWN:
            raise UnsafeFile(
                self._path,
                f"asks for {module}.{name} when it is read; only NumPy arrays, SciPy sparse matrices and chumpy arrays "
                "are taken from a pickle, so it was refused.",
            )
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafeFile(self._path, "refers to objects outside itself, so it was refused.")


def _value(item: Any) -> Any:
    """What a shell stands for, also inside lists and dictionaries."""
    if isinstance(item, _Shell):
        return item.value()
    if isinstance(item, dict):
        return {key: _value(entry) for key, entry in item.items()}
    if isinstance(item, (list, tuple)):
        return type(item)(_value(entry) for entry in item)
    return item


def load_pickle(data: bytes, path: Path, *, keys: tuple[str, ...] | None = None) -> Any:
    """The arrays in a pickle, without running anything it asks for.

    Args:
        data: The pickle.
        path: Its name, for errors.
        keys: When the pickle is a dictionary, the only keys whose values are wanted; others are left out unread.

    Raises:
        UnsafeFile: It asks for something other than arrays, sparse matrices and chumpy arrays.
        BadFile: It is no pickle, or holds an array that cannot be made.
    """
    try:
        loaded = _ShellUnpickler(data, path).load()
    except (pickle.UnpicklingError, EOFError, *_DAMAGE) as error:
        raise BadFile(path, f"is not a readable pickle ({error or type(error).__name__}).") from error
    if keys is None or not isinstance(loaded, dict):
        loaded = {"": loaded}
        keys = ("",)
    out = {}
    for key in keys:
        if key in loaded:
            try:
                out[key] = _value(loaded[key])
            except _DAMAGE as error:
                raise BadFile(path, f"{key or 'it'}: {error or type(error).__name__}.") from error
    return out.get("") if keys == ("",) else out
