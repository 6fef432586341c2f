"""NaN, infinity, -0.0 and denormals: all implementations agree, and the page says what they do."""

from pathlib import Path

import numpy as np
import pytest
import special_values
from hypothesis import assume, given
from hypothesis import strategies as st
from peers import need
from strategies import as_tuple, cases, cotangent_like, run, seeds

from numpy_shufflenet import kernels, nn, ops, steps
from numpy_shufflenet.course.site import build
from numpy_shufflenet.operations import OPERATIONS, Example
from numpy_shufflenet.plan import InferencePlan

IMPLEMENTATIONS = (ops, steps, kernels)
PAGE = Path(build.__file__).with_name("numbers.md").read_text("utf-8")
# Steps write out every way to an output; where they or `ops` add inf and -inf, the others need not.
WRITTEN_OUT = (
    *("batch_norm", "batch_norm_relu", "squeeze_excitation", "swish", "sync_batch_norm"),
)
inf, nan = np.inf, np.nan


def test_the_page_holds_the_table():
    without_peer = special_values.lines(lambda name, cells: "")
    printed = [line.rpartition(" | ")[0] for line in PAGE.splitlines() if line.startswith("| `")]
    assert [line.rpartition(" | ")[0] for line in without_peer[2:]] == printed[
        : len(without_peer) - 2
    ]


def test_the_page_says_where_pytorch_differs():
    need("torch")
    assert "\n".join(special_values.lines(special_values.torch_cell)) in PAGE


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_table_is_true_of_all_implementations(name):
    expected = special_values.row(name)
    for implementation in OPERATIONS[name].implementations[1:]:
        cells = special_values.row(name, implementation)
        shown = (
            len(cells) - 2 if implementation == "steps" and name in WRITTEN_OUT else None
        )  # not dy: inf
        assert cells[:shown] == expected[:shown], implementation


@pytest.mark.parametrize("name", OPERATIONS)
@given(st.data(), seeds())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_implementations_agree_wherever_a_special_value_is(name, data, seed):
    operation, rng = OPERATIONS[name], np.random.default_rng(seed)
    case = data.draw(cases(name))
    dense = [i for i, a in enumerate(case.arrays) if a is not None and a.dtype.kind == "f"]
    chosen = data.draw(st.sampled_from([*dense, "dy", "all"]))
    arrays = [
        with_special(a, rng) if i in dense and chosen in (i, "all") else a
        for i, a in enumerate(case.arrays)
    ]
    if "batch_norm" in name:
        assume(not has_value_at_its_mean(case.arrays[0]))
    case = Example(tuple(arrays), case.hyperparameters)
    y, cache = run(operation, case)
    dy = cotangent_like(y, rng)
    if chosen in ("dy", "all") and name != "softmax_cross_entropy":
        parts = tuple(with_special(part, rng) for part in as_tuple(dy))
        dy = parts if isinstance(dy, tuple) else parts[0]
    gradients = as_tuple(operation.backward()(dy, cache))
    for implementation in operation.implementations[1:]:
        other, cache = run(operation, case, implementation)
        assert_same(name, as_tuple(y), as_tuple(other))
        others = as_tuple(operation.backward(implementation)(dy, cache))
        if name == "squeeze_excitation":
            continue
        if name in WRITTEN_OUT:  # dx of the channel: which of NaN, inf and -inf may differ
            np.testing.assert_array_equal(np.isfinite(gradients[0]), np.isfinite(others[0]))
            assert_same(name, gradients[1:], others[1:])
        else:
            assert_same(name, gradients, others)


def has_value_at_its_mean(x):
    """Whether rounding decides the sign of a normalised value; times inf, it is -inf, NaN or inf.

    Only for a batch of numbers that are all finite. A channel with another one has no such value.
    """
    x = x.astype(np.float64)
    distance = abs(x - x.mean(axis=(0, 2, 3), keepdims=True))
    return bool((distance <= 1e-5 * (1 + abs(x).max())).any()) if x.size else False


def with_special(array, rng):
    array = array.copy("K")
    if array.size:
        place = tuple(rng.integers(size) for size in array.shape)
        array[place] = rng.choice([nan, inf, -inf, -0.0, np.finfo(array.dtype).tiny / 16])
    return array


