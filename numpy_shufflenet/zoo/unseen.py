"""What no gradient check can see (part b), and what only its side checks see (part c)."""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.operations import find
from numpy_shufflenet.zoo._bug import Bug, Function, differentiable_first, enter, summary_of


def _add(part: str, operation: str, forward: Function, backward: Function, **fields: Any) -> None:
    known = find(operation)
    told = forward if forward is not known.forward() else backward
    enter(
        Bug(
            name=f"{operation}/{told.__name__}",
            part=part,
            operation=operation,
            forward=forward,
            backward=backward,
            right=(known.forward(), known.backward()),
            draw=differentiable_first(known, fields.pop("example", None) or known.draw),
            summary=summary_of(told),
            **fields,
        )
    )


# Part b: forward and backward agree, and both are wrong.


def border_of_zeros(x: Array, kernel_size: Any, **windows: Any) -> tuple[Array, Any]:
    """Fill the border of a max pool with 0, which wins over negative values."""
    (top, bottom), (left, right) = ((windows.get("padding", 0),) * 2,) * 2
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    y, cache = ops.max_pool2d_forward(padded, kernel_size, stride=windows.get("stride"))
    return y, (cache, (top, left))


def _crop(dy: Array, cache: Any) -> Array:
    pool, (top, left) = cache
    dpadded = ops.max_pool2d_backward(dy, pool)
    h, w = dpadded.shape[2:]
    return dpadded[:, :, top : h - top, left : w - left].copy()


_add(
    "b",
    "max_pool2d",
    border_of_zeros,
    _crop,
    cause="wrong forward",
    found_in="published NumPy max pools that pad with 0",
    example=lambda draw: ((draw(2, 3, 6, 5) - 2,), {"kernel_size": 3, "stride": 2, "padding": 1}),
)


def normalised_by_the_unbiased_variance(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, Any]:
    """Normalise by the variance with m - 1, forward and backward."""
    m = x.size // x.shape[1]
    mean = x.mean(axis=(0, 2, 3), keepdims=True)
    centred = x - mean
    inv_std = 1 / np.sqrt(np.square(centred).sum(axis=(0, 2, 3), keepdims=True) / (m - 1) + eps)
    x_hat = centred * inv_std
    return gamma[:, None, None] * x_hat + beta[:, None, None], (x_hat, inv_std, gamma, m)


def _unbiased_backward(dy: Array, cache: Any) -> tuple[Array, Array, Array]:
    x_hat, inv_std, gamma, m = cache
    dgamma, dbeta = (dy * x_hat).sum(axis=(0, 2, 3)), dy.sum(axis=(0, 2, 3))
    dx = dy - (dbeta / m)[:, None, None] - x_hat * (dgamma / (m - 1))[:, None, None]
    return dx * gamma[:, None, None] * inv_std, dgamma, dbeta


_add(
    "b",
    "batch_norm",
    normalised_by_the_unbiased_variance,
    _unbiased_backward,
    cause="wrong forward",
    found_in="np.var(ddof=1) in NumPy normalisations",
)


def shuffled_in_the_other_order(x: Array, groups: int) -> tuple[Array, Any]:
    """Shuffle in the order of the authors' V1 code where the paper's is meant."""
    return ops.channel_unshuffle_forward(x, groups)


_add(
    "b",
    "channel_shuffle",
    shuffled_in_the_other_order,
    ops.channel_unshuffle_backward,
    cause="wrong forward",
    found_in="the two orders in the wild: the paper's, and the authors' V1 code's",
)


# Part c: what happens beside the result.


def relu_in_place(x: Array) -> tuple[Array, Any]:
    """Write the zeros into x itself."""
    x[x < 0] = 0
    return ops.relu_forward(x)


_add(
    "c",
    "relu",
    relu_in_place,
    ops.relu_backward,
    cause="side effect",
    found_in="published ReLUs that write into their input",
)


def dy_overwritten(dy: Array, cache: Any) -> Array:
    """Compute the gradient in the memory of dy, which another branch may still need."""
    dy *= cache.y * (1 - cache.y)
    return dy


_add(
    "c",
    "sigmoid",
    ops.sigmoid_forward,
    dy_overwritten,
    cause="side effect",
    found_in="NVIDIA/apex, issue 1587: fused softmax kernels write into the incoming gradient",
)


def input_normalised_in_place(x: Array, gamma: Array, beta: Array, **eps: float) -> Any:
    """Subtract the mean from x itself to save memory."""
    result = ops.batch_norm_forward(x.copy(), gamma, beta, **eps)
    x -= x.mean(axis=(0, 2, 3), keepdims=True)
    return result


_add(
    "c",
    "batch_norm",
    input_normalised_in_place,
    ops.batch_norm_backward,
    cause="side effect",
    found_in="deeplearning4j, pull request 364: activations were in place, so z was modified",
)


def dtype_promoted(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Multiply by a float64 array, so that float32 gradients come back as float64."""
    dx, dw, db = ops.linear_backward(dy, cache)
    return dx, dw * np.ones(1), db


_add(
    "c",
    "linear",
    ops.linear_forward,
    dtype_promoted,
    cause="not a gradient",
    found_in="NumPy code with np.sqrt(2 / n) and the like in it, which is a float64 scalar",
)


def result_promoted(x: Array) -> tuple[Any, Any]:
    """Divide by a float64 array, so that float32 images come out as float64."""
    y, cache = ops.global_avg_pool_forward(x)
    return y / np.ones(1), cache


def _cast(dy: Array, cache: Any) -> Array:
    return ops.global_avg_pool_backward(dy.astype(cache.x.dtype), cache)


_add(
    "c",
    "global_avg_pool",
    result_promoted,
    _cast,
    cause="not a gradient",
    found_in="NumPy code with np.sqrt(2 / n) and the like in it, which is a float64 scalar",
)


def memory_taken_as_it_lies(x: Array) -> tuple[Array, Any]:
    """Read the memory behind x as if it were contiguous."""
    memory = x if x.base is None else x.base
    return ops.sigmoid_forward(memory.ravel()[: x.size].reshape(x.shape).copy())


_add(
    "c",
    "sigmoid",
    memory_taken_as_it_lies,
    ops.sigmoid_backward,
    cause="side effect",
    found_in="torch/cunn, pull request 199: a gradient that was not contiguous",
)


def counts_its_calls(dy: Array, cache: Any, _calls: list[int] = [0]) -> Array:  # noqa: B006
    """Add up over calls what should start at 0 each time."""
    _calls[0] += 1
    return ops.avg_pool2d_backward(dy, cache) * dy.dtype.type(1 + 1e-3 * _calls[0])


_add(
    "c",
    "avg_pool2d",
    ops.avg_pool2d_forward,
    counts_its_calls,
    cause="not repeatable",
    found_in="karpathy/micrograd, pull request 102: backward twice adds to the gradients",
)
