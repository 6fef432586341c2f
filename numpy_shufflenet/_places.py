"""Reserved outputs: layers write into the concatenated image, so concatenation has less to copy.

A part is an array that will be concatenated. A row is a channel of all pixels of the batch, m
numbers. A place is the channels of the whole image that are reserved for a part.

A caller that expects a concatenation reserves channels for an output with `with placed(place):`.
In that block a kernel calls `take_reserved` for its output, and gets rows of the whole image.
Concatenation calls `assembled`, which returns the image and the parts that aren't in the image yet.
Concatenation copies these parts. The other parts already are views of the image.

Each row is handed out once: to the part that is written there, or else to the concatenation. So an
array that a caller holds is never overwritten. Each thread remembers the image that it began last,
as long as a part of this image is alive. If a part doesn't fit, it gets separate memory and is
copied.
"""

import threading
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._typing import Array

Part = tuple[Array, int, Array]  # rows, step, places: rows[k * step] is for image[places[k]]


class Place(NamedTuple):
    """Every step-th channel, from `first` on, of an image with `channels` channels."""

    channels: int
    first: int
    step: int = 1


class _Here(threading.local):
    """The state of one thread."""

    place: Place | None = None  # reserved for the next output
    image: Any = None  # a weak reference to the image that was begun last (channels, m)
    free: Array  # (channels,): whether a row of the image is not handed out yet


_here = _Here()


class placed:  # noqa: N801 - it reads as a verb
    """In a `with` block, this thread's next output goes to `place` if the kernel supports it."""

    def __init__(self, place: Place | None):
        self.place = place

    def __enter__(self) -> None:
        _here.place = self.place

    def __exit__(self, *exception: object) -> None:
        _here.place = None


def take_reserved(
    c: int, m: int, dtype: np.dtype[Any], *, spaced: bool
) -> tuple[Array, int] | None:
    """Return rows (r, m) of the reserved place and the step between its c rows, or None.

    `spaced` says whether the kernel can write rows with a step larger than 1.
    """
    place, _here.place = _here.place, None
    if place is None or m == 0 or (place.step > 1 and not spaced):
        return None
    end = place.first + (c - 1) * place.step + 1
    if not 0 < end <= place.channels:
        return None
    own = slice(place.first, end, place.step)
    image = _begun((place.channels, m), dtype)
    if image is None or not _here.free[own].all():
        image = empty((place.channels, m), dtype)
        _here.image, _here.free = weakref.ref(image), np.ones(place.channels, bool)
    _here.free[own] = False
    return image[place.first : end], place.step


def assembled(shape: tuple[int, int], parts: Sequence[Part]) -> tuple[Array, Sequence[Part]]:
    """Return the rows of the whole image, and the parts that still have to be copied into it."""
    dtype = parts[0][0].dtype
    image = _begun(shape, dtype)
    if image is not None:
        missing = [part for part in parts if not _is_in(image, *part)]
        if all(_here.free[places].all() for _, _, places in missing):
            _here.image = None
            return image, missing
    return empty(shape, dtype), parts


def _begun(shape: tuple[int, int], dtype: np.dtype[Any]) -> Array | None:
    """Return the image that was begun last, if it is alive and has this shape and dtype."""
    image: Array | None = _here.image and _here.image()
    fits = image is not None and image.shape == shape and image.dtype == dtype
    return image if fits else None


def _is_in(image: Array, rows: Array, step: int, places: Array) -> bool:
    """Whether rows[k * step] is image[places[k]]; the image is alive, so addresses are unique."""
    start, end = (a.__array_interface__["data"][0] for a in (image, rows))
    first, rest = divmod(end - start, image.strides[0])
    return rest == 0 and bool((places == first + step * np.arange(len(places))).all())
