"""What the results would be with a well-known mistake in them: if yours are just that, it is named.

Each entry of `VARIANTS` is a sentence and a function of the case. The mistakes are those that
published NumPy code of these operations has, and those that students make.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.exercises.cases import NEUTRAL, Case
from numpy_shufflenet.exercises.exercise import Exercise
from numpy_shufflenet.exercises.mistakes import LEARNING_MISTAKES
from numpy_shufflenet.exercises.table import find

Results = tuple[Any, ...]
Variant = tuple[str, Callable[[Case], Results]]


def variants_of(exercise: Exercise, case: Case) -> Iterator[tuple[str, Results]]:
    """Yield a sentence and the results for each mistake that can be made in this case.

    Where one gradient alone is asked for, the results are all of them nevertheless.
    """
    name = exercise.name.partition(",")[0]
    target = find(name).target
    for sentence, function in VARIANTS.get(name, ()):
        yield from _tried(sentence, function, case)
    for key, value in case[1].items():
        if key in ("count_include_pad", "align_corners"):
            changed = {**case[1], key: not value}
            yield from _tried(
                f"this is the result for {key}={not value}", target, (case[0], changed)
            )
        elif key in NEUTRAL and value != NEUTRAL[key]:
            sentence = f"this is what {key}={NEUTRAL[key]} would give: does your code use {key}?"
            yield from _tried(sentence, target, (case[0], {**case[1], key: NEUTRAL[key]}))


def _tried(
    sentence: str, function: Callable[[Case], Results], case: Case
) -> Iterator[tuple[str, Results]]:
    """Yield the results if this mistake can be made in this case at all."""
    try:
        with np.errstate(all="ignore"):
            results = function(copy.deepcopy(case))
    except ValueError:
        return
    yield sentence, results


def _with(exercise: str, **changes: Callable[[Array], Array]) -> Callable[[Case], Results]:
    """Return the target of an exercise on arrays that are changed before."""

    def results(case: Case) -> Results:
        arrays = {k: changes[k](v) if k in changes else v for k, v in case[0].items()}
        return find(exercise).target((arrays, case[1]))

    return results


def _flipped(w: Array) -> Array:
    return w[:, :, ::-1, ::-1].copy()


def _only(image: int) -> Callable[[Case], Results]:
    """Return gradients in which only one image counts for w and b."""

    def results(case: Case) -> Results:
        target = find("conv2d_backward").target
        dx, *_ = target(case)
        one = dict(case[0])
        one["dy"] = np.zeros_like(one["dy"])
        one["dy"][image] = case[0]["dy"][image]
        return (dx, *target((one, case[1]))[1:])

    return results


def _max_pool_zero_padded(case: Case) -> Results:
    padding = case[1].get("padding", 0)
    if not padding:
        raise ValueError("there is no border")
    sides = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    y, _ = ops.max_pool2d_forward(np.pad(case[0]["x"], sides), **{**case[1], "padding": 0})
    return (y,)


def _max_pool_assigned(case: Case) -> Results:
    """Windows that overlap overwrite each other's gradient."""
    arrays, settings = case
    y, cache = ops.max_pool2d_forward(arrays["x"], **settings)
    windows = cache.windows
    dpadded = np.zeros((*y.shape[:2], *windows.padded_size))
    kw = windows.kernel[1]
    for n, c, p, q in np.ndindex(y.shape):
        i, j = divmod(int(cache.winner[n, c, p, q]), kw)
        row, column = p * windows.stride[0] + i, q * windows.stride[1] + j
        dpadded[n, c, row, column] = arrays["dy"][n, c, p, q]
    return (windows.crop(dpadded),)


def _batch_norm_parts(case: Case) -> tuple[Array, Array, Array, Array]:
    x, gamma = case[0]["x"], case[0]["gamma"][:, None, None]
    mean, var = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
    inv_std = 1 / np.sqrt(var + case[1].get("eps", 1e-5))
    return x - mean, inv_std, gamma, case[0].get("dy", np.zeros(()))


