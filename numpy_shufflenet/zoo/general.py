"""Mistakes that are possible in every exercise, beside those of the catalogue.

A change is a sentence, and a function that makes the mistake. `before` yields changes of arguments:
with them the right function computes what a student computes who uses wrong arguments. `after`
yields changes of a right result. A change is common if it often comes together with a second one.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo.sizes import axes_of, sizes_of

Case = tuple[dict[str, Any], dict[str, Any]]  # arrays and settings, by name
Results = tuple[Any, ...]
ReLU = functools.partial(np.maximum, 0)


class Before(NamedTuple):
    """A change of an argument of a case."""

    hint: str
    argument: str
    apply: Callable[[Case], Case]
    common: bool = False


class After(NamedTuple):
    """A change of a right result; `apply` takes the case, all right results, and an index."""

    hint: str
    apply: Callable[[Case, Results, int], Any]
    common: bool = False


# What an argument and a result have in common


def _only(a: Array, *, axis: int, index: int) -> Array:
    kept = np.zeros_like(a)
    where = (slice(None),) * axis + (index,)
    kept[where] = a[where]
    return kept


def _without(a: Array, *, axis: int, index: int) -> Array:
    return a - _only(a, axis=axis, index=index)


def _everywhere(a: Array, *, axis: int, index: int) -> Array:
    return np.repeat(a.take([index], axis), a.shape[axis], axis)


def _moves(name: str, ndim: int) -> Iterator[tuple[str, str, Callable[[Array], Array]]]:
    """Yield changes of an array: words for an argument, words for a result, and the function."""
    axes = axes_of(name, ndim)
    for axis, word in enumerate(axes):
        for end, index in (("first", 0), ("last", -1)):
            one = f"the {end} {word} of {name}"
            for function, used, made in (
                (_only, f"you use only {one}", f"only {one} is right; the others are 0"),
                (_without, f"you leave out {one}", f"{one} is 0, and the others are right"),
                (
                    _everywhere,
                    f"you use {one} in place of all others",
                    f"every {word} of {name} is what the {end} should be",
                ),
            ):
                yield used, made, functools.partial(function, axis=axis, index=index)
        said = f"the {word}s of {name} are in reverse order"
        yield said, said, functools.partial(np.flip, axis=axis)
        for shift in (1, -1):
            said = f"the {word}s of {name} are shifted by {shift}"
            yield said, said, functools.partial(np.roll, shift=shift, axis=axis)
    for a, b in itertools.combinations(range(ndim), 2):
        said = f"the axes of {name} for {axes[a]}s and {axes[b]}s are swapped"
        yield said, said, functools.partial(np.swapaxes, axis1=a, axis2=b)
    if ndim == 4:
        said = f"{name} is turned by 180 degrees"
        yield said, said, functools.partial(np.flip, axis=(2, 3))
    if ndim > 1:
        said = f"negative entries of {name} are 0, as after a ReLU"
        yield said, said, ReLU
    yield f"you use the absolute value of {name}", f"{name} has lost its signs", np.abs


# Arguments


def before(case: Case, neutral: dict[str, Any]) -> Iterator[Before]:
    """Yield changes of the arguments of a case; `neutral` has the defaults of settings."""
    arrays, settings = case
    for name, array in arrays.items():
        if array is None or isinstance(array, tuple) or np.asarray(array).dtype.kind != "f":
            continue
        said = f"this is the result for {name} = 1 everywhere: does your code use {name}?"
        if name == "dy":
            said = "dy is missing: multiply by it, because it need not be 1"
        change = functools.partial(_changed_array, name)
        yield Before(said, name, functools.partial(change, np.ones_like), True)
        if np.ndim(array) == 1:
            said = f"this is the result for {name} = 0: does your code use {name}?"
            yield Before(said, name, functools.partial(change, np.zeros_like), True)
            said = f"you use {name} with the wrong sign"
            yield Before(said, name, functools.partial(change, np.negative), True)
        if np.ndim(array):
            for used, _, function in _moves(name, np.ndim(array)):
                yield Before(used, name, functools.partial(change, function))
    for name, value in settings.items():
        if not callable(value) and not isinstance(value, dict):
            for said, other in _values(name, value, settings, neutral):
                yield Before(said, name, functools.partial(_changed_setting, name, other), True)


def _changed_array(name: str, function: Callable[[Array], Any], case: Case) -> Case:
    arrays, settings = case
    value = arrays[name]  # a bias may be None
    changed = value if value is None else np.array(function(np.asarray(value)))
    return {**arrays, name: changed}, settings


def _changed_setting(name: str, other: Callable[[dict[str, Any]], Any], case: Case) -> Case:
    return case[0], {**case[1], name: other(case[1])}


Value = Callable[[dict[str, Any]], Any]  # takes all settings


def _values(
    name: str, value: Any, settings: dict[str, Any], neutral: dict[str, Any]
) -> Iterator[tuple[str, Value]]:
    """Yield other values of a setting."""
    if isinstance(value, bool):
        yield f"this is the result for {name}=True", lambda _: True
        yield f"this is the result for {name}=False", lambda _: False
        return
    if name in neutral:
        default = neutral[name]
        said = f"this is the result for {name}={default}: does your code use {name}?"
        yield said, lambda _: default
    if isinstance(value, float):
        yield f"this is the result for {name}=0: does your code use {name}?", lambda _: 0.0
        return
    for other, known in settings.items():
        if other != name and not isinstance(known, bool):
            yield f"you use {other} in place of {name}", lambda s, o=other: s[o]  # type: ignore[misc]
    yield f"this is the result for {name}=1, whatever {name} is", lambda _: 1
    yield f"this is the result for {name} + 1", lambda s: s[name] + 1
    yield f"this is the result for {name} - 1", lambda s: s[name] - 1
    yield f"this is the result for twice the {name}", lambda s: 2 * s[name]
    if name in ("stride", "padding", "dilation", "scale"):
        still = neutral.get(name, 1)
        yield f"you use {name} for rows only", lambda s: (s[name], still)
        yield f"you use {name} for columns only", lambda s: (still, s[name])
    if name == "padding":
        for where, top, bottom in (
            ("you pad at the top and at the left only", 1, 0),
            ("you pad at the bottom and at the right only", 0, 1),
            ("you put all of the padding at the top and at the left", 2, 0),
            ("you put all of the padding at the bottom and at the right", 0, 2),
        ):

            def sides(s: dict[str, Any], top: int = top, bottom: int = bottom) -> Any:
                return ((top * s[name], bottom * s[name]),) * 2

            yield where, sides


# Results


def after(case: Case, names: tuple[str, ...], results: Results, index: int) -> Iterator[After]:
    """Yield changes of one right result."""
    name, shape = names[index], np.shape(results[index])
    function: Callable[[Array], Any]
    for said, function in (
        (f"the sign of {name} is wrong", np.negative),
        (f"every entry of {name} is twice what it should be", functools.partial(np.multiply, 2)),
        (f"every entry of {name} is half what it should be", functools.partial(np.multiply, 0.5)),
        (f"your {name} is squared", np.square),
    ):
        yield After(said, functools.partial(_changed_result, function), function is not np.square)
    for words in sizes_of(case):
        said = f"{name} is too large by a factor, {words}: divide by it"
        yield After(said, functools.partial(_scaled, words, 1), True)
        said = f"{name} is too small by a factor, {words}: don't divide by it"
        yield After(said, functools.partial(_scaled, words, -1), True)
    for other, array in case[0].items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            continue
        same = array.shape == shape
        if same or array.ndim == 1:
            said = f"{name} is multiplied by {other}"
            yield After(said, functools.partial(_combined, np.multiply, other), True)
            said = f"{name} is divided by {other}"
            yield After(said, functools.partial(_combined, np.divide, other))
        if same:
            said = f"{other} is added to {name}"
            yield After(said, functools.partial(_combined, np.add, other))
            yield After(f"your {name} is {other} as it is", lambda c, _r, _i, o=other: c[0][o])  # type: ignore[misc]
    if len(shape) == 1 and "dy" in case[0]:
        for count in range(np.ndim(case[0]["dy"]) + 1):
            for axes in itertools.combinations(range(np.ndim(case[0]["dy"])), count):
                for how, done in ((np.sum, "sum"), (np.mean, "mean")):
                    said = f"{name} is the {done} of dy over the axes {axes}"
                    yield After(said, functools.partial(_of_dy, how, axes))
    if shape:
        for _, said, function in _moves(name, len(shape)):
            yield After(said, functools.partial(_changed_result, function))
        for said, function in _reshaped(name, len(shape)):
            yield After(said, functools.partial(_changed_result, function))


def _changed_result(
    function: Callable[[Array], Any], _case: Case, results: Results, index: int
) -> Any:
    return function(np.asarray(results[index], float))


def _of_dy(
    how: Callable[..., Any], axes: tuple[int, ...], case: Case, _results: Results, _index: int
) -> Any:
    return how(case[0]["dy"], axis=axes)


def _scaled(words: str, power: int, case: Case, results: Results, index: int) -> Any:
    return results[index] * float(sizes_of(case)[words]) ** power


def _combined(
    function: Callable[[Any, Any], Any], name: str, case: Case, results: Results, index: int
) -> Any:
    value = case[0][name]
    wide = value.ndim == 1 and np.ndim(results[index]) == 4
    return function(results[index], value[:, None, None] if wide else value)


def _transposed(a: Array, *, order: tuple[int, ...], reshape: bool) -> Array:
    moved = a.transpose(order)
    return moved.reshape(a.shape) if reshape else moved


def _reduced(a: Array, *, how: Callable[..., Any], axis: tuple[int, ...], back: bool) -> Any:
    found = how(a, axis=axis, keepdims=back)
    return np.broadcast_to(found, a.shape) if back else found


def _cut(a: Array, *, axes: tuple[int, ...], part: slice) -> Array:
    return a[tuple(part if axis in axes else slice(None) for axis in range(a.ndim))]


def _reshaped(name: str, ndim: int) -> Iterator[tuple[str, Callable[[Array], Any]]]:
    """Yield changes of the order of axes and of the shape."""
    axes = axes_of(name, ndim)
    for order in itertools.permutations(range(ndim)):
        if order != tuple(range(ndim)):
            words = ", ".join(f"{axes[axis]}s" for axis in order)
            said = f"the axes of {name} are in the order ({words}); transpose them"
            yield said, functools.partial(_transposed, order=order, reshape=False)
            said = (
                f"the entries of {name} are in the wrong order, as if you reshape an array whose "
                f"axes are ({words}): transpose it first"
            )
            yield said, functools.partial(_transposed, order=order, reshape=True)
    for count in range(1, ndim + 1):
        for some in itertools.combinations(range(ndim), count):
            words = " and ".join(f"{axes[axis]}s" for axis in some)
            for how, done in ((np.sum, "summed up"), (np.mean, "averaged")):
                said = f"{name} is {done} over its {words}"
                yield said, functools.partial(_reduced, how=how, axis=some, back=False)
                said += ", and all of them get this number"
                yield said, functools.partial(_reduced, how=how, axis=some, back=True)
    for some in [*((axis,) for axis in range(ndim)), *([(2, 3)] if ndim == 4 else [])]:
        words = " and ".join(axes[axis] for axis in some)
        for end, part in (("last", slice(None, -1)), ("first", slice(1, None))):
            said = f"the {end} {words} of {name} is missing"
            yield said, functools.partial(_cut, axes=some, part=part)
