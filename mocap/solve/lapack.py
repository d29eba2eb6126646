"""LAPACK's banded factorisation and triangular solve, callable from several threads at once.

SciPy's Python wrappers of these hold the interpreter's lock while they run; the same routines, taken from
`scipy.linalg.cython_lapack` through ctypes, let other threads work meanwhile.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.linalg import cython_lapack  # pyright: ignore[reportAttributeAccessIssue] - SciPy's stubs leave it out

from mocap.errors import SolveError

_INT = ctypes.POINTER(ctypes.c_int)
_ARRAY = ctypes.POINTER(ctypes.c_double)


def _routine(name: str, *arguments: type) -> Callable[..., None]:
    capsule = cython_lapack.__pyx_capi__[name]
    name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
    pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    return ctypes.CFUNCTYPE(None, *arguments)(pointer_of(capsule, name_of(capsule)))


_pbtrf = _routine("dpbtrf", ctypes.c_char_p, _INT, _INT, _ARRAY, _INT, _INT)
_tbtrs = _routine(
    "dtbtrs",
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    _INT,
    _INT,
    _INT,
    _ARRAY,
    _INT,
    _ARRAY,
    _INT,
    _INT,
)


def _int(value: int) -> ctypes.c_int:
    return ctypes.c_int(value)


def _pointer(array: np.ndarray) -> ctypes._Pointer[ctypes.c_double]:
    return array.ctypes.data_as(_ARRAY)


def factorise_banded(band: Float[np.ndarray, "n width"]) -> None:
    """Replaces a symmetric band by its Cholesky factor L, in place; `band[i, d]` is A[i + d, i].

    Raises:
        SolveError: The matrix is not positive definite to machine precision.
    """
    n, width = band.shape
    assert band.flags.c_contiguous
    info = ctypes.c_int()
    _pbtrf(b"L", _int(n), _int(width - 1), _pointer(band), _int(width), info)
    if info.value != 0 or not np.isfinite(band[-1, 0]):
        raise SolveError(f"The system is not positive definite at row {info.value} of {n}.")


def solve_triangular_banded(
    factor: Float[np.ndarray, "n width"], columns: Float[np.ndarray, "columns n"], *, transposed: bool = False
) -> None:
    """Replaces each of `columns` by L^-1 (or L^-T) times it, in place."""
    n, width = factor.shape
    assert factor.flags.c_contiguous and columns.flags.c_contiguous
    info = ctypes.c_int()
    _tbtrs(
        b"L",
        b"T" if transposed else b"N",
        b"N",
        _int(n),
        _int(width - 1),
        _int(len(columns)),
        _pointer(factor),
        _int(width),
        _pointer(columns),
        _int(n),
        info,
    )
    if info.value != 0:
        raise SolveError(f"The factor is singular at row {info.value} of {n}.")