def _batch_norm(**axes: Any) -> Callable[[Case], Results]:
    """Return a forward whose statistics are of other axes, or of m - 1."""

    def results(case: Case) -> Results:
        x = case[0]["x"]
        if axes.get("ddof") and x.size // x.shape[1] < 2:
            raise ValueError("one value has no unbiased variance")
        axis = axes.get("axis", (0, 2, 3))
        mean = x.mean(axis=axis, keepdims=True)
        var = x.var(axis=axis, keepdims=True, ddof=axes.get("ddof", 0))
        x_hat = (x - mean) / np.sqrt(var + case[1].get("eps", 1e-5))
        gamma, beta = (case[0][name][:, None, None] for name in ("gamma", "beta"))
        if "x_hat" in axes:
            return (x_hat,)
        return (gamma * x_hat + beta,)

    return results


def _batch_norm_dx(
    formula: Callable[[Array, Array, Array, Array], Array],
) -> Callable[[Case], Results]:
    """Return gradients whose dx comes from another formula in centred, inv_std, gamma, dy."""

    def results(case: Case) -> Results:
        centred, inv_std, gamma, dy = _batch_norm_parts(case)
        x_hat = centred * inv_std
        dgamma, dbeta = (dy * x_hat).sum(axis=(0, 2, 3)), dy.sum(axis=(0, 2, 3))
        return formula(centred, inv_std, gamma, dy), dgamma, dbeta

    return results


def _then_relu(function: Callable[[Case], Results]) -> Callable[[Case], Results]:
    """Return a forward that has the mistake of another, and a ReLU behind it."""

    def results(case: Case) -> Results:
        return tuple(np.maximum(y, 0) for y in function(case))

    return results


def _mean(a: Array) -> Array:
    return a.mean(axis=(0, 2, 3), keepdims=True)


def _shuffled(rows: Callable[[Case], int], name: str) -> Callable[[Case], Results]:
    def results(case: Case) -> Results:
        return (ops.channel_shuffle_forward(case[0][name], rows(case))[0],)

    return results


def _softmax_gradient_of_one(case: Case) -> Results:
    return find("softmax_cross_entropy_backward").target(({**case[0], "dy": 1.0}, case[1]))


def _times_batch(name: str) -> Callable[[Case], Results]:
    def results(case: Case) -> Results:
        (value,) = find(name).target(case)
        return (value * len(case[0]["logits"]),)

    return results


