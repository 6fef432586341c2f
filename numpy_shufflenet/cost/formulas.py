"""What every operation costs, as formulas: the text that is shown is the text that is evaluated.

Letters are those of `dimensions`; b is 1 with a bias and 0 without, s the bytes of a number. What
is not listed is 0. A formula counts the arithmetic of the `steps` floor, entry by entry; a counting
run of that floor gives the same numbers (`counting`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from numpy_shufflenet.cost import dimensions
from numpy_shufflenet.cost.counts import Cost, Counts
from numpy_shufflenet.cost.dimensions import Dimensions, Shape


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
        return Counts(**{name: evaluate(text, values) for name, text in asdict(self).items()})


@dataclass(frozen=True)
class Formula:
    """The cost of one operation.

    Attributes
    ----------
    dimensions : callable
        From the shapes of its arrays and its hyperparameters to the letters.
    forward, backward : Terms
    kept : str
        Bytes in the cache of the `ops` floor, without parameters.
    """

    dimensions: Callable[[Mapping[str, Shape], Mapping[str, Any]], Dimensions]
    forward: Terms
    backward: Terms
    kept: str

    def __str__(self) -> str:
        lines = []
        for direction in ("forward", "backward"):
            terms: Terms = getattr(self, direction)
            for field in fields(terms):
                text = getattr(terms, field.name)
                if text != "0":
                    name = field.name.replace("_", "-")
                    lines.append(f"{direction:8}  {name:15}  {text}")
        lines.append(f"{'kept':8}  {'bytes':15}  {self.kept}")
        return "\n".join(lines)


def evaluate(text: str, values: Mapping[str, int]) -> int:
    """Return the value of a formula's text: whole numbers and + - * // only."""
    return int(eval(text, {"__builtins__": {}}, dict(values)))


def cost(
    name: str, shapes: Mapping[str, Shape], settings: Mapping[str, Any], *, itemsize: int = 4
) -> Cost:
    """Return what an operation costs.

    Parameters
    ----------
    name : str
        Of an operation in the table.
    shapes : mapping of str to tuple
        Of its arrays, by the names that the table has for them; a bias that is None is left out.
    settings : mapping
        Its hyperparameters.
    itemsize : int
        Bytes of a number: 4 in float32.

    Raises
    ------
    ValueError
        If the operation has no formula.
    """
    if name not in FORMULAS:
        raise ValueError(f"operation {name!r} has no cost formula; there are {', '.join(FORMULAS)}")
    formula = FORMULAS[name]
    values = formula.dimensions(shapes, settings)
    learned = sum(math.prod(shapes[key]) for key in shapes if key in PARAMETERS)
    return Cost(
        formula.forward.evaluate(values),
        formula.backward.evaluate(values),
        learned,
        evaluate(formula.kept, {**values, "s": itemsize}),
    )


PARAMETERS = ("w", "b", "w1", "b1", "w2", "b2", "gamma", "beta")
"""Names of learned arrays, in every operation."""


def moved(size: str, kept: str = "0") -> tuple[Terms, Terms, str]:
    """Return the formulas of what moves each number once and does no arithmetic."""
    terms = Terms(read=size, written=size)
    return terms, terms, kept


def convolution(kept: str) -> Formula:
    """Return the formulas of a convolution: each output sums c/g kh kw products."""
    products = "n*o*oh*ow * (c//g)*kh*kw"
    weights = "o*(c//g)*kh*kw"
    return Formula(
        dimensions.of_windows,
        Terms(
            multiply_adds=products,
            multiplications=products,
            additions=f"{products} - (1-b) * n*o*oh*ow",
            read=f"n*c*uh*uw + {weights} + b*o",
            written="n*o*oh*ow",
        ),
        Terms(
            multiply_adds=f"2 * {products}",
            multiplications=f"2 * {products}",
            additions=f"2 * {products} - n*c*rh*rw - {weights} + b*o * (n*oh*ow - 1)",
            read=f"n*o*oh*ow + n*c*uh*uw + {weights}",
            written=f"n*c*h*w + {weights} + b*o",
        ),
        kept,
    )


