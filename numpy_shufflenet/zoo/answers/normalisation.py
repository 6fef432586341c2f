"""Mistakes of students in the forward of batch normalisation; see `answers`."""

from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.batch_norm import CHANNEL_SUM
from numpy_shufflenet.zoo.answers.windows import RIGHT, Wrong
from numpy_shufflenet.zoo.catalogue import variants

CHANNEL = "; compute them of each channel, over the batch, the rows and the columns: axis=(0, 2, 3)"
STATISTICS: dict[str, tuple[tuple[int, ...] | None, str]] = {
    "over_the_batch": ((0,), "you compute mean and variance of each pixel over the batch"),
    "of_each_image": ((2, 3), "you compute mean and variance of each image"),
    "of_each_pixel": ((1,), "you compute mean and variance over the channels of each pixel"),
    "as_layer_norm": (
        (1, 2, 3),
        "you compute mean and variance over all channels of an image, as layer normalisation does",
    ),
    "of_the_array": (None, "you compute one mean and variance of the whole array, all channels"),
    "over_columns_kept": ((0, 2), "you compute mean and variance over the batch and rows only"),
    "over_rows_kept": ((0, 3), "you compute mean and variance over the batch and columns only"),
}
NORMALISING = {
    "square_root_forgotten": ("slope", "the square root is missing: divide by sqrt(var + eps)"),
    "eps_outside": (
        "term",
        "you add eps to the standard deviation; add eps to var: sqrt(var + eps)",
    ),
    "eps_forgotten": ("term", "eps is missing: divide by sqrt(var + eps)"),
    "eps_subtracted": ("sign", "you subtract eps; add it to var"),
    "mean_kept": ("term", "the mean is not subtracted from x"),
    "mean_added": ("sign", "you add the mean to x; subtract it"),
    "std_multiplied": ("slope", "you multiply by the standard deviation; divide by it"),
    "scale_and_shift_swapped": ("swapped", "gamma and beta are swapped: y = gamma x_hat + beta"),
    "gamma_forgotten": ("dropped", "gamma is missing: y = gamma x_hat + beta"),
    "beta_forgotten": ("dropped", "beta is missing: y = gamma x_hat + beta"),
    "not_scaled": ("dropped", "this is x_hat: gamma and beta are missing"),
    "along_columns": (
        "swapped",
        "gamma and beta must have the shape (c, 1, 1): use gamma[:, None, None]; NumPy uses them "
        "along the columns",
    ),
    "beta_subtracted": ("sign", "you subtract beta; add it"),
    "beta_scaled": (
        "term",
        "you multiply beta by gamma: y = gamma x_hat + beta, not gamma (x_hat + beta)",
    ),
}


def along_columns(v: Array) -> Array:
    """Return one number for each channel, in a shape that broadcasts over images."""
    return v[:, None, None]


def inverse_std(var: Array, eps: float, wrong: Wrong) -> Array:
    """Return 1 / sqrt(var + eps)."""
    if "eps_forgotten" in wrong:
        eps = 0.0
    if "eps_subtracted" in wrong:
        eps = -eps
    std = np.sqrt(var) + eps if "eps_outside" in wrong else np.sqrt(var + eps)
    if "square_root_forgotten" in wrong:
        std = std * std
    inverse: Array = std if "std_multiplied" in wrong else 1 / std
    return inverse


def _normalised(
    x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float, wrong: Wrong
) -> Array:
    mean = 0 * mean if "mean_kept" in wrong else -mean if "mean_added" in wrong else mean
    x_hat = (x - mean) * inverse_std(var, eps, wrong)
    if "scale_and_shift_swapped" in wrong:
        gamma, beta = beta, gamma
    if wrong & {"gamma_forgotten", "not_scaled"}:
        gamma = np.ones(gamma.shape)
    if wrong & {"beta_forgotten", "not_scaled"}:
        beta = np.zeros(beta.shape)
    if "beta_subtracted" in wrong:
        beta = -beta
    if "beta_scaled" in wrong:
        beta = beta * gamma
    if "along_columns" in wrong:
        return gamma * x_hat + beta
    return along_columns(gamma) * x_hat + along_columns(beta)


TRAINING = {
    **NORMALISING,
    **{name: ("sum", said + CHANNEL) for name, (_, said) in STATISTICS.items()},
    "unbiased": (
        "factor",
        "you divide the variance by m - 1 (ddof=1); batch normalisation divides by m",
    ),
    "variance_of_squares": (
        "term",
        "this is the mean of x squared, not the variance: subtract the mean",
    ),
    "deviation_absolute": (
        "slope",
        "you use the mean of |x - mean|; the variance has (x - mean) ** 2",
    ),
    "variance_summed": ("factor", "the variance is the mean of (x - mean) ** 2, not the sum"),
}


@variants("batch_norm_forward", **TRAINING)
def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float, wrong: Wrong = RIGHT
) -> Any:
    """Normalise, scale, shift."""
    axis: tuple[int, ...] | None = CHANNEL_SUM
    for name, (other, _) in STATISTICS.items():
        axis = other if name in wrong else axis
    mean = x.mean(axis=axis, keepdims=True)
    centred = x if "variance_of_squares" in wrong else x - mean
    squares = np.abs(centred) if "deviation_absolute" in wrong else centred * centred
    var = squares.mean(axis=axis, keepdims=True)
    m = x.size // mean.size
    if "variance_summed" in wrong:
        var = var * m
    if "unbiased" in wrong:
        var = var * (m / (m - 1))
    return _normalised(x, mean, var, gamma, beta, eps, wrong)


@variants(
    "batch_norm_relu_forward",
    **TRAINING,
    relu_forgotten=("dropped", "the ReLU after the normalisation is missing"),
    relu_first=("swapped", "the ReLU comes after batch normalisation, not before it"),
)
def batch_norm_relu_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float, wrong: Wrong = RIGHT
) -> Any:
    """Normalise, and set negative numbers to 0."""
    if "relu_first" in wrong:
        return batch_norm_forward(np.maximum(x, 0), gamma, beta, eps=eps, wrong=wrong)
    y = batch_norm_forward(x, gamma, beta, eps=eps, wrong=wrong)
    return y if "relu_forgotten" in wrong else np.maximum(y, 0)


GIVEN = "you compute mean and variance of the batch; in inference use those that are given"


@variants(
    "batch_norm_inference_forward",
    **NORMALISING,
    statistics_of_the_batch=("swapped", GIVEN),
    mean_of_the_batch=("swapped", "you compute the mean of the batch; use the mean that is given"),
    variance_of_the_batch=("swapped", "you compute the variance of the batch; use the given one"),
    mean_and_variance_swapped=("swapped", "mean and var are swapped"),
)
def batch_norm_inference_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    *,
    eps: float,
    wrong: Wrong = RIGHT,
) -> Any:
    """Normalise with given statistics."""
    if "mean_and_variance_swapped" in wrong:
        mean, var = var, mean
    if wrong & {"statistics_of_the_batch", "mean_of_the_batch"}:
        mean = x.mean(axis=CHANNEL_SUM)
    if wrong & {"statistics_of_the_batch", "variance_of_the_batch"}:
        var = x.var(axis=CHANNEL_SUM)
    return _normalised(x, along_columns(mean), along_columns(var), gamma, beta, eps, wrong)
