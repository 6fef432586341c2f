"""BN, ReLU, shuffle, depthwise convolution, BN: a row of operations that leave channels apart.

None of them looks at more than one channel, so a channel can go through all of them while it is in
the cache. Memory sees x and the outputs of the convolution and of the whole; the batch normalised
in between is never written, and made again in backward. The kernels are those of the operations
by themselves (`batch_norm`, `depthwise_conv2d`), called for one channel after the other.

This is no operation of its own, but a way to run several: `nn.fusion` finds them in a row.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import as_image, as_rows, empty_rows
from numpy_shufflenet.kernels._planes import Planes, empty_plane, planes_of
from numpy_shufflenet.kernels.batch_norm import (
    BatchNormCache,
    backward_rows_jit,
    forward_rows_jit,
)
from numpy_shufflenet.kernels.channels import shuffled_places
from numpy_shufflenet.kernels.depthwise_conv2d import (
    backward_channels_jit,
    forward_channels_jit,
    turned_planes,
)
from numpy_shufflenet.ops._check import check_divides, check_gradient
from numpy_shufflenet.ops._windows import Windows
from numpy_shufflenet.ops.batch_norm import check_batch
from numpy_shufflenet.ops.depthwise_conv2d import check_depthwise


class Norm(NamedTuple):
    """A batch normalisation: its parameters, and what it finds. The end of a `BatchNormCache`."""

    gamma: Array  # c
    beta: Array  # c
    mean: Array  # c
    var: Array  # c
    eps: float
    relu: bool  # whether one follows


class Scratch(NamedTuple):
    """What each thread has for itself, in the cache."""

    planes: Planes  # of the windows over x
    plane: Array  # a channel of x with a border of 0
    run: Array  # 0
    turned: Planes  # of the windows through which dx looks at dy
    dplane: Array
    turned_run: Array
    gather: bool  # whether there are such windows
    row: Array  # 1, h w n: what the convolution reads
    drow: Array  # 1, h w n: its gradient
    dz: Array  # 1, oh ow n: the gradient of what it writes


def forward_through(
    x: Array,
    places: Array,
    before: Norm,
    normalised: bool,
    w: Array,
    after: Norm,
    n: int,
    size: tuple[int, int],
    own: Scratch,
    first: int,
    last: int,
    z: Array,
    y: Array,
) -> None:
    """Compute the convolution z (c, oh, ow n) and y (c, oh ow n) of some channels x (c, h w n).

    Parameters
    ----------
    places : array, shape (c,)
        Which channel of x the convolution reads for each of its own.
    normalised : bool
        Whether it reads it through `before`.
    w : array, shape (c, kh kw)
    size : (height, width) of x
    """
    h, width = size
    no_bias = np.zeros(1, x.dtype)
    for c in range(first, last):
        k, row = places[c], own.row
        if normalised:
            gamma, beta = before.gamma[k : k + 1], before.beta[k : k + 1]
            mean, var = before.mean[k : k + 1], before.var[k : k + 1]
            source = x[k : k + 1]
            forward_rows_jit(source, gamma, beta, before.eps, before.relu, True, mean, var, row)
        else:
            row = x[k : k + 1]
        image = row.reshape((1, h, width * n))
        kernel, target = w[c : c + 1], z[c : c + 1]
        forward_channels_jit(image, kernel, no_bias, n, own.planes, own.plane, own.run, target)
        gamma, beta = after.gamma[c : c + 1], after.beta[c : c + 1]
        mean, var = after.mean[c : c + 1], after.var[c : c + 1]
        out = target.reshape((1, y.shape[1]))
        forward_rows_jit(out, gamma, beta, after.eps, after.relu, True, mean, var, y[c : c + 1])


def backward_through(
    dy: Array,
    x: Array,
    places: Array,
    before: Norm,
    normalised: bool,
    w: Array,
    z: Array,
    after: Norm,
    n: int,
    size: tuple[int, int],
    own: Scratch,
    first: int,
    last: int,
    dx: Array,
    dbefore: Array,
    dw: Array,
    dafter: Array,
) -> None:
    """Compute the gradients of some channels; dbefore and dafter (2, c) are dgamma and dbeta."""
    h, width = size
    for c in range(first, last):
        gamma, beta = after.gamma[c : c + 1], after.beta[c : c + 1]
        mean, var = after.mean[c : c + 1], after.var[c : c + 1]
        out, dgamma, dbeta = z[c : c + 1], dafter[0, c : c + 1], dafter[1, c : c + 1]
        backward_rows_jit(
            dy[c : c + 1],
            1,
            out.reshape((1, dy.shape[1])),
            gamma,
            beta,
            after.eps,
            after.relu,
            True,
            mean,
            var,
            own.dz,
            dgamma,
            dbeta,
        )
        k, row, drow = places[c], own.row, own.drow
        gamma, beta = before.gamma[k : k + 1], before.beta[k : k + 1]
        mean, var, source = before.mean[k : k + 1], before.var[k : k + 1], x[k : k + 1]
        if normalised:
            forward_rows_jit(source, gamma, beta, before.eps, before.relu, False, mean, var, row)
        else:
            row, drow = source, dx[k : k + 1]
        backward_channels_jit(
            own.dz.reshape(out.shape),
            row.reshape((1, h, width * n)),
            w[c : c + 1],
            n,
            own.planes,
            own.plane,
            own.run,
            own.turned,
            own.dplane,
            own.turned_run,
            own.gather,
            drow.reshape((1, h, width * n)),
            dw[c : c + 1],
        )
        if normalised:
            dgamma, dbeta = dbefore[0, k : k + 1], dbefore[1, k : k + 1]
            backward_rows_jit(
                drow,
                1,
                source,
                gamma,
                beta,
                before.eps,
                before.relu,
                True,
                mean,
                var,
                dx[k : k + 1],
                dgamma,
                dbeta,
            )


forward_through_jit = compiled(forward_through)
backward_through_jit = compiled(backward_through)


class ChannelwiseCache(NamedTuple):
    """What `channelwise_gradients` needs."""

    x: Array  # n c h w, channel-major
    before: BatchNormCache | None  # of x
    places: Array  # c
    w: Array  # c 1 kh kw
    after: BatchNormCache  # of the output of the convolution
    windows: Windows


class ChannelwiseGradients(NamedTuple):
    """The gradient of the input, and those of every operation's parameters."""

    dx: Array  # n c h w
    before: tuple[Array, Array] | None  # dgamma, dbeta
    dw: Array  # c 1 kh kw
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
    """Run batch_norm_relu and channel_shuffle, if asked for, depthwise_conv2d and batch_norm.

    Parameters
    ----------
    x : array, shape (n, c, h, w), float32 or float64
    before : (gamma, beta) of the first normalisation, or None
        Without it, x is what the shuffle reads.
    w : array, shape (c, 1, kh, kw)
    after : (gamma, beta) of the last normalisation
    eps : pair of float
        Of both.
    groups : int
        Of the shuffle; 1 if there is none.

    Returns
    -------
    y : array, shape (n, c, oh, ow)
    cache : ChannelwiseCache

    Raises
    ------
    ValueError
        As the operations by themselves do.
    """
    if before is not None:
        check_batch(x, *before, eps[0])
    windows = check_depthwise(x, w, None, stride=stride, padding=padding, dilation=dilation)
    (n, c, h, width), (oh, ow) = x.shape, windows.output
    if len(w) != c:
        raise ValueError(f"w has shape {w.shape}, but x has {c} channels; as many are needed")
    places = np.argsort(shuffled_places(c, check_divides(groups, c, of="channels")))
    rows, z, y = as_rows(x), empty_rows(c, n, oh, ow, x.dtype), empty_rows(c, n, oh, ow, x.dtype)
    image, between = as_image(rows, n, h, width), as_image(z, n, oh, ow)
    check_batch(between, *after, eps[1])
    first = None if before is None else _norm(image, *before, eps[0], relu=True)
    last = _norm(between, *after, eps[1], relu=False)
    kernels = np.ascontiguousarray(w).reshape(c, w[0].size)

    def run(start: int, end: int) -> None:
        forward_through_jit(
            rows,
            places,
            _kernel(first or last),
            first is not None,
            kernels,
            _kernel(last),
            n,
            windows.size,
            _scratch(windows, n, x.dtype, backward=False),
            start,
            end,
            z.reshape(c, oh, ow * n),
            y,
        )

    share(c, run, work=w[0].size * y.size + 4 * rows.size)
    return as_image(y, n, oh, ow), ChannelwiseCache(image, first, places, w, last, windows)


