"""Heat maps of a gradient check show both sides, and cross what is wrong."""

import numpy as np
import pytest

from numpy_shufflenet import gradcheck, ops, plots
from numpy_shufflenet.plots.gradients import mosaic


def crosses(figure):
    return sum(text.get_text() == "✗" for axes in figure.axes for text in axes.texts)


def checked(vjp):
    x = np.array([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]])
    return gradcheck.check(lambda x: np.maximum(x, 0), vjp, x, per_entry=True)


def test_a_right_gradient_has_no_cross():
    figure = plots.gradient_map(checked(lambda dy, x: dy * (x > 0)))
    assert crosses(figure) == 0
    assert "pass" in figure.get_suptitle()


def test_every_wrong_entry_is_crossed():
    figure = plots.gradient_map(checked(lambda dy, x: dy))
    assert crosses(figure) == 3  # where x is negative
    assert "fail" in figure.get_suptitle()


def test_all_arrays_are_drawn():
    rng = np.random.default_rng(0)
    verdict = gradcheck.check_pair(
        ops.conv2d_forward,
        ops.conv2d_backward,
        rng.normal(size=(2, 2, 3, 3)),
        rng.normal(size=(3, 2, 2, 2)),
        rng.normal(size=3),
        per_entry=True,
    )
    figure = plots.gradient_map(verdict)
    titles = [axes.get_title() for axes in figure.axes]
    assert [t for t in titles if "analytic" in t] == [
        "dx, analytic",
        "dw, analytic",
        "db, analytic",
    ]
    assert crosses(figure) == 0


def test_tiles_are_laid_out_apart():
    array = np.arange(24.0).reshape(2, 3, 2, 2)
    laid = mosaic(array)
    assert laid.shape == (5, 8)
    np.testing.assert_array_equal(laid[3:, 6:], array[1, 2])
    assert np.isnan(laid[2]).all()


def test_without_entries_there_is_nothing_to_draw():
    verdict = gradcheck.check(lambda x: 2 * x, lambda dy, x: 2 * dy, np.ones((2, 2)))
    with pytest.raises(ValueError, match="per_entry=True"):
        plots.gradient_map(verdict)
