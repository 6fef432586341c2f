"""Bad input: each error names the argument, quotes the value and says what would fit."""

import re

import numpy as np
import pytest

from numpy_shufflenet import ops

X = np.zeros((2, 4, 5, 6))
C = np.ones(4)
RNG = np.random.default_rng(0)


def conv(x=X, w=None, b=None, **hyperparameters):
    w = np.zeros((6, 4, 3, 3)) if w is None else w
    return ops.conv2d_forward(x, w, b, **hyperparameters)


def squeeze(x=X, w1=None, b1=None, w2=None, b2=None):
    arrays = [np.zeros((3, 4)), np.zeros(3), np.zeros((4, 3)), np.zeros(4)]
    given = [w1, b1, w2, b2]
    chosen = [a if g is None else g for a, g in zip(arrays, given, strict=True)]
    return ops.squeeze_excitation_forward(x, *chosen)


def loss(logits=None, labels=None, **hyperparameters):
    logits = np.zeros((2, 3)) if logits is None else logits
    labels = np.array([0, 2]) if labels is None else labels
    return ops.softmax_cross_entropy_forward(logits, labels, **hyperparameters)


IMAGE_OPERATIONS = {
    "conv2d": lambda x: conv(x),
    "group_conv2d": lambda x: ops.group_conv2d_forward(x, np.zeros((4, 2, 1, 1)), groups=2),
    "depthwise_conv2d": lambda x: ops.depthwise_conv2d_forward(x, np.zeros((4, 1, 1, 1))),
    "pointwise_conv2d": lambda x: ops.pointwise_conv2d_forward(x, np.zeros((4, 4, 1, 1))),
    "batch_norm": lambda x: ops.batch_norm_forward(x, C, C),
    "batch_norm_inference": lambda x: ops.batch_norm_inference_forward(x, C, C, C, C),
    "sync_batch_norm": lambda x: ops.sync_batch_norm_forward(x, C, C),
    "channel_shuffle": lambda x: ops.channel_shuffle_forward(x, 2),
    "channel_unshuffle": lambda x: ops.channel_unshuffle_forward(x, 2),
    "channel_split": lambda x: ops.channel_split_forward(x, (2, 2)),
    "channel_concat": lambda x: ops.channel_concat_forward(x),
    "max_pool2d": lambda x: ops.max_pool2d_forward(x, 2),
    "avg_pool2d": lambda x: ops.avg_pool2d_forward(x, 2),
    "global_avg_pool": lambda x: ops.global_avg_pool_forward(x),
    "upsample_nearest": lambda x: ops.upsample_nearest_forward(x, 2),
    "upsample_bilinear": lambda x: ops.upsample_bilinear_forward(x, 2),
    "squeeze_excitation": lambda x: squeeze(x),
}
ANY_SHAPE = {
    "relu": ops.relu_forward,
    "leaky_relu": ops.leaky_relu_forward,
    "sigmoid": ops.sigmoid_forward,
    "swish": ops.swish_forward,
    "dropout": lambda x: ops.dropout_forward(x, rate=0.5, rng=RNG),
}


def assert_refused(call, *quoted):
    with pytest.raises(ValueError, match=".*".join(re.escape(part) for part in quoted)):
        call()


@pytest.mark.parametrize("name", IMAGE_OPERATIONS)
def test_an_image_has_four_dimensions(name):
    argument = "arrays[0]" if name == "channel_concat" else "x"
    call = IMAGE_OPERATIONS[name]
    for shape in ((4, 5), (2, 4, 5), (2, 4, 5, 6, 1)):
        expected = f"{argument} has shape {shape}", "(n, c, h, w) is needed"
        assert_refused(lambda shape=shape: call(np.zeros(shape)), *expected)


