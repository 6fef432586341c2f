"""Preprocessing: how trained networks of other libraries want their images.

    name           resizing                             numbers
    imagenet-256   short side 256, Pillow, crop 224     RGB, (x / 255 - mean) / std
    imagenet-232   short side 232, Pillow, crop 224     RGB, (x / 255 - mean) / std
    authors        short side 256, OpenCV, crop 224     BGR, 0 to 255
    paddlepaddle   short side 256, OpenCV, crop 224     RGB, (x / 255 - mean) / std
    cifar10        32 x 32, Pillow                      RGB, (x / 255 - mean) / std
    cifar100       32 x 32, Pillow                      RGB, (x / 255 - mean) / std

Both libraries interpolate bilinearly. When an image shrinks, Pillow averages over all pixels that a
new pixel covers (antialiasing), and OpenCV only reads the four nearest ones. They also round
differently.
`PREPROCESSINGS` has all of these by name.

Sources: torchvision's ImageClassification transform (pytorchcv and mmpretrain do the same as
imagenet-256); the authors' evaluation code in ShuffleNet-Series; the configuration of
ShuffleNetV2_x1_0 in PaddleClas; the training logs of pytorch-cifar-models.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from numpy_shufflenet._files import PathLike
from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import Array
from numpy_shufflenet.data.image_folder import fitted, open_image
from numpy_shufflenet.data.standardise import Standardise
from numpy_shufflenet.ops.checks import check_positive

if TYPE_CHECKING:
    from PIL import Image

# Functions (old short side, new short side, old long side) -> new long side.
LONG_SIDE: dict[str, Callable[[int, int, int], int]] = {
    "torchvision": lambda short, new, long: int(new * long / short),
    "authors": lambda short, new, long: int(new / short * long + 0.5),
    "paddlepaddle": lambda short, new, long: round(long * (new / short)),
}
# Functions (pixels that the crop cuts off along an axis) -> those of them before the crop. Python's
# `round`, as in torchvision, rounds halves to the even number.
BEFORE_CROP: dict[str, Callable[[int], int]] = {
    "torchvision": lambda out: round(out / 2),
    "authors": lambda out: round(out / 2),
    "paddlepaddle": lambda out: out // 2,
}

# The largest ratio of the sides: an image of one long row, once resized, wouldn't fit into memory.
MOST_UNEQUAL = 100


@dataclass(frozen=True)
class Preprocessing:
    """From an image file to the input of a network.

    Parameters
    ----------
    name : str
    resize, crop : int
        The short side after resizing, and the side of the square in the centre that is kept.
    standardise : Standardise
        Mean and standard deviation of each channel, for values from 0 to 1, in the order of the
        network's channels. Its length is the number of channels.
    style : str
        The library whose resizing is used: "torchvision", "authors" or "paddlepaddle"; or "fit",
        to resize as `load_image` does.
    bgr : bool
        Whether the channels are blue, green, red.
    """

    name: str
    resize: int
    crop: int
    standardise: Standardise
    style: str = "torchvision"
    bgr: bool = False

    @property
    def channels(self) -> int:
        """The number of channels, 1 or 3."""
        return len(self.standardise.mean)

    def at(self, size: int) -> "Preprocessing":
        """Return the same preprocessing for another crop; `resize` grows by the same factor."""
        check_positive("size", size)
        return replace(self, resize=round(self.resize * size / self.crop), crop=size)

    def load(self, path: PathLike) -> Array:
        """Read an image file, and return it resized and cropped.

        Returns
        -------
        pixels : array, shape (channels, crop, crop), uint8
            Grey or RGB, even if the network takes BGR.

        Raises
        ------
        FileNotFoundError, ValueError, ImportError
            In the cases of `load_image`.
        """
        return self.pixels(open_image(path, channels=self.channels))

    def pixels(self, image: "Image.Image") -> Array:
        """Resize and crop an image of mode L or RGB; see `load`.

        Raises
        ------
        ValueError
            If one side is more than 100 times as long as the other.
        """
        if self.style == "fit":
            return fitted(image, self.crop)
        width, height = image.size
        short, long = sorted((width, height))
        if long > MOST_UNEQUAL * short:
            raise ValueError(
                f"the image has {width} x {height} pixels; one side may be at most {MOST_UNEQUAL} "
                "times as long as the other"
            )
        new_long = LONG_SIDE[self.style](short, self.resize, long)
        size = (self.resize, new_long) if width <= height else (new_long, self.resize)
        if self.style == "torchvision":
            resampling = need("PIL.Image", "resizing images").Resampling.BILINEAR
            resized = np.asarray(image.resize(size, resampling))
        else:
            resized = resize_bilinear(np.asarray(image), (size[1], size[0]))
        resized = resized.reshape(size[1], size[0], self.channels)  # h w c
        top, left = (BEFORE_CROP[self.style](side - self.crop) for side in resized.shape[:2])
        cropped = resized[top : top + self.crop, left : left + self.crop]
        return np.ascontiguousarray(cropped.transpose(2, 0, 1))

    def __call__(self, pixels: Array, dtype: npt.DTypeLike = np.float32) -> Array:
        """Return the network's input (n, c, h, w) for pixels (n, c, h, w) as `load` returns them.

        Raises
        ------
        ValueError
            If pixels isn't uint8, its number of channels doesn't fit, or dtype isn't float32 or
            float64.
        """
        return self.standardise(pixels[:, ::-1] if self.bgr else pixels, dtype)

    def __str__(self) -> str:
        resizing = {
            "torchvision": f"short side {self.resize} (bilinear, antialiased)",
            "fit": f"short side {self.resize} (bicubic, antialiased)",
        }.get(self.style, f"short side {self.resize} (bilinear as OpenCV's, not antialiased)")
        colours = "grey" if self.channels == 1 else "BGR" if self.bgr else "RGB"
        mean, std = (", ".join(f"{v:.4g}" for v in values) for values in self.standardise)
        plain = self.standardise == RAW
        numbers = "0 to 255" if plain else f"(x / 255 - mean) / std, mean {mean}, std {std}"
        return f"{self.name}: {resizing}, centre {self.crop} x {self.crop}, {colours}, {numbers}"


def resize_bilinear(image: Array, size: tuple[int, int]) -> Array:
    """Resize without antialiasing, as OpenCV does: each new pixel reads the four nearest ones.

    Row i of the new image lies at (i + 1/2) h / new_h - 1/2 in the old one, and columns likewise.
    Outside of the image, the pixels of its edge are repeated. OpenCV computes in integers, so its
    result may differ by one grey level.

    Parameters
    ----------
    image : array, shape (h, w) or (h, w, c), uint8
    size : tuple of int
        New height and width.

    Returns
    -------
    resized : array, shape (*size) or (*size, c), uint8

    Raises
    ------
    ValueError
        If image has another dtype or number of axes, or size isn't positive.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape[:2]:
        raise ValueError(
            f"image has shape {image.shape} and dtype {image.dtype}; uint8 pixels of shape (h, w) "
            "or (h, w, c) are needed"
        )
    found = image
    for axis, new in enumerate(size):
        old = image.shape[axis]
        place = (np.arange(check_positive(f"size[{axis}]", new)) + 0.5) * (old / new) - 0.5
        low = np.floor(place).astype(int)
        share = (place - low).astype(np.float32)
        share = share.reshape([-1 if k == axis else 1 for k in range(image.ndim)])
        before, after = (found.take((low + k).clip(0, old - 1), axis) for k in (0, 1))
        found = before * (1 - share) + after * share
    return np.rint(found).astype(np.uint8)


RAW = Standardise((0.0,) * 3, (1 / 255,) * 3)
_IMAGENET = Standardise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CIFAR10 = Standardise((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201))
_CIFAR100 = Standardise((0.507, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761))
PREPROCESSINGS = {
    one.name: one
    for one in (
        Preprocessing("imagenet-256", 256, 224, _IMAGENET),
        Preprocessing("imagenet-232", 232, 224, _IMAGENET),
        Preprocessing("authors", 256, 224, RAW, "authors", bgr=True),
        Preprocessing("paddlepaddle", 256, 224, _IMAGENET, "paddlepaddle"),
        Preprocessing("cifar10", 32, 32, _CIFAR10),
        Preprocessing("cifar100", 32, 32, _CIFAR100),
    )
}
"""The preprocessing with which networks of other libraries were evaluated, by name."""