def assert_same(name, got, expected):
    """NaN and infinities in the same places; zeros of one sign, in what adds nothing up."""
    for a, b in zip(got, expected, strict=True):
        if a is None:
            continue
        tolerance = 2e-4 if np.asarray(a).dtype == np.float32 else 1e-9
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
        if name in special_values.MOVING and name not in ("max_pool2d", "upsample_nearest"):
            zero = (a == 0) & (b == 0)
            np.testing.assert_array_equal(np.signbit(a)[zero], np.signbit(b)[zero])


@pytest.mark.parametrize("implementation", [ops, steps], ids=["ops", "steps"])
def test_a_masked_class_adds_nothing_to_the_loss(implementation):
    logits = np.array([[1.0, 2.0, -inf], [0.0, -inf, 3.0]])
    labels = np.array([0, 2])
    y, cache = implementation.softmax_cross_entropy_forward(logits, labels)
    expected = (np.log1p(np.e) + np.log1p(np.exp(-3))) / 2
    np.testing.assert_allclose(y, expected, rtol=1e-14)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    dlogits = implementation.softmax_cross_entropy_backward(1.0, cache)
    np.testing.assert_allclose(dlogits, (p - np.eye(3)[labels]) / 2, rtol=0, atol=1e-15)
    smoothed, _ = implementation.softmax_cross_entropy_forward(logits, labels, label_smoothing=0.1)
    assert smoothed == inf  # its share of the target isn't 0 then


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=["ops", "steps", "kernels"])
def test_what_is_masked_is_0_whatever_comes_back(implementation):
    x = np.array([[[[-1.0, 2.0], [-0.0, nan]]]])
    y, cache = implementation.relu_forward(x)
    np.testing.assert_array_equal(y, [[[[0, 2], [0, nan]]]])
    np.testing.assert_array_equal(np.signbit(y)[0, 0, :, 0], [False, True])
    np.testing.assert_array_equal(
        implementation.relu_backward(np.full_like(x, inf), cache)[0, 0], [[0, inf], [0, 0]]
    )

    x = np.arange(9.0).reshape(1, 1, 3, 3)
    _, cache = implementation.max_pool2d_forward(x, 3)
    dx = implementation.max_pool2d_backward(np.full((1, 1, 1, 1), inf), cache)
    np.testing.assert_array_equal(dx[0, 0], [[0, 0, 0], [0, 0, 0], [0, 0, inf]])

    x, one = np.array([inf, nan, 1.0, 2.0]).reshape(2, 1, 2, 1), np.ones(1)
    _, cache = implementation.batch_norm_inference_forward(x, one, one, one, one, eps=0.0)
    dx, dgamma, dbeta = implementation.batch_norm_inference_backward(np.ones_like(x), cache)
    np.testing.assert_array_equal(dx, 1)
    assert np.isnan(dgamma[0])
    assert dbeta[0] == 4


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("implementation", [ops, steps], ids=["ops", "steps"])
def test_what_is_dropped_or_weighs_nothing_takes_no_part(implementation):
    x = np.full((1, 200), inf)
    y, cache = implementation.dropout_forward(x, rate=0.5, rng=np.random.default_rng(0))
    assert set(np.unique(y)) == {0.0, inf}
    np.testing.assert_array_equal(implementation.dropout_backward(x, cache), y)
    x = np.array([inf, 1.0, 2.0, 3.0]).reshape(1, 1, 1, 4)
    y, cache = implementation.upsample_bilinear_forward(x, (1, 2))
    np.testing.assert_array_equal(y.ravel(), [inf, inf, inf, 1.25, 1.75, 2.25, 2.75, 3])
    dx = implementation.upsample_bilinear_backward(
        np.where(np.arange(8) == 7, inf, 1).reshape(y.shape), cache
    )
    np.testing.assert_array_equal(dx.ravel(), [2, 2, 2, inf])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["conv2d", "group_conv2d", "depthwise_conv2d"])
