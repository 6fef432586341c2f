"""Pictures of costs show the numbers that they are given."""

import numpy as np
import pytest

from numpy_shufflenet import cost, models, plots
from numpy_shufflenet.plots.costs import KIND_COLOURS


def bars(axes):
    return [patch for container in axes.containers for patch in container.patches]


def test_every_layer_is_a_bar_of_its_cost():
    counted = cost.count(models.shufflenet_v2(scale=0.5), (3, 64, 64))
    figure = plots.cost_by_layer(counted.layers, "a network")
    for axes, field in zip(figure.axes, ("multiply_adds", "memory_access"), strict=True):
        heights = {round(bar.get_x() + 0.5): bar.get_height() for bar in bars(axes)}
        for number, layer in enumerate(counted.layers):
            expected = getattr(layer.cost.forward, field) / 1e6
            if layer.cost.forward.memory_access:
                assert heights[number] == pytest.approx(expected)


def test_times_of_layers_stand_below_their_costs():
    counted = cost.count(models.shufflenet_v2(scale=0.5), (3, 64, 64))
    seconds = [0.001 * (i + 1) for i in range(len(counted.layers))]
    above, _, below = plots.cost_by_layer(counted.layers, "a network", seconds).axes
    assert [bar.get_height() for bar in bars(below)] == pytest.approx([1e3 * s for s in seconds])
    colours = {round(bar.get_x() + 0.5): bar.get_facecolor() for bar in bars(above)}
    for number, bar in enumerate(bars(below)):
        assert bar.get_facecolor() == colours.get(number, bar.get_facecolor())


def test_rows_of_shares_fill_the_width_in_order():
    rows = {"run time": {"ReLU": 1.0, "shuffle": 3.0}, "memory": {"shuffle": 5.0}}
    (axes,) = plots.cost_by_kind(rows, "shares").axes
    widths = {}
    for container in axes.containers:
        widths[container.get_label()] = [bar.get_width() for bar in container.patches]
    assert widths == {"ReLU": [25, 0], "shuffle": [75, 100]}
    assert [text.get_text() for text in axes.texts] == ["25", "75", "100"]


def test_one_colour_belongs_to_one_kind():
    assert len(set(KIND_COLOURS)) == len(KIND_COLOURS) >= len(cost.ORDER) + 1


def test_a_table_has_a_bar_for_each_number_and_its_interval():
    columns = {"ours": [1.0, 0.5], "paper, GPU": [1.0, 0.4]}
    figure = plots.guideline(["a", "b"], columns, "G1", {"ours": [(1.0, 1.0), (0.4, 0.7)]})
    drawn = figure.axes[0].containers
    bars_drawn = [container for container in drawn if hasattr(container, "patches")]
    (errors,) = [container for container in drawn if not hasattr(container, "patches")]
    heights = {c.get_label(): [bar.get_height() for bar in c.patches] for c in bars_drawn}
    assert heights == columns
    (segments,) = errors.lines[2]
    np.testing.assert_allclose(
        [segment[:, 1] for segment in segments.get_segments()], [[1, 1], [0.4, 0.7]]
    )


def test_widths_at_a_budget():
    budgets = [1e6, 1e7]
    widths = {"a": [(10, 5), (20, 10)], "b": [(4, 4), (8, 8)]}
    left, right = plots.channels_at_budget(budgets, widths).axes
    assert [line.get_ydata().tolist() for line in left.lines] == [[10, 20], [4, 8]]
    assert [line.get_ydata().tolist() for line in right.lines] == [[5, 10], [4, 8]]


def test_reachability_colours_what_is_connected():
    connected = np.array([[True, False], [True, True]])
    unchanged = np.array([[True, False], [False, False]])
    figure = plots.reachability({"unit": connected}, unchanged={"unit": unchanged})
    (axes,) = figure.axes
    picture = np.asarray(axes.images[0].get_array())
    assert len({tuple(pixel) for row in picture for pixel in row}) == 3
    assert tuple(picture[0, 1]) == (1, 1, 1)
    np.testing.assert_array_equal(picture[1, 0], picture[1, 1])
    assert "75%" in axes.get_title()
