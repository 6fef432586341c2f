"""Mistakes of students in the backward of batch normalisation; see `answers`."""

from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.batch_norm import CHANNEL_SUM
from numpy_shufflenet.zoo.answers.normalisation import GIVEN, along_columns, inverse_std
from numpy_shufflenet.zoo.answers.windows import RIGHT, Wrong
from numpy_shufflenet.zoo.catalogue import variants

SUMS = {
    "dgamma_without_x_hat": ("term", "dgamma sums dy x_hat; you sum dy alone"),
    "dgamma_with_x": ("term", "dgamma sums dy x_hat; you use x in place of x_hat"),
    "dgamma_with_y": ("term", "dgamma sums dy x_hat; you multiply x_hat by gamma first"),
    "dgamma_averaged": ("factor", "dgamma is a mean in your code; it is the sum"),
    "dbeta_averaged": ("factor", "dbeta is a mean in your code; it is the sum"),
    "dgamma_over_the_batch": ("sum", "dgamma is summed over the batch only; sum over pixels, too"),
    "dbeta_over_the_batch": ("sum", "dbeta is summed over the batch only; sum over pixels, too"),
    "dbeta_scaled": ("factor", "you multiply dbeta by gamma; beta is added after gamma"),
    "dgamma_divided": ("factor", "you divide dgamma by gamma or multiply it; dgamma sums dy x_hat"),
}


def _sums(dy: Array, x: Array, x_hat: Array, gamma: Array, wrong: Wrong) -> tuple[Array, Array]:
    factor = 1 if "dgamma_without_x_hat" in wrong else x if "dgamma_with_x" in wrong else x_hat
    if "dgamma_with_y" in wrong:
        factor = along_columns(gamma) * factor

    def over(name: str, a: Array) -> Array:
        total: Array = a.sum(axis=(0,) if f"{name}_over_the_batch" in wrong else CHANNEL_SUM)
        return total / a[:, 0].size if f"{name}_averaged" in wrong else total

    dgamma, dbeta = over("dgamma", dy * factor), over("dbeta", dy)
    if "dgamma_divided" in wrong:
        dgamma = dgamma / gamma
    return dgamma, dbeta * gamma if "dbeta_scaled" in wrong else dbeta


SCALES = {
    "gamma_forgotten": ("factor", "gamma is missing in dx: y = gamma x_hat + beta"),
    "gamma_along_columns": (
        "swapped",
        "gamma must have the shape (c, 1, 1): use gamma[:, None, None]; NumPy multiplies columns",
    ),
    "gamma_divided": ("factor", "you divide dx by gamma; multiply it"),
    "inv_std_forgotten": ("factor", "inv_std is missing in dx: x_hat = (x - mean) inv_std"),
    "square_root_forgotten": ("slope", "the square root is missing: inv_std = 1 / sqrt(var + eps)"),
    "std_multiplied": ("slope", "you multiply by the standard deviation; divide by it"),
    "eps_forgotten": ("term", "eps is missing: inv_std = 1 / sqrt(var + eps)"),
    "eps_outside": (
        "term",
        "you add eps to the standard deviation; add eps to var: sqrt(var + eps)",
    ),
}


def _scale(gamma: Array, inv_std: Array, wrong: Wrong) -> Array:
    scale = np.ones(gamma.shape) if "gamma_forgotten" in wrong else gamma
    if "gamma_divided" in wrong:
        scale = 1 / scale
    shaped = scale if "gamma_along_columns" in wrong else along_columns(scale)
    found: Array = shaped * (1 if "inv_std_forgotten" in wrong else inv_std)
    return found


@variants(
    "batch_norm_inference_backward",
    **SCALES,
    **SUMS,
    mean_kept=("term", "the mean is not subtracted from x in x_hat"),
    mean_term=("term", "the mean is a constant in inference: dx has no term of the mean of dy"),
    statistics_of_the_batch=("swapped", GIVEN),
    training_formula=(
        "term",
        "mean and variance are constants in inference: dx is dy gamma inv_std, with no other terms",
    ),
)
def batch_norm_inference_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    *,
    eps: float,
    wrong: Wrong = RIGHT,
) -> Any:
    """Scale dy, and sum up."""
    if "statistics_of_the_batch" in wrong:
        mean, var = x.mean(axis=CHANNEL_SUM), x.var(axis=CHANNEL_SUM)
    inv_std = along_columns(inverse_std(var, eps, wrong))
    x_hat = (x - (0 if "mean_kept" in wrong else along_columns(mean))) * inv_std
    g = dy
    if wrong & {"mean_term", "training_formula"}:
        g = g - dy.mean(axis=CHANNEL_SUM, keepdims=True)
    if "training_formula" in wrong:
        g = g - x_hat * (dy * x_hat).mean(axis=CHANNEL_SUM, keepdims=True)
    return g * _scale(gamma, inv_std, wrong), *_sums(dy, x, x_hat, gamma, wrong)


TRAINING_CHANNEL = "; take the means over the whole channel: axis=(0, 2, 3)"