def channelwise_gradients(dy: Array, cache: ChannelwiseCache) -> ChannelwiseGradients:
    """Return the gradients of `channelwise`."""
    x, before, places, w, after, windows = cache
    (n, c, h, width), (oh, ow) = x.shape, windows.output
    check_gradient(dy, (n, c, oh, ow), x.dtype)
    rows, gradients, dx = as_rows(x), as_rows(dy), empty_rows(c, n, h, width, x.dtype)
    kernels = np.ascontiguousarray(w).reshape(c, w[0].size)
    dbefore, dw, dafter = (
        np.empty((2, c), x.dtype),
        np.empty_like(kernels),
        np.empty((2, c), x.dtype),
    )

    def run(start: int, end: int) -> None:
        backward_through_jit(
            gradients,
            rows,
            places,
            _kernel(before or after),
            before is not None,
            kernels,
            as_rows(after.x).reshape(c, oh, ow * n),
            _kernel(after),
            n,
            windows.size,
            _scratch(windows, n, x.dtype, backward=True),
            start,
            end,
            dx,
            dbefore,
            dw,
            dafter,
        )

    share(c, run, work=4 * w[0].size * rows.size)
    return ChannelwiseGradients(
        as_image(dx, n, h, width),
        None if before is None else (dbefore[0], dbefore[1]),
        dw.reshape(w.shape),
        (dafter[0], dafter[1]),
    )


def _norm(x: Array, gamma: Array, beta: Array, eps: float, *, relu: bool) -> BatchNormCache:
    gamma, beta = np.ascontiguousarray(gamma), np.ascontiguousarray(beta)
    mean, var = np.empty_like(gamma), np.empty_like(gamma)
    return BatchNormCache(x, gamma, beta, mean, var, float(eps), relu, True)


def _kernel(cache: BatchNormCache) -> Norm:
    return Norm(*cache[1:7])


def _scratch(windows: Windows, n: int, dtype: np.dtype[np.floating], *, backward: bool) -> Scratch:
    planes = planes_of(windows, n, sort=n > 1)
    turned, gather = turned_planes(windows, n)
    (h, w), (oh, ow) = windows.size, windows.output
    return Scratch(
        planes,
        empty_plane(planes, dtype, 0),
        np.zeros(planes.run, dtype),
        turned,
        empty_plane(turned, dtype, 0) if backward else np.empty(0, dtype),
        empty((turned.run,), dtype),
        gather,
        empty((1, h * w * n), dtype),
        empty((1, h * w * n), dtype) if backward else np.empty((1, 0), dtype),
        empty((1, oh * ow * n), dtype) if backward else np.empty((1, 0), dtype),
    )
