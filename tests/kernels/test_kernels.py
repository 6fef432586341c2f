"""Kernels on images large enough to be cut into blocks, runs and shares; results are those of ops.

Small images of every shape are in tests/steps/test_floors_agree.py.
"""

import numpy as np
import pytest
from machine_code import COMPILED
from strategies import as_tuple, cotangent_like

from numpy_shufflenet import _threads, backend
from numpy_shufflenet._threads import num_threads, share_range
from numpy_shufflenet.operations import OPERATIONS


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def image(n, c, h, w, dtype):
    return backend.channel_major(normal(n, c, h, w, dtype=dtype))


LARGE = (37, 43) if COMPILED else (9, 11)  # height and width
WIDE = {"stride": 1, "padding": 1}
HALF = {"stride": 2, "padding": 1}
ODD = {"stride": (2, 3), "padding": ((0, 1), (2, 1)), "dilation": (2, 1)}
CONVOLUTIONS = [
    ("conv2d", (3, *LARGE), (24, 3, 3, 3), HALF),
    ("conv2d", (3, *LARGE), (24, 3, 3, 3), ODD),
    ("conv2d", (8, *LARGE), (12, 4, 3, 2), {**ODD, "groups": 2}),
    ("conv2d_relu", (3, *LARGE), (24, 3, 3, 3), HALF),
    ("conv2d_relu", (12, *LARGE), (24, 12, 3, 3), WIDE),
    ("group_conv2d", (12, *LARGE), (24, 4, 3, 3), {**HALF, "groups": 3}),
    ("depthwise_conv2d", (20, *LARGE), (20, 1, 3, 3), WIDE),
    ("depthwise_conv2d", (20, *LARGE), (20, 1, 3, 3), HALF),
    ("depthwise_conv2d", (20, *LARGE), (40, 1, 3, 3), ODD),
    ("depthwise_conv2d", (20, *LARGE), (20, 1, 5, 2), {"stride": 1, "padding": (2, 1)}),
    ("pointwise_conv2d", (40, *LARGE), (60, 40, 1, 1), {}),
    ("pointwise_conv2d", (60, *LARGE), (120, 20, 1, 1), {"groups": 3}),
    ("pointwise_conv2d_relu", (60, *LARGE), (30, 20, 1, 1), {"groups": 3}),
    ("pointwise_conv2d_relu", (300, 5, 4), (320, 300, 1, 1), {}),
]


def cases(dtype, n):
    for name, x, w, hyperparameters in CONVOLUTIONS:
        yield (
            name,
            (image(n, *x, dtype), normal(*w, dtype=dtype), normal(w[0], dtype=dtype)),
            (hyperparameters),
        )
    x, gamma, beta = image(n, 20, *LARGE, dtype), normal(20, dtype=dtype), normal(20, dtype=dtype)
    yield "batch_norm", (3 + 2 * x, gamma, beta), {}
    yield "batch_norm_relu", (3 + 2 * x, gamma, beta), {}
    yield "sync_batch_norm", (3 + 2 * x, gamma, beta), {}
    yield "batch_norm_inference", (x, gamma, beta, beta, 1 + gamma * gamma), {}
    yield "max_pool2d", (x,), {"kernel_size": 3, **HALF}
    yield "max_pool2d", (x,), {"kernel_size": (2, 4), "stride": (3, 1), "padding": (1, 2)}
    yield "avg_pool2d", (x,), {"kernel_size": 3, **HALF}
    yield "avg_pool2d", (x,), {"kernel_size": 3, **HALF, "count_include_pad": False}
    yield "global_avg_pool", (x,), {}
    yield "channel_shuffle", (x,), {"groups": 4}
    yield "channel_unshuffle", (x,), {"groups": 4}
    yield "channel_split", (x,), {"sizes": (3, 17)}
    yield "channel_concat", (x, 2 * x), {}
    yield "channel_concat_shuffle", (x, 2 * x), {"groups": 2}
    yield "relu", (x,), {}
    yield "leaky_relu", (x,), {"slope": 0.1}
    yield "add", (x, 2 * x), {}
    yield "add_relu", (x, image(n, 20, *LARGE, dtype) * -3), {}


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_images_give_what_ops_gives(dtype, n):
    seen = set()
    for name, arrays, hyperparameters in cases(dtype, n):
        operation = OPERATIONS[name]
        y, cache = operation.forward("ops")(*arrays, **hyperparameters)
        fast_y, fast_cache = operation.forward("kernels")(*arrays, **hyperparameters)
        dy = cotangent_like(y, np.random.default_rng(1))
        gradients = operation.backward("ops")(dy, cache)
        fast_gradients = operation.backward("kernels")(dy, fast_cache)
        for expected, got in zip(
            (*as_tuple(y), *as_tuple(gradients)),
            (*as_tuple(fast_y), *as_tuple(fast_gradients)),
            strict=True,
        ):
            assert got.dtype == dtype
            atol = 400 * np.finfo(dtype).eps * np.abs(expected).max()
            np.testing.assert_allclose(got, expected, rtol=0, atol=atol, err_msg=name)
        seen.add(name)
    assert seen == {name for name, operation in OPERATIONS.items() if operation.kernel}


@pytest.fixture
def threads():
    before = num_threads()
    yield backend.set_num_threads
    backend.set_num_threads(before)


def test_results_do_not_depend_on_the_number_of_threads(threads, monkeypatch):
    monkeypatch.setattr(_threads, "WORTH_SHARING", 1)  # small images, too
    found = {}
    for n in (1, 2, 3):
        threads(n)
        found[n] = []
        for name, arrays, hyperparameters in cases(np.float32, 4):
            y, cache = OPERATIONS[name].forward("kernels")(*arrays, **hyperparameters)
            dy = cotangent_like(y, np.random.default_rng(1))
            gradients = OPERATIONS[name].backward("kernels")(dy, cache)
            found[n] += [a.tobytes() for a in (*as_tuple(y), *as_tuple(gradients))]
    assert found[1] == found[2] == found[3]


def test_work_is_shared_and_an_exception_comes_back(threads):
    threads(3)
    pieces = []
    share_range(10, lambda first, last: pieces.append((first, last)), work=1 << 30)
    assert sorted(i for first, last in pieces for i in range(first, last)) == list(range(10))

    def fail(first, last):
        if last == 10:
            raise ArithmeticError("of a piece")

    with pytest.raises(ArithmeticError, match="of a piece"):
        share_range(10, fail, work=1 << 30)
