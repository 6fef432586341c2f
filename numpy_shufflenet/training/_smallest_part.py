"""Checks before training that no step uses a single image, if the network needs at least two.

A batch may be split into parts, which run one after the other to save memory.
"""

import copy

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.layer import Layer


def check_smallest_part(
    model: Layer, x: Array, images: int, batch_size: int, accumulation: int
) -> None:
    """Raise ValueError if a part of a batch is a single image, and the network needs two or more.

    Without this check, the last step of the first epoch would raise, and the epoch would be lost.

    Parameters
    ----------
    model : Layer
    x : array, shape (1, c, h, w)
        Input of the model for one image.
    images, batch_size, accumulation : int
        Number of training images, size of a batch, and number of parts of a batch.
    """

    if smallest_part(images, batch_size, accumulation) > 1:
        return
    if error := error_of_one_image(model, x):
        fitting = fitting_batch_size(2, images, batch_size, accumulation)
        hint = f"; batch_size={fitting} fits" if fitting else ""
        raise ValueError(
            f"batch_size={batch_size} and accumulation={accumulation} split {images} images so "
            "that one part is a single image, but this network can't be trained on one image of "
            f"shape {x.shape[1:]}: {error}{hint}"
        ) from error


def smallest_part(images: int, batch_size: int, accumulation: int) -> int:
    """Return the number of images in the smallest part of a batch."""
    sizes = (min(batch_size, images), images % batch_size or min(batch_size, images))
    return min(size // min(accumulation, size) for size in sizes)


def fitting_batch_size(least: int, images: int, near: int, accumulation: int) -> int | None:
    """Return the batch size nearest to `near` whose smallest part has `least` images, or None."""
    nearest = sorted(range(1, images + 1), key=lambda size: abs(size - near))
    fitting = (size for size in nearest if smallest_part(images, size, accumulation) >= least)
    return next(fitting, None)


def error_of_one_image(model: Layer, x: Array) -> ValueError | None:
    """Return the error if the model can't be trained on one image x but on two, or None."""
    # A network that rejects two images, too, raises at its first step.
    return None if _error_of(model, np.repeat(x, 2, axis=0)) else _error_of(model, x)


def _error_of(model: Layer, x: Array) -> ValueError | None:
    """Return the error that a training forward of a copy of the model raises, or None."""
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            copy.deepcopy(model).forward(x, training=True)
        except ValueError as error:
            return error
    return None
