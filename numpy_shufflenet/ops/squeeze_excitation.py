"""Squeeze-and-excitation: a small network looks at all channels and scales each of them.

    s = mean of each channel           squeeze      (n, c)
    z = relu(s @ w1^T + b1)                         (n, r)   r < c
    e = sigmoid(z @ w2^T + b2)         excitation   (n, c)
    y[n, c] = e[n, c] x[n, c]          scale

Backward. x reaches y twice: straight, scaled by e, and through the squeeze. With de[n, c] = sum
over the pixels of dy x, go backward through the small network; the gradients of the two paths add:

    dx = e dy + ds / (h w)
"""

from typing import NamedTuple

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops._sums import sum_over
from numpy_shufflenet.ops.checks import check_floating, check_gradient, check_image
from numpy_shufflenet.ops.linear import LinearCache, linear_backward, linear_forward
from numpy_shufflenet.ops.pooling import (
    GlobalAvgPoolCache,
    global_avg_pool_backward,
    global_avg_pool_forward,
)
from numpy_shufflenet.ops.relu import ReluCache, relu_backward, relu_forward
from numpy_shufflenet.ops.sigmoid import SigmoidCache, sigmoid_backward, sigmoid_forward
from numpy_shufflenet.registry import Case, Draw, Formula, Terms, register
from numpy_shufflenet.registry.formula import IMAGE, of_image

__all__ = ["squeeze_excitation_backward", "squeeze_excitation_forward"]


class SqueezeExcitationCache(NamedTuple):
    """What `squeeze_excitation_backward` needs: x, e, and the caches of the steps."""

    x: Array  # n c h w
    excitation: Array  # n c
    squeeze: GlobalAvgPoolCache
    reduce: LinearCache
    relu: ReluCache
    expand: LinearCache
    sigmoid: SigmoidCache


def squeeze_excitation_forward(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array
) -> tuple[Array, SqueezeExcitationCache]:
    """Scale each channel by a number that depends on the means of all channels.

    Parameters
    ----------
    x : array, shape (n, c, h, w), float32 or float64
    w1, b1 : array, shape (r, c) and (r,)
        The layer that reduces c channels to r.
    w2, b2 : array, shape (c, r) and (c,)
        The layer that expands them again.

    Returns
    -------
    y : array, shape (n, c, h, w)

    Raises
    ------
    ValueError
        If shapes or dtypes don't fit.

    Source: Hu, Shen, Sun, Squeeze-and-excitation networks, 2018, section 3; in ShuffleNet: V1,
    table 5; V2, section 4.
    """
    check_image("x", x)
    _check_layers(x, w1, b1, w2, b2)
    s, squeeze = global_avg_pool_forward(x)  # n c
    reduced, reduce = linear_forward(s, w1, b1)  # n r
    z, relu = relu_forward(reduced)
    expanded, expand = linear_forward(z, w2, b2)  # n c
    e, sigmoid = sigmoid_forward(expanded)
    y = x * e[:, :, None, None]
    return y, SqueezeExcitationCache(x, e, squeeze, reduce, relu, expand, sigmoid)


def squeeze_excitation_backward(
    dy: Array, cache: SqueezeExcitationCache
) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients of `squeeze_excitation_forward`: dx (n, c, h, w), dw1, db1, dw2, db2."""
    x, e = cache.x, cache.excitation
    check_gradient(dy, x.shape, x.dtype)
    de = sum_over(dy * x, (2, 3))  # n c
    dexpanded = sigmoid_backward(de, cache.sigmoid)
    dz, dw2, db2 = linear_backward(dexpanded, cache.expand)  # n r
    dreduced = relu_backward(dz, cache.relu)
    ds, dw1, db1 = linear_backward(dreduced, cache.reduce)  # n c
    dx = dy * e[:, :, None, None] + global_avg_pool_backward(ds, cache.squeeze)
    assert db1 is not None
    assert db2 is not None
    return dx, dw1, db1, dw2, db2


def _check_layers(x: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> None:
    for name, array in (("w1", w1), ("b1", b1), ("w2", w2), ("b2", b2)):
        check_floating(name, array, like=x)
    c = x.shape[1]
    if w1.ndim != 2 or w1.shape[1] != c:
        raise ValueError(f"w1 has shape {w1.shape}, but x has {c} channels; (r, {c}) is needed")
    r = len(w1)
    for name, array, shape in (("b1", b1, (r,)), ("w2", w2, (c, r)), ("b2", b2, (c,))):
        if array.shape != shape:
            raise ValueError(
                f"{name} has shape {array.shape}, but x has {c} channels and w1 reduces them "
                f"to {r}; {shape} is needed"
            )


def _cases(draw: Draw) -> Case:
    """Draw means that are not almost 0, and weights that don't saturate the sigmoid."""
    c, r = draw.integer(1, 6, example=4), draw.integer(1, 4, example=3)
    x = draw.small(*draw.image(c), mean=1.0)
    w1, b1 = draw.small(r, c, std=c**-0.5), draw.small(r)
    return (x, w1, b1, draw.small(c, r, std=r**-0.5), draw.small(c)), {}


register(
    squeeze_excitation_forward,
    kind="squeeze-excitation",
    cases=_cases,
    formula=Formula(
        lambda shapes, settings: {**of_image(shapes, settings), "r": shapes["w1"][0]},
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
        kept=f"s * ({IMAGE} + n * (2*c + r))",
    ),
)
