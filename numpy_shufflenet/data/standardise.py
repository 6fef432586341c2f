"""Scales images for a network: each channel of the training images gets mean 0 and variance 1.

y = (x / 255 - mean) / std        with the mean and std of x / 255 for each channel
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_shufflenet._typing import Array
from numpy_shufflenet.data._check import check_images
from numpy_shufflenet.ops.checks import FLOATS


class Standardise(NamedTuple):
    """The mean and standard deviation of each channel, as plain numbers for a checkpoint."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Array, dtype: npt.DTypeLike = np.float32) -> Array:
        """Return scaled images (n, c, h, w); see `to_float`."""
        return to_float(images, self.mean, self.std, dtype)


def channel_statistics(images: Array) -> Standardise:
    """Compute the mean and standard deviation of each channel, on the scale from 0 to 1.

    Parameters
    ----------
    images : array, shape (n, c, h, w), uint8
        The training images, at least one.

    Returns
    -------
    standardise : Standardise
        Rounded to float32. A constant channel has std 1, so that its values become 0 and not NaN.

    Raises
    ------
    ValueError
        If images is another kind of array, or has no image.
    """
    check_images("images", images)
    if not len(images):
        raise ValueError(f"images has shape {images.shape}; at least one image is needed")
    mean, std = [], []
    values = np.arange(256) / 255
    for channel in images.transpose(1, 0, 2, 3):  # n h w
        # The counts of the 256 values are exact; they do not depend on the order of the images.
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(channel), 1000):  # bincount's copy has 8 bytes per pixel
            counts += np.bincount(channel[start : start + 1000].ravel(), minlength=256)
        mu = counts @ values / channel.size
        variance = counts @ (values - mu) ** 2 / channel.size
        mean.append(float(np.float32(mu)))
        std.append(float(np.float32(np.sqrt(variance))) if np.count_nonzero(counts) > 1 else 1.0)
    return Standardise(tuple(mean), tuple(std))


def to_float(
    images: Array,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: npt.DTypeLike = np.float32,
) -> Array:
    """Return (images / 255 - mean) / std.

    Parameters
    ----------
    images : array, shape (n, c, h, w), uint8
    mean, std : sequence of c floats
        One number for each channel, for values from 0 to 1; std is above 0.
    dtype : float32 or float64

    Returns
    -------
    x : array, shape (n, c, h, w), of dtype `dtype`

    Raises
    ------
    ValueError
        If an argument doesn't fit these descriptions.
    """
    check_images("images", images)
    if np.dtype(dtype) not in FLOATS:
        raise ValueError(f"dtype={dtype!r} is neither float32 nor float64")
    mu = _of_channels("mean", mean, images.shape[1])
    sigma = _of_channels("std", std, images.shape[1])
    if not (sigma > 0).all():
        raise ValueError(f"std={std!r} has a value that is not above 0")
    x: npt.NDArray[Any] = images.astype(dtype)  # n c h w
    x -= (255 * mu).astype(dtype)[:, None, None]
    x /= (255 * sigma).astype(dtype)[:, None, None]
    return x


def _of_channels(name: str, values: Sequence[float], channels: int) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)  # c
    if array.shape != (channels,) or not np.isfinite(array).all():
        raise ValueError(f"{name}={values!r} is not one number for each of {channels} channels")
    return array
