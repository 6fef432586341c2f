"""Accuracy by class with its interval, and similarity: as numbers, and as they are drawn."""

import numpy as np
import pytest
from scipy import stats

from numpy_shufflenet import plots


@pytest.mark.parametrize(("right", "of"), [(0, 5), (5, 5), (1, 1), (30, 200), (199, 200)])
def test_the_interval_is_that_of_scipy(right, of):
    expected = stats.binomtest(right, of).proportion_ci(0.95, method="wilson")
    assert plots.wilson_interval(right, of) == pytest.approx(tuple(expected), abs=1e-6)


def test_the_interval_refuses_what_is_no_part():
    with pytest.raises(ValueError, match="right=3 of=2"):
        plots.wilson_interval(3, 2)
    with pytest.raises(ValueError, match="right=0 of=0"):
        plots.wilson_interval(0, 0)


def test_each_class_has_its_share_and_interval():
    confusions = {"one": np.array([[5, 5], [0, 10]]), "two": np.array([[8, 2], [9, 1]])}
    figure = plots.accuracy_by_class(confusions, ["cat", "dog"])
    axes = figure.axes[0]
    for container, shares in zip(axes.containers, ([50, 100], [80, 10]), strict=True):
        line, _, (bars,) = container.lines
        np.testing.assert_allclose(line.get_xdata(), shares)
        for segment, share in zip(bars.get_segments(), shares, strict=True):
            ends = 100 * np.array(plots.wilson_interval(share // 10, 10))
            np.testing.assert_allclose(segment[:, 0], ends)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert "two is worst on dog, 10%" in figure.alt


def test_a_class_without_images_and_too_many_networks_are_refused():
    with pytest.raises(ValueError, match="right=0 of=0"):
        plots.accuracy_by_class({"one": np.array([[1, 0], [0, 0]])}, ["cat", "dog"])
    with pytest.raises(ValueError, match="confusions has 0 entries; 1 to 4 are needed"):
        plots.accuracy_by_class({}, ["cat", "dog"])


def test_similarity_is_drawn_as_it_is():
    matrix = np.array([[1.0, 0.5, -0.3], [0.5, 1.0, 0.1], [-0.3, 0.1, 1.0]])
    figure = plots.similarity(matrix, ["cat", "dog", "bus"], title="In conv5")
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), matrix)
    assert axes.images[0].get_clim() == (-1, 1)
    assert figure.alt == "In conv5 of 3 classes; most similar: cat and dog"
    with pytest.raises(ValueError, match=r"matrix has shape \(3, 3\); \(2, 2\) is needed"):
        plots.similarity(matrix, ["cat", "dog"])
