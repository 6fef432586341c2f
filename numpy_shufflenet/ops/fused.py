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
"""

from typing import Any, NamedTuple

from numpy_shufflenet._typing import Array, IntOrPair, Padding
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


class FusedCache(NamedTuple):
    """The caches of both operations."""

    first: Any
    second: Any

    def __getattr__(self, name: str) -> Any:
        """Return y of a ReLU; x, mean and var of a batch normalisation."""
        if name in ("x", "mean", "var", "y"):
            return getattr(self.second if name == "y" else self.first, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


def batch_norm_relu_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, FusedCache]:
    """Normalise by the statistics of the batch, then replace negative values by 0.

    Parameters, returns and errors are those of `batch_norm_forward`.

    Source: the order of both papers: ShuffleNet V1, figure 2; V2, figure 3.
    """
    normalised, batch_norm = batch_norm_forward(x, gamma, beta, eps=eps)
    y, relu = relu_forward(normalised)
    return y, FusedCache(batch_norm, relu)


def batch_norm_relu_backward(dy: Array, cache: FusedCache) -> tuple[Array, Array, Array]:
    """Gradients of `batch_norm_relu_forward`: dx (n, c, h, w), dgamma (c,), dbeta (c,)."""
    return batch_norm_backward(relu_backward(dy, cache.second), cache.first)


def add_relu_forward(x1: Array, x2: Array) -> tuple[Array, FusedCache]:
    """Add two arrays of one shape, then replace negative values by 0.

    Parameters, returns and errors are those of `add_forward`.

    Source: ShuffleNet V1, figure 2b.
    """
    total, add = add_forward(x1, x2)
    y, relu = relu_forward(total)
    return y, FusedCache(add, relu)


def add_relu_backward(dy: Array, cache: FusedCache) -> tuple[Array, Array]:
    """Gradients of `add_relu_forward`: dx1 and dx2, which are the same array."""
    return add_backward(relu_backward(dy, cache.second), cache.first)


def conv2d_relu_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tuple[Array, FusedCache]:
    """Convolve, then replace negative values by 0.

    Parameters, returns and errors are those of `conv2d_forward`.

    Source: Ioffe, Szegedy, 2015, section 3.1 (in inference BN merges into the layer before it).
    """
    convolved, conv2d = conv2d_forward(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    y, relu = relu_forward(convolved)
    return y, FusedCache(conv2d, relu)


def conv2d_relu_backward(dy: Array, cache: FusedCache) -> tuple[Array, Array, Array | None]:
    """Gradients of `conv2d_relu_forward`: dx (n, c, h, w), dw (o, c/groups, kh, kw), db."""
    return conv2d_backward(relu_backward(dy, cache.second), cache.first)


def pointwise_conv2d_relu_forward(
    x: Array, w: Array, b: Array | None = None, *, groups: int = 1
) -> tuple[Array, FusedCache]:
    """Mix the channels of every pixel by a matrix, then replace negative values by 0.

    Parameters, returns and errors are those of `pointwise_conv2d_forward`.

    Source: as `conv2d_relu_forward`.
    """
    mixed, pointwise_conv2d = pointwise_conv2d_forward(x, w, b, groups=groups)
    y, relu = relu_forward(mixed)
    return y, FusedCache(pointwise_conv2d, relu)


def pointwise_conv2d_relu_backward(
    dy: Array, cache: FusedCache
) -> tuple[Array, Array, Array | None]:
    """Gradients of `pointwise_conv2d_relu_forward`: dx (n, c, h, w), dw (o, c/groups, 1, 1), db."""
    return pointwise_conv2d_backward(relu_backward(dy, cache.second), cache.first)


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
