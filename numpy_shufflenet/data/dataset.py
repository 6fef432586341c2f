"""A set of labelled images, and its batches for training."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.data._check import check_generator, check_images, check_labels
from numpy_shufflenet.ops.checks import check_positive, is_integer


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images, the class of each image, and the names of the classes.

    Parameters
    ----------
    images : array, shape (n, c, h, w), uint8
        Grey or colour values; 0 is black.
    labels : array, shape (n,), int64
        The class of each image, as an index into `classes`.
    classes : tuple of str

    Raises
    ------
    ValueError
        If a dtype or a shape doesn't fit, or if a label is no index into `classes`.
    """

    images: Array  # n c h w
    labels: Array  # n
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        check_images("images", self.images)
        if not isinstance(self.classes, tuple) or not all(isinstance(c, str) for c in self.classes):
            raise ValueError(f"classes={self.classes!r} is not a tuple of names")
        labels = self.labels
        if not isinstance(labels, np.ndarray) or labels.dtype != np.int64:
            kind = labels.dtype if isinstance(labels, np.ndarray) else type(labels).__name__
            raise ValueError(f"labels is of type {kind}; an int64 array is needed")
        if labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels has shape {labels.shape}, but there are {len(self.images)} images"
            )
        check_labels("labels", labels, len(self.classes))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        n, c, h, w = self.images.shape
        return f"Dataset({n} images of {c} x {h} x {w}, {len(self.classes)} classes)"

    def subset(self, indices: Array) -> "Dataset":
        """Return a dataset with copies of the images at `indices`, in the order of `indices`."""
        return Dataset(self.images[indices], self.labels[indices], self.classes)


def split(dataset: Dataset, *, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Split a dataset in two, with about the same share of every class in both parts.

    Parameters
    ----------
    dataset : Dataset
    fraction : float
        Share of the images in the second part, between 0 and 1. Each part has at least one image of
        every class.
    seed : int
        The same seed gives the same split. Both parts keep the order of the images.

    Raises
    ------
    ValueError
        If fraction isn't between 0 and 1, or if a class has a single image.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction={fraction!r} is not between 0 and 1")
    if not is_integer(seed) or seed < 0:
        raise ValueError(f"seed={seed!r} is not a whole number of at least 0")
    rng = np.random.default_rng(seed)
    in_second = np.zeros(len(dataset), dtype=bool)  # n
    for label, name in enumerate(dataset.classes):
        members = np.flatnonzero(dataset.labels == label)
        if len(members) == 1:
            raise ValueError(f"dataset has one image of class {name!r}; a split needs two")
        if len(members):
            count = min(max(round(fraction * len(members)), 1), len(members) - 1)
            in_second[rng.permutation(members)[:count]] = True
    first, second = np.flatnonzero(~in_second), np.flatnonzero(in_second)
    return dataset.subset(first), dataset.subset(second)


def batches(
    dataset: Dataset,
    batch_size: int,
    rng: np.random.Generator | None = None,
    drop_last: bool = False,
) -> Iterator[tuple[Array, Array]]:
    """Yield every image once, in batches.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
    rng : Generator, optional
        Shuffles the images. Without it they keep their order.
    drop_last : bool
        Whether to drop the last batch if it has fewer than `batch_size` images.

    Returns
    -------
    iterator of (images, labels) : (b, c, h, w) uint8 and (b,) int64
        These are copies, so the caller may change a batch.

    Raises
    ------
    ValueError
        If batch_size is not a positive integer, or rng is not a Generator. This is raised at the
        call, not at the first batch.
    """
    # With a `yield` in this function, its checks would run at the first batch, not here.
    chosen = batch_indices(len(dataset), batch_size, rng, drop_last)
    return ((dataset.images[rows], dataset.labels[rows]) for rows in chosen)


def batch_indices(
    n: int, batch_size: int, rng: np.random.Generator | None = None, drop_last: bool = False
) -> Iterator[Array]:
    """Yield the indices of the images of each batch of `batches`, for a dataset of n images."""
    batch_size = check_positive("batch_size", batch_size)
    if rng is None:
        order = np.arange(n)
    else:
        check_generator(rng)
        order = rng.permutation(n)
    stop = n - n % batch_size if drop_last else n
    return (order[start : start + batch_size] for start in range(0, stop, batch_size))
