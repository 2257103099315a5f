"""Between arrays and the bytes that cross the border to the compiled half."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def array(data: bytearray, dtype: npt.DTypeLike, shape: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
    """A fresh array over bytes that nobody else holds."""
    result = np.frombuffer(data, dtype=dtype)
    return result if shape is None else result.reshape(shape)


def numbers(value: Any, dtype: npt.DTypeLike, shape: tuple[int, ...], name: str) -> bytes:
    """An argument as the bytes of an array of this type; one number stands for all rows.

    Raises:
        TypeError: for what is no array of numbers.
        ValueError: for another shape.
    """
    given = np.asarray(value)
    if given.dtype.kind not in "biuf" or (np.dtype(dtype).kind in "bi" and given.dtype.kind == "f"):
        raise TypeError(f"{name}: found {given.dtype}, expected {np.dtype(dtype)} {list(shape)}")
    if np.dtype(dtype).kind == "b" and given.dtype.kind != "b":
        raise TypeError(f"{name}: found {given.dtype}, expected bool {list(shape)}")
    if given.ndim == 0 and len(shape) == 1:
        given = np.broadcast_to(given, shape)
    if given.shape != shape:
        raise ValueError(f"{name}: shape {list(given.shape)}, expected {list(shape)}")
    return np.ascontiguousarray(given, dtype=dtype).tobytes()


def plain(value: Any) -> Any:
    """A value as JSON has it: tuples as lists, numbers of NumPy as numbers, infinite bounds as null.

    Raises:
        TypeError: for what JSON has nothing for.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and math.isinf(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise TypeError(f"{value!r} is no text, number, list or dict")


def job_json(name: str, value: Any) -> str:
    """A value of a job as text.

    Args:
        name: its key, "" for a whole job.

    Raises:
        TypeError: for what JSON has nothing for.
        ValueError: for a number that is not finite, with its key.
    """
    _refuse_infinite(name, value)
    return json.dumps(plain(value))


def _refuse_infinite(name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_infinite(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, (list, tuple, np.ndarray)):
        for inner in value:
            _refuse_infinite(name, inner)
    elif isinstance(value, (float, np.floating)) and not math.isfinite(value):
        raise ValueError(f"{name}: found {value}, expected a finite number")


def to_json(value: Any) -> str:
    """The same as text."""
    return json.dumps(plain(value), allow_nan=False)
