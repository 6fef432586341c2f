"""Loads a dataset by its name on the command line, such as "folder:DIRECTORY"."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from numpy_shufflenet._files import PathLike
from numpy_shufflenet.data._check import existing_directory
from numpy_shufflenet.data.cifar10 import load_cifar10
from numpy_shufflenet.data.dataset import Dataset, split
from numpy_shufflenet.data.embedded import load_embedded
from numpy_shufflenet.data.fashion_mnist import load_fashion_mnist
from numpy_shufflenet.data.image_folder import load_image_folder

DATASETS = ("embedded", "fashion-mnist:DIRECTORY", "cifar10:PATH", "folder:DIRECTORY")
TEST_FRACTION = 0.2  # share of the test set if a directory has no folder test/


def load_dataset(
    name: str,
    *,
    size: int = 64,
    channels: int = 3,
    test_fraction: float = TEST_FRACTION,
    seed: int = 0,
) -> tuple[Dataset, Dataset]:
    """Load the training and the test set of a dataset.

    Parameters
    ----------
    name : str
        "embedded", "fashion-mnist:DIRECTORY", "cifar10:PATH" or "folder:DIRECTORY".
    size, channels : int
        Size and channels of the images of a "folder". The other datasets have a fixed size.
    test_fraction : float
    seed : int
        How to split a "folder" that contains one folder for each class. If the directory contains
        train/ and test/, each with the class folders, these two are the training and the test set;
        other folders are ignored.

    Returns
    -------
    train, test : Dataset

    Raises
    ------
    ValueError
        If name is none of these, or if the reader of the dataset raises ValueError.
    FileNotFoundError
        If the reader of the dataset raises FileNotFoundError.
    """
    if name == "embedded":
        return load_embedded()
    kind, _, path = name.partition(":")

    def folder(directory: PathLike) -> tuple[Dataset, Dataset]:
        return load_split_folder(
            directory, size=size, channels=channels, test_fraction=test_fraction, seed=seed
        )

    readers: dict[str, Callable[[PathLike], tuple[Dataset, Dataset]]] = {
        "fashion-mnist": load_fashion_mnist,
        "cifar10": load_cifar10,
        "folder": folder,
    }
    if kind not in readers or not path:
        raise ValueError(f"name={name!r} is none of {', '.join(DATASETS)}")
    return readers[kind](path)


def load_held_out(
    name: str, is_training_set: Callable[[Dataset], bool], *, size: int = 64, channels: int = 3
) -> tuple[Dataset, str]:
    """Load images that a training hasn't used, as far as this is known.

    Parameters
    ----------
    name, size, channels
        As in `load_dataset`.
    is_training_set : function
        is_training_set(dataset) -> whether the training used exactly this dataset.

    Returns
    -------
    dataset : Dataset
        The test set. A "folder" without train/ and test/ is split as in `load_dataset`; if the
        training used the training part, this is the test part, otherwise all images.
    which : str
        Describes these images.

    Raises
    ------
    ValueError, FileNotFoundError
        In the cases of `load_dataset`.
    """
    kind, _, directory = name.partition(":")
    if kind != "folder" or not directory or _is_split(existing_directory("directory", directory)):
        return load_dataset(name, size=size, channels=channels)[1], "the test images"
    dataset = load_image_folder(directory, size=size, channels=channels)
    # A class with one image can't be split, so the training used another set.
    if np.bincount(dataset.labels).min() > 1:
        train, test = split(dataset, fraction=TEST_FRACTION, seed=0)
        if is_training_set(train):
            return test, "the images of the folder that the training left out"
    return dataset, "all images of the folder; the training used other images"


def load_split_folder(
    directory: PathLike, *, size: int, channels: int, test_fraction: float, seed: int
) -> tuple[Dataset, Dataset]:
    """Read train/ and test/ in a directory, or split its class folders; see `load_dataset`."""
    path = existing_directory("directory", directory)
    if not _is_split(path):
        dataset = load_image_folder(path, size=size, channels=channels)
        return split(dataset, fraction=test_fraction, seed=seed)
    train = load_image_folder(path / "train", size=size, channels=channels)
    test = load_image_folder(path / "test", size=size, channels=channels)
    if train.classes != test.classes:
        differing = sorted({*train.classes} ^ {*test.classes})
        raise ValueError(
            f"directory={str(directory)!r}: train and test differ in classes {', '.join(differing)}"
        )
    return train, test


def _is_split(path: Path) -> bool:
    return (path / "train").is_dir() and (path / "test").is_dir()