def one_by_one(size: str, forward: Terms, backward: Terms) -> tuple[Terms, Terms]:
    """Return formulas of an operation on each number by itself, which is given for one number."""

    def times_size(terms: Terms) -> Terms:
        texts = {key: text for key, text in asdict(terms).items() if text != "0"}
        return Terms(
            **{key: size if text == "1" else f"{text}*{size}" for key, text in texts.items()}
        )

    return times_size(forward), times_size(backward)


def with_relu(first: Formula, size: str) -> Formula:
    """Return the formulas of an operation whose `size` outputs go through a ReLU at once.

    Backward looks at each output again, to tell whether its gradient was let through.
    """

    def more(terms: Terms, **added: str) -> Terms:
        texts = {key: text for key, text in asdict(terms).items() if text != "0"}
        for key, text in added.items():
            texts[key] = f"{texts[key]} + {text}" if key in texts else text
        return Terms(**texts)

    return Formula(
        first.dimensions,
        more(first.forward, comparisons=size),
        more(first.backward, comparisons=size, read=size),
        f"{first.kept} + s * {size}" if first.kept != "0" else f"s * {size}",
    )


IMAGE = "n*c*h*w"

FORMULAS: dict[str, Formula] = {
    "conv2d": convolution(f"s * {IMAGE}"),
    "group_conv2d": convolution(f"s * {IMAGE}"),
    "depthwise_conv2d": convolution(f"s * {IMAGE}"),
    "pointwise_conv2d": convolution(f"s * {IMAGE}"),
    "batch_norm": Formula(
        dimensions.of_image,
        Terms(
            multiplications="c * (3*m + 2)",
            additions="c * (5*m - 1)",
            functions="c",
            read="c*m + 2*c",
            written="c*m",
        ),
        Terms(
            multiplications="c * (4*m + 4)",
            additions="c * (5*m - 1)",
            functions="c",
            read="2*c*m + 3*c",
            written="c*m + 2*c",
        ),
        "s * (c*m + 2*c)",
    ),
    "batch_norm_inference": Formula(
        dimensions.of_image,
        Terms(
            multiplications="2*c*m",
            additions="2*c*m + c",
            functions="c",
            read="c*m + 4*c",
            written="c*m",
        ),
        Terms(
            multiplications="3*c*m + c",
            additions="3*c*m - c",
            functions="c",
            read="2*c*m + 3*c",
            written="c*m + 2*c",
        ),
        f"s * {IMAGE}",
    ),
    "channel_shuffle": Formula(dimensions.of_any, *moved("size")),
    "channel_unshuffle": Formula(dimensions.of_any, *moved("size")),
    "channel_split": Formula(dimensions.of_any, *moved("size")),
    "channel_concat": Formula(dimensions.of_parts, *moved("size")),
    "max_pool2d": Formula(
        dimensions.of_pool,
        Terms(
            comparisons="n*c*oh*ow * (kh*kw - 1)",
            read="n*c*uh*uw",
            written="n*c*oh*ow",
        ),
        Terms(
            additions="n*c*oh*ow",
            read="2 * n*c*oh*ow",
            written=IMAGE,
        ),
        f"s * {IMAGE} + 4 * n*c*oh*ow",
    ),
    "avg_pool2d": Formula(
        dimensions.of_pool,
        Terms(
            multiplications="n*c*oh*ow * kh*kw",
            additions="n*c*oh*ow * (kh*kw - 1)",
            read="n*c*uh*uw",
            written="n*c*oh*ow",
        ),
        Terms(
            multiplications="n*c*oh*ow * kh*kw",
            additions="n*c * (oh*ow*kh*kw - rh*rw)",
            read="n*c*oh*ow",
            written=IMAGE,
        ),
        f"s * ({IMAGE} + oh*ow)",
    ),
    "global_avg_pool": Formula(
        dimensions.of_image,
        Terms(
            multiplications=IMAGE,
            additions="n*c * (h*w - 1)",
            read=IMAGE,
            written="n*c",
        ),
        Terms(multiplications=IMAGE, read="n*c", written=IMAGE),
        f"s * {IMAGE}",
    ),
    "upsample_nearest": Formula(
        dimensions.of_upsampling,
        Terms(read=IMAGE, written="n*c*oh*ow"),
        Terms(additions=f"{IMAGE} * (sh*sw - 1)", read="n*c*oh*ow", written=IMAGE),
        "0",
    ),
    "upsample_bilinear": Formula(
        dimensions.of_upsampling,
        Terms(
            multiplications="n*c * ah*aw",
            additions="n*c * (ah*aw - oh*ow)",
            read=IMAGE,
            written="n*c*oh*ow",
        ),
        Terms(
            multiplications="n*c * ah*aw",
            additions="n*c * (ah*aw - h*w)",
            read="n*c*oh*ow",
            written=IMAGE,
        ),
        "s * (oh*h + ow*w)",
    ),
    "relu": Formula(
        dimensions.of_any,
        *one_by_one(
            "size",
            Terms(comparisons="1", read="1", written="1"),
            Terms(comparisons="1", read="2", written="1"),
        ),
        "s * size",
    ),
    "sigmoid": Formula(
        dimensions.of_any,
        *one_by_one(
            "size",
            Terms(
                multiplications="1",
                additions="1",
                comparisons="1",
                functions="1",
                read="1",
                written="1",
            ),
            Terms(
                multiplications="3",
                additions="2",
                comparisons="1",
                functions="1",
                read="2",
                written="1",
            ),
        ),
        "s * size",
    ),
    "squeeze_excitation": Formula(
        dimensions.of_excitation,
        Terms(
            multiply_adds="n * 2*c*r",
            multiplications="n * (2*c*r + c*h*w + 2*c)",
            additions="n * (2*c*r + c*(h*w - 1) + c)",
            comparisons="n * (c + r)",
            functions="n*c",
            read=f"{IMAGE} + 2*c*r + c + r",
            written=IMAGE,
        ),
        Terms(
            multiply_adds="n * 4*c*r",
            multiplications="n * (4*c*r + 2*c*h*w + 3*c)",
            additions="n * (4*c*r + 2*c*h*w) - 2*c*r - c - r",
            comparisons="n*r",
            read=f"2*{IMAGE} + 2*c*r + n * (2*c + r)",
            written=f"{IMAGE} + 2*c*r + c + r",
        ),
        f"s * ({IMAGE} + n * (2*c + r))",
    ),
    "linear": Formula(
        dimensions.of_linear,
        Terms(
            multiply_adds="n*o*i",
            multiplications="n*o*i",
            additions="n*o*i - (1-b) * n*o",
            read="n*i + o*i + b*o",
            written="n*o",
        ),
        Terms(
            multiply_adds="2 * n*o*i",
            multiplications="2 * n*o*i",
            additions="2 * n*o*i - n*i - o*i + b*o * (n - 1)",
            read="n*o + n*i + o*i",
            written="n*i + o*i + b*o",
        ),
        "s * n*i",
    ),
    "dropout": Formula(
        dimensions.of_any,
        *one_by_one(
            "size",
            Terms(multiplications="1", read="1", written="1"),
            Terms(multiplications="1", read="1", written="1"),
        ),
        "s * size",
    ),
    "softmax_cross_entropy": Formula(
        dimensions.of_rows,
        Terms(
            multiplications="2*n*k",
            additions="n * (5*k - 1) - 1",
            comparisons="n * (k - 1)",
            functions="n * (k + 1)",
            read="n*k + n",
            written="1",
        ),
        Terms(
            multiplications="n*k + 1",
            additions="n*k",
            read="n*k + n + 1",
            written="n*k",
        ),
        "s * 2*n*k",
    ),
    "add": Formula(
        dimensions.of_sum,
        Terms(additions="size", read="2*size", written="size"),
        Terms(read="size", written="2*size"),
        "0",
    ),
    "channel_concat_shuffle": Formula(dimensions.of_parts, *moved("size")),
}
FORMULAS |= {
    "add_relu": with_relu(FORMULAS["add"], "size"),
    "batch_norm_relu": with_relu(FORMULAS["batch_norm"], "c*m"),
    "conv2d_relu": with_relu(FORMULAS["conv2d"], "n*o*oh*ow"),
    "pointwise_conv2d_relu": with_relu(FORMULAS["pointwise_conv2d"], "n*o*oh*ow"),
}
"""The formula of every operation, by name."""