@pytest.mark.parametrize("name", [*IMAGE_OPERATIONS, *ANY_SHAPE])
def test_an_array_of_floating_point_numbers_is_needed(name):
    argument = "arrays[0]" if name == "channel_concat" else "x"
    call = {**IMAGE_OPERATIONS, **ANY_SHAPE}[name]
    assert_refused(lambda: call(X.tolist()), f"{argument} is a list; a NumPy array is needed")
    for dtype in ("int64", "uint8", "bool", "float16"):
        expected = f"{argument} has dtype {dtype}; float32 or float64 is needed"
        assert_refused(lambda dtype=dtype: call(X.astype(dtype)), expected)


BAD = [
    # Shapes that don't fit.
    (lambda: conv(w=np.zeros((6, 4, 3))), "w has shape (6, 4, 3)", "(o, c/groups, kh, kw)"),
    (lambda: conv(w=np.zeros((6, 3, 3, 3))), "w has shape (6, 3, 3, 3), but x has 4", "(o, 4,"),
    (lambda: conv(w=np.zeros((6, 4, 0, 3))), "w has shape (6, 4, 0, 3)", "at least 1"),
    (lambda: conv(b=np.zeros(5)), "b has shape (5,), but w has 6", "(6,) is needed"),
    (lambda: conv(b=[0.0] * 6), "b is a list"),
    (lambda: conv(w=np.zeros((6, 4, 3, 3), np.float32)), "w has dtype float32, but x has float64"),
    (
        lambda: ops.depthwise_conv2d_forward(X, np.zeros((6, 1, 3, 3))),
        "w has shape (6, 1, 3, 3), but x has 4 channels",
        "(4 m, 1, kh, kw)",
    ),
    (
        lambda: ops.depthwise_conv2d_forward(X, np.zeros((4, 4, 3, 3))),
        "w has shape (4, 4, 3, 3), but x has 4 channels",
        "(4 m, 1, kh, kw)",
    ),
    (
        lambda: ops.pointwise_conv2d_forward(X, np.zeros((6, 4, 3, 3))),
        "w has shape (6, 4, 3, 3)",
        "(o, c/groups, 1, 1)",
    ),
    (
        lambda: ops.batch_norm_forward(X, np.ones(5), C),
        "gamma has shape (5,), but x has 4 channels",
    ),
    (
        lambda: ops.batch_norm_forward(X, C, np.ones((4, 1))),
        "beta has shape (4, 1), but x has 4 channels",
    ),
    (lambda: ops.batch_norm_forward(X, C, C, eps=-1.0), "eps=-1.0 is negative"),
    (lambda: ops.batch_norm_forward(X[:0], C, C), "x has shape (0, 4, 5, 6)"),
    (
        lambda: ops.batch_norm_inference_forward(X, C, C, np.ones(3), C),
        "mean has shape (3,), but x has 4 channels",
    ),
    (
        lambda: ops.batch_norm_inference_forward(X, C, C, C, np.ones(3)),
        "var has shape (3,), but x has 4 channels",
    ),
    (
        lambda: ops.update_running_statistics(
            C, C, ops.batch_norm_forward(X, C, C)[1], momentum=1.5
        ),
        "momentum=1.5 is not a number from 0 to 1",
    ),
    (
        lambda: ops.update_running_statistics(
            C, C, ops.batch_norm_forward(X[:1, :, :1, :1], C, C)[1]
        ),
        "x has shape (1, 4, 1, 1)",
        "larger batch or image",
    ),
    (lambda: ops.channel_split_forward(X, (1, 2)), "sizes=(1, 2)", "add up to 4 channels"),
    (lambda: ops.channel_split_forward(X, (0, 4)), "sizes=(0, 4)"),
    (lambda: ops.channel_split_forward(X, 4), "sizes=4", "add up to 4 channels"),
    (lambda: ops.channel_concat_forward(), "no array; at least one"),
    (
        lambda: ops.channel_concat_forward(X, X[:1]),
        "arrays[1] has shape (1, 4, 5, 6), but arrays[0] has (2, 4, 5, 6)",
    ),
    (
        lambda: ops.channel_concat_forward(X, X.astype(np.float32)),
        "arrays[1] has dtype float32, but arrays[0] has float64",
    ),
    (lambda: ops.global_avg_pool_forward(X[:, :, :0]), "x has shape (2, 4, 0, 6)"),
    (lambda: ops.upsample_bilinear_forward(X[:, :, :0], 2), "x has shape (2, 4, 0, 6)"),
    (lambda: ops.linear_forward(X, np.zeros((3, 4))), "x has shape (2, 4, 5, 6); (n, in)"),
    (
        lambda: ops.linear_forward(np.zeros((2, 4)), np.zeros((3, 5))),
        "w has shape (3, 5), but x has 4 features; (out, 4)",
    ),
    (
        lambda: ops.linear_forward(np.zeros((2, 4)), np.zeros((3, 4)), np.zeros(4)),
        "b has shape (4,), but w has 3 outputs; (3,)",
    ),
    (lambda: squeeze(w1=np.zeros((3, 5))), "w1 has shape (3, 5), but x has 4 channels; (r, 4)"),
    (lambda: squeeze(w2=np.zeros((3, 4))), "w2 has shape (3, 4)", "(4, 3) is needed"),
    (lambda: squeeze(b1=np.zeros(4)), "b1 has shape (4,)", "(3,) is needed"),
    (lambda: squeeze(b2=np.zeros(3)), "b2 has shape (3,)", "(4,) is needed"),
    (lambda: squeeze(w1=np.zeros((3, 4)).tolist()), "w1 is a list"),
    (lambda: squeeze(w2=np.zeros((4, 3)).tolist()), "w2 is a list"),
    # Groups that don't divide.
    (
        lambda: conv(np.zeros((1, 64, 3, 3)), np.zeros((6, 21, 3, 3)), groups=3),
        "groups=3 does not divide in_channels=64",
    ),
    (
        lambda: conv(w=np.zeros((5, 2, 3, 3)), groups=2),
        "groups=2 does not divide out_channels=5",
    ),
    (lambda: conv(groups=0), "groups=0 is not a whole number of at least 1"),
    (lambda: conv(groups=-1), "groups=-1 is not a whole number of at least 1"),
    (lambda: conv(groups=True), "groups=True is not a whole number of at least 1"),
    (lambda: conv(groups=2.0), "groups=2.0 is not a whole number of at least 1"),
    (lambda: ops.channel_shuffle_forward(X, 3), "groups=3 does not divide channels=4"),
    (lambda: ops.channel_unshuffle_forward(X, 3), "groups=3 does not divide channels=4"),
    # Windows.
    (
        lambda: conv(X[:, :, :2]),
        "a kernel that spans 3 does not fit into x of height 2 with padding=(0, 0)",
    ),
    (
        lambda: conv(dilation=(1, 4), padding=(0, (1, 0))),
        "a kernel that spans 9 does not fit into x of width 6 with padding=(1, 0)",
    ),
    (lambda: ops.max_pool2d_forward(X, 7), "a kernel that spans 7", "height 5"),
    (lambda: ops.avg_pool2d_forward(X, (2, 7)), "a kernel that spans 7", "width 6"),
    (lambda: conv(stride=0), "stride=0"),
    (lambda: conv(stride=-1), "stride=-1"),
    (lambda: conv(stride=True), "stride=True"),
    (lambda: conv(stride=1.5), "stride=1.5"),
    (lambda: conv(stride=(1, 2, 3)), "stride=(1, 2, 3)", "(height, width) pair"),
    (lambda: conv(stride=(1, False)), "stride=(1, False)"),
    (lambda: conv(stride="12"), "stride='12'"),
    (lambda: conv(stride=np.array(2)), "stride=array(2)"),
    (lambda: conv(dilation=0), "dilation=0"),
    (lambda: conv(padding=-1), "padding=-1"),
    (lambda: conv(padding=True), "padding=True"),
    (lambda: conv(padding=None), "padding=None"),
    (lambda: conv(padding=((1, 0), (0, -2))), "padding=((1, 0), (0, -2))"),
    (lambda: conv(padding=(1, 2, 3, 4)), "padding=(1, 2, 3, 4)", "((top, bottom), (left, right))"),
    (lambda: conv(padding="same"), "padding='same'"),
    (lambda: ops.max_pool2d_forward(X, 0), "kernel_size=0"),
    (lambda: ops.max_pool2d_forward(X, 2, stride=-2), "stride=-2"),
    (lambda: ops.max_pool2d_forward(X, 2, padding=2), "padding=2 is not smaller", "kernel_size=2"),
    (
        lambda: ops.avg_pool2d_forward(X, (3, 1), padding=(0, (0, 1))),
        "padding=(0, (0, 1)) is not smaller than kernel_size=(3, 1)",
    ),
    (lambda: ops.upsample_nearest_forward(X, 0), "scale=0"),
    (lambda: ops.upsample_nearest_forward(X, 1.5), "scale=1.5"),
    (lambda: ops.upsample_bilinear_forward(X, (2, -1)), "scale=(2, -1)"),
    # Dropout and the loss.
    (lambda: ops.dropout_forward(X, rate=1.0, rng=RNG), "rate=1.0", "0 to below 1"),
    (lambda: ops.dropout_forward(X, rate=-0.1, rng=RNG), "rate=-0.1"),
    (lambda: ops.dropout_forward(X, rate=0.5, rng=3), "rng=3", "numpy.random.Generator"),
    (lambda: loss(np.zeros(3)), "logits has shape (3,); (n, classes)"),
    (lambda: loss(np.zeros((0, 3)), np.zeros(0, int)), "logits has shape (0, 3)"),
    (lambda: loss(np.zeros((2, 3), np.int64)), "logits has dtype int64"),
    (lambda: loss(labels=np.array([0, 3])), "labels[1]=3 is out of range; 0 to 2"),
    (lambda: loss(labels=np.array([-1, 0])), "labels[0]=-1 is out of range; 0 to 2"),
    (lambda: loss(labels=np.array([0, 1, 2])), "labels has shape (3,), but logits has 2 rows"),
    (lambda: loss(labels=np.array([0.0, 1.0])), "labels is of type float64; an integer array"),
    (lambda: loss(labels=np.array([True, False])), "labels is of type bool; an integer array"),
    (lambda: loss(labels=[0, 1]), "labels is of type list; an integer array"),
    (lambda: loss(label_smoothing=1.5), "label_smoothing=1.5"),
    (lambda: loss(label_smoothing=-0.1), "label_smoothing=-0.1"),
]


