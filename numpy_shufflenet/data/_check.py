"""Checks of arguments and files. An error names the argument and its value, and what would fit."""

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from numpy_shufflenet._files import PathLike, expanded
from numpy_shufflenet._typing import Array

COLOURS = 4  # the largest number of channels of an image: red, green, blue, alpha


def check_images(name: str, value: Any) -> None:
    """Raise unless value is a uint8 array of shape (n, c, h, w)."""
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name} is a {type(value).__name__}; a NumPy array is needed")
    if value.dtype != np.uint8:
        raise ValueError(f"{name} has dtype {value.dtype}; uint8 is needed")
    if value.ndim != 4 or 0 in value.shape[1:]:
        raise ValueError(f"{name} has shape {value.shape}; (n, c, h, w) is needed")
    if value.shape[1] > COLOURS >= value.shape[3]:
        raise ValueError(
            f"{name} has shape {value.shape}, which looks like (n, h, w, c); (n, c, h, w) is "
            "needed: images.transpose(0, 3, 1, 2)"
        )


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
    """Return value as a Path with ~ expanded, or raise if nothing exists there."""
    try:
        path = expanded(value)
        found = path.exists()
    except (TypeError, ValueError) as error:  # value is no path, or has a zero byte
        raise ValueError(f"{name}={value!r} is not a path: {error}") from error
    if not found:
        raise FileNotFoundError(f"{name}={str(value)!r} does not exist")
    return path


def existing_directory(name: str, value: PathLike) -> Path:
    """Return value as a Path, or raise unless it is a directory."""
    path = existing(name, value)
    if not path.is_dir():
        raise ValueError(f"{name}={str(value)!r} is a file; a directory is needed")
    return path


@contextlib.contextmanager
def opened_maybe_gzipped(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading. If the content is gzip data, reading decompresses it.

    The name of the file doesn't matter. This reads only the first two bytes, so the caller can
    check a header before allocating memory.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not zipped:
            yield file
            return
        try:
            with gzip.GzipFile(fileobj=file) as unzipped:
                yield unzipped  # type: ignore[misc]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is truncated or corrupt gzip data: {error}") from error
