"""The linear layer, and squeeze-and-excitation, which is made of two."""

from functools import partial

import numpy as np
from hypothesis import given
from strategies import cases, cotangent_like, seeds

from numpy_shufflenet import ops

close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
rngs = seeds().map(np.random.default_rng)


@given(cases("linear", np.float64), rngs)
def test_linear_sums_products(case, rng):
    x, w, b = case.arrays
    y, cache = ops.linear_forward(x, w, b)
    close(y, np.einsum("ni,oi->no", x, w) + (0 if b is None else b))

    dy = cotangent_like(y, rng)
    dx, dw, db = ops.linear_backward(dy, cache)
    close(dx, np.einsum("no,oi->ni", dy, w))
    close(dw, np.einsum("no,ni->oi", dy, x))
    assert (db is None) == (b is None)
    if b is not None:
        close(db, np.einsum("no->o", dy))


@given(cases("linear", np.float64), rngs)
def test_linear_is_a_pointwise_convolution_of_images_of_one_pixel(case, rng):
    x, w, b = case.arrays
    y, cache = ops.linear_forward(x, w, b)
    y_conv, cache_conv = ops.pointwise_conv2d_forward(x[:, :, None, None], w[:, :, None, None], b)
    close(y, y_conv[:, :, 0, 0])

    dy = cotangent_like(y, rng)
    dx, dw, db = ops.linear_backward(dy, cache)
    dx_conv, dw_conv, db_conv = ops.pointwise_conv2d_backward(dy[:, :, None, None], cache_conv)
    close(dx, dx_conv[:, :, 0, 0])
    close(dw, dw_conv[:, :, 0, 0])
    if b is not None:
        close(db, db_conv)


def excitation(x, w1, b1, w2, b2):
    """Composed by hand, and what stands in between."""
    s = np.einsum("nchw->nc", x) / (x.shape[2] * x.shape[3])
    a = np.einsum("nc,rc->nr", s, w1) + b1
    z = np.where(a > 0, a, 0)
    e = 1 / (1 + np.exp(-(np.einsum("nr,cr->nc", z, w2) + b2)))
    return s, a, z, e


@given(cases("squeeze_excitation", np.float64), rngs)
def test_squeeze_excitation_is_its_four_steps(case, rng):
    """Backward by the chain rule, written with indices."""
    x, w1, b1, w2, b2 = case.arrays
    s, a, z, e = excitation(x, w1, b1, w2, b2)
    y, cache = ops.squeeze_excitation_forward(x, w1, b1, w2, b2)
    close(y, np.einsum("nchw,nc->nchw", x, e))

    dy = cotangent_like(y, rng)
    dt = np.einsum("nchw,nchw->nc", dy, x) * e * (1 - e)
    da = np.einsum("nc,cr->nr", dt, w2) * (a > 0)
    ds = np.einsum("nr,rc->nc", da, w1)
    dx = np.einsum("nchw,nc->nchw", dy, e) + ds[:, :, None, None] / (x.shape[2] * x.shape[3])
    expected = (
        dx,
        np.einsum("nr,nc->rc", da, s),
        da.sum(axis=0),
        np.einsum("nc,nr->cr", dt, z),
        dt.sum(axis=0),
    )
    for gradient, by_hand in zip(ops.squeeze_excitation_backward(dy, cache), expected, strict=True):
        close(gradient, by_hand)


@given(cases("squeeze_excitation", np.float64), rngs)
def test_without_a_second_layer_every_channel_is_halved(case, rng):
    """sigmoid(0) = 1/2; and then no gradient takes the way through the squeeze."""
    x, w1, b1, w2, b2 = case.arrays
    y, cache = ops.squeeze_excitation_forward(x, w1, b1, np.zeros_like(w2), np.zeros_like(b2))
    close(y, x / 2)
    dy = cotangent_like(y, rng)
    dx, dw1, db1, _, _ = ops.squeeze_excitation_backward(dy, cache)
    close(dx, dy / 2)
    assert not dw1.any()
    assert not db1.any()