@variants(
    "batch_norm_backward",
    **SCALES,
    **SUMS,
    mean_term_forgotten=(
        "term",
        "the gradient through the mean is missing in dx: with g = gamma dy, subtract mean(g)",
    ),
    variance_term_forgotten=(
        "term",
        "the gradient through the variance is missing in dx: with g = gamma dy, subtract "
        "x_hat mean(g x_hat)",
    ),
    mean_term_added=("sign", "the sign of the term of the mean is wrong: subtract mean(g)"),
    variance_term_added=(
        "sign",
        "the sign of the term of the variance is wrong: subtract x_hat mean(g x_hat)",
    ),
    sum_for_the_mean=("factor", "the term of the mean has a sum; it is mean(g), divided by m"),
    sum_for_the_variance=(
        "factor",
        "the term of the variance has a sum; it is x_hat mean(g x_hat), divided by m",
    ),
    term_without_x_hat=(
        "term",
        "the term of the variance lacks its factor x_hat: x_hat mean(g x_hat)",
    ),
    mean_without_x_hat=("term", "x_hat is missing in the mean of the variance term: mean(g x_hat)"),
    x_for_x_hat=("term", "the term of the variance has x as a factor; it needs x_hat"),
    x_in_the_mean=("term", "the mean in the term of the variance has x; it is mean(g x_hat)"),
    centred_once=("term", "the term of the variance has x - mean once; it needs x_hat twice"),
    centred_twice=("term", "the term of the variance has x - mean twice; it needs x_hat"),
    m_minus_1=("factor", "you divide by m - 1; batch normalisation divides by m in both terms"),
    m_minus_1_variance=("factor", "you divide by m - 1 in the term of the variance; divide by m"),
    means_over_the_batch=("sum", "the means in dx are over the batch only" + TRAINING_CHANNEL),
    means_of_each_image=("sum", "the means in dx are those of each image" + TRAINING_CHANNEL),
    means_over_channels=("sum", "the means in dx are over all channels" + TRAINING_CHANNEL),
    mean_of_dy=("term", "the term of the mean uses dy; use g = gamma dy"),
    variance_of_dy=("term", "the term of the variance uses dy; use g = gamma dy"),
    variance_term_doubled=("factor", "the term of the variance is twice as large as it should be"),
    variance_term_halved=("factor", "the term of the variance is half as large as it should be"),
    direct_term_forgotten=("term", "the direct term is missing in dx: dx = inv_std (g - ...)"),
    inv_std_direct_only=(
        "factor",
        "inv_std multiplies only the direct term; it multiplies all of dx",
    ),
    x_hat_not_centred=("term", "x_hat lacks the mean: x_hat = (x - mean) inv_std"),
    unbiased=(
        "factor",
        "you divide the variance by m - 1 (ddof=1); batch normalisation divides by m",
    ),
)
def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, *, eps: float, wrong: Wrong = RIGHT
) -> Any:
    """Subtract from g = gamma dy the terms of mean and variance."""
    mean = x.mean(axis=CHANNEL_SUM, keepdims=True)
    m = x.size // x.shape[1]
    inv_std = inverse_std(
        x.var(axis=CHANNEL_SUM, keepdims=True, ddof="unbiased" in wrong), eps, wrong
    )
    x_hat = (x - (0 if "x_hat_not_centred" in wrong else mean)) * inv_std
    scale = _scale(gamma, inv_std, wrong)  # g inv_std = dy scale
    axis: tuple[int, ...] | None = CHANNEL_SUM
    axis = (0,) if "means_over_the_batch" in wrong else axis
    axis = (2, 3) if "means_of_each_image" in wrong else axis
    axis = None if "means_over_channels" in wrong else axis

    def mean_of(a: Array, name: str) -> Array:
        a = a * (inv_std if f"{name}_of_dy" in wrong else scale)
        found: Array = a.mean(axis=axis, keepdims=True)
        if f"sum_for_the_{name}" in wrong:
            found = found * (a.size // found.size)
        if "m_minus_1" in wrong or f"m_minus_1_{name}" in wrong:
            found = found * (m / (m - 1))
        if "inv_std_direct_only" in wrong:
            found = found / inv_std
        return found

    outer = (
        x
        if "x_for_x_hat" in wrong
        else x - mean
        if wrong & {"centred_once", "centred_twice"}
        else x_hat
    )
    hat = x if "x_in_the_mean" in wrong else x - mean if "centred_twice" in wrong else x_hat
    mean_term = mean_of(dy, "mean")
    inner = mean_of(dy if "mean_without_x_hat" in wrong else dy * hat, "variance")
    variance_term = inner if "term_without_x_hat" in wrong else outer * inner
    for name, factor in (("doubled", 2.0), ("halved", 0.5), ("added", -1.0), ("forgotten", 0.0)):
        mean_term = mean_term * (factor if f"mean_term_{name}" in wrong else 1)
        variance_term = variance_term * (factor if f"variance_term_{name}" in wrong else 1)
    direct = 0 if "direct_term_forgotten" in wrong else dy * scale
    dx = direct - mean_term - variance_term
    return dx, *_sums(dy, x, x_hat, gamma, wrong)
