"""The exercises: every operation forward and backward, and some functions around them."""

import copy
from collections.abc import Collection
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from numpy_shufflenet import operations
from numpy_shufflenet.exercises.cases import Case, case_of, named_cases
from numpy_shufflenet.exercises.exercise import Exercise, strategy
from numpy_shufflenet.exercises.learning import LEARNING
from numpy_shufflenet.ops.conv2d import col2im, im2col
from numpy_shufflenet.ops.windows import windows_over
from numpy_shufflenet.strategies import DrawForStudents

OPERATIONS = {
    name: operation
    for name, operation in operations.OPERATIONS.items()
    if "rng" not in operation.hyperparameters  # no one answer is right
}


def find(name: str) -> Exercise:
    """Return the exercise of this name, or raise ValueError that lists all names."""
    if name in EXTRA:
        return EXTRA[name]
    stem, _, direction = name.rpartition("_")
    if stem not in OPERATIONS or direction not in ("forward", "backward"):
        raise ValueError(f"there is no exercise {name!r}; there are {', '.join(names())}")
    return _forward(stem) if direction == "forward" else _backward(stem)


def names() -> list[str]:
    """Return the names of all exercises."""
    return [*EXTRA, *(f"{name}_{way}" for name in OPERATIONS for way in ("forward", "backward"))]


def _forward(name: str) -> Exercise:
    operation = operations.find(name)

    def target(case: Case) -> tuple[Any, ...]:
        arrays, settings = case
        y, _ = operation.forward()(*arrays.values(), **copy.deepcopy(settings))
        return y if isinstance(y, tuple) else (y,)

    return Exercise(
        f"{name}_forward",
        (*operation.arrays, *operation.hyperparameters),
        operation.required,
        ("*y",) if name == "channel_split" else ("y",),
        target,
        lambda takes: named_cases(name, takes),
    )


def _backward(name: str) -> Exercise:
    operation = operations.find(name)

    def draw(takes: Collection[str] | None) -> SearchStrategy[Case]:
        @st.composite
        def with_dy(draw: DrawFn) -> Case:
            arrays, settings = draw(named_cases(name, takes))
            y, _ = operation.forward()(*arrays.values(), **copy.deepcopy(settings))
            rng = np.random.default_rng(draw(st.integers(0, 999)))

            def values(part: Any) -> Any:
                return rng.integers(1, 10, np.shape(part)) * rng.choice([-1.0, 1.0], np.shape(part))

            dy = tuple(map(values, y)) if isinstance(y, tuple) else values(y)
            return {"dy": dy, **arrays}, settings

        return with_dy()

    def target(case: Case) -> tuple[Any, ...]:
        arrays, settings = case
        dy, *others = arrays.values()
        _, cache = operation.forward()(*others, **copy.deepcopy(settings))
        gradients = operation.backward()(dy, cache)
        return gradients if isinstance(gradients, tuple) else (gradients,)

    return Exercise(
        f"{name}_backward",
        ("dy", *operation.arrays, *operation.hyperparameters),
        # The others may be left out: not every gradient needs them.
        frozenset({"dy", "labels", *operation.hyperparameters} & {"dy", *operation.required}),
        tuple(f"*d{n[1:]}" if n[0] == "*" else f"d{n}" for n in operation.differentiable),
        target,
        draw,
        name,
    )


def _im2col_case(draw: DrawForStudents) -> Case:
    arrays, settings = case_of("conv2d", draw)
    w = arrays["w"]
    settings = {k: v for k, v in settings.items() if k != "groups"}
    return {"x": arrays["x"]}, {"kernel_size": w.shape[2:], **settings}


def _windows_of(x: Any, settings: dict[str, Any]) -> Any:
    others = {key: value for key, value in settings.items() if key != "kernel_size"}
    return windows_over(x, settings["kernel_size"], **others)


def _im2col(case: Case) -> tuple[Any, ...]:
    """Columns as the lessons write them: (n, c kh kw, oh ow)."""
    x = case[0]["x"]
    windows = _windows_of(x, case[1])
    columns = im2col(x, windows)[0]  # c kh kw, oh ow n
    oh, ow = windows.output
    return (columns.reshape(len(columns), oh * ow, len(x)).transpose(2, 0, 1),)


def _col2im_case(draw: DrawForStudents) -> Case:
    arrays, settings = _im2col_case(draw)
    (columns,) = _im2col((arrays, settings))
    return {"columns": draw(*columns.shape)}, {"shape": arrays["x"].shape, **settings}


def _col2im(case: Case) -> tuple[Any, ...]:
    columns, shape = case[0]["columns"], case[1]["shape"]
    x = np.zeros(shape)
    windows = _windows_of(x, {k: v for k, v in case[1].items() if k != "shape"})
    return (col2im(columns.transpose(1, 2, 0), x, windows),)


WINDOWS = ("kernel_size", "stride", "padding", "dilation")
EXTRA: dict[str, Exercise] = {
    "im2col": Exercise(
        "im2col",
        ("x", *WINDOWS),
        frozenset({"x", "kernel_size"}),
        ("columns",),
        _im2col,
        strategy(_im2col_case),
    ),
    "col2im": Exercise(
        "col2im",
        ("columns", "shape", *WINDOWS),
        frozenset({"columns", "shape", "kernel_size"}),
        ("x",),
        _col2im,
        strategy(_col2im_case),
    ),
    **LEARNING,
}