@pytest.mark.parametrize("bad", BAD, ids=[" ".join(quoted) for _, *quoted in BAD])
def test_the_argument_is_named_and_its_value_quoted(bad):
    call, *quoted = bad
    assert_refused(call, *quoted)


def test_a_gradient_must_be_like_the_output():
    y, cache = conv()
    assert y.shape == (2, 6, 3, 4)
    backward = ops.conv2d_backward
    for dy, message in [
        (y[:1], "dy has shape (1, 6, 3, 4), but the output has (2, 6, 3, 4)"),
        (y.astype(np.float32), "dy has dtype float32, but the output has float64"),
        (1.0, "dy is a float; an array of shape (2, 6, 3, 4) is needed"),
    ]:
        assert_refused(lambda dy=dy: backward(dy, cache), message)


def test_gradients_of_parts_are_as_many_as_the_parts():
    parts, cache = ops.channel_split_forward(X, (1, 3))
    assert_refused(lambda: ops.channel_split_backward(parts[:1], cache), "dy has 1 parts", "2")


def test_the_gradient_of_a_loss_is_a_number():
    _, cache = loss()
    expected = "dy has shape (1,), but the loss is a scalar"
    assert_refused(lambda: ops.softmax_cross_entropy_backward(np.ones(1), cache), expected)
