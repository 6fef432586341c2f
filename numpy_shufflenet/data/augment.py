"""Augmentation: random changes of images that keep the class and reduce overfitting.

Each function takes a batch of uint8 images and a Generator, and returns a new batch. The random
choices depend on the state of the Generator only, not on the images.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.data._check import check_generator, check_images
from numpy_shufflenet.ops.checks import is_integer


def random_flip(images: Array, rng: np.random.Generator) -> Array:
    """Mirror each image left to right with probability 1/2.

    Parameters
    ----------
    images : array, shape (n, c, h, w), uint8
    rng : Generator

    Returns
    -------
    flipped : array, shape (n, c, h, w), uint8

    Raises
    ------
    ValueError
        If images or rng has another type or shape.
    """
    check_images("images", images)
    check_generator(rng)
    return _mirror(images, _draw_flips(len(images), rng))


def random_crop(images: Array, rng: np.random.Generator, padding: int) -> Array:
    """Shift each image by up to `padding` pixels: pad it with black, then crop at random.

    Parameters
    ----------
    images : array, shape (n, c, h, w), uint8
    rng : Generator
    padding : int
        All (2 padding + 1)^2 positions of the crop are equally likely.

    Returns
    -------
    cropped : array, shape (n, c, h, w), uint8

    Raises
    ------
    ValueError
        If images or rng has another type or shape, or if padding is negative or at least 2**62.

    Source: He et al., Deep Residual Learning, 2016, section 4.2 (padding 4, on CIFAR-10).
    """
    check_images("images", images)
    check_generator(rng)
    return _crop(images, padding, _draw_corners(len(images), rng, padding))


def random_cutout(images: Array, rng: np.random.Generator, side: int) -> Array:
    """Blacken a square in each image, whose centre is at a random pixel.

    Parameters
    ----------
    images : array, shape (n, c, h, w), uint8
    rng : Generator
    side : int
        Side of the square in pixels. Near a border, only a part of it lies in the image.

    Returns
    -------
    cut : array, shape (n, c, h, w), uint8

    Raises
    ------
    ValueError
        If images or rng has another type or shape, or if side is negative or at least 2**62.

    Source: DeVries, Taylor, Improved regularization of convolutional neural networks with cutout,
    2017, section 3 (side 16 on CIFAR-10, filled with the mean of each channel).
    """
    check_images("images", images)
    check_generator(rng)
    _check_pixels("side", side)
    return _blacken(images, int(side), _draw_centres(len(images), rng))


def augment(
    images: Array,
    rng: np.random.Generator,
    *,
    flip: bool = True,
    crop_padding: int = 2,
    cutout: int = 0,
) -> Array:
    """Apply `random_flip`, then `random_crop`, then `random_cutout`.

    Parameters
    ----------
    images : array, shape (n, c, h, w), uint8
    rng : Generator
    flip : bool
        False if a mirror image may have another class, as with digits.
    crop_padding, cutout : int
        0 for no crop, and for no cutout.

    Returns
    -------
    augmented : array, shape (n, c, h, w), uint8
        It never shares memory with `images`.

    Raises
    ------
    ValueError
        In the cases of `random_flip`, `random_crop` and `random_cutout`.
    """
    check_images("images", images)
    choices = draw_choices(len(images), rng, flip=flip, crop_padding=crop_padding, cutout=cutout)
    return choices.apply(images)


class Choices(NamedTuple):
    """The random choices of `augment` for each image of a batch."""

    mirrored: Array | None  # n, bool
    corners: Array  # 2 n: top and left of each crop
    padding: int
    centres: Array | None = None  # 2 n: of each cutout, in heights and widths of an image
    side: int = 0

    def of(self, rows: Array) -> "Choices":
        """Return the choices for some images, by their indices in the batch."""
        mirrored = None if self.mirrored is None else self.mirrored[rows]
        centres = None if self.centres is None else self.centres[:, rows]
        return Choices(mirrored, self.corners[:, rows], self.padding, centres, self.side)

    def apply(self, images: Array) -> Array:
        """Return new images (n, c, h, w), changed as chosen."""
        if self.mirrored is not None:
            images = _mirror(images, self.mirrored)
        images = _crop(images, self.padding, self.corners)
        return images if self.centres is None else _blacken(images, self.side, self.centres)


def draw_choices(
    n: int,
    rng: np.random.Generator,
    *,
    flip: bool = True,
    crop_padding: int = 2,
    cutout: int = 0,
) -> Choices:
    """Draw the choices of `augment` for a batch of n images, of which a process may have a part.

    Raises
    ------
    ValueError
        If rng is not a Generator, or crop_padding or cutout is not a whole number of at least 0.
    """
    check_generator(rng)
    _check_pixels("cutout", cutout)
    mirrored = _draw_flips(n, rng) if flip else None
    corners = _draw_corners(n, rng, crop_padding)
    centres = _draw_centres(n, rng) if cutout else None
    return Choices(mirrored, corners, int(crop_padding), centres, int(cutout))


def _draw_flips(n: int, rng: np.random.Generator) -> Array:
    return rng.random(n) < 0.5


def _draw_corners(n: int, rng: np.random.Generator, padding: int) -> Array:
    _check_pixels("padding", padding)
    return rng.integers(0, 2 * int(padding) + 1, size=(2, n))


def _draw_centres(n: int, rng: np.random.Generator) -> Array:
    return rng.random((2, n))


def _check_pixels(name: str, value: int) -> None:
    if not is_integer(value) or value < 0:
        raise ValueError(f"{name}={value!r} is not a whole number of at least 0")
    if value >= 2**62:
        raise ValueError(f"{name}={value} is not below 2**62")


def _mirror(images: Array, mirrored: Array) -> Array:
    return np.where(mirrored[:, None, None, None], images[..., ::-1], images)


def _crop(images: Array, padding: int, corners: Array) -> Array:
    _, _, h, w = images.shape
    cropped = np.zeros_like(images, order="C")
    # The crop begins `down` rows and `right` columns after the image, or before it if negative.
    shifts = (corners - padding).T.tolist()
    for image, crop, (down, right) in zip(images, cropped, shifts, strict=True):
        seen = image[:, max(down, 0) : max(h + down, 0), max(right, 0) : max(w + right, 0)]
        height, width = seen.shape[1:]
        top, left = max(-down, 0), max(-right, 0)
        crop[:, top : top + height, left : left + width] = seen
    return cropped


def _blacken(images: Array, side: int, centres: Array) -> Array:
    """Blacken from side // 2 pixels before each centre on."""
    within = []
    for length, places in zip(images.shape[2:], centres, strict=True):
        first = (places * length).astype(np.int64) - side // 2  # n
        offset = np.arange(length) - first[:, None]  # n length
        within.append((offset >= 0) & (offset < side))
    rows, columns = within
    return np.where(rows[:, None, :, None] & columns[:, None, None, :], np.uint8(0), images)
