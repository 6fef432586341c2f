"""Argument checks: each error names the argument, quotes its value, and says what would fit."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array

# Complex numbers are allowed for the complex step of `gradcheck`, where the formula holds.
FLOATS = tuple(map(np.dtype, (np.float32, np.float64, np.complex64, np.complex128)))


def check_floating(name: str, value: Any, *, like: Array | None = None) -> None:
    """Raise unless value is a floating-point array, of the dtype of `like` (called x)."""
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name} is a {type(value).__name__}; a NumPy array is needed")
    if type(value) is not np.ndarray:
        check_plain(name, value)
    if value.dtype not in FLOATS:
        raise ValueError(
            f"{name} has dtype {value.dtype}; float32 or float64 is needed{_swapped(value.dtype)}"
        )
    if like is not None and value.dtype != like.dtype:
        raise ValueError(f"{name} has dtype {value.dtype}, but x has {like.dtype}; make them equal")


def check_plain(name: str, value: Any) -> None:
    """Raise if value is of a subclass of NumPy's array, whose arithmetic may be different.

    A masked array ignores entries, and `*` of `np.matrix` is a matrix product. A memory map is
    allowed: it is an ordinary array on disk.
    """
    if isinstance(value, np.ndarray) and type(value) not in (np.ndarray, np.memmap):
        raise ValueError(
            f"{name} is a {type(value).__name__}, a subclass of NumPy's array; np.asarray({name}) "
            "is needed"
        )


def _swapped(dtype: np.dtype[Any]) -> str:
    """Return the end of the error message if only the byte order is wrong."""
    native = dtype.newbyteorder("=")
    return f", in this machine's byte order: .astype('{native}')" if native in FLOATS else ""


def check_image(name: str, value: Any) -> None:
    """Raise unless value is a floating-point array of shape (n, c, h, w)."""
    check_floating(name, value)
    if value.ndim != 4:
        raise ValueError(f"{name} has shape {value.shape}; (n, c, h, w) is needed")
    if value.shape[1] == 0:
        raise ValueError(f"{name} has shape {value.shape}; at least one channel is needed")


def check_vector(
    name: str, value: Any, length: int, like: Array, *, owner: str = "x", of: str = "channels"
) -> None:
    """Raise unless value is a vector with one entry for each of the `length` channels of x.

    `owner` and `of` say in the message what has this length.
    """
    check_floating(name, value, like=like)
    if value.shape != (length,):
        raise ValueError(
            f"{name} has shape {value.shape}, but {owner} has {length} {of}; ({length},) is needed"
        )


def check_gradient(dy: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise unless dy has the output's shape and dtype: broadcasting would hide a mistake."""
    if not isinstance(dy, np.ndarray | np.generic):
        raise ValueError(f"dy is a {type(dy).__name__}; an array of shape {shape} is needed")
    if type(dy) is not np.ndarray:
        check_plain("dy", dy)
    if dy.shape != shape:
        raise ValueError(f"dy has shape {dy.shape}, but the output has {shape}")
    if dy.dtype != dtype:
        raise ValueError(f"dy has dtype {dy.dtype}, but the output has {dtype}")


def check_part_count(dparts: Any, count: int) -> None:
    """Raise unless dparts is a tuple or list of `count` gradients, one for each output."""
    if not isinstance(dparts, tuple | list):
        raise ValueError(f"dy is a {type(dparts).__name__}; a tuple of {count} arrays is needed")
    if len(dparts) != count:
        raise ValueError(f"dy has {len(dparts)} parts, but the output has {count}")


def check_number(name: str, value: Any) -> None:
    """Raise unless value is a number, or an array without axes that holds one."""
    check_plain(name, value)
    kind = value.dtype.kind if isinstance(value, np.ndarray | np.generic) else ""
    plain = isinstance(value, int | float | complex) and not isinstance(value, bool)
    if kind not in "iufc" or not (kind or plain):
        raise ValueError(f"{name}={value!r} is not a number")


def check_share(name: str, value: Any, *, below: bool = False) -> float:
    """Return value as a float, or raise unless it is a number from 0 to 1, or to below 1."""
    if not _is_real(value) or not 0 <= value <= 1 or (below and value == 1):
        raise ValueError(f"{name}={value!r} is not a number from 0 to {'below ' * below}1")
    return float(value)


def check_size(name: str, value: Any) -> float:
    """Return value as a float, or raise unless it is a finite number of at least 0."""
    if not _is_real(value) or not 0 <= value < math.inf:
        raise ValueError(f"{name}={value!r} is not a number of at least 0")
    return float(value)


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_integer(value: Any) -> bool:
    """True for Python and NumPy integers, and not for True and False."""
    if type(value) is int:
        return True
    return isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_)


def check_positive(name: str, value: Any) -> int:
    """Return value as an int, or raise unless it is a whole number of at least 1."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"{name}={value!r} is not a whole number of at least 1")
    return int(value)


def check_divides(groups: Any, channels: int, *, of: str = "in_channels") -> int:
    """Return groups as an int, or raise unless it divides the number of channels."""
    groups = check_positive("groups", groups)
    if channels % groups:
        raise ValueError(f"groups={groups} does not divide {of}={channels}")
    return groups


def as_pair(name: str, value: Any) -> tuple[int, int]:
    """Return (height, width) from one number or a pair, each at least 1."""
    if type(value) is int and value >= 1:
        return value, value
    pair = (value, value) if is_integer(value) else value
    if not _is_sequence_of(pair, 2) or not all(is_integer(v) and v >= 1 for v in pair):
        raise ValueError(
            f"{name}={value!r} is neither a whole number of at least 1 nor a (height, width) pair"
        )
    return int(pair[0]), int(pair[1])


def as_padding(value: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return ((top, bottom), (left, right)) from one number, a pair, or a pair of pairs."""
    if type(value) is int and value >= 0:
        return (value, value), (value, value)
    pair = (value, value) if is_integer(value) else value
    if _is_sequence_of(pair, 2):
        sides = [(side, side) if is_integer(side) else side for side in pair]
        if all(_is_sequence_of(s, 2) and all(is_integer(v) and v >= 0 for v in s) for s in sides):
            (top, bottom), (left, right) = sides
            return (int(top), int(bottom)), (int(left), int(right))
    raise ValueError(
        f"padding={value!r} is not a whole number of at least 0, a (height, width) pair "
        "or ((top, bottom), (left, right))"
    )


def is_sequence(value: Any) -> bool:
    """True for tuples, lists and arrays of at least one dimension, and not for strings."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_sequence_of(value: Any, length: int) -> bool:
    return is_sequence(value) and len(value) == length
