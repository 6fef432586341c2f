"""Every operation against JAX, in float64: outputs, and gradients that JAX derives by itself."""

import copy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from strategies import as_pair, as_sides, as_tuple, cases, cotangent_like, seeds

from numpy_shufflenet.operations import OPERATIONS

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)  # compile faster, run slower

# XLA compiles anew for every shape, so there are fewer cases than elsewhere.
FEWER = settings(max_examples=max(settings().max_examples // 5, 5))


def add_bias(y, b):
    return y if b is None else y + b[:, None, None]


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    y = lax.conv_general_dilated(
        x,
        w,
        window_strides=as_pair(stride),
        padding=as_sides(padding),
        rhs_dilation=as_pair(dilation),
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
        feature_group_count=groups,
        precision=lax.Precision.HIGHEST,
    )
    return add_bias(y, b)


def depthwise_conv2d(x, w, b, **hyperparameters):
    return conv2d(x, w, b, groups=x.shape[1], **hyperparameters)


def normalise(x, gamma, beta, mean, var, eps):
    x_hat = (x - mean[:, None, None]) / jnp.sqrt(var + eps)[:, None, None]
    return gamma[:, None, None] * x_hat + beta[:, None, None]


def batch_norm(x, gamma, beta, *, eps):
    return normalise(x, gamma, beta, x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3)), eps)


def batch_norm_inference(x, gamma, beta, mean, var, *, eps):
    return normalise(x, gamma, beta, mean, var, eps)


def shuffle(x, rows):
    n, c, h, w = x.shape
    return x.reshape(n, rows, c // rows, h, w).transpose(0, 2, 1, 3, 4).reshape(x.shape)


def channel_split(x, *, sizes):
    return tuple(jnp.split(x, np.cumsum(sizes)[:-1], axis=1))


def over_windows(x, combine, start, kernel_size, stride, padding):
    kernel = as_pair(kernel_size)
    stride = kernel if stride is None else as_pair(stride)
    sides = ((0, 0), (0, 0), *as_sides(padding))
    return lax.reduce_window(x, start, combine, (1, 1, *kernel), (1, 1, *stride), sides)


def max_pool2d(x, *, kernel_size, stride, padding):
    return over_windows(x, lax.max, -jnp.inf, kernel_size, stride, padding)


def avg_pool2d(x, *, kernel_size, stride, padding, count_include_pad):
    total = over_windows(x, lax.add, 0.0, kernel_size, stride, padding)
    if count_include_pad:
        return total / np.prod(as_pair(kernel_size))
    return total / over_windows(jnp.ones_like(x), lax.add, 0.0, kernel_size, stride, padding)


def upsample(x, scale, method):
    n, c, h, w = x.shape
    sh, sw = as_pair(scale)
    return jax.image.resize(x, (n, c, h * sh, w * sw), method)


def upsample_bilinear(x, *, scale, align_corners):
    if not align_corners:
        return upsample(x, scale, "bilinear")
    # `resize` has no such mode; `scale_and_translate` takes any affine map of the pixel squares.
    sizes = np.array(x.shape[2:])
    new = sizes * as_pair(scale)
    factor = np.maximum(new - 1, 1) / np.maximum(sizes - 1, 1)
    factor = np.where(sizes == 1, new, factor)  # one pixel is stretched over everything
    shift = np.where(sizes == 1, 0, 0.5 - 0.5 * factor)
    return jax.image.scale_and_translate(
        x, (*x.shape[:2], *new), (2, 3), factor, shift, "linear", antialias=False
    )


def squeeze_excitation(x, w1, b1, w2, b2):
    s = x.mean(axis=(2, 3))
    e = jax.nn.sigmoid(jax.nn.relu(s @ w1.T + b1) @ w2.T + b2)
    return x * e[:, :, None, None]


def linear(x, w, b):
    return x @ w.T if b is None else x @ w.T + b


def dropout(x, *, rate, rng):
    return jnp.where(rng.random(x.shape) >= rate, x / (1 - rate), 0)


def softmax_cross_entropy(logits, labels, *, label_smoothing):
    classes = logits.shape[1]
    targets = (1 - label_smoothing) * jax.nn.one_hot(labels, classes) + label_smoothing / classes
    return -(targets * jax.nn.log_softmax(logits)).sum(axis=1).mean()


PEERS = {
    "conv2d": conv2d,
    "group_conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "pointwise_conv2d": conv2d,
    "batch_norm": batch_norm,
    "batch_norm_inference": batch_norm_inference,
    "sync_batch_norm": batch_norm,
    "channel_shuffle": lambda x, groups: shuffle(x, groups),
    "channel_unshuffle": lambda x, groups: shuffle(x, x.shape[1] // groups),
    "channel_split": channel_split,
    "channel_concat": lambda *arrays: jnp.concatenate(arrays, axis=1),
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "global_avg_pool": lambda x: x.mean(axis=(2, 3)),
    "upsample_nearest": lambda x, scale: upsample(x, scale, "nearest"),
    "upsample_bilinear": upsample_bilinear,
    "relu": jax.nn.relu,
    "leaky_relu": lambda x, slope: jax.nn.leaky_relu(x, slope),
    "sigmoid": jax.nn.sigmoid,
    "swish": jax.nn.swish,
    "squeeze_excitation": squeeze_excitation,
    "linear": linear,
    "dropout": dropout,
    "softmax_cross_entropy": softmax_cross_entropy,
    "add": jnp.add,
    "add_relu": lambda x1, x2: jax.nn.relu(x1 + x2),
    "batch_norm_relu": lambda *arrays, **hyper: jax.nn.relu(batch_norm(*arrays, **hyper)),
    "conv2d_relu": lambda *arrays, **hyper: jax.nn.relu(conv2d(*arrays, **hyper)),
    "pointwise_conv2d_relu": lambda *arrays, **hyper: jax.nn.relu(conv2d(*arrays, **hyper)),
    "channel_concat_shuffle": lambda *arrays, groups: shuffle(
        jnp.concatenate(arrays, axis=1), groups
    ),
}


def close(actual, expected):
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", PEERS)
@FEWER
@given(st.data(), seeds())
def test_outputs_and_gradients_are_those_of_jax(name, data, seed):
    operation = OPERATIONS[name]
    case = data.draw(cases(name, np.float64))
    state = copy.deepcopy(case.hyperparameters)
    y, cache = operation.forward()(*case.arrays, **state)
    dy = cotangent_like(y, np.random.default_rng(seed))
    gradients = as_tuple(operation.backward()(dy, cache))

    # Differentiate by the first arrays, all that are; a missing bias goes along as None.
    count = len(gradients)
    rest = case.arrays[count:]

    @jax.jit
    def outputs_and_gradients(arrays, dy):
        hyperparameters = copy.deepcopy(case.hyperparameters)

        def peer(*arrays):
            return PEERS[name](*arrays, *rest, **hyperparameters)

        outputs, pull_back = jax.vjp(peer, *arrays)
        return outputs, pull_back(dy)

    outputs, expected = outputs_and_gradients(case.arrays[:count], dy)
    for actual, peers in zip(as_tuple(y), as_tuple(outputs), strict=True):
        close(actual, peers)
    for actual, peers in zip(gradients, expected, strict=True):
        assert (actual is None) == (peers is None)
        if peers is not None:
            close(actual, peers)


def test_every_operation_has_a_peer():
    """Here, or in a test file of its own beside this one."""
    own = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert set(PEERS) <= set(OPERATIONS) <= {*PEERS, *own}
