"""The record of an operation, and the table of these records."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.registry.draw import Case, Draw, Example
from numpy_shufflenet.registry.formula import Cost, Formula, Settings, Shapes

IMPLEMENTATIONS = ("ops", "steps", "kernels")
"""The packages that implement operations: in NumPy, as plain loops, compiled by Numba."""

OPERATIONS: dict[str, "Operation"] = {}
"""Every operation by name."""


@dataclass(frozen=True)
class Operation:
    """The facts about one operation."""

    name: str  #: NAME_forward and NAME_backward are its functions in every implementation.
    kind: str  #: The family under which its cost is reported: "convolution", "pooling", ...
    #: The array arguments in the order of the signature. A name that starts with * stands
    #: for any number of arrays.
    arrays: tuple[str, ...]
    hyperparameters: tuple[str, ...]  #: The other arguments, in the order of the signature.
    required: frozenset[str]  #: The arguments without a default.
    differentiable: tuple[str, ...]  #: The arrays whose gradients backward returns, in this order.
    #: The arrays in each of which y is linear while the others are fixed, if there is no bias.
    linear_in: tuple[str, ...]
    #: Takes a `Draw`, and returns the arrays and the hyperparameters of one case.
    cases: Callable[[Draw], Case]
    formula: Formula  #: The cost of the operation.
    kernel: bool  #: Whether `kernels` implements the operation; if not, `ops` is fast enough.

    @property
    def implementations(self) -> tuple[str, ...]:
        """The implementations that have this operation."""
        return IMPLEMENTATIONS if self.kernel else IMPLEMENTATIONS[:2]

    def forward(self, implementation: str = "ops") -> Callable[..., Any]:
        """Return NAME_forward of an implementation, one of IMPLEMENTATIONS."""
        return self._function(implementation, "forward")

    def backward(self, implementation: str = "ops") -> Callable[..., Any]:
        """Return NAME_backward of an implementation, one of IMPLEMENTATIONS."""
        return self._function(implementation, "backward")

    def named(self, arrays: Sequence[Any]) -> dict[str, Any]:
        """Return the arrays by name; repeated ones are numbered: arrays[0], arrays[1], ..."""
        first = self.arrays[0]
        if first.startswith("*"):
            return {f"{first[1:]}[{i}]": array for i, array in enumerate(arrays)}
        return dict(zip(self.arrays, arrays, strict=False))

    def draw(self, draw: Draw) -> Example:
        """Return a case whose choices are made by `draw`."""
        return Example(*self.cases(draw))

    def example(self, seed: int = 0, dtype: Any = np.float64) -> Example:
        """Return a small case that shows the operation at work: the same one for the same seed."""
        return self.draw(Draw(seed, dtype))

    def cost(self, shapes: Shapes, settings: Settings, *, itemsize: int = 4) -> Cost:
        """Return the cost of the operation on arrays of these shapes; see `Formula.evaluate`."""
        return self.formula.evaluate(shapes, settings, itemsize=itemsize)

    def _function(self, implementation: str, direction: str) -> Callable[..., Any]:
        if implementation not in self.implementations:
            raise ValueError(
                f"implementation={implementation!r} is not one of {', '.join(self.implementations)}"
            )
        package = importlib.import_module(f"numpy_shufflenet.{implementation}")
        return getattr(package, f"{self.name}_{direction}")


def register(
    forward: Callable[..., Any],
    *,
    kind: str,
    cases: Callable[[Draw], Case],
    formula: Formula,
    differentiable: tuple[str, ...] | None = None,
    linear_in: tuple[str, ...] = (),
    kernel: bool = False,
) -> None:
    """Put an operation into the table; called once in its file in `ops`.

    The names come from the signature of `forward`: parameters annotated as arrays are arrays, the
    others are hyperparameters. Without `differentiable`, all arrays are differentiable.
    """
    arrays: list[str] = []
    hyperparameters: list[str] = []
    required = set()
    for parameter in inspect.signature(forward).parameters.values():
        repeats = parameter.kind is inspect.Parameter.VAR_POSITIONAL
        name = f"*{parameter.name}" if repeats else parameter.name
        is_array = parameter.annotation in (Array, Array | None)
        (arrays if is_array else hyperparameters).append(name)
        if parameter.default is inspect.Parameter.empty:
            required.add(name)
    name = forward.__name__.removesuffix("_forward")
    OPERATIONS[name] = Operation(
        name,
        kind,
        tuple(arrays),
        tuple(hyperparameters),
        frozenset(required),
        tuple(arrays) if differentiable is None else differentiable,
        linear_in,
        cases,
        formula,
        kernel,
    )
