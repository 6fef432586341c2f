"""Planes: one channel with its border, laid out so that every tap of a window is a plain stream.

With stride s, outputs q = 0, 1, ... look through tap j at columns j d, s + j d, 2 s + j d, ... of
the bordered image (d: dilation). So columns are sorted into s classes by their remainder:

    stride 2:   0 1 2 3 4 5 6   ->   0 2 4 6 | 1 3 5

and what the outputs of a row see through tap j are neighbours: a stream of ow n numbers that starts
at `offsets[j]` of row p s + i d. A kernel adds up streams, and knows neither stride nor border.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.ops._windows import Windows


class Planes(NamedTuple):
    """Where things lie in a plane (height, length), for a batch of n images."""

    height: int  # rows with the border
    length: int  # numbers in a row
    offsets: Array  # kw: where the stream of each tap starts
    stream: int  # ow n: its length
    row_stride: int  # from one output row to the next
    row_step: int  # from one tap to the next
    top: int  # rows above the image
    stride: int  # number of classes
    places: Array  # w: where each column of the image goes, in pixels


def planes_of(windows: Windows, n: int) -> Planes:
    """Work out the planes for these windows."""
    (_, stride), (_, dilation) = windows.stride, windows.dilation
    height, width = windows.padded_size
    slots = -(-width // stride)  # columns of a class
    (top, _), (left, _) = windows.padding

    def place(columns: Array) -> Array:
        return columns % stride * slots + columns // stride

    return Planes(
        height,
        stride * slots * n,
        place(np.arange(windows.kernel[1]) * dilation) * n,
        windows.output[1] * n,
        windows.stride[0],
        windows.dilation[0],
        top,
        stride,
        place(left + np.arange(windows.size[1])),
    )


def empty_plane(planes: Planes, dtype: np.dtype[np.floating], border: float) -> Array:
    """Return a plane (height, length) that is all border."""
    plane = empty((planes.height, planes.length), dtype)
    plane.fill(border)
    return plane


def write_image(image: Array, n: int, planes: Planes, plane: Array) -> None:
    """Copy a channel (h, w n) into its plane; the border stays."""
    places, stride, w = planes.places, planes.stride, planes.places.size
    for r in range(image.shape[0]):
        source, target = image[r], plane[planes.top + r]
        if stride == 1:
            target[places[0] * n : (places[0] + w) * n] = source
        elif n == 1:
            for first in range(min(stride, w)):  # a class is every second number, say
                of_class, slots = source[first:], target[places[first] :]
                for k in range((w - first + stride - 1) // stride):
                    slots[k] = of_class[stride * k]
        else:
            pixels, slots_2d = source.reshape(w, n), target.reshape(target.size // n, n)
            for s in range(w):
                place = places[s]
                for t in range(n):
                    slots_2d[place, t] = pixels[s, t]


def read_image(plane: Array, n: int, planes: Planes, image: Array) -> None:
    """Copy a channel (h, w n) out of its plane: the transpose of `write_image`."""
    places, stride, w = planes.places, planes.stride, planes.places.size
    for r in range(image.shape[0]):
        source, target = plane[planes.top + r], image[r]
        if stride == 1:
            target[:] = source[places[0] * n : (places[0] + w) * n]
        elif n == 1:
            for first in range(min(stride, w)):
                slots, of_class = source[places[first] :], target[first:]
                for k in range((w - first + stride - 1) // stride):
                    of_class[stride * k] = slots[k]
        else:
            slots_2d, pixels = source.reshape(source.size // n, n), target.reshape(w, n)
            for s in range(w):
                place = places[s]
                for t in range(n):
                    pixels[s, t] = slots_2d[place, t]


write_image_jit = compiled(write_image)
read_image_jit = compiled(read_image)
