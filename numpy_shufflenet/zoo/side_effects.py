"""Side effects (part c): the result is right, and only the checks of side effects catch them."""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo.catalogue import wrong_backward, wrong_forward

SCALARS = "NumPy code that multiplies by a float64 scalar such as np.sqrt(2 / n)"


@wrong_forward("relu", part="c", cause="side effect")
def relu_in_place(x: Array) -> tuple[Array, Any]:
    """Write the zeros into x.

    Found in: published ReLUs that write into their input.
    """
    x[x < 0] = 0
    return ops.relu_forward(x)


@wrong_backward("sigmoid", part="c", cause="side effect")
def dy_overwritten(dy: Array, cache: Any) -> Array:
    """Overwrite dy with the gradient, though another branch may still need dy.

    Found in: NVIDIA/apex, issue 1587: fused softmax kernels write into the incoming gradient.
    """
    dy *= cache.y * (1 - cache.y)
    return dy


@wrong_forward("batch_norm", part="c", cause="side effect")
def input_normalised_in_place(x: Array, gamma: Array, beta: Array, **eps: float) -> Any:
    """Subtract the mean from x in place to save memory.

    Found in: deeplearning4j, pull request 364: in-place activations changed z.
    """
    result = ops.batch_norm_forward(x.copy(), gamma, beta, **eps)
    x -= x.mean(axis=(0, 2, 3), keepdims=True)
    return result


@wrong_backward("linear", part="c", cause="not a gradient", found_in=SCALARS)
def dtype_promoted(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Multiply by a float64 array, so that float32 gradients become float64."""
    dx, dw, db = ops.linear_backward(dy, cache)
    return dx, dw * np.ones(1), db


def _cast(dy: Array, cache: Any) -> Array:
    return ops.global_avg_pool_backward(dy.astype(cache.x.dtype), cache)


@wrong_forward(
    "global_avg_pool", part="c", backward=_cast, cause="not a gradient", found_in=SCALARS
)
def result_promoted(x: Array) -> tuple[Any, Any]:
    """Divide by a float64 array, so that y is float64 for float32 images."""
    y, cache = ops.global_avg_pool_forward(x)
    return y / np.ones(1), cache


@wrong_forward("sigmoid", part="c", cause="side effect")
def memory_taken_as_it_lies(x: Array) -> tuple[Array, Any]:
    """Read the memory of x as if it were contiguous.

    Found in: torch/cunn, pull request 199: a gradient that was not contiguous.
    """
    memory = x if x.base is None else x.base
    return ops.sigmoid_forward(memory.ravel()[: x.size].reshape(x.shape).copy())


@wrong_backward("avg_pool2d", part="c", cause="not repeatable")
def counts_its_calls(dy: Array, cache: Any, _calls: list[int] = [0]) -> Array:  # noqa: B006
    """Change the result from call to call.

    Found in: karpathy/micrograd, pull request 102: a second backward adds to the gradients.
    """
    _calls[0] += 1
    return ops.avg_pool2d_backward(dy, cache) * dy.dtype.type(1 + 1e-3 * _calls[0])
