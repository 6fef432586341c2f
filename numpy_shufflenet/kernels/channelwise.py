"""BN, ReLU, shuffle, depthwise convolution and BN in one pass over each channel.

None of these operations combines channels, so all of them can run on a channel while it is in the
cache. Only x and the outputs of the convolution and of the last BN go through memory. The
normalised input of the convolution is written into a plane with a border (see `_border`), and
backward computes it again. The rest is done by the kernels of `batch_norm`.

This is not an operation of its own: `nn.fusion` uses it where these layers follow one another.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import take_turns
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.kernels._barrier import each_turn, next_turn
from numpy_shufflenet.kernels._border import (
    Border,
    Sight,
    bordered_gradients,
    clear_border,
    convolve_bordered,
    is_suited,
    sight_of,
)
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import as_image, as_rows, contiguous, empty_rows
from numpy_shufflenet.kernels.batch_norm import (
    BatchNormCache,
    combine_gradient,
    mean_and_variance,
    normalise,
    sums,
)
from numpy_shufflenet.kernels.channels import shuffled_places
from numpy_shufflenet.ops.batch_norm import check_batch
from numpy_shufflenet.ops.checks import check_divides, check_gradient
from numpy_shufflenet.ops.depthwise_conv2d import check_depthwise
from numpy_shufflenet.ops.windows import Windows


class Norm(NamedTuple):
    """Parameters and statistics of a batch normalisation: the middle of a `BatchNormCache`.

    Python passes it to kernels as a plain tuple, like a `Sight`.
    """

    gamma: Array  # c
    beta: Array  # c
    mean: Array  # c
    var: Array  # c
    eps: float
    relu: bool  # whether ReLU follows


@compiled
def forward_through(
    turns: Array,
    x: Array,
    places: Array,
    before: Norm,
    normalised: bool,
    w: Array,
    after: Norm,
    sight: Sight,
    plane: Array,
    z: Array,
    y: Array,
) -> None:
    """Compute the convolution z (c, oh, ow n) and y (c, oh ow n) of channels of x (c, h w n).

    Parameters
    ----------
    turns : array
        The counters from which this thread takes turns, one for each channel: see `_barrier`.
    places : array, shape (c,)
        For each channel of the convolution, the channel of x that it reads.
    normalised : bool
        Whether it is normalised by `before` first.
    w : array, shape (c, 9)
    plane : array
        Scratch for a channel of x with its border.
    """
    before, after, sight = Norm(*before), Norm(*after), Sight(*sight)  # passed as plain tuples
    number, border = x.dtype.type, Border(*sight.x)
    clear_border(plane, border)
    for c in each_turn(turns):
        k = places[c]
        mu, a, b = number(0), number(1), number(0)
        if normalised:
            mean, var = mean_and_variance(x[k])
            before.mean[k], before.var[k] = mean, var
            a, b = number(before.gamma[k] / math.sqrt(before.var[k] + before.eps)), before.beta[k]
            mu = before.mean[k]
        for r in range(border.rows):
            i, j = r * border.length, border.start + r * border.pitch
            row, target = x[k, i : i + border.length], plane[j : j + border.length]
            if normalised:
                normalise(row, mu, a, b, before.relu, target)
            else:
                for m in range(row.size):
                    target[m] = row[m]
        convolve_bordered(plane, w[c], sight, z[c], y[c])
        out = z[c].reshape(y.shape[1])
        after.mean[c], after.var[c] = mean_and_variance(out)
        a = number(after.gamma[c] / math.sqrt(after.var[c] + after.eps))
        normalise(out, after.mean[c], a, after.beta[c], after.relu, y[c])


@compiled
def backward_through(
    turns: Array,
    dy: Array,
    x: Array,
    places: Array,
    before: Norm,
    normalised: bool,
    w: Array,
    z: Array,
    after: Norm,
    sight: Sight,
    plane: Array,
    row: Array,
    dx: Array,
    dbefore: Array,
    dw: Array,
    dafter: Array,
) -> None:
    """Compute the gradients of channels; dbefore and dafter (2, c) are dgamma and dbeta.

    turns are as in `forward_through`. plane is scratch for the gradient of a channel of z with its
    border, and row (h, w n) for the gradient of the output of the first normalisation.
    """
    before, after, sight = Norm(*before), Norm(*after), Sight(*sight)  # passed as plain tuples
    number, border = x.dtype.type, Border(*sight.dy)
    clear_border(plane, border)
    c = next_turn(turns)
    while c >= 0:
        following = next_turn(turns)
        std, b, mu = math.sqrt(after.var[c] + after.eps), after.beta[c], after.mean[c]
        a, inv_std = number(after.gamma[c] / std), 1 / std
        sum_g, sum_gx = sums(dy[c], z[c], mu, a, b, after.relu)
        dafter[0, c], dafter[1, c] = sum_gx * inv_std, sum_g
        p, q = number(sum_g / dy.shape[1]), number(inv_std * inv_std * sum_gx / dy.shape[1])
        for r in range(border.rows):
            i, j = r * border.length, border.start + r * border.pitch
            dy_row, z_row = dy[c, i : i + border.length], z[c, i : i + border.length]
            combine_gradient(
                dy_row, z_row, mu, a, b, after.relu, p, q, plane[j : j + border.length]
            )
        k = places[c]
        source, target = x[k], dx[k]
        image, dimage = source.reshape(row.shape), target.reshape(row.shape)
        soon = following if following >= 0 else c
        ahead = x[places[soon]], dy[soon], z[soon]
        if not normalised:
            zero = number(0)
            bordered_gradients(
                plane, image, False, zero, zero, zero, w[c], sight, dimage, dw[c], ahead
            )
        else:
            std, b, mu = math.sqrt(before.var[k] + before.eps), before.beta[k], before.mean[k]
            a, inv_std = number(before.gamma[k] / std), 1 / std
            sum_g, sum_gx = bordered_gradients(
                plane, image, True, mu, a, b, w[c], sight, row, dw[c], ahead
            )
            dbefore[0, k], dbefore[1, k] = sum_gx * inv_std, sum_g
            p, q = number(sum_g / source.size), number(inv_std * inv_std * sum_gx / source.size)
            combine_gradient(row.reshape(source.size), source, mu, a, b, False, p, q, target)
        c = following


class ChannelwiseCache(NamedTuple):
    """What `channelwise_gradients` needs."""

    x: Array  # n c h w, channel-major
    before: BatchNormCache | None  # of x
    places: Array  # c
    w: Array  # c 1 3 3
    after: BatchNormCache  # of the convolution's output
    windows: Windows


class ChannelwiseGradients(NamedTuple):
    """The gradients of the input and of all parameters."""

    dx: Array  # n c h w
    before: tuple[Array, Array] | None  # dgamma, dbeta
    dw: Array  # c 1 3 3
    after: tuple[Array, Array]


def channelwise(
    x: Array,
    before: tuple[Array, Array] | None,
    w: Array,
    after: tuple[Array, Array],
    *,
    eps: tuple[float, float] = (1e-5, 1e-5),
    groups: int = 1,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> tuple[Array, ChannelwiseCache]:
    """Run batch_norm_relu (optional), channel_shuffle, depthwise_conv2d and batch_norm.

    Parameters
    ----------
    x : array, shape (n, c, h, w), float32
    before : (gamma, beta) of the first normalisation, or None
        If None, the shuffle reads x itself.
    w : array, shape (c, 1, 3, 3)
    after : (gamma, beta) of the last normalisation
    eps : pair of float
        Of both normalisations.
    groups : int
        Of the shuffle; 1 if there is none.
    stride : int or pair
        1 or 2, the same in both directions.

    Returns
    -------
    y : array, shape (n, c, oh, ow)
    cache : ChannelwiseCache

    Raises
    ------
    ValueError
        As the operations themselves, and for any other dtype, filter size, stride or dilation.
    """
    if before is not None:
        check_batch(x, *before, eps[0])
    windows = check_depthwise(x, w, None, stride=stride, padding=padding, dilation=dilation)
    if not is_suited(windows, x.dtype):
        raise ValueError(
            f"x has dtype {x.dtype}, windows {windows.kernel}, stride={windows.stride} and "
            f"dilation={windows.dilation}; float32, (3, 3), 1 or 2 both ways, and 1 are needed"
        )
    (n, c, h, width), (oh, ow) = x.shape, windows.output
    if len(w) != c:
        raise ValueError(f"w has shape {w.shape}, but x has {c} channels; as many are needed")
    places = _read_places(c, check_divides(groups, c, of="channels"))
    rows, z, y = as_rows(x), empty_rows(c, n, oh, ow, x.dtype), empty_rows(c, n, oh, ow, x.dtype)
    image, between = as_image(rows, n, h, width), as_image(z, n, oh, ow)
    check_batch(between, *after, eps[1])
    first = None if before is None else _norm(image, *before, eps[0], relu=True)
    last = _norm(between, *after, eps[1], relu=False)
    weights, sight = contiguous(w).reshape(c, 9), sight_of(windows, n)

    operands = (
        rows,
        places,
        _norm_fields(first or last),
        first is not None,
        weights,
        _norm_fields(last),
    )
    geometry, size, results = tuple(sight), Border(*sight.x).size, (z.reshape(c, oh, ow * n), y)

    def run(turns: Array) -> None:
        plane = empty((size,), x.dtype)
        forward_through(turns, *operands, geometry, plane, *results)

    take_turns(c, run, work=6 * y.size + 4 * rows.size)
    return as_image(y, n, oh, ow), ChannelwiseCache(image, first, places, w, last, windows)


def channelwise_gradients(dy: Array, cache: ChannelwiseCache) -> ChannelwiseGradients:
    """Return the gradients of `channelwise`."""
    x, before, places, w, after, windows = cache
    (n, c, h, width), (oh, ow) = x.shape, windows.output
    check_gradient(dy, (n, c, oh, ow), x.dtype)
    rows, gradients, dx = as_rows(x), as_rows(dy), empty_rows(c, n, h, width, x.dtype)
    weights, sight = contiguous(w).reshape(c, 9), sight_of(windows, n)
    dw = np.empty_like(weights)
    dbefore, dafter = np.empty((2, 2, c), x.dtype)
    outer, normalised = _norm_fields(before or after), before is not None
    z, inner = as_rows(after.x), _norm_fields(after)
    operands = gradients, rows, places, outer, normalised, weights, z, inner, tuple(sight)
    size, results = Border(*sight.dy).size, (dx, dbefore, dw, dafter)

    def run(turns: Array) -> None:
        plane, row = empty((size,), x.dtype), empty((h, width * n), x.dtype)
        backward_through(turns, *operands, plane, row, *results)

    take_turns(c, run, work=6 * gradients.size + 12 * rows.size)
    return ChannelwiseGradients(
        as_image(dx, n, h, width),
        None if before is None else (dbefore[0], dbefore[1]),
        dw.reshape(w.shape),
        (dafter[0], dafter[1]),
    )


@functools.lru_cache(maxsize=256)
def _read_places(channels: int, groups: int) -> Array:
    """Return the channel that each place holds after the shuffle: shared, so never write to it."""
    return np.argsort(shuffled_places(channels, groups))


def _norm(x: Array, gamma: Array, beta: Array, eps: float, *, relu: bool) -> BatchNormCache:
    gamma, beta = contiguous(gamma), contiguous(beta)
    mean, var = np.empty_like(gamma), np.empty_like(gamma)
    return BatchNormCache(x, gamma, beta, mean, var, float(eps), relu, True)


def _norm_fields(cache: BatchNormCache) -> tuple[Any, ...]:
    """Return the fields of a `Norm`."""
    return cache[1:7]