def test_the_border_adds_nothing_to_a_convolution(name, dtype):
    """Nor does it if a weight, or a gradient that comes back, is infinite."""
    x, w = np.ones((9, 2, 4, 4), dtype), np.ones((2, 1, 3, 3), dtype)
    if name == "conv2d":
        w = np.concatenate([w, w], axis=1)
    settings = {"groups": 2} if name == "group_conv2d" else {}
    w[:, :, 0, 0] = inf
    for implementation in IMPLEMENTATIONS:
        forward, backward = (
            getattr(implementation, f"{name}_{way}") for way in ("forward", "backward")
        )
        y, _ = forward(x, w, padding=1, **settings)
        assert np.isfinite(y[:, :, 0]).all()
        assert np.isfinite(y[:, :, :, 0]).all()
        assert (y[:, :, 1:, 1:] == inf).all()
        _, cache = forward(x, np.ones_like(w), padding=1, **settings)
        dy = np.ones_like(y)
        dy[0, :, 0, 0] = inf
        _, dw, _ = backward(dy, cache)
        assert np.isfinite(dw[:, :, 0]).all()
        assert np.isfinite(dw[:, :, :, 0]).all()
        assert (dw[:, :, 1:, 1:] == inf).all()


@pytest.mark.parametrize("name", [n for n in OPERATIONS if OPERATIONS[n].linear_in])
def test_denormals_are_not_flushed(name):
    """What is linear in x scales down to them; only their spacing shows."""
    operation = OPERATIONS[name]
    case = operation.example(0, np.float32)
    scale, zeros = np.float32(2.0**-130), [i for i, a in enumerate(operation.arrays) if a == "b"]
    arrays = [a * 0 if i in zeros else a for i, a in enumerate(case.arrays)]
    count = len(arrays) if operation.arrays[0].startswith("*") else 1
    small = [a * scale if i < count else a for i, a in enumerate(arrays)]
    for implementation in operation.implementations:
        y, _ = run(operation, Example(tuple(arrays), case.hyperparameters), implementation)
        small_y, _ = run(operation, Example(tuple(small), case.hyperparameters), implementation)
        for a, b in zip(as_tuple(y), as_tuple(small_y), strict=True):
            assert b.any()
            np.testing.assert_allclose(b / scale, a, rtol=0, atol=2.0**-149 / scale * 50)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_plan_does_with_special_values_what_its_model_does():
    rng = np.random.default_rng(0)
    conv, fc = nn.Conv2d(2, 6, 3, padding=1), nn.Linear(6, 4)
    depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
    for layer in (conv, depthwise, fc):
        layer.weight.value[...] = rng.normal(size=layer.weight.value.shape)
    pool, mean = nn.MaxPool2d(3, stride=2, padding=1), nn.GlobalAvgPool()
    models = [
        nn.Sequential(conv, nn.ReLU(), depthwise, pool, mean, fc),
        nn.Sequential(conv, nn.AvgPool2d(3, stride=2, padding=1), nn.ReLU(), mean),
        nn.Sequential(pool, mean),
    ]
    for model in models:
        plan = InferencePlan(model)
        for value in (nan, inf, -inf, -0.0, special_values.DENORMAL):
            x = rng.normal(size=(3, 2, 9, 9)).astype(np.float32)
            x[1, 0, 4, 4] = value
            np.testing.assert_allclose(plan(x), model.infer(x), rtol=1e-4, atol=1e-5)


def test_of_equal_values_a_max_pool_keeps_the_first():
    """0.0 and -0.0 are equal; so the sign of what is kept tells which one it was."""
    for seed in range(50):
        signs = np.random.default_rng(seed).choice([-0.0, 0.0], size=(9, 1, 3, 3))
        for dtype in (np.float32, np.float64):
            for x in (signs.astype(dtype), signs[:1].astype(dtype)):
                expected, _ = steps.max_pool2d_forward(x, 3)
                assert (np.signbit(expected[:, 0, 0, 0]) == np.signbit(x[:, 0, 0, 0])).all()
                for implementation in (ops, kernels):
                    y, _ = implementation.max_pool2d_forward(x, 3)
                    np.testing.assert_array_equal(np.signbit(y), np.signbit(expected))


def test_a_plan_refuses_weights_that_are_not_finite():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.GlobalAvgPool())
    model[0].weight.value[...] = nan
    with pytest.raises(ValueError, match=r"0.weight holds NaN or infinity; .* finite weights"):
        InferencePlan(model)
