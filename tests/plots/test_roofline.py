"""The roof is what a machine allows; points stand where their work was measured."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from numpy_shufflenet import plots
from numpy_shufflenet.bench import resources
from numpy_shufflenet.bench.operations import CASES
from numpy_shufflenet.bench.report import BenchReport
from numpy_shufflenet.bench.resources import Machine
from numpy_shufflenet.bench.timing import TimedRow


def drawn(axes):
    """The lines by their label: x and y."""
    return {line.get_label(): np.array(line.get_data()) for line in axes.lines}


def test_the_roof_is_a_slope_and_a_ceiling_that_meet():
    (axes,) = plots.roofline({}, gflops=200, gbytes=40).axes
    x, y = drawn(axes)["limit of this machine"]
    np.testing.assert_allclose(y[x < 5], 40 * x[x < 5])
    np.testing.assert_allclose(y[x > 5], 200)
    assert axes.lines[1].get_xdata()[0] == 5  # where both meet


def test_a_point_is_its_flops_a_byte_and_a_second():
    slow, fast = plots.Work("a", 8e9, 2e9, 0.5), plots.Work("", 1e9, 1e12, 1e-3)
    (axes,) = plots.roofline({"one": [slow], "two": [fast, slow]}, gflops=1, gbytes=1).axes
    np.testing.assert_allclose(drawn(axes)["one"], [[4], [16]])
    np.testing.assert_allclose(drawn(axes)["two"], [[1e-3, 4], [1000, 16]])
    assert [text.get_text() for text in axes.texts] == ["a", "a"]
    x, _ = drawn(axes)["limit of this machine"]
    assert x[0] < 1e-3  # the roof reaches over all points


def test_a_kind_of_operation_has_its_colour():
    work = plots.Work("", 1, 1, 1)
    series = {"ours": [work], "ReLU": [work], "shuffle": [work]}
    (roof,) = plots.roofline(series, gflops=1, gbytes=1).axes
    rows = {"run time": {"ReLU": 1.0, "shuffle": 3.0}}
    (bars,) = plots.cost_by_kind(rows, "").axes
    of_kinds = {c.get_label(): to_rgb(c.patches[0].get_facecolor()[:3]) for c in bars.containers}
    colours = {line.get_label(): to_rgb(line.get_color()) for line in roof.lines}
    assert of_kinds == {name: colours[name] for name in ("ReLU", "shuffle")}
    assert len({colours[name] for name in series}) == 3


def test_the_limits_of_the_machine_are_those_of_its_best_run(monkeypatch):
    """Two threads, 10 products of 256 x 256 matrices each, and 64 MB that each copies."""
    seconds = {"multiply": np.array([2.0, 0.5, 1.0]), "copy": np.array([4.0, 2.0, 8.0])}
    monkeypatch.setattr(resources, "interleave", lambda runs, **options: seconds)
    monkeypatch.setattr(resources.backend, "num_threads", lambda: 2)
    found = resources.machine()
    assert found.gflops == pytest.approx(2 * 2 * 256**3 * 10 / 0.5 / 1e9)
    assert found.gbytes == pytest.approx(2 * 2 * (1 << 26) / 2 / 1e9)


def test_the_bench_draws_its_convolutions_for_both_contenders():
    rows = [
        TimedRow("operation", f"{case.work}: forward", batch, "PyTorch", 1e-3, 2e-3, 2, 2, 2, 5, 0)
        for case in CASES
        for batch in (1, 4)
    ]
    report = BenchReport(rows=rows, machine=Machine(100, 10))
    (axes,) = report.figures()["roofline"].axes
    points = drawn(axes)
    np.testing.assert_allclose(points["ours"][1], 2 * points["PyTorch"][1])
    names = [case.work for case in CASES if case.operation.endswith("conv2d")]
    assert sorted(text.get_text() for text in axes.texts) == sorted(names)
    pointwise = names.index("pointwise, stage 2")
    flops = 2 * 4 * 58 * 58 * 28 * 28
    moved = 4 * (4 * 2 * 58 * 28 * 28 + 58 * 58)
    assert points["ours"][:, pointwise] == pytest.approx([flops / moved, flops / 1e-3 / 1e9])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.work)
def test_the_work_of_a_convolution_is_counted_by_its_windows(case):
    """Every output sums the products of its kernel; every number is moved once."""
    found = case.work_in_numbers(2)
    if not case.operation.endswith("conv2d"):
        assert found is None
        return
    (_, h, w), (o, *kernel) = case.images[0], case.weights[0]
    stride = case.hyperparameters.get("stride", 1)
    outputs = 2 * o * len(range(0, h, stride)) * len(range(0, w, stride))
    weights = o * np.prod(kernel)
    moved = 2 * np.prod(case.images[0]) + outputs + weights
    assert found == (2 * outputs * np.prod(kernel), 4 * moved)


def test_labels_cover_no_other():
    works = [plots.Work(f"operation {k}", 1e9 + 1e6 * k, 1e8, 0.02) for k in range(6)]
    figure = plots.roofline({"ours": works, "theirs": []}, gflops=100, gbytes=20)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    written = [text for text in axes.texts if text.get_text()]
    assert sorted(text.get_text() for text in written) == [work.label for work in works]
    for one, other in itertools.combinations(map(Text.get_window_extent, written), 2):
        assert not one.overlaps(other)
