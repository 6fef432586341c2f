"""Convolutions that must agree, because one is a special case of the other or is made of it.

Every pair is compared forward and backward: the gradients of the one, sent through the same
construction, are those of the other.
"""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import as_pair, as_sides, cases, cotangent_like, seeds

from numpy_shufflenet import ops

close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
rngs = seeds().map(np.random.default_rng)
convolutions = cases("conv2d", np.float64)
strides = st.tuples(st.integers(1, 3), st.integers(1, 3))


def without(hyperparameters, *names):
    return {name: value for name, value in hyperparameters.items() if name not in names}


def all_close(actual, expected):
    """Compare gradients of x, w and b, where those of b may be None."""
    for a, e in zip(actual, expected, strict=True):
        assert (a is None) == (e is None)
        if e is not None:
            close(a, e)


@pytest.mark.parametrize("name", ["conv2d", "group_conv2d"])
@given(convolutions, rngs)
def test_groups_are_separate_convolutions_on_slices(name, case, rng):
    """AlexNet's two cards: each has its share of the channels, kernels and biases."""
    x, w, b = case.arrays
    groups = case.hyperparameters["groups"]
    single = without(case.hyperparameters, "groups")
    forward, backward = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")
    y, cache = forward(x, w, b, **case.hyperparameters)
    dy = cotangent_like(y, rng)
    dx, dw, db = backward(dy, cache)
    assert (db is None) == (b is None)

    c, o = x.shape[1] // groups, len(w) // groups
    for card in range(groups):
        ins, outs = slice(card * c, (card + 1) * c), slice(card * o, (card + 1) * o)
        b_card = None if b is None else b[outs]
        y_card, cache_card = ops.conv2d_forward(x[:, ins], w[outs], b_card, **single)
        close(y[:, outs], y_card)
        gradients = ops.conv2d_backward(dy[:, outs], cache_card)
        all_close((dx[:, ins], dw[outs], None if db is None else db[outs]), gradients)


@given(cases("depthwise_conv2d", np.float64), rngs)
def test_depthwise_is_group_convolution_with_a_group_for_each_channel(case, rng):
    x, w, b = case.arrays
    y, cache = ops.depthwise_conv2d_forward(x, w, b, **case.hyperparameters)
    y_group, cache_group = ops.conv2d_forward(x, w, b, groups=x.shape[1], **case.hyperparameters)
    close(y, y_group)
    dy = cotangent_like(y, rng)
    all_close(ops.depthwise_conv2d_backward(dy, cache), ops.conv2d_backward(dy, cache_group))


