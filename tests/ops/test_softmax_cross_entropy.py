"""The loss: its formula in plain Python, and what must not change it or break it."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cases

from numpy_shufflenet.ops import softmax_cross_entropy_backward as backward
from numpy_shufflenet.ops import softmax_cross_entropy_forward as forward

close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
losses = cases("softmax_cross_entropy", np.float64)


@given(losses, st.floats(-3, 3))
def test_the_formula_written_out(case, dy):
    logits, labels = case.arrays
    smoothing = case.hyperparameters["label_smoothing"]
    n, classes = logits.shape
    loss, dlogits = 0.0, np.empty_like(logits)
    for i, row in enumerate(logits):
        total = sum(math.exp(z) for z in row)
        for k, z in enumerate(row):
            p = math.exp(z) / total
            q = (1 - smoothing) * (k == labels[i]) + smoothing / classes
            loss -= q * math.log(p) / n
            dlogits[i, k] = dy * (p - q) / n
    y, cache = forward(logits, labels, label_smoothing=smoothing)
    close(y, loss)
    close(backward(dy, cache), dlogits)


@given(losses, st.floats(-50, 50))
def test_shifting_a_row_changes_nothing(case, shift):
    logits, labels = case.arrays
    rows = shift * np.arange(len(logits))[:, None] + shift
    y, cache = forward(logits, labels, **case.hyperparameters)
    y_shifted, cache_shifted = forward(logits + rows, labels, **case.hyperparameters)
    close(y_shifted, y, atol=1e-10)
    close(backward(1.0, cache_shifted), backward(1.0, cache), atol=1e-10)


@given(losses)
def test_the_gradient_of_a_row_sums_to_0(case):
    """Because shifting it changes nothing."""
    _, cache = forward(*case.arrays, **case.hyperparameters)
    dlogits = backward(1.0, cache)
    close(dlogits.sum(axis=1), np.zeros(len(dlogits)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_huge_logits_neither_overflow_nor_vanish(dtype, smoothing):
    """exp(1e4) is infinite; the loss is the difference of the logits, and the gradient p - q."""
    logits = np.array([[1e4, -1e4], [1e4, -1e4]], dtype)
    y, cache = forward(logits, np.array([0, 1]), label_smoothing=smoothing)
    # The right row pays 2e4 for the smoothed half alone, the wrong row for all the rest.
    np.testing.assert_allclose(y, 1e4, rtol=1e-6)
    dlogits = backward(1.0, cache)
    half = smoothing / 2
    expected = np.array([[half, -half], [1 - half, half - 1]]) / 2
    np.testing.assert_allclose(dlogits, expected, rtol=1e-6)


@given(st.integers(1, 9), st.integers(1, 4), st.floats(0, 1))
def test_equal_logits_cost_the_logarithm_of_the_number_of_classes(classes, n, smoothing):
    y, _ = forward(np.ones((n, classes)), np.zeros(n, int), label_smoothing=smoothing)
    close(y, math.log(classes))


@given(losses, st.floats(0, 1))
def test_label_smoothing_mixes_in_the_mean_over_all_classes(case, smoothing):
    logits, labels = case.arrays
    y, _ = forward(logits, labels, label_smoothing=smoothing)
    classes = logits.shape[1]
    every = [forward(logits, np.full_like(labels, k))[0] for k in range(classes)]
    plain, _ = forward(logits, labels)
    close(y, (1 - smoothing) * plain + smoothing * np.mean(every))


@given(st.floats(-30, 30))
def test_two_classes_are_logistic_regression(margin):
    y, cache = forward(np.array([[margin, 0.0]]), np.array([0]))
    close(y, math.log1p(math.exp(-margin)))
    close(backward(1.0, cache)[0, 0], -1 / (1 + math.exp(margin)))


@given(losses)
def test_the_loss_of_a_batch_is_the_mean_of_its_rows(case):
    logits, labels = case.arrays
    y, _ = forward(logits, labels, **case.hyperparameters)
    rows = range(len(logits))
    single = [forward(logits[i : i + 1], labels[i : i + 1], **case.hyperparameters) for i in rows]
    close(y, np.mean([loss for loss, _ in single]))


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_labels_of_any_integer_type(kind):
    logits = np.random.default_rng(0).normal(size=(4, 3))
    labels = np.array([2, 0, 1, 2])
    assert forward(logits, labels.astype(kind))[0] == forward(logits, labels)[0]
