"""Fashion-MNIST: 60,000 training and 10,000 test images of clothes, in grey, 28 x 28.

An IDX file is a header of big-endian numbers, then the bytes of one array:

    0, 0, 8 (unsigned bytes), number of axes   |   4 bytes for the length of each axis   |   values

Sources: Xiao, Rasul, Vollgraf, Fashion-MNIST, 2017; LeCun, Cortes, Burges, MNIST (the IDX format).
"""

import math
from pathlib import Path

import numpy as np

from numpy_shufflenet._files import PathLike
from numpy_shufflenet._typing import Array
from numpy_shufflenet.data._check import (
    check_labels,
    existing_directory,
    opened_maybe_gzipped,
)
from numpy_shufflenet.data.dataset import Dataset

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

LARGEST = 100 * 2**20  # most values in a file, about twice the number in Fashion-MNIST
PIECE = 2**20  # the largest number of bytes in one read


def load_fashion_mnist(directory: PathLike) -> tuple[Dataset, Dataset]:
    """Read the training and the test set from the four IDX files, gzipped or not.

    Parameters
    ----------
    directory : path
        It contains the files train-images-idx3-ubyte, train-labels-idx1-ubyte,
        t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each with or without .gz.

    Returns
    -------
    train, test : Dataset
        images (n, 1, h, w); n, h and w come from the files.

    Raises
    ------
    FileNotFoundError
        If the directory or one of the files is missing.
    ValueError
        If a file is truncated, has other content than its name says, or claims to have more than
        100 MiB. The message names the file.
    """
    folder = existing_directory("directory", directory)
    return _read_part(folder, "train"), _read_part(folder, "t10k")


def _read_part(folder: Path, part: str) -> Dataset:
    images_path = _find(folder, f"{part}-images-idx3-ubyte")
    labels_path = _find(folder, f"{part}-labels-idx1-ubyte")
    labels = read_idx(labels_path, axes=1).astype(np.int64)  # n
    check_labels(str(labels_path), labels, len(FASHION_MNIST_CLASSES))
    images = read_idx(images_path, axes=3)  # n h w
    if 0 in images.shape:
        raise ValueError(f"{images_path} has shape {images.shape}; it holds no image")
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} has {len(images)} images, but {labels_path} has {len(labels)} labels"
        )
    return Dataset(images[:, None], labels, FASHION_MNIST_CLASSES)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"directory={str(folder)!r} has neither {name} nor {name}.gz")


def read_idx(path: Path, *, axes: int) -> Array:
    """Read an IDX file of unsigned bytes, gzipped or not, as a uint8 array of `axes` axes.

    It reads no more values than the header says, and refuses a header with more than LARGEST
    values.
    """
    with opened_maybe_gzipped(path) as file:
        start = 4 + 4 * axes
        header = file.read(start)
        magic = bytes([0, 0, 8, axes])
        if header[:4] != magic:
            raise ValueError(
                f"{path} begins with the bytes {header[:4].hex(' ')}; "
                f"an IDX file of unsigned bytes with {axes} axes begins with {magic.hex(' ')}"
            )
        if len(header) < start:
            raise ValueError(f"{path} is truncated: {len(header)} bytes, fewer than its header")
        shape = tuple(int.from_bytes(header[i : i + 4], "big") for i in range(4, start, 4))
        expected = math.prod(shape)
        if expected > LARGEST:
            raise ValueError(
                f"{path} claims shape {shape} in its header; up to {LARGEST:,} values are read"
            )
        values = np.empty(expected, np.uint8)
        at = 0
        while piece := file.read(PIECE):
            if at + len(piece) > expected:
                raise ValueError(
                    f"{path} has more than {start + expected} bytes, but shape {shape} in its "
                    "header needs no more"
                )
            values[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
    if at != expected:
        raise ValueError(
            f"{path} has {start + at} bytes, but shape {shape} in its header needs "
            f"{start + expected}"
        )
    return values.reshape(shape)
