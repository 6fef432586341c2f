"""Rebuild the embedded images from the full Fashion-MNIST.

    python -m numpy_shufflenet.data.build_embedded DIRECTORY [OUT]

The script takes the first 1,000 training images and the first 200 test images of each class, in the
order of the IDX files of Fashion-MNIST (see `fashion_mnist`).
"""

import argparse
import os
from collections.abc import Sequence

import numpy as np

from numpy_shufflenet._files import PathLike, expanded
from numpy_shufflenet._typing import Array
from numpy_shufflenet.data.dataset import Dataset
from numpy_shufflenet.data.embedded import EMBEDDED
from numpy_shufflenet.data.fashion_mnist import load_fashion_mnist
from numpy_shufflenet.ops.checks import check_positive


def first_of_each_class(dataset: Dataset, count: int) -> Array:
    """Return the indices of the first `count` images of each class, ascending."""
    chosen = []
    for label, name in enumerate(dataset.classes):
        members = np.flatnonzero(dataset.labels == label)
        if len(members) < count:
            raise ValueError(f"class {name!r} has {len(members)} images; {count} are needed")
        chosen.append(members[:count])
    return np.sort(np.concatenate(chosen))  # classes * count


def build_file(
    directory: PathLike,
    out: PathLike,
    *,
    train_per_class: int = 1000,
    test_per_class: int = 200,
) -> None:
    """Write a subset of the IDX files in `directory` to the file `out`.

    `numpy.load` opens the file. It has train_images (n, 28, 28), train_labels (n,), test_images and
    test_labels, all uint8. With the same version of zlib, every run writes the same bytes.

    Raises
    ------
    FileNotFoundError, ValueError
        In the cases of `load_fashion_mnist`, or if a class has too few images. Then `out` doesn't
        change.
    """
    check_positive("train_per_class", train_per_class)
    check_positive("test_per_class", test_per_class)
    train, test = load_fashion_mnist(directory)
    train = train.subset(first_of_each_class(train, train_per_class))
    test = test.subset(first_of_each_class(test, test_per_class))
    out = expanded(out)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(
                file,
                train_images=train.images[:, 0],
                train_labels=train.labels.astype(np.uint8),
                test_images=test.images[:, 0],
                test_labels=test.labels.astype(np.uint8),
            )
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command in the docstring of this module."""
    parser = argparse.ArgumentParser(
        prog="python -m numpy_shufflenet.data.build_embedded",
        description="Rebuild the embedded images from the four IDX files of Fashion-MNIST.",
    )
    parser.add_argument("directory", metavar="DIRECTORY", help="where the IDX files are")
    parser.add_argument("out", metavar="OUT", nargs="?", default=EMBEDDED, help="file to write")
    parser.add_argument("--train-per-class", type=int, default=1000, metavar="N")
    parser.add_argument("--test-per-class", type=int, default=200, metavar="N")
    chosen = parser.parse_args(arguments)
    try:
        build_file(
            chosen.directory,
            chosen.out,
            train_per_class=chosen.train_per_class,
            test_per_class=chosen.test_per_class,
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{chosen.out}: {expanded(chosen.out).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
