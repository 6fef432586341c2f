"""A pass over each channel through several operations gives what these give one by one."""

import numpy as np
import pytest
from machine_code import COMPILED

from numpy_shufflenet import _threads, backend, ops
from numpy_shufflenet.kernels import _border
from numpy_shufflenet.kernels.channelwise import channelwise, channelwise_gradients
from numpy_shufflenet.nn import BatchNorm2d, ChannelShuffle, Conv2d, ReLU, Sequential
from numpy_shufflenet.nn.fusion import Channelwise
from numpy_shufflenet.nn.units import ShuffleNetV1Unit, ShuffleNetV2Unit, depthwise3x3

EPS = (1e-5, 1e-3)
SHAPES = [(5, 6, 9, 8), (1, 12, 7, 11), (2, 6, 3, 1), (8, 24, 14, 14), (37, 3, 5, 6)]


def drawn(shape, dtype):
    rng = np.random.default_rng(0)
    c = shape[1]
    x, w = rng.normal(size=shape), rng.normal(size=(c, 1, 3, 3))
    before, after = rng.normal(size=(2, c)), rng.normal(size=(2, c))
    x, w, before, after = (a.astype(dtype) for a in (2 + 3 * x, w, before, after))
    return x, tuple(before), w, tuple(after)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [1, ((2, 1), (0, 2)), ((0, 3), (1, 4))])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("normalised", [True, False])
def test_it_is_the_operations_of_ops_in_a_row(shape, stride, padding, groups, normalised):
    x, before, w, after = drawn(shape, np.float32)
    geometry = {"stride": stride, "padding": padding}
    seen, norm = ops.batch_norm_relu_forward(x, *before, eps=EPS[0]) if normalised else (x, None)
    seen, shuffle = ops.channel_shuffle_forward(seen, groups)
    seen, convolution = ops.depthwise_conv2d_forward(seen, w, **geometry)
    expected, last = ops.batch_norm_forward(seen, *after, eps=EPS[1])
    y, cache = channelwise(
        x, before if normalised else None, w, after, eps=EPS, groups=groups, **geometry
    )
    dy = np.random.default_rng(1).normal(size=expected.shape).astype(np.float32)
    d, *dafter = ops.batch_norm_backward(dy, last)
    d, dw, _ = ops.depthwise_conv2d_backward(d, convolution)
    d, dbefore = ops.channel_shuffle_backward(d, shuffle), []
    if normalised:
        d, *dbefore = ops.batch_norm_relu_backward(d, norm)
    got = channelwise_gradients(dy, cache)
    found = [y, got.dx, got.dw, *got.after, *(got.before or ())]
    for a, b in zip(found, [expected, d, dw, *dafter, *dbefore], strict=True):
        assert a.dtype == np.float32
        atol = 2000 * np.finfo(np.float32).eps * max(1, np.abs(b).max())
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)
    np.testing.assert_allclose(cache.after.mean, last.mean, rtol=0, atol=1e-4)
    if normalised:
        np.testing.assert_array_equal(cache.before.y > 0, norm.y > 0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("n", [3, 17])
def test_plain_kernels_run_as_python(n, stride, monkeypatch):
    monkeypatch.setattr(_border, "bordered_gradients", _border.bordered_gradients.py_func)
    x, _, w, _ = drawn((n, 1, 5, 4), np.float32)
    expected, cache = ops.depthwise_conv2d_forward(x, w, stride=stride, padding=1)
    dy = np.random.default_rng(1).normal(size=expected.shape).astype(np.float32)
    oh, ow = expected.shape[2:]
    sight, kernel = _border.sight_of(cache.windows, n), w.reshape(9)
    rows = np.ascontiguousarray(x[:, 0].transpose(1, 2, 0))
    border, y = _border.Border(*sight.x), np.empty((oh, ow * n), np.float32)
    plane = np.zeros(border.size, np.float32)
    for r, row in enumerate(rows.reshape(5, 4 * n)):
        plane[border.start + r * border.pitch :][: 4 * n] = row
    _border.convolve_bordered.py_func(plane, kernel, sight, y, y)
    np.testing.assert_allclose(y.reshape(oh, ow, n).transpose(2, 0, 1), expected[:, 0], atol=1e-5)

    dx, dw = np.empty((1, 5, 4 * n), np.float32), np.empty((1, 9), np.float32)
    gradients = np.ascontiguousarray(dy.transpose(1, 2, 3, 0)).reshape(1, oh, ow * n)
    images = rows.reshape(1, 5, 4 * n)
    plane = np.full(_border.Border(*sight.dy).size, np.nan, np.float32)
    _border.channel_gradients.py_func(
        gradients, images, w.reshape(1, 9), sight, plane, 0, 1, dx, dw
    )
    expected_dx, expected_dw, _ = ops.depthwise_conv2d_backward(dy, cache)
    np.testing.assert_allclose(dx.reshape(5, 4, n).transpose(2, 0, 1), expected_dx[:, 0], atol=1e-5)
    np.testing.assert_allclose(dw.reshape(w.shape), expected_dw, rtol=1e-5, atol=1e-4)


def test_nan_stays_in_its_channel():
    x, before, w, after = drawn((4, 6, 5, 5), np.float32)
    x[1, 2, 3, 3] = np.nan
    y, cache = channelwise(x, before, w, after, padding=1)
    dx = channelwise_gradients(np.ones_like(y), cache).dx
    for a in (y, dx):
        assert np.isnan(a[:, 2]).all()
        assert np.isfinite(np.delete(a, 2, axis=1)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": np.ones((12, 1, 3, 3), np.float32)}, "as many are needed"),
        ({"groups": 4}, "groups=4 does not divide channels=6"),
        ({"stride": 0}, "stride=0"),
        ({"stride": (1, 2)}, r"stride=\(1, 2\)"),
        ({"dilation": 2}, r"dilation=\(2, 2\)"),
        ({"w": np.ones((6, 1, 1, 3), np.float32)}, r"windows \(1, 3\)"),
        ({"before": (np.ones(5, np.float32),) * 2}, "gamma has shape"),
        ({"after": (np.ones(5, np.float32),) * 2}, "gamma has shape"),
    ],
)
def test_errors_are_those_of_the_operations(change, message):
    x, before, w, after = drawn((2, 6, 5, 5), np.float32)
    arguments = {"before": before, "w": w, "after": after, **change}
    with pytest.raises(ValueError, match=message):
        channelwise(x, **arguments)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    monkeypatch.setattr(_threads, "WORTH_SHARING", 1)
    shape = (32, 24, 28, 28) if COMPILED else (8, 6, 9, 7)
    x, before, w, after = drawn(shape, np.float32)
    found, threads = [], backend.num_threads()
    for n in (1, 2, 3):
        backend.set_num_threads(n)
        y, cache = channelwise(x, before, w, after, groups=2, padding=1)
        got = channelwise_gradients(y, cache)
        found.append([a.tobytes() for a in (y, got.dx, got.dw, *got.before, *got.after)])
    backend.set_num_threads(threads)
    assert found[0] == found[1] == found[2]