CONVOLUTIONS = ("conv2d", "group_conv2d", "depthwise_conv2d")
GRADIENT_FORWARDS = "you moved the gradients as the numbers were moved; they must go back instead"
VARIANTS: dict[str, tuple[Variant, ...]] = {
    **{
        f"{name}_forward": (
            (
                "your kernel is flipped: a true convolution, but networks correlate",
                _with(f"{name}_forward", w=_flipped),
            ),
        )
        for name in CONVOLUTIONS
    },
    **{
        f"{name}_backward": (
            (
                "your dx takes the kernel the wrong way round: tap (i, j) of an output meets the "
                "pixel at p * stride + i - padding, so going back the kernel is flipped",
                _with(f"{name}_backward", w=_flipped),
            ),
        )
        for name in CONVOLUTIONS
    },
    "max_pool2d_forward": (
        (
            "your border of zeros wins over negative numbers; it must never win: fill it with "
            "-inf, or leave it out",
            _max_pool_zero_padded,
        ),
    ),
    "max_pool2d_backward": (
        (
            "a pixel that wins in several windows keeps the gradient of the last one only: add "
            "them up (+=, not =)",
            _max_pool_assigned,
        ),
    ),
    "batch_norm_forward": (
        (
            "you divide the variance by m - 1 (ddof=1); batch normalisation divides by m",
            _batch_norm(ddof=1),
        ),
        (
            "your statistics are of each entry over the batch; a channel's are over the batch, "
            "the rows and the columns: axis=(0, 2, 3)",
            _batch_norm(axis=(0,)),
        ),
        (
            "your statistics are of each image alone; the batch belongs to it: axis=(0, 2, 3)",
            _batch_norm(axis=(2, 3)),
        ),
        (
            "your statistics are of the channels of each pixel (layer normalisation)",
            _batch_norm(axis=(1,)),
        ),
        ("this is x_hat: gamma and beta are missing", _batch_norm(x_hat=True)),
    ),
    "batch_norm_backward": (
        (
            "gamma is missing in dx: y = gamma x_hat + beta, so dx_hat = gamma dy",
            _batch_norm_dx(
                lambda x, s, g, dy: s * (dy - _mean(dy) - x * s * _mean(dy * x * s)),
            ),
        ),
        (
            "your dx takes mean and variance for constants (the formula of inference); in "
            "training x moves them, too",
            _batch_norm_dx(lambda x, s, g, dy: g * s * dy),
        ),
        (
            "the way through the mean is missing in dx: subtract the mean of gamma dy",
            _batch_norm_dx(lambda x, s, g, dy: g * s * (dy - x * s * _mean(dy * x * s))),
        ),
        (
            "the way through the variance is missing in dx: subtract x_hat mean(g x_hat)",
            _batch_norm_dx(lambda x, s, g, dy: g * s * (dy - _mean(dy))),
        ),
        (
            "your dx adds where it must average: both sums over the channel are divided by m",
            _batch_norm_dx(
                lambda x, s, g, dy: (
                    g
                    * s
                    * (dy - dy.sum((0, 2, 3), keepdims=True))
                    - g * s * x * s * (dy * x * s).sum((0, 2, 3), keepdims=True)
                )
            ),
        ),
    ),
    "channel_shuffle_forward": (
        (
            "this is the inverse permutation, the order of the authors' V1 code",
            _shuffled(lambda case: case[0]["x"].shape[1] // case[1]["groups"], "x"),
        ),
        ("nothing has moved", _shuffled(lambda case: 1, "x")),
    ),
    "channel_shuffle_backward": (
        (
            f"{GRADIENT_FORWARDS}, by the inverse permutation",
            _shuffled(lambda case: case[1]["groups"], "dy"),
        ),
        (
            "every gradient stayed where it was, but the forward moved the channels",
            _shuffled(lambda case: 1, "dy"),
        ),
    ),
    "relu_backward": (
        ("you pass every gradient on; where x is negative nothing passed, so dx is 0 there",
         lambda case: (case[0]["dy"],)),
        ("this is the ReLU of dy; it is x that decides, not dy",
         lambda case: (np.maximum(case[0]["dy"], 0),)),
        ("this is the slope alone: multiply it by dy",
         lambda case: ((case[0]["x"] > 0).astype(float),)),
    ),
    "sigmoid_backward": (
        ("this is the slope alone: multiply it by dy",
         lambda case: find("sigmoid_backward").target(
             ({**case[0], "dy": np.ones_like(case[0]["x"])}, {}))),
    ),
    "softmax_cross_entropy_forward": (
        ("this is the sum over the batch; the loss is the mean",
         _times_batch("softmax_cross_entropy_forward")),
    ),
    "softmax_cross_entropy_backward": (
        ("the loss is a mean over the batch, so its gradient is divided by the batch, too",
         _times_batch("softmax_cross_entropy_backward")),
        ("dy is missing: it is the gradient of the loss, and need not be 1",
         _softmax_gradient_of_one),
    ),
}  # fmt: skip
VARIANTS["conv2d_backward"] += (
    ("your dw and db are those of the last image only: add up the whole batch", _only(-1)),
    ("your dw and db are those of the first image only: add up the whole batch", _only(0)),
)
VARIANTS["batch_norm_relu_forward"] = (
    ("the ReLU is missing", find("batch_norm_forward").target),
    (
        "the ReLU comes after batch normalisation, not before it",
        _with("batch_norm_forward", x=lambda x: np.maximum(x, 0)),
    ),
    *((said, _then_relu(mistake)) for said, mistake in VARIANTS["batch_norm_forward"]),
)
VARIANTS["channel_unshuffle_forward"] = (
    (
        "this is the other permutation, that of channel_shuffle",
        _shuffled(lambda case: case[1]["groups"], "x"),
    ),
)
VARIANTS.update(LEARNING_MISTAKES)
