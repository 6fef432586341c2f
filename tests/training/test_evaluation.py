import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_shufflenet.data import Standardise
from numpy_shufflenet.training import confusion_matrix, evaluate

STANDARDISE = Standardise((0.4,), (0.2,))


def test_it_is_what_the_definitions_say(small_network, small_set):
    model, dataset = small_network(dtype="float64"), small_set(23)
    result = evaluate(model, dataset, STANDARDISE, batch_size=7)  # 7, 7, 7, 2
    logits = model.forward((dataset.images / 255 - 0.4) / 0.2)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(result.probabilities, p, rtol=1e-12)
    np.testing.assert_array_equal(result.predictions, logits.argmax(axis=1))
    losses = [-np.log(p[i, label]) for i, label in enumerate(dataset.labels)]
    assert result.loss == pytest.approx(np.mean(losses), rel=1e-12)
    assert result.accuracy == np.mean(logits.argmax(axis=1) == dataset.labels)
    assert result.accuracy == np.trace(result.confusion) / 23


@pytest.mark.parametrize("batch_size", [1, 4, 23, 1000])
def test_the_batch_size_does_not_matter(small_network, small_set, batch_size):
    model, dataset = small_network(dtype="float64"), small_set(23)
    whole = evaluate(model, dataset, STANDARDISE)
    parts = evaluate(model, dataset, STANDARDISE, batch_size=batch_size)
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-12)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)


def test_it_changes_nothing_and_leaves_the_model_ready_for_training(small_network, small_set):
    model, dataset = small_network(dropout=0.5), small_set(8)
    before = model.state_dict()
    first = evaluate(model, dataset, STANDARDISE, batch_size=3)
    again = evaluate(model, dataset, STANDARDISE, batch_size=3)
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    logits = model.forward(STANDARDISE(dataset.images), training=True)
    model.backward(np.ones_like(logits))


@given(st.integers(1, 5), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_confusion_counts_rows_of_labels_and_columns_of_predictions(classes, n, seed):
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(0, classes, size=(2, n))
    confusion = confusion_matrix(labels, predictions, classes)
    pairs = list(zip(labels.tolist(), predictions.tolist(), strict=True))
    expected = [[pairs.count((i, j)) for j in range(classes)] for i in range(classes)]
    assert confusion.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 3], [0, 1], r"labels\[1\]=3 is out of range; 0 to 2 is needed"),
        ([0, 1], [-1, 1], r"predictions\[0\]=-1 is out of range"),
        ([0.0, 1.0], [0, 1], "labels is of type float64; an integer array is needed"),
        ([0, 1], [0], r"labels has shape \(2,\) and predictions \(1,\)"),
    ],
)
def test_confusion_names_what_does_not_fit(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(labels), np.array(predictions), 3)


def test_evaluate_names_what_does_not_fit(small_network, small_set):
    with pytest.raises(ValueError, match="dataset has 0 images"):
        evaluate(small_network(), small_set(0), STANDARDISE)
    with pytest.raises(ValueError, match="batch_size=0 is not"):
        evaluate(small_network(), small_set(4), STANDARDISE, batch_size=0)