def steps_of(unit):
    return [step for chain in unit for step in chain._chain._steps[True, True]]


def test_all_depthwise_convolutions_of_units_run_like_this():
    v1 = ShuffleNetV1Unit(24, 24, groups=3, stride=1)
    v2 = ShuffleNetV2Unit(24, 48, stride=2)
    assert sum(isinstance(step, Channelwise) for step in steps_of([v1.branch])) == 1
    assert sum(isinstance(step, Channelwise) for step in steps_of([v2.branch1, v2.branch2])) == 2


def test_layers_get_what_they_would_have_got_one_by_one():
    layers = (BatchNorm2d(6), ReLU(), ChannelShuffle(3), depthwise3x3(6), BatchNorm2d(6))
    fused = Sequential(*layers)
    rng = np.random.default_rng(2)
    for parameter in fused.parameters().values():
        parameter[...] = rng.normal(size=parameter.shape)
    one_by_one = fused.astype(np.float32)
    x, dy = rng.normal(size=(2, 3, 6, 5, 5)).astype(np.float32)
    with backend.use("numba"):
        y = fused.forward(x, training=True)
        patterns = fused.activation_pattern()
        dx = fused.backward(dy)
    with backend.use("numpy"):
        trace = one_by_one.trace(x, training=True)
        expected_patterns = one_by_one.activation_pattern()
        expected = one_by_one.backward(dy)
    np.testing.assert_allclose(y, trace.activations["4"], atol=1e-5)
    np.testing.assert_allclose(dx, expected, atol=1e-4)
    for pattern, other in zip(patterns, expected_patterns, strict=True):
        np.testing.assert_array_equal(pattern, other)
    for name, gradient in one_by_one.gradients().items():
        # Plain Python adds numbers one by one, and some of these sums are in the hundreds.
        rtol = 1e-7 if COMPILED else 1e-6
        found = fused.gradients()[name]
        np.testing.assert_allclose(found, gradient, rtol=rtol, atol=1e-4, err_msg=name)
    for name, value in one_by_one.state_dict().items():
        np.testing.assert_allclose(fused.state_dict()[name], value, atol=1e-5, err_msg=name)


def test_other_dtypes_and_kernels_run_one_by_one():
    five = Conv2d(6, 6, 5, padding=2, groups=6)
    for dtype, layer in ((np.float64, depthwise3x3(6)), (np.float32, five)):
        layers = Sequential(BatchNorm2d(6), ReLU(), layer, BatchNorm2d(6)).astype(dtype)
        rng, found = np.random.default_rng(3), []
        for parameter in layers.parameters().values():
            parameter[...] = rng.normal(size=parameter.shape)
        x, dy = rng.normal(size=(2, 3, 6, 5, 5)).astype(dtype)
        for name in ("numba", "numpy"):
            with backend.use(name):
                found.append((layers.forward(x, training=True), layers.backward(dy)))
        for a, b in zip(*found, strict=True):
            assert a.dtype == dtype
            np.testing.assert_allclose(a, b, atol=1e-4)
