"""Changes that a student may make to an argument or to a result: one row only, axes swapped, ..."""

import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.locale import _
from numpy_shufflenet.zoo.sizes import axes_of, plural_axes_of

ReLU = functools.partial(np.maximum, 0)


def _only(a: Array, *, axis: int, index: int) -> Array:
    kept = np.zeros_like(a)
    where = (slice(None),) * axis + (index,)
    kept[where] = a[where]
    return kept


def _without(a: Array, *, axis: int, index: int) -> Array:
    return a - _only(a, axis=axis, index=index)


def _everywhere(a: Array, *, axis: int, index: int) -> Array:
    return np.repeat(a.take([index], axis), a.shape[axis], axis)


def moves(name: str, ndim: int) -> Iterator[tuple[str, str, Callable[[Array], Array]]]:
    """Yield changes of an array: the hint for an argument, that for a result, and the function."""
    several = plural_axes_of(name, ndim)
    for axis, (word, words) in enumerate(zip(axes_of(name, ndim), several, strict=True)):
        for one, end, index in (
            (_("the first {word} of {name}"), _("the first"), 0),
            (_("the last {word} of {name}"), _("the last"), -1),
        ):
            parts = {"one": one.format(word=word, name=name), "word": word, "end": end}
            for function, used, made in (
                (_only, _("you use only {one}"), _("only {one} is right; the others are 0")),
                (_without, _("you leave out {one}"), _("{one} is 0, and the others are right")),
                (
                    _everywhere,
                    _("you use {one} in place of all others"),
                    _("every {word} of {name} is what {end} should be"),
                ),
            ):
                change = functools.partial(function, axis=axis, index=index)
                yield used.format(name=name, **parts), made.format(name=name, **parts), change
        said = _("the {words} of {name} are in reverse order").format(words=words, name=name)
        yield said, said, functools.partial(np.flip, axis=axis)
        for shift in (1, -1):
            said = _("the {words} of {name} are shifted by {shift}")
            said = said.format(words=words, name=name, shift=shift)
            yield said, said, functools.partial(np.roll, shift=shift, axis=axis)
    for a, b in itertools.combinations(range(ndim), 2):
        said = _("the axes of {name} for {some} and {others} are swapped")
        said = said.format(name=name, some=several[a], others=several[b])
        yield said, said, functools.partial(np.swapaxes, axis1=a, axis2=b)
    if ndim == 4:
        said = _("{name} is turned by 180 degrees").format(name=name)
        yield said, said, functools.partial(np.flip, axis=(2, 3))
    if ndim > 1:
        said = _("negative entries of {name} are 0, as after a ReLU").format(name=name)
        yield said, said, ReLU
    used, made = _("you use the absolute value of {name}"), _("{name} has lost its signs")
    yield used.format(name=name), made.format(name=name), np.abs
