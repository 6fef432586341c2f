"""Checks of arguments and files: name what is wrong, quote it, say what would fit."""

import gzip
import os
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from numpy_shufflenet._typing import Array

PathLike: TypeAlias = str | os.PathLike[str]


def check_images(name: str, value: Any) -> None:
    """Raise unless value is a uint8 array of shape (n, c, h, w)."""
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name} is a {type(value).__name__}; a NumPy array is needed")
    if value.dtype != np.uint8:
        raise ValueError(f"{name} has dtype {value.dtype}; uint8 is needed")
    if value.ndim != 4 or 0 in value.shape[1:]:
        raise ValueError(f"{name} has shape {value.shape}; (n, c, h, w) is needed")


def check_labels(where: str, labels: Array, classes: int) -> None:
    """Raise unless every label is the index of one of the classes."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(
            f"{where}: label {labels[wrong[0]]} at index {wrong[0]} is out of range; "
            f"0 to {classes - 1} fit the {classes} classes"
        )


def check_generator(rng: Any) -> None:
    """Raise unless rng is a NumPy Generator."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng={rng!r} is not a numpy.random.Generator")


def existing(name: str, value: PathLike) -> Path:
    """Return value as a Path, or raise unless something is there."""
    path = Path(value)
    if not path.exists():
        raise FileNotFoundError(f"{name}={str(value)!r} does not exist")
    return path


def existing_directory(name: str, value: PathLike) -> Path:
    """Return value as a Path, or raise unless a directory is there."""
    path = existing(name, value)
    if not path.is_dir():
        raise ValueError(f"{name}={str(value)!r} is a file; a directory is needed")
    return path


def read_maybe_gzipped(path: Path) -> bytes:
    """Return the bytes of a file, decompressed if they are gzip's, whatever the file's name."""
    data = path.read_bytes()
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or corrupt gzip data: {error}") from error
