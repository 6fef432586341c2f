"""Augmentation: random changes of images that keep the class and reduce overfitting.

Each function takes a batch of uint8 images and a Generator, and returns a new batch. The random
choices depend on the state of the Generator only, not on the images.
"""

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
    mirrored = rng.random(len(images)) < 0.5  # n
    return np.where(mirrored[:, None, None, None], images[..., ::-1], images)


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
    if not is_integer(padding) or padding < 0:
        raise ValueError(f"padding={padding!r} is not a whole number of at least 0")
    n, _, h, w = images.shape
    p = int(padding)
    if p >= 2**62:
        raise ValueError(f"padding={p} is not below 2**62")
    cropped = np.zeros_like(images, order="C")
    # The crop begins `down` rows and `right` columns after the image, or before it if negative.
    shifts = rng.integers(0, 2 * p + 1, size=(2, n)) - p
    for image, crop, (down, right) in zip(images, cropped, shifts.T.tolist(), strict=True):
        seen = image[:, max(down, 0) : max(h + down, 0), max(right, 0) : max(w + right, 0)]
        height, width = seen.shape[1:]
        top, left = max(-down, 0), max(-right, 0)
        crop[:, top : top + height, left : left + width] = seen
    return cropped


def augment(
    images: Array, rng: np.random.Generator, *, flip: bool = True, crop_padding: int = 2
) -> Array:
    """Apply `random_flip`, then `random_crop`.

    Parameters
    ----------
    images : array, shape (n, c, h, w), uint8
    rng : Generator
    flip : bool
        False if a mirror image may have another class, as with digits.
    crop_padding : int
        0 for no crop.

    Returns
    -------
    augmented : array, shape (n, c, h, w), uint8
        It never shares memory with `images`.

    Raises
    ------
    ValueError
        In the cases of `random_flip` and `random_crop`.
    """
    if flip:
        images = random_flip(images, rng)
    return random_crop(images, rng, crop_padding)
