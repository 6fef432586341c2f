"""The cost of an operation as a formula, a text that is both shown and evaluated.

A formula is arithmetic on letters that stand for dimensions. These are the usual ones:

    n c h w    the input         g        groups
    o          output channels   b        1 with a bias, 0 without
    oh ow      the output        s        bytes of a number
    kh kw      the kernel        size     numbers in the input

`Formula.letters` computes the letters from shapes and hyperparameters. A formula counts what the
loop implementation (`steps`) does, entry by entry; `cost.counting` runs `steps` and gets the same
counts.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
Settings: TypeAlias = Mapping[str, Any]
Letters: TypeAlias = Callable[[Shapes, Settings], dict[str, int]]
Terms: TypeAlias = dict[str, str]
"""One direction: an arithmetic expression for each field of `Counts` that isn't 0."""

PARAMETERS = ("w", "b", "w1", "b1", "w2", "b2", "gamma", "beta")
"""Names of learned arrays, in every operation."""

IMAGE = "n*c*h*w"


@dataclass(frozen=True)
class Counts:
    """What one run of an operation, a layer or a network does. Counts add with +."""

    #: Products with a weight, and products in the sums of a weight gradient. The papers call
    #: them FLOPs. Products with padding count, as in every published count.
    multiply_adds: int = 0
    #: All products, including those in multiply-adds. A division counts as one.
    multiplications: int = 0
    additions: int = 0  #: All additions and subtractions, including those in multiply-adds.
    comparisons: int = 0
    functions: int = 0  #: Square roots, exponentials and logarithms.
    #: Distinct elements of arrays. Padding is not read, since it isn't stored in memory.
    read: int = 0
    written: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def memory_access(self) -> int:
        """Elements read and written: the memory access cost (MAC) of ShuffleNet V2, section 2."""
        return self.read + self.written

    @property
    def arithmetic(self) -> int:
        """Every multiplication, addition, comparison and function, each counted as one."""
        return self.multiplications + self.additions + self.comparisons + self.functions


@dataclass(frozen=True)
class Cost:
    """Forward and backward of one operation."""

    forward: Counts
    backward: Counts
    parameters: int  #: Learned numbers.
    kept_bytes: int  #: Bytes in the cache of `ops` for the backward, without parameters.


@dataclass(frozen=True)
class Formula:
    """The cost of one operation."""

    #: From the shapes of the arrays and the hyperparameters, both by name, to the letters.
    letters: Letters
    forward: Terms
    backward: Terms
    kept: str = "0"  #: Bytes in the cache of the NumPy implementation, without parameters.

    def __str__(self) -> str:
        lines = []
        for direction in ("forward", "backward"):
            terms: Terms = getattr(self, direction)
            lines += [
                f"{direction:8}  {field.name.replace('_', '-'):15}  {terms[field.name]}"
                for field in fields(Counts)
                if field.name in terms
            ]
        lines.append(f"{'kept':8}  {'bytes':15}  {self.kept}")
        return "\n".join(lines)

    def evaluate(self, shapes: Shapes, hyperparameters: Settings, *, itemsize: int = 4) -> Cost:
        """Return the cost for these shapes; a bias that is None is left out of them.

        itemsize is the bytes of a number: 4 in float32.
        """
        values = self.letters(shapes, hyperparameters)
        forward, backward = (
            Counts(**{name: value_of(text, values) for name, text in terms.items()})
            for terms in (self.forward, self.backward)
        )
        return Cost(
            forward,
            backward,
            sum(math.prod(shapes[name]) for name in shapes if name in PARAMETERS),
            value_of(self.kept, {**values, "s": itemsize}),
        )


def value_of(text: str, values: Mapping[str, int]) -> int:
    """Return the value of a formula's text: whole numbers and + - * // only."""
    return int(eval(text, {"__builtins__": {}}, dict(values)))


# Letters


def of_image(shapes: Shapes, hyperparameters: Settings) -> dict[str, int]:
    """Return n, c, h, w of x, and m = n h w, the numbers in a channel."""
    n, c, h, w = shapes["x"]
    return {"n": n, "c": c, "h": h, "w": w, "m": n * h * w}


def of_first(shapes: Shapes, hyperparameters: Settings) -> dict[str, int]:
    """Return the size of the first array, which may have any shape."""
    return {"size": math.prod(next(iter(shapes.values())))}


def of_all(shapes: Shapes, hyperparameters: Settings) -> dict[str, int]:
    """Return the size of all arrays together."""
    return {"size": sum(map(math.prod, shapes.values()))}


# Formulas of families of operations


def movement(letters: Letters) -> Formula:
    """Return the formula of an operation that moves each number once and does no arithmetic."""
    terms = Terms(read="size", written="size")
    return Formula(letters, terms, terms)


def entrywise(forward: Terms, backward: Terms, *, kept: str = "s * size") -> Formula:
    """Return the formula of an operation on each entry of x, from the terms of one entry."""

    def times_size(terms: Terms) -> Terms:
        return {name: f"{text}*size".removeprefix("1*") for name, text in terms.items()}

    return Formula(of_first, times_size(forward), times_size(backward), kept)


def followed_by_relu(formula: Formula, size: str) -> Formula:
    """Return the formula of an operation whose `size` outputs go through a ReLU at once.

    Its backward reads each output again, to see whether the ReLU let the gradient through.
    """
    return Formula(
        formula.letters,
        {**formula.forward, "comparisons": size},
        {**formula.backward, "comparisons": size, "read": f"{formula.backward['read']} + {size}"},
        f"{formula.kept} + s * {size}" if formula.kept != "0" else f"s * {size}",
    )
