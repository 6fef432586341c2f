"""Linear layer: every output is a weighted sum of all inputs.

    y = x @ w^T + b        (n, in) @ (in, out)

Backward. y[n, o] = sum_i x[n, i] w[o, i] + b[o], so, summing over all outputs that an entry
reaches,

    dx = dy @ w        dw = dy^T @ x        db = sum_n dy
"""

from typing import NamedTuple

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops._sums import product, sum_over
from numpy_shufflenet.ops.checks import check_floating, check_gradient, check_vector
from numpy_shufflenet.registry import Case, Draw, Formula, Terms, register
from numpy_shufflenet.registry.formula import Settings, Shapes

__all__ = ["linear_backward", "linear_forward"]


class LinearCache(NamedTuple):
    """What `linear_backward` needs."""

    x: Array  # n in
    w: Array  # out in
    has_bias: bool


def linear_forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, LinearCache]:
    """Multiply every row by a matrix, and add a vector.

    Parameters
    ----------
    x : array, shape (n, in), float32 or float64
    w : array, shape (out, in)
    b : array, shape (out,), optional

    Returns
    -------
    y : array, shape (n, out)

    Raises
    ------
    ValueError
        If shapes or dtypes don't fit.

    Source: the classifier of ShuffleNet V1, table 1, and V2, table 5.
    """
    check_floating("x", x)
    check_floating("w", w, like=x)
    if x.ndim != 2:
        raise ValueError(f"x has shape {x.shape}; (n, in) is needed")
    if w.ndim != 2 or w.shape[1] != x.shape[1]:
        raise ValueError(
            f"w has shape {w.shape}, but x has {x.shape[1]} features; (out, {x.shape[1]}) is needed"
        )
    y = product(x, w.T)  # n out
    if b is not None:
        check_vector("b", b, len(w), like=x, owner="w", of="outputs")
        y += b
    return y, LinearCache(x, w, b is not None)


def linear_backward(dy: Array, cache: LinearCache) -> tuple[Array, Array, Array | None]:
    """Gradients of `linear_forward`: dx (n, in), dw (out, in), db (out,) or None."""
    x, w, has_bias = cache
    check_gradient(dy, (len(x), len(w)), x.dtype)
    db: Array | None = sum_over(dy, (0,)) if has_bias else None
    return product(dy, w), product(dy.T, x), db


def _cases(draw: Draw) -> Case:
    n, features, outputs = draw.batch(example=4), draw.side(example=5), draw.side(example=3)
    return (draw(n, features), draw(outputs, features), draw.bias(outputs)), {}


def of_linear(shapes: Shapes, settings: Settings) -> dict[str, int]:
    """Return rows n, inputs i, outputs o, and b = 1 with a bias or 0 without."""
    n, i = shapes["x"]
    return {"n": n, "i": i, "o": shapes["w"][0], "b": int("b" in shapes)}


register(
    linear_forward,
    kind="classifier",
    linear_in=("x", "w"),
    cases=_cases,
    formula=Formula(
        of_linear,
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
        kept="s * n*i",
    ),
)
