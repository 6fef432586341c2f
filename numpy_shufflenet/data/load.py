"""One name for every set of images, as the commands take it."""

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
TEST_FRACTION = 0.2  # of a folder that isn't split yet


def load_dataset(
    name: str,
    *,
    size: int = 64,
    channels: int = 3,
    test_fraction: float = TEST_FRACTION,
    seed: int = 0,
) -> tuple[Dataset, Dataset]:
    """Load the training and the test set that `name` stands for.

    Parameters
    ----------
    name : str
        "embedded", "fashion-mnist:DIRECTORY", "cifar10:PATH" or "folder:DIRECTORY".
    size, channels : int
        Of the images of a "folder"; the other sets have their own.
    test_fraction : float
    seed : int
        How to split a "folder" of class folders. One that has the folders train/ and test/, with
        the class folders in each, isn't split; no other folder beside them is read.

    Returns
    -------
    train, test : Dataset

    Raises
    ------
    ValueError
        If name is none of these, or as the reader of that set.
    FileNotFoundError
        As the reader of that set.
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
    """Load the images that a training has not seen, as far as that can be known.

    Parameters
    ----------
    name, size, channels
        As for `load_dataset`.
    is_training_set : function
        Whether the training was on this very set.

    Returns
    -------
    dataset : Dataset
        The test set; of a "folder" without train/ and test/, the part that `load_dataset` splits
        off if the training was on the other part, and otherwise all of it.
    which : str
        Says in words which of these it is.

    Raises
    ------
    ValueError, FileNotFoundError
        As `load_dataset`.
    """
    kind, _, directory = name.partition(":")
    if kind != "folder" or not directory or _is_split(existing_directory("directory", directory)):
        return load_dataset(name, size=size, channels=channels)[1], "the test images"
    dataset = load_image_folder(directory, size=size, channels=channels)
    # A class of one image can't be split, so the training was on something else.
    if np.bincount(dataset.labels).min() > 1:
        train, test = split(dataset, fraction=TEST_FRACTION, seed=0)
        if is_training_set(train):
            return test, "the images of the folder that the training left out"
    return dataset, "all images of the folder; the training was on others"


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
