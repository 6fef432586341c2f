"""12,000 images of Fashion-MNIST that are part of the package, so no download is needed."""

from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet.data.dataset import Dataset
from numpy_shufflenet.data.fashion_mnist import FASHION_MNIST_CLASSES

EMBEDDED = Path(__file__).parent / "fashion_mnist_12k.npz"
LARGEST = 20_000_000  # bytes, about twice the unpacked size of the file


def load_embedded() -> tuple[Dataset, Dataset]:
    """Return 10,000 training and 2,000 test images of Fashion-MNIST.

    Returns
    -------
    train, test : Dataset
        images (10000, 1, 28, 28) and (2000, 1, 28, 28). They are the first 1,000 training images
        and 200 test images of each class, in the order of the full set. `build_embedded` makes the
        file. Every call returns new arrays.

    Raises
    ------
    FileNotFoundError, ValueError
        If the installed file is missing or damaged.

    Source: Xiao, Rasul, Vollgraf, Fashion-MNIST, 2017; MIT licence in LICENSE-fashion-mnist.
    """
    if not EMBEDDED.is_file():
        raise FileNotFoundError(f"{EMBEDDED} is missing; install numpy_shufflenet again")
    try:
        with EMBEDDED.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if sum(member.file_size for member in arrays.zip.infolist()) > LARGEST:
                raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
            train, test = (_part(arrays, part) for part in ("train", "test"))
    except Exception as error:  # a damaged archive raises errors of almost any kind
        raise ValueError(
            f"{EMBEDDED} is damaged; install numpy_shufflenet again: {error}"
        ) from error
    return train, test


def _part(arrays: Any, part: str) -> Dataset:
    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]  # n h w, n
    if labels.dtype != np.uint8:
        raise ValueError(f"{part}_labels has dtype {labels.dtype}; uint8 is needed")
    return Dataset(images[:, None], labels.astype(np.int64), FASHION_MNIST_CLASSES)
