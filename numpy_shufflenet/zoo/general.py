"""Mistakes that are possible in every exercise, in addition to those of the catalogue.

A change is a hint for the student, and a function that makes the mistake. `before` yields changes
of arguments, because a student may use a wrong argument in a right formula. `after` yields changes
of a right result. A change is marked as common if students often make it together with another.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.locale import _
from numpy_shufflenet.zoo.moves import moves
from numpy_shufflenet.zoo.sizes import axes_of, plural_axes_of, sizes_of

Case = tuple[dict[str, Any], dict[str, Any]]  # arrays and settings, by name
Results = tuple[Any, ...]


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


# Arguments


def before(case: Case, neutral: dict[str, Any]) -> Iterator[Before]:
    """Yield changes of the arguments of a case; `neutral` has the defaults of settings."""
    arrays, settings = case
    for name, array in arrays.items():
        if array is None or isinstance(array, tuple) or np.asarray(array).dtype.kind != "f":
            continue
        said = _("this is the result for {name} = 1 everywhere: does your code use {name}?")
        if name == "dy":
            said = _("dy is missing: multiply by it, because it need not be 1")
        said = said.format(name=name)
        change = functools.partial(_changed_array, name)
        yield Before(said, name, functools.partial(change, np.ones_like), True)
        if np.ndim(array) == 1:
            said = _("this is the result for {name} = 0: does your code use {name}?")
            said = said.format(name=name)
            yield Before(said, name, functools.partial(change, np.zeros_like), True)
            said = _("you use {name} with the wrong sign").format(name=name)
            yield Before(said, name, functools.partial(change, np.negative), True)
        if np.ndim(array):
            for used, _made, function in moves(name, np.ndim(array)):
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
    unused = _("this is the result for {name}={value}: does your code use {name}?")
    if isinstance(value, bool):
        for either in (True, False):
            said = _("this is the result for {name}={value}").format(name=name, value=either)
            yield said, functools.partial(_always, either)
        return
    if name in neutral:
        yield (
            unused.format(name=name, value=neutral[name]),
            functools.partial(_always, neutral[name]),
        )
    if isinstance(value, float):
        yield unused.format(name=name, value=0), functools.partial(_always, 0.0)
        return
    for other, known in settings.items():
        if other != name and not isinstance(known, bool):
            said = _("you use {other} in place of {name}").format(other=other, name=name)
            yield said, lambda s, o=other: s[o]  # type: ignore[misc]
    functions: tuple[tuple[str, Value], ...] = (
        (_("this is the result for {name}=1, whatever {name} is"), lambda s: 1),
        (_("this is the result for {name} + 1"), lambda s: s[name] + 1),
        (_("this is the result for {name} - 1"), lambda s: s[name] - 1),
        (_("this is the result for twice the {name}"), lambda s: 2 * s[name]),
    )
    for said, function in functions:
        yield said.format(name=name), function
    if name in ("stride", "padding", "dilation", "scale"):
        still = neutral.get(name, 1)
        said = _("you use {name} for rows only").format(name=name)
        yield said, lambda s: (s[name], still)
        said = _("you use {name} for columns only").format(name=name)
        yield said, lambda s: (still, s[name])
    if name == "padding":
        for where, top, bottom in (
            (_("you pad at the top and at the left only"), 1, 0),
            (_("you pad at the bottom and at the right only"), 0, 1),
            (_("you put all of the padding at the top and at the left"), 2, 0),
            (_("you put all of the padding at the bottom and at the right"), 0, 2),
        ):

            def sides(s: dict[str, Any], top: int = top, bottom: int = bottom) -> Any:
                return ((top * s[name], bottom * s[name]),) * 2

            yield where, sides


def _always(value: Any, _settings: dict[str, Any]) -> Any:
    return value


# Results


def after(case: Case, names: tuple[str, ...], results: Results, index: int) -> Iterator[After]:
    """Yield changes of one right result."""
    name, shape = names[index], np.shape(results[index])
    function: Callable[[Array], Any]
    for said, function in (
        (_("the sign of {name} is wrong"), np.negative),
        (_("every entry of {name} is twice what it should be"), functools.partial(np.multiply, 2)),
        (_("every entry of {name} is half what it should be"), functools.partial(np.multiply, 0.5)),
        (_("your {name} is squared"), np.square),
    ):
        change = functools.partial(_changed_result, function)
        yield After(said.format(name=name), change, function is not np.square)
    for words in sizes_of(case):
        for said, power in (
            (_("{name} is too large by a factor, {size}: divide by it"), 1),
            (_("{name} is too small by a factor, {size}: don't divide by it"), -1),
        ):
            said = said.format(name=name, size=words)
            yield After(said, functools.partial(_scaled, words, power), True)
    for other, array in case[0].items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            continue
        same = array.shape == shape
        if same or array.ndim == 1:
            said = _("{name} is multiplied by {other}").format(name=name, other=other)
            yield After(said, functools.partial(_combined, np.multiply, other), True)
            said = _("{name} is divided by {other}").format(name=name, other=other)
            yield After(said, functools.partial(_combined, np.divide, other))
        if same:
            said = _("{other} is added to {name}").format(name=name, other=other)
            yield After(said, functools.partial(_combined, np.add, other))
            said = _("your {name} is {other} as it is").format(name=name, other=other)
            yield After(said, lambda c, _r, _i, o=other: c[0][o])  # type: ignore[misc]
    if len(shape) == 1 and "dy" in case[0]:
        for count in range(np.ndim(case[0]["dy"]) + 1):
            for axes in itertools.combinations(range(np.ndim(case[0]["dy"])), count):
                for how, said in (
                    (np.sum, _("{name} is the sum of dy over the axes {axes}")),
                    (np.mean, _("{name} is the mean of dy over the axes {axes}")),
                ):
                    said = said.format(name=name, axes=axes)
                    yield After(said, functools.partial(_of_dy, how, axes))
    if shape:
        for _used, said, function in moves(name, len(shape)):
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
    axes, several = axes_of(name, ndim), plural_axes_of(name, ndim)
    for order in itertools.permutations(range(ndim)):
        if order != tuple(range(ndim)):
            words = _(", ").join(several[axis] for axis in order)
            said = _("the axes of {name} are in the order ({words}); transpose them")
            said = said.format(name=name, words=words)
            yield said, functools.partial(_transposed, order=order, reshape=False)
            said = _(
                "the entries of {name} are in the wrong order, as if you reshape an array whose "
                "axes are ({words}): transpose it first"
            )
            said = said.format(name=name, words=words)
            yield said, functools.partial(_transposed, order=order, reshape=True)
    for count in range(1, ndim + 1):
        for some in itertools.combinations(range(ndim), count):
            words = _(" and ").join(several[axis] for axis in some)
            for how, back, said in (
                (np.sum, False, _("{name} is summed up over its {words}")),
                (
                    np.sum,
                    True,
                    _("{name} is summed up over its {words}, and all of them get this number"),
                ),
                (np.mean, False, _("{name} is averaged over its {words}")),
                (
                    np.mean,
                    True,
                    _("{name} is averaged over its {words}, and all of them get this number"),
                ),
            ):
                said = said.format(name=name, words=words)
                yield said, functools.partial(_reduced, how=how, axis=some, back=back)
    for some in [*((axis,) for axis in range(ndim)), *([(2, 3)] if ndim == 4 else [])]:
        words = _(" and ").join(axes[axis] for axis in some)
        for said, part in (
            (_("the last {words} of {name} is missing"), slice(None, -1)),
            (_("the first {words} of {name} is missing"), slice(1, None)),
        ):
            said = said.format(words=words, name=name)
            yield said, functools.partial(_cut, axes=some, part=part)