@given(cases("pointwise_conv2d", np.float64), rngs)
def test_pointwise_is_a_matrix_product(case, rng):
    """With groups, the matrix is block-diagonal."""
    x, w, b = case.arrays
    groups = case.hyperparameters["groups"]
    c, o = x.shape[1], len(w)
    inside = np.kron(np.eye(groups), np.ones((o // groups, c // groups)))  # o c
    matrix = np.tile(w[:, :, 0, 0], groups) * inside

    y, cache = ops.pointwise_conv2d_forward(x, w, b, groups=groups)
    product = np.einsum("oc,nchw->nohw", matrix, x)
    close(y, product if b is None else product + b[None, :, None, None])

    dy = cotangent_like(y, rng)
    dx, dw, db = ops.pointwise_conv2d_backward(dy, cache)
    close(dx, np.einsum("oc,nohw->nchw", matrix, dy))
    dmatrix = np.einsum("nohw,nchw->oc", dy, x)
    close(dw[:, :, 0, 0], dmatrix[inside == 1].reshape(o, c // groups))
    assert (db is None) == (b is None)
    if b is not None:
        close(db, np.einsum("nohw->o", dy))


@given(cases("pointwise_conv2d", np.float64), rngs)
def test_pointwise_is_a_convolution_with_a_kernel_of_one_pixel(case, rng):
    y, cache = ops.pointwise_conv2d_forward(*case.arrays, **case.hyperparameters)
    y_conv, cache_conv = ops.conv2d_forward(*case.arrays, **case.hyperparameters)
    close(y, y_conv)
    dy = cotangent_like(y, rng)
    all_close(ops.pointwise_conv2d_backward(dy, cache), ops.conv2d_backward(dy, cache_conv))


@given(cases("depthwise_conv2d", np.float64), st.integers(1, 4), rngs)
def test_depthwise_then_pointwise_is_one_convolution_with_the_product_kernel(case, o, rng):
    """A separable kernel: k[o, c, i, j] = p[o, c] d[c, i, j]."""
    x, d, _ = case.arrays
    d = d[: x.shape[1]]  # one kernel for each channel
    p = rng.normal(size=(o, len(d), 1, 1))
    middle, cache_d = ops.depthwise_conv2d_forward(x, d, **case.hyperparameters)
    y, cache_p = ops.pointwise_conv2d_forward(middle, p)
    kernel = p * d[:, 0]  # o c kh kw
    y_one, cache_one = ops.conv2d_forward(x, kernel, **case.hyperparameters)
    close(y, y_one)

    dy = cotangent_like(y, rng)
    dmiddle, dp, _ = ops.pointwise_conv2d_backward(dy, cache_p)
    dx, dd, _ = ops.depthwise_conv2d_backward(dmiddle, cache_d)
    dx_one, dkernel, _ = ops.conv2d_backward(dy, cache_one)
    close(dx, dx_one)
    close(dp[:, :, 0, 0], np.einsum("ocij,cij->oc", dkernel, d[:, 0]))
    close(dd[:, 0], np.einsum("ocij,oc->cij", dkernel, p[:, :, 0, 0]))


@given(convolutions, strides, rngs)
def test_stride_skips_outputs_of_stride_1(case, stride, rng):
    """Backward, the skipped outputs are outputs with gradient 0."""
    rest = without(case.hyperparameters, "stride")
    y, cache = ops.conv2d_forward(*case.arrays, stride=stride, **rest)
    y_all, cache_all = ops.conv2d_forward(*case.arrays, stride=1, **rest)
    kept = (..., slice(None, None, stride[0]), slice(None, None, stride[1]))
    close(y, y_all[kept])

    dy = cotangent_like(y, rng)
    dy_all = np.zeros_like(y_all)
    dy_all[kept] = dy
    all_close(ops.conv2d_backward(dy, cache), ops.conv2d_backward(dy_all, cache_all))


@given(convolutions, rngs)
def test_dilation_is_a_kernel_stuffed_with_zeros(case, rng):
    x, w, b = case.arrays
    dh, dw = as_pair(case.hyperparameters["dilation"])
    kh, kw = w.shape[2:]
    stuffed = np.zeros((*w.shape[:2], (kh - 1) * dh + 1, (kw - 1) * dw + 1))
    stuffed[:, :, ::dh, ::dw] = w

    y, cache = ops.conv2d_forward(*case.arrays, **case.hyperparameters)
    rest = without(case.hyperparameters, "dilation")
    y_stuffed, cache_stuffed = ops.conv2d_forward(x, stuffed, b, **rest)
    close(y, y_stuffed)

    dy = cotangent_like(y, rng)
    dx, dstuffed, db = ops.conv2d_backward(dy, cache_stuffed)
    all_close(ops.conv2d_backward(dy, cache), (dx, dstuffed[:, :, ::dh, ::dw], db))


@pytest.mark.parametrize("name", ["conv2d", "depthwise_conv2d"])
@given(st.data(), rngs)
def test_padding_is_a_border_of_zeros(name, data, rng):
    """Any form of padding; backward, the border's gradient is cut off."""
    case = data.draw(cases(name, np.float64))
    x, w, b = case.arrays
    forward, backward = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")
    (top, bottom), (left, right) = as_sides(case.hyperparameters["padding"])
    bordered = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))

    y, cache = forward(x, w, b, **case.hyperparameters)
    y_bordered, cache_bordered = forward(bordered, w, b, **without(case.hyperparameters, "padding"))
    close(y, y_bordered)

    dy = cotangent_like(y, rng)
    dx, dw, db = backward(dy, cache_bordered)
    h, width = x.shape[2:]
    all_close(backward(dy, cache), (dx[:, :, top : top + h, left : left + width], dw, db))


def test_a_pair_means_height_then_width():
    x, w = np.zeros((1, 1, 9, 9)), np.zeros((1, 1, 3, 3))
    for hyperparameters, size in [
        ({"stride": (2, 3)}, (4, 3)),
        ({"dilation": (2, 3)}, (5, 3)),
        ({"padding": (1, 2)}, (9, 11)),
        ({"padding": ((1, 0), (2, 3))}, (8, 12)),
        ({"padding": (1, (2, 3))}, (9, 12)),
    ]:
        y, _ = ops.conv2d_forward(x, w, **hyperparameters)
        assert y.shape == (1, 1, *size), hyperparameters


def test_top_comes_before_bottom_and_left_before_right():
    x, w = np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1))
    y, _ = ops.conv2d_forward(x, w, padding=((1, 0), (0, 2)))
    np.testing.assert_array_equal(y[0, 0], [[0, 0, 0], [1, 0, 0]])


def test_the_kernel_is_not_flipped():
    """A kernel whose one 1 lies at the top left looks up and left: the image moves down, right."""
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    w = np.zeros((1, 1, 3, 3))
    w[..., 0, 0] = 1
    y, _ = ops.conv2d_forward(x, w, padding=1)
    np.testing.assert_array_equal(y[0, 0], [[0, 0, 0], [0, 1, 2], [0, 4, 5]])


@given(cases("conv2d", np.float64), rngs)
def test_a_kernel_as_large_as_the_image_is_a_linear_layer(case, rng):
    x, _, _ = case.arrays
    n = len(x)
    w, b = rng.normal(size=(3, *x.shape[1:])), rng.normal(size=3)
    y, cache = ops.conv2d_forward(x, w, b)
    y_linear, cache_linear = ops.linear_forward(x.reshape(n, -1), w.reshape(3, -1), b)
    close(y[:, :, 0, 0], y_linear)
    dy = cotangent_like(y, rng)
    dx, dw, db = ops.linear_backward(dy[:, :, 0, 0], cache_linear)
    all_close(ops.conv2d_backward(dy, cache), (dx.reshape(x.shape), dw.reshape(w.shape), db))


@pytest.mark.parametrize("name", ["conv2d", "depthwise_conv2d"])
@given(st.data(), rngs)
def test_a_batch_is_its_images_one_by_one(name, data, rng):
    """dx is separate for each image; dw and db add up over the batch."""
    case = data.draw(cases(name, np.float64))
    x, w, b = case.arrays
    forward, backward = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")
    y, cache = forward(x, w, b, **case.hyperparameters)
    dy = cotangent_like(y, rng)
    dx, dw, db = backward(dy, cache)

    dw_sum, db_sum = np.zeros_like(dw), np.zeros(len(w))
    for i in range(len(x)):
        y_i, cache_i = forward(x[i : i + 1], w, b, **case.hyperparameters)
        close(y_i[0], y[i])
        dx_i, dw_i, db_i = backward(dy[i : i + 1], cache_i)
        close(dx_i[0], dx[i])
        dw_sum += dw_i
        db_sum += 0 if db_i is None else db_i
    close(dw, dw_sum)
    if b is not None:
        close(db, db_sum)


@pytest.mark.parametrize("name", ["conv2d", "depthwise_conv2d"])
def test_rows_that_no_window_reaches_matter_to_nothing(name):
    """6 rows, kernel 3 and stride 2: the windows end at row 4, as in PyTorch; row 5 is unused."""
    rng = np.random.default_rng(0)
    forward, backward = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")
    x, w = rng.normal(size=(2, 1, 6, 7)), rng.normal(size=(1, 1, 3, 3))
    y, cache = forward(x, w, stride=2)
    dx, dw, _ = backward(np.ones_like(y), cache)
    assert y.shape == (2, 1, 2, 3)
    assert not dx[:, :, 5].any()
    assert dx[:, :, :5].all()

    y_cut, cache_cut = forward(x[:, :, :5], w, stride=2)
    close(y, y_cut)
    close(dw, backward(np.ones_like(y), cache_cut)[1])
