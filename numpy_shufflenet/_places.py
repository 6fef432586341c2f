"""Parts of an image that are computed where concatenation would else copy them to.

Whoever knows that an output will be concatenated says where its channels go: in a block of
`placed`, a kernel that asks `take` for memory gets rows of the whole image. Concatenation asks
`whole` for its image, and is told which parts don't lie there yet, to be copied. The others are
views of it from then on, as the parts of a split are of what was split.

No row is given away twice: it belongs to the part that was computed there, or to the concatenation,
which takes all that are left. So nothing that somebody holds is ever overwritten, whatever is done
with it and in which order. A thread knows the image that it began last, and only as long as one of
its parts is alive; where anything doesn't fit, parts get memory of their own, and are copied.
"""

import threading
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._typing import Array

Part = tuple[Array, int, Array]  # rows, a step, places: row k step is to be row places[k]


class Place(NamedTuple):
    """Every step-th channel, from `first` on, of an image of so many channels."""

    channels: int
    first: int
    step: int = 1


class _Here(threading.local):
    """What a thread knows."""

    place: Place | None = None  # of the next output
    image: Any = None  # a weak reference to the image begun last (channels, m)
    free: Array  # channels: which of its rows belong to nobody


_here = _Here()


class placed:  # noqa: N801 - it reads as a verb
    """In a block and this thread, the next output lies there, if its kernel can do so."""

    def __init__(self, place: Place | None):
        self.place = place

    def __enter__(self) -> None:
        _here.place = self.place

    def __exit__(self, *exception: object) -> None:
        _here.place = None


def take(c: int, m: int, dtype: np.dtype[Any], *, spaced: bool) -> tuple[Array, int] | None:
    """Return rows (r, m) and a step, if a place was said: every step-th is one of c to be written.

    Unless `spaced`, the step is 1.
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


def whole(shape: tuple[int, int], parts: Sequence[Part]) -> tuple[Array, Sequence[Part]]:
    """Return rows for all parts, and the parts that are not there yet: they must be copied."""
    dtype = parts[0][0].dtype
    image = _begun(shape, dtype)
    if image is not None:
        missing = [part for part in parts if not _is_in(image, *part)]
        if all(_here.free[places].all() for _, _, places in missing):
            _here.image = None
            return image, missing
    return empty(shape, dtype), parts


def _begun(shape: tuple[int, int], dtype: np.dtype[Any]) -> Array | None:
    """Return the image begun last, if it is still alive, and such a one."""
    image: Array | None = _here.image and _here.image()
    fits = image is not None and image.shape == shape and image.dtype == dtype
    return image if fits else None


def _is_in(image: Array, rows: Array, step: int, places: Array) -> bool:
    """Whether row k step is row places[k] of the image: while this lives, addresses are its own."""
    start, end = (a.__array_interface__["data"][0] for a in (image, rows))
    first, rest = divmod(end - start, image.strides[0])
    return rest == 0 and bool((places == first + step * np.arange(len(places))).all())
