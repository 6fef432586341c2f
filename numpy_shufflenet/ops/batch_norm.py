"""Batch normalisation: every channel gets mean 0 and variance 1 over the batch, then a scale.

With all means over the m = n h w values of one channel,

    mu    = mean x            var = mean (x - mu)^2          inv_std = 1 / sqrt(var + eps)
    x_hat = (x - mu) inv_std      y = gamma x_hat + beta

Backward, derived in three ways. dbeta = sum dy and dgamma = sum dy x_hat are simple. dx is harder,
because x reaches y in three ways: directly, through mu and through var.

1. The computation graph (`batch_norm_backward_graph`): go through the forward's lines in
   reverse, one derivative a line, and add where paths meet. This is simple, but keeps six arrays.

2. Simplified (`batch_norm_backward_simplified`). Put g = gamma dy. Along the three ways,

       directly      g inv_std
       through var   dvar = -1/2 inv_std^3 sum g (x - mu),  times dvar/dx = 2 (x - mu) / m
       through mu    -inv_std sum g,  times dmu/dx = 1/m    (dvar/dmu = -2 mean (x - mu) = 0)

   and with (x - mu) = x_hat / inv_std they collect to

       dx = inv_std (g - mean g - x_hat mean(g x_hat))

   Shifting or scaling all of x doesn't change y. The two means remove from g the part along these
   two directions.

3. Recompute form (`batch_norm_backward`). For each channel, gamma, inv_std and both means are
   numbers, and dgamma and dbeta contain the means: mean g = gamma dbeta / m, and
   mean(g x_hat) = gamma dgamma / m. So dx is an affine combination of dy and x:

       dx = scale (dy - dbeta / m - (x - mu) inv_std dgamma / m),    scale = gamma inv_std

   It needs x and four numbers of each channel, and doesn't keep x_hat. Networks run this form.

In inference, mean and variance are constants. So y is an affine map of each channel, and x reaches
y only directly: neither mu nor var depends on x.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops._sums import mean_over, sum_over
from numpy_shufflenet.ops.checks import check_gradient, check_image, check_share, check_vector
from numpy_shufflenet.registry import Case, Draw, Formula, Terms, register
from numpy_shufflenet.registry.formula import IMAGE, of_image

__all__ = [
    "batch_norm_backward",
    "batch_norm_backward_graph",
    "batch_norm_backward_simplified",
    "batch_norm_forward",
    "batch_norm_inference_backward",
    "batch_norm_inference_forward",
    "update_running_statistics",
]

CHANNEL_SUM = (0, 2, 3)  # the axes of (n, c, h, w) that leave c
Gradients = tuple[Array, Array, Array]


class BatchNormCache(NamedTuple):
    """What every backward function of this file needs.

    mean and var are the statistics of the batch in training, and the given constants in inference.
    """

    x: Array  # n c h w
    gamma: Array  # c
    mean: Array  # c
    var: Array  # c, biased: the mean of squares
    eps: float


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, BatchNormCache]:
    """Normalise every channel by the statistics of the batch (training mode).

    Parameters
    ----------
    x : array, shape (n, c, h, w), float32 or float64
    gamma, beta : array, shape (c,)
        Scale and shift of each channel.
    eps : float
        Added to the variance, so that a constant channel gives beta and not NaN.

    Returns
    -------
    y : array, shape (n, c, h, w)
    cache : BatchNormCache
        It holds mean and var (c,) of the batch; see `update_running_statistics`.

    Raises
    ------
    ValueError
        If shapes or dtypes don't fit, eps is negative, or x is empty: it has no mean.

    Source: Ioffe, Szegedy, Batch normalization, 2015, section 3 and algorithm 1.
    """
    check_batch(x, gamma, beta, eps)
    mean = mean_over(x, CHANNEL_SUM)  # c
    centred = x - per_channel(mean)  # n c h w
    var = mean_over(np.square(centred), CHANNEL_SUM)  # c
    y = centred * per_channel(gamma * inverse_std(var, eps)) + per_channel(beta)
    return y, BatchNormCache(x, gamma, mean, var, eps)


def batch_norm_backward(dy: Array, cache: BatchNormCache) -> Gradients:
    """Gradients of `batch_norm_forward`: dx (n, c, h, w), dgamma (c,), dbeta (c,).

    This is the recompute form, the third derivation above.
    """
    x, gamma, mean, var, eps = cache
    check_gradient(dy, x.shape, x.dtype)
    inv_std = inverse_std(var, eps)
    m = x.size // x.shape[1]
    centred = x - per_channel(mean)
    dbeta = sum_over(dy, CHANNEL_SUM)
    dgamma = sum_over(dy * centred, CHANNEL_SUM) * inv_std
    dx = dy - per_channel(dbeta / m) - centred * per_channel(inv_std * dgamma / m)
    dx *= per_channel(gamma * inv_std)
    return dx, dgamma, dbeta


def batch_norm_backward_simplified(dy: Array, cache: BatchNormCache) -> Gradients:
    """Compute the same gradients as `batch_norm_backward` by the simplified form."""
    x, gamma, mean, var, eps = cache
    check_gradient(dy, x.shape, x.dtype)
    inv_std = per_channel(inverse_std(var, eps))
    x_hat = (x - per_channel(mean)) * inv_std
    g = per_channel(gamma) * dy
    mean_g = mean_over(g, CHANNEL_SUM)  # c
    mean_gx = mean_over(g * x_hat, CHANNEL_SUM)  # c
    dx = inv_std * (g - per_channel(mean_g) - x_hat * per_channel(mean_gx))
    return dx, sum_over(dy * x_hat, CHANNEL_SUM), sum_over(dy, CHANNEL_SUM)


def batch_norm_backward_graph(dy: Array, cache: BatchNormCache) -> Gradients:
    """Compute the same gradients as `batch_norm_backward` through the computation graph."""
    x, gamma, mean, var, eps = cache
    check_gradient(dy, x.shape, x.dtype)
    m = x.size // x.shape[1]
    # The forward, one operation on each line
    centred = x - per_channel(mean)
    inv_std = inverse_std(var, eps)
    x_hat = centred * per_channel(inv_std)
    # The backward, from the last line to the first: y = gamma x_hat + beta
    dbeta = sum_over(dy, CHANNEL_SUM)
    dgamma = sum_over(dy * x_hat, CHANNEL_SUM)
    dx_hat = dy * per_channel(gamma)
    # x_hat = centred inv_std
    dcentred = dx_hat * per_channel(inv_std)
    dinv_std = sum_over(dx_hat * centred, CHANNEL_SUM)
    # inv_std = (var + eps)^(-1/2)
    dvar = -0.5 * inv_std**3 * dinv_std
    # var = mean centred^2, the second way into centred
    dcentred = dcentred + 2 * centred * per_channel(dvar / m)
    # centred = x - mean, and mean = mean x, the second way into x
    dmean = -sum_over(dcentred, CHANNEL_SUM)
    dx = dcentred + per_channel(dmean / m)
    return dx, dgamma, dbeta


def update_running_statistics(
    mean: Array, var: Array, cache: BatchNormCache, *, momentum: float = 0.1
) -> tuple[Array, Array]:
    """Move the running statistics towards the statistics of the batch, as PyTorch does.

        mean <- (1 - momentum) mean + momentum batch_mean        (var likewise, unbiased)

    Conventions differ. PyTorch's momentum weighs the *new* value, and it keeps the unbiased
    variance (divided by m - 1) while normalising by the biased one (divided by m). TensorFlow and
    Keras weigh the *old* value (0.99 there is 0.01 here) and keep the biased variance.

    Parameters
    ----------
    mean, var : array, shape (c,)
        The running statistics so far; they are not changed.
    cache : BatchNormCache
        From `batch_norm_forward` or `sync_batch_norm_forward`.
    momentum : float
        Weight of the batch, from 0 to 1.

    Returns
    -------
    mean, var : array, shape (c,)
        New arrays.

    Raises
    ------
    ValueError
        If shapes don't fit, momentum is not from 0 to 1, or a channel has a single value, which
        has no unbiased variance.

    Source: Ioffe, Szegedy, 2015, section 3.1 (unbiased variance for inference).
    """
    channels = cache.x.shape[1]
    check_vector("mean", mean, channels, like=cache.x)
    check_vector("var", var, channels, like=cache.x)
    momentum = check_share("momentum", momentum)  # a Python float: np.float64 would promote float32
    # Synchronised batch normalisation counts the values of all processes.
    m = getattr(cache, "m", cache.x.size // channels)
    if m < 2:
        raise ValueError(
            f"x has shape {cache.x.shape}, one value per channel, and one value has no unbiased "
            "variance; use a larger batch or image"
        )
    unbiased = cache.var * (m / (m - 1))
    keep = 1 - momentum
    return keep * mean + momentum * cache.mean, keep * var + momentum * unbiased


def batch_norm_inference_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float = 1e-5
) -> tuple[Array, BatchNormCache]:
    """Normalise every channel by given statistics (inference mode).

    Parameters
    ----------
    x, gamma, beta, eps
        As in `batch_norm_forward`, but x may be empty.
    mean, var : array, shape (c,)
        The running statistics; they are constants without a gradient.

    Returns
    -------
    y : array, shape (n, c, h, w)
        gamma (x - mean) / sqrt(var + eps) + beta: an affine map of each channel.

    Raises
    ------
    ValueError
        If shapes or dtypes don't fit, or eps is negative.

    Source: Ioffe, Szegedy, 2015, algorithm 2.
    """
    check_inference(x, gamma, beta, mean, var, eps)
    scale = gamma * inverse_std(var, eps)
    y = (x - per_channel(mean)) * per_channel(scale) + per_channel(beta)
    return y, BatchNormCache(x, gamma, mean, var, eps)


def batch_norm_inference_backward(dy: Array, cache: BatchNormCache) -> Gradients:
    """Gradients of `batch_norm_inference_forward`: dx (n, c, h, w), dgamma (c,), dbeta (c,)."""
    x, gamma, mean, var, eps = cache
    check_gradient(dy, x.shape, x.dtype)
    inv_std = inverse_std(var, eps)
    dx = dy * per_channel(gamma * inv_std)
    dgamma = sum_over(dy * (x - per_channel(mean)), CHANNEL_SUM) * inv_std
    return dx, dgamma, sum_over(dy, CHANNEL_SUM)


def per_channel(v: Array) -> Array:
    """(c,) -> (c, 1, 1), which broadcasts over (n, c, h, w)."""
    return v[:, None, None]


def inverse_std(var: Array, eps: float) -> Array:
    return 1 / np.sqrt(var + float(eps))  # an eps of type np.float64 would promote float32


def check_batch(x: Array, gamma: Array, beta: Array, eps: float) -> None:
    """Raise ValueError unless the arrays fit together, and x can be normalised."""
    _check_vectors(x, eps, gamma=gamma, beta=beta)
    if x.size == 0:
        raise ValueError(f"x has shape {x.shape}; an empty batch has no mean")


def check_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float
) -> None:
    """Raise ValueError unless x can be normalised by mean and var."""
    _check_vectors(x, eps, gamma=gamma, beta=beta, mean=mean, var=var)


def _check_vectors(x: Array, eps: float, **vectors: Array) -> None:
    check_image("x", x)
    for name, vector in vectors.items():
        check_vector(name, vector, x.shape[1], like=x)
    if not eps >= 0:
        raise ValueError(f"eps={eps!r} is negative; a small number such as 1e-5 is needed")


def batch_norm_cases(draw: Draw) -> Case:
    """Draw at least 4 numbers per channel that are far apart; gamma may be negative."""
    c = draw.integer(1, 5, example=4)
    shape = (draw.batch(example=3), c, draw.side(2, example=3), draw.side(2, example=2))
    eps = draw.option("eps", 1e-5, lambda: draw.choose(1e-5, 1e-3, 0.5))
    return (draw.spread(*shape, mean=2, std=3), draw(c), draw(c)), {"eps": eps}


def _inference_cases(draw: Draw) -> Case:
    c = draw.integer(1, 5, example=4)
    x = draw(*draw.image(c, example=(3, 2), batch=3))
    eps = draw.option("eps", 1e-5, lambda: draw.choose(1e-5, 1e-3, 0.5))
    return (x, draw(c), draw(c), draw(c), draw.positive(c)), {"eps": eps}


BATCH_NORM = Formula(
    of_image,
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
    kept="s * (c*m + 2*c)",
)

register(
    batch_norm_forward,
    kind="batch norm",
    kernel=True,
    cases=batch_norm_cases,
    formula=BATCH_NORM,
)
register(
    batch_norm_inference_forward,
    kind="batch norm",
    differentiable=("x", "gamma", "beta"),
    kernel=True,
    cases=_inference_cases,
    formula=Formula(
        of_image,
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
        kept=f"s * {IMAGE}",
    ),
)
