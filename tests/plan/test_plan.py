"""A plan computes what the model computes, on any images and any number of threads."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import given
from hypothesis import strategies as st
from networks import randomised

from numpy_shufflenet import backend
from numpy_shufflenet.models import mobilenet_v1, resnet_50, shufflenet_v1, shufflenet_v2
from numpy_shufflenet.nn import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
)
from numpy_shufflenet.plan import InferencePlan
from numpy_shufflenet.plan.layout import IMAGES
from numpy_shufflenet.plan.plan import SIZES

small = {"num_classes": 5, "in_channels": 2, "stem": "small", "seed": 0}
MODELS = {
    "V1": lambda: shufflenet_v1(scale=0.25, groups=3, num_classes=5, seed=0),
    "V1, small stem": lambda: shufflenet_v1(scale=0.25, groups=8, **small),
    "V1 without shuffle": lambda: shufflenet_v1(scale=0.25, groups=2, shuffle=False, **small),
    "V2": lambda: shufflenet_v2(scale=0.5, num_classes=5, seed=0),
    "V2, torchvision": lambda: shufflenet_v2(scale=1, layout="torchvision", **small),
    "V2, extras": lambda: shufflenet_v2(
        scale=0.5, residual=True, extra_depthwise=True, dropout=0.5, classifier_bias=False, **small
    ),
    "V1 with excitation": lambda: shufflenet_v1(scale=0.5, groups=2, se=True, **small),
    "V2 with excitation": lambda: shufflenet_v2(scale=0.5, se=True, residual=True, **small),
    "MobileNet": lambda: mobilenet_v1(scale=0.25, num_classes=5, seed=0),
    "ResNet": lambda: resnet_50(num_classes=5, seed=0),
}


def images(model, n=2, h=35, w=42):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, model.in_channels, h, w)).astype(np.float32)


def check(model, x, plan=None):
    """The model is the oracle, in double precision and without kernels."""
    with backend.use("numpy"):
        expected = model.astype(np.float64).infer(x.astype(np.float64))
    found = (plan or InferencePlan(model))(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", MODELS)
def test_whole_networks(name):
    model = randomised(MODELS[name]())
    check(model, images(model))


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (7, 3), (16, 16), (33, 17), (48, 50)])
def test_one_plan_takes_images_of_any_size(size):
    model = randomised(MODELS["V2, extras"]())
    plan = model.plan()
    check(model, images(model, 1, *size), plan)
    check(model, images(model, 1, 20, 21), plan)


@given(networks(), st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_networks_of_any_make(network, h, w, n):
    channels, model = network
    model = randomised(model)
    x = np.random.default_rng(2).normal(size=(n, channels, h, w)).astype(np.float32)
    check(model, x)


SIDES = st.tuples(st.integers(0, 1), st.integers(0, 1))
WINDOWS = {  # of stride 2, with any padding of at most 1
    "max": lambda padding: [MaxPool2d(3, stride=2, padding=padding)],
    "average": lambda padding: [AvgPool2d(3, stride=2, padding=padding)],
    "average inside": lambda padding: [
        AvgPool2d(3, stride=2, padding=padding, count_include_pad=False)
    ],
    "depthwise": lambda padding: [ReLU(), Conv2d(3, 3, 3, stride=2, padding=padding, groups=3)],
    "product, depthwise": lambda padding: [
        Conv2d(3, 7, 1),
        Conv2d(7, 7, 3, stride=2, padding=padding, groups=7),
        Conv2d(7, 3, 1),
    ],
}


@given(
    st.sampled_from(sorted(WINDOWS)),
    st.tuples(SIDES, SIDES),
    st.integers(3, 40),
    st.integers(3, 40),
    st.integers(1, 9),
)
def test_padding_of_each_side(window, padding, h, w, n):
    whole = Conv2d(3, 5, (2, 1), padding=1)  # tells one pixel from another
    network = Sequential(*WINDOWS[window](padding), whole, ReLU(), GlobalAvgPool(), Linear(5, 4))
    x = np.random.default_rng(2).normal(size=(n, 3, h, w)).astype(np.float32)
    check(randomised(network), x)


class TwoReaders(Layer):
    """Rows that two layers read must stay as the first one finds them."""

    def __init__(self):
        super().__init__()
        self.first = Conv2d(3, 7, 1, bias=True)
        self.relu = ReLU()
        self.depthwise = Conv2d(7, 7, 3, padding=1, groups=7, bias=True)
        self.add = Add()
        self.again = Add()
        self.pool = GlobalAvgPool()

    def _forward(self, x, training):
        y = self.first.forward(x)
        z = self.add.forward((self.relu.forward(y), y))
        return self.pool.forward(self.again.forward((z, self.depthwise.forward(y))))


class Ends(Layer):
    def __init__(self, body, features):
        super().__init__()
        self.body = body
        self.fc = Linear(features, 4)

    def _forward(self, x, training):
        return self.fc.forward(self.body.forward(x))


def test_nothing_is_fused_where_somebody_else_reads():
    model = randomised(Ends(TwoReaders(), 7))
    check(model, np.random.default_rng(3).normal(size=(1, 3, 6, 5)).astype(np.float32))


@pytest.mark.parametrize("name", ["V1", "V2"])
def test_no_result_depends_on_threads_or_batch(name):
    model = MODELS[name]()
    plan, x = model.plan(), images(model, 7)
    before = backend.num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 5):
            backend.set_num_threads(threads)
            results += [plan(x), np.concatenate([plan(x[i : i + 1]) for i in range(7)])]
    finally:
        backend.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@given(networks(), st.integers(1, 30), st.integers(1, 30), st.integers(2, 2 * IMAGES + 1))
def test_images_run_together_as_they_do_alone(network, h, w, n):
    channels, model = network
    plan = InferencePlan(randomised(model))
    x = np.random.default_rng(4).normal(size=(n, channels, h, w)).astype(np.float32)
    before = backend.num_threads()
    try:
        backend.set_num_threads(1)
        results = [plan(x), np.concatenate([plan(image[None]) for image in x])]
    finally:
        backend.set_num_threads(before)
    np.testing.assert_array_equal(*results)


def test_any_memory_layout_and_no_images():
    model = MODELS["V2"]()
    plan, x = model.plan(), images(model, 3)
    for view in (np.asfortranarray(x), np.flip(np.flip(x, 2).copy(), 2)):
        np.testing.assert_array_equal(plan(view), plan(x))
    assert plan(x[:0]).shape == (0, 5)


def test_threads_of_the_caller_run_one_plan_at_once():
    model = MODELS["V2"]()
    plan, x = model.plan(), images(model, 1)
    expected = plan(x)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: plan(x), range(40)):
            np.testing.assert_array_equal(result, expected)


def test_a_plan_keeps_its_weights():
    model = MODELS["V2"]()
    plan, x = model.plan(), images(model)
    expected = plan(x)
    for array in model.parameters().values():
        array += 1
    np.testing.assert_array_equal(plan(x), expected)


def test_nan_and_infinity_spread_as_in_the_model():
    model = MODELS["V2"]()
    plan, x = model.plan(), images(model, 3)
    x[0, 1, 5, 5] = np.nan
    x[1, 2, 4, 4] = np.inf
    found = plan(x)
    assert np.isnan(found[0]).all()
    assert not np.isfinite(found[1]).any()
    np.testing.assert_array_equal(found[2], plan(x[2:])[0])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1.0], r"x is a list; an array \(n, c, h, w\) of float32 is needed"),
        (np.zeros((1, 3, 8, 8)), r"dtype float64; an array \(n, c, h, w\) of float32"),
        (np.zeros((3, 8, 8), np.float32), r"shape \(3, 8, 8\)"),
        (np.zeros((1, 4, 8, 8), np.float32), r"\(n, 3, h, w\) is needed"),
    ],
)
def test_bad_images_get_a_clear_error(x, message):
    with pytest.raises(ValueError, match=message):
        MODELS["V2"]().plan()(x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Conv2d(4, 4, 5, padding=2, groups=4), "needs 3x3, stride 1 or 2, padding 1"),
        (Conv2d(4, 4, 3, padding=[[0, 1], [0, 1]], groups=4), "needs 3x3, stride 1 or 2"),
        (Conv2d(4, 8, 3, padding=1, groups=4), "more outputs than inputs"),
        (MaxPool2d(2, stride=2), "needs 3x3, stride 2, padding 1"),
        (MaxPool2d(3, stride=2, padding=2), "needs 3x3, stride 2, padding 1, or 0 and 1"),
        (Sequential(ReLU(), BatchNorm2d(4)), "can't run batch_norm_inference"),
        (Conv2d(4, 4, 7), "too small"),
    ],
)
def test_what_a_plan_cannot_run_is_said(layer, message):
    model = Sequential(layer, GlobalAvgPool(), Linear(4, 2))
    with pytest.raises(ValueError, match=message):
        InferencePlan(model)(np.zeros((1, 4, 6, 6), np.float32))


def test_a_layer_that_computes_by_itself_is_refused():
    class Doubled(Layer):
        def _forward(self, x, training):
            return 2 * x

    model = Sequential(Doubled(), GlobalAvgPool(), Linear(4, 2))
    with pytest.raises(ValueError, match="a layer computes by itself"):
        InferencePlan(model)(np.zeros((1, 4, 6, 6), np.float32))


def test_a_plan_keeps_the_programs_used_last():
    plan, x = MODELS["V2"]().plan(), images(MODELS["V2"](), 1)
    for size in range(SIZES):
        plan(x[:, :, : size + 3])
    plan(x[:, :, :3])  # used again
    plan(x[:, :, : SIZES + 3])
    kept = [h for _, h, _ in plan._programs]
    assert sorted(kept) == [3, *range(5, SIZES + 4)]


def pickled(plan):
    return pickle.loads(pickle.dumps(plan))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_a_plan_can_be_copied_and_pickled(copied):
    model = MODELS["V2"]()
    plan, x = model.plan(), images(model, 2)
    expected = plan(x)
    np.testing.assert_array_equal(copied(plan)(x), expected)
    np.testing.assert_array_equal(plan(x), expected)
