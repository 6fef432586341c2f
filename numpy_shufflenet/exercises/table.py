"""The exercises: forward and backward of every operation, and some further functions."""

import copy
from typing import Any

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet._typing import Array
from numpy_shufflenet.exercises.draw import DrawForStudents
from numpy_shufflenet.exercises.exercise import Case, Exercise
from numpy_shufflenet.exercises.learning import LEARNING
from numpy_shufflenet.exercises.networks import NETWORKS
from numpy_shufflenet.operations import Operation
from numpy_shufflenet.ops.conv2d import col2im, im2col
from numpy_shufflenet.ops.windows import windows_over

OPERATIONS = {
    name: operation
    for name, operation in operations.OPERATIONS.items()
    if "rng" not in operation.hyperparameters  # a random result can't be compared
}


def find(name: str) -> Exercise:
    """Return the exercise of this name, or raise ValueError that lists all names."""
    if name in EXTRA:
        return EXTRA[name]
    stem, _, direction = name.rpartition("_")
    if stem not in OPERATIONS or direction not in ("forward", "backward"):
        raise ValueError(f"there is no exercise {name!r}; there are {', '.join(names())}")
    return (_forward if direction == "forward" else _backward)(OPERATIONS[stem])


def names() -> list[str]:
    """Return the names of all exercises."""
    return [*EXTRA, *(f"{name}_{way}" for name in OPERATIONS for way in ("forward", "backward"))]


def _case_of(operation: Operation, draw: DrawForStudents) -> Case:
    arrays, hyperparameters = operation.draw(draw)
    return operation.named(arrays), hyperparameters


def _run_forward(operation: Operation, arrays: Any, settings: dict[str, Any]) -> Any:
    """Return y and the cache. A case may hold a random generator, so the settings are copied."""
    return operation.forward()(*arrays, **copy.deepcopy(settings))


def _as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def _forward(operation: Operation) -> Exercise:
    return Exercise(
        f"{operation.name}_forward",
        (*operation.arrays, *operation.hyperparameters),
        operation.required,
        ("*y",) if operation.name == "channel_split" else ("y",),
        lambda case: _as_tuple(_run_forward(operation, case[0].values(), case[1])[0]),
        lambda draw: _case_of(operation, draw),
    )


def _backward(operation: Operation) -> Exercise:
    def build(draw: DrawForStudents) -> Case:
        arrays, settings = _case_of(operation, draw)
        y, _ = _run_forward(operation, arrays.values(), settings)
        dy = tuple(draw(*part.shape) for part in y) if isinstance(y, tuple) else draw(*np.shape(y))
        return {"dy": dy, **arrays}, settings

    def target(case: Case) -> tuple[Any, ...]:
        dy, *others = case[0].values()
        _, cache = _run_forward(operation, others, case[1])
        return _as_tuple(operation.backward()(dy, cache))

    return Exercise(
        f"{operation.name}_backward",
        ("dy", *operation.arrays, *operation.hyperparameters),
        # An answer need not take the other arrays, because not every gradient needs them.
        frozenset({"dy", "labels", *operation.hyperparameters} & {"dy", *operation.required}),
        tuple(f"*d{n[1:]}" if n[0] == "*" else f"d{n}" for n in operation.differentiable),
        target,
        build,
        operation.name,
    )


def _im2col_case(draw: DrawForStudents) -> Case:
    arrays, settings = _case_of(OPERATIONS["conv2d"], draw)
    del settings["groups"]
    return {"x": arrays["x"]}, {"kernel_size": arrays["w"].shape[2:], **settings}


def _columns(x: Array, kernel_size: tuple[int, int], **settings: Any) -> Array:
    """Return the columns in the layout of the lessons: (n, c kh kw, oh ow)."""
    windows = windows_over(x, kernel_size, **settings)
    columns = im2col(x, windows)[0]  # c kh kw, oh ow n
    oh, ow = windows.output
    return columns.reshape(len(columns), oh * ow, len(x)).transpose(2, 0, 1)


def _col2im_case(draw: DrawForStudents) -> Case:
    arrays, settings = _im2col_case(draw)
    columns = _columns(**arrays, **settings)
    return {"columns": draw(*columns.shape)}, {"shape": arrays["x"].shape, **settings}


def _image(columns: Array, shape: Any, kernel_size: tuple[int, int], **settings: Any) -> Array:
    """Return an image of this shape: the columns, added up at their positions."""
    x = np.zeros(shape)
    return col2im(columns.transpose(1, 2, 0), x, windows_over(x, kernel_size, **settings))


WINDOWS = ("kernel_size", "stride", "padding", "dilation")
EXTRA: dict[str, Exercise] = {
    "im2col": Exercise(
        "im2col",
        ("x", *WINDOWS),
        frozenset({"x", "kernel_size"}),
        ("columns",),
        lambda case: (_columns(**case[0], **case[1]),),
        _im2col_case,
    ),
    "col2im": Exercise(
        "col2im",
        ("columns", "shape", *WINDOWS),
        frozenset({"columns", "shape", "kernel_size"}),
        ("x",),
        lambda case: (_image(**case[0], **case[1]),),
        _col2im_case,
    ),
    **LEARNING,
    **NETWORKS,
}
