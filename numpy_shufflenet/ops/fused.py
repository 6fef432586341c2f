"""Pairs of operations that run as one: y = second(first(x)).

    batch_norm_relu           BN, ReLU                  in training
    add_relu                  addition, ReLU            the end of a V1 unit of stride 1
    conv2d_relu,              convolution with bias,    in inference, with BN folded into the
    pointwise_conv2d_relu     ReLU                      weights (`model.fold()`)
    channel_concat_shuffle    concatenation, shuffle    the end of a V2 unit

A fused operation has no new mathematics. Forward runs the two forwards; backward runs the two
backwards in reverse order, by the chain rule. Fused kernels save memory access: they never write
nor read the array in between. In NumPy fusion saves nothing; this file shows what the kernels
compute.

Sources: ShuffleNet V1, figure 2; V2, figure 3; Ioffe, Szegedy, 2015, section 3.1, for BN that is
merged into the layer before it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.add import ADD, add_backward, add_cases, add_forward
from numpy_shufflenet.ops.batch_norm import (
    BATCH_NORM,
    batch_norm_backward,
    batch_norm_cases,
    batch_norm_forward,
)
from numpy_shufflenet.ops.channel_shuffle import channel_shuffle_backward, channel_shuffle_forward
from numpy_shufflenet.ops.channels import (
    channel_concat_backward,
    channel_concat_cases,
    channel_concat_forward,
)
from numpy_shufflenet.ops.conv2d import CONVOLUTION, conv2d_arrays, conv2d_backward, conv2d_forward
from numpy_shufflenet.ops.pointwise_conv2d import (
    pointwise_conv2d_arrays,
    pointwise_conv2d_backward,
    pointwise_conv2d_forward,
)
from numpy_shufflenet.ops.relu import relu_backward, relu_forward
from numpy_shufflenet.registry import Case, Draw, register
from numpy_shufflenet.registry.formula import followed_by_relu, movement, of_all

__all__ = [
    "add_relu_backward",
    "add_relu_forward",
    "batch_norm_relu_backward",
    "batch_norm_relu_forward",
    "channel_concat_shuffle_backward",
    "channel_concat_shuffle_forward",
    "conv2d_relu_backward",
    "conv2d_relu_forward",
    "pointwise_conv2d_relu_backward",
    "pointwise_conv2d_relu_forward",
]


P = ParamSpec("P")
G = TypeVar("G")  # the gradients that a backward returns


class FusedCache(NamedTuple):
    """The caches of both operations."""

    first: Any
    second: Any

    def __getattr__(self, name: str) -> Any:
        """Return y of a ReLU; x, mean and var of a batch normalisation."""
        if name in ("x", "mean", "var", "y"):
            return getattr(self.second if name == "y" else self.first, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


def fuse_relu(
    forward: Callable[P, tuple[Array, Any]], backward: Callable[[Array, Any], G]
) -> tuple[Callable[P, tuple[Array, FusedCache]], Callable[[Array, FusedCache], G]]:
    """Return the forward and the backward of an operation that is followed by a ReLU."""
    name = forward.__name__.removesuffix("_forward")

    @functools.wraps(forward)
    def fused_forward(*args: P.args, **kwargs: P.kwargs) -> tuple[Array, FusedCache]:
        y, first = forward(*args, **kwargs)
        y, second = relu_forward(y)
        return y, FusedCache(first, second)

    def fused_backward(dy: Array, cache: FusedCache) -> G:
        return backward(relu_backward(dy, cache.second), cache.first)

    fused_forward.__doc__ = f"""Run `{name}_forward`, then replace negative values by 0.

    Parameters, returns and errors are those of `{name}_forward`.
    """
    fused_backward.__doc__ = (
        f"Gradients of `{name}_relu_forward`, as `{name}_backward` returns them."
    )
    for function, direction in ((fused_forward, "forward"), (fused_backward, "backward")):
        function.__name__ = function.__qualname__ = f"{name}_relu_{direction}"
        function.__module__ = __name__
    return fused_forward, fused_backward


add_relu_forward, add_relu_backward = fuse_relu(add_forward, add_backward)
batch_norm_relu_forward, batch_norm_relu_backward = fuse_relu(
    batch_norm_forward, batch_norm_backward
)
conv2d_relu_forward, conv2d_relu_backward = fuse_relu(conv2d_forward, conv2d_backward)
pointwise_conv2d_relu_forward, pointwise_conv2d_relu_backward = fuse_relu(
    pointwise_conv2d_forward, pointwise_conv2d_backward
)


def channel_concat_shuffle_forward(*arrays: Array, groups: int) -> tuple[Array, FusedCache]:
    """Concatenate the channels of several images, then shuffle the channels.

    Parameters
    ----------
    *arrays : arrays, shape (n, c_i, h, w), float32 or float64
    groups : int
        Divides the sum of c_i.

    Returns
    -------
    y : array, shape (n, sum of c_i, h, w)
        With two arrays of equal channels and groups=2, these take turns: a0 b0 a1 b1 ...

    Raises
    ------
    ValueError
        As `channel_concat_forward` and `channel_shuffle_forward`.

    Source: ShuffleNet V2, section 3.1 and figure 3c and d.
    """
    joined, concat = channel_concat_forward(*arrays)
    y, shuffle = channel_shuffle_forward(joined, groups)
    return y, FusedCache(concat, shuffle)


def channel_concat_shuffle_backward(dy: Array, cache: FusedCache) -> tuple[Array, ...]:
    """Gradients of `channel_concat_shuffle_forward`: a tuple, (n, c_i, h, w) for each array."""
    return channel_concat_backward(channel_shuffle_backward(dy, cache.second), cache.first)


def _with_bias(draw: Draw, x: Array, w: Array, settings: dict[str, Any]) -> Case:
    """Draw a bias that keeps most outputs away from the kink of the ReLU."""
    return (x, w, draw(len(w), std=draw.away(20.0))), settings


def _concat_cases(draw: Draw) -> Case:
    arrays, _ = channel_concat_cases(draw)
    channels = sum(array.shape[1] for array in arrays)
    divisors = [g for g in (2, *range(1, channels + 1)) if channels % g == 0]
    return arrays, {"groups": draw.choose(*divisors)}


register(
    add_relu_forward,
    kind="addition",
    kernel=True,
    cases=add_cases,
    formula=followed_by_relu(ADD, "size"),
)
register(
    batch_norm_relu_forward,
    kind="batch norm",
    kernel=True,
    cases=batch_norm_cases,
    formula=followed_by_relu(BATCH_NORM, "c*m"),
)
register(
    conv2d_relu_forward,
    kind="convolution",
    kernel=True,
    cases=lambda draw: _with_bias(draw, *conv2d_arrays(draw)),
    formula=followed_by_relu(CONVOLUTION, "n*o*oh*ow"),
)
register(
    pointwise_conv2d_relu_forward,
    kind="1x1 convolution",
    kernel=True,
    cases=lambda draw: _with_bias(draw, *pointwise_conv2d_arrays(draw)),
    formula=followed_by_relu(CONVOLUTION, "n*o*oh*ow"),
)
register(
    channel_concat_shuffle_forward,
    kind="shuffle",
    linear_in=("*arrays",),
    kernel=True,
    cases=_concat_cases,
    formula=movement(of_all),
)
