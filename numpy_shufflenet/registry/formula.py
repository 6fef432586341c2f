"""What an operation costs, as formulas. The text that is shown is the text that is evaluated.

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
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
Settings: TypeAlias = Mapping[str, Any]
Letters: TypeAlias = Callable[[Shapes, Settings], dict[str, int]]

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
class Terms:
    """One direction: an arithmetic expression for each field of `Counts`."""

    multiply_adds: str = "0"
    multiplications: str = "0"
    additions: str = "0"
    comparisons: str = "0"
    functions: str = "0"
    read: str = "0"
    written: str = "0"

    def evaluate(self, values: Mapping[str, int]) -> Counts:
        """Return the counts for these dimensions."""
        return Counts(**{name: value_of(text, values) for name, text in asdict(self).items()})

    def plus(self, **added: str) -> "Terms":
        """Return these terms with others added to them."""
        texts = asdict(self)
        for name, text in added.items():
            texts[name] = text if texts[name] == "0" else f"{texts[name]} + {text}"
        return Terms(**texts)


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
            for name, text in asdict(getattr(self, direction)).items():
                if text != "0":
                    lines.append(f"{direction:8}  {name.replace('_', '-'):15}  {text}")
        lines.append(f"{'kept':8}  {'bytes':15}  {self.kept}")
        return "\n".join(lines)

    def evaluate(self, shapes: Shapes, hyperparameters: Settings, *, itemsize: int = 4) -> Cost:
        """Return the cost for these shapes; a bias that is None is left out of them.

        itemsize is the bytes of a number: 4 in float32.
        """
        values = self.letters(shapes, hyperparameters)
        return Cost(
            self.forward.evaluate(values),
            self.backward.evaluate(values),
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
        texts = {name: text for name, text in asdict(terms).items() if text != "0"}
        return Terms(**{name: f"{text}*size".removeprefix("1*") for name, text in texts.items()})

    return Formula(of_first, times_size(forward), times_size(backward), kept)


def followed_by_relu(formula: Formula, size: str) -> Formula:
    """Return the formula of an operation whose `size` outputs go through a ReLU at once.

    Its backward reads each output again, to see whether the ReLU let the gradient through.
    """
    return Formula(
        formula.letters,
        formula.forward.plus(comparisons=size),
        formula.backward.plus(comparisons=size, read=size),
        f"{formula.kept} + s * {size}" if formula.kept != "0" else f"s * {size}",
    )
