"""Pictures that move show the numbers of the library, and sums that add up to them."""

import re

import numpy as np
import pytest
from strategies import as_tuple

from numpy_shufflenet import models, nn, operations, ops, plots
from numpy_shufflenet.plots.moving.channels import Spot, links_of
from numpy_shufflenet.plots.moving.dataflow import dataflow

UNITS = {
    "V1, stride 1": (nn.ShuffleNetV1Unit(12, 12, groups=3, stride=1), 12),
    "V1, stride 2": (nn.ShuffleNetV1Unit(12, 24, groups=3, stride=2, first_groups=1), 12),
    "V1 with SE": (nn.ShuffleNetV1Unit(16, 16, groups=2, stride=1, se=True), 16),
    "V2, one branch": (nn.ShuffleNetV2Unit(8, 8, stride=1), 8),
    "V2, two branches": (nn.ShuffleNetV2Unit(6, 12, stride=2, branch1_channels=6), 6),
    "V2 with all": (
        nn.ShuffleNetV2Unit(8, 8, stride=1, residual=True, se=True, extra_depthwise=True),
        8,
    ),
}
units = pytest.mark.parametrize("name", UNITS)


def tenths(*shape, seed=0):
    """Numbers that a picture shows without rounding."""
    return np.random.default_rng(seed).integers(-9, 10, shape) / 10


CASES = {
    "conv2d": (
        (tenths(2, 4, 5, 4), tenths(4, 2, 3, 2), tenths(4)),
        {"stride": 2, "padding": ((1, 0), (1, 2)), "dilation": (1, 2), "groups": 2},
    ),
    "group_conv2d": ((tenths(2, 4, 4, 5), tenths(6, 2, 3, 3), None), {"groups": 2, "padding": 1}),
    "depthwise_conv2d": ((tenths(1, 2, 5, 4), tenths(4, 1, 3, 3), tenths(4)), {"stride": 2}),
    "pointwise_conv2d": ((tenths(2, 4, 2, 3), tenths(6, 2, 1, 1), tenths(6)), {"groups": 2}),
    "linear": ((tenths(3, 4), tenths(2, 4), tenths(2)), {}),
    "avg_pool2d": (
        (tenths(1, 2, 5, 4),),
        {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
    ),
    "max_pool2d": ((tenths(1, 2, 5, 4),), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "channel_shuffle": ((tenths(1, 6, 2, 2),), {"groups": 2}),
    "channel_split": ((tenths(1, 4, 2, 1),), {"sizes": (1, 3)}),
    "channel_concat": ((tenths(1, 2, 1, 2), tenths(1, 1, 1, 2)), {}),
    "relu": ((tenths(3, 4),), {}),
    "upsample_nearest": ((tenths(1, 1, 2, 2),), {"scale": 2}),
}


def value_of(text):
    return float(text.replace("−", "-").replace("∞", "inf"))


def shown(scene):
    """The number that stands in each element, by its label."""
    return {
        label: value_of(text)
        for label, text in zip(scene.labels, scene.values, strict=True)
        if text
    }


def assert_shows(scene, name, array):
    found = shown(scene)
    for index in np.ndindex(np.shape(array)):
        label = name + (f"[{','.join(map(str, index))}]" if index else "")
        expected = float(np.asarray(array)[index])
        assert found[label] == pytest.approx(expected, rel=0.06, abs=0.0051), label


def worth(term, scene):
    """The number that a term says, read from its text as a reader would."""
    text, previous = "", None
    for part in term:
        if isinstance(part, int) and isinstance(previous, int):
            text += " * "
        text += f"({scene.values[part]})" if isinstance(part, int) else part
        previous = part
    plain = text.replace("−", "-").replace("×", "*")
    assert re.fullmatch(r"[-+*/(). 0-9e]*", plain), plain
    return eval(plain)


@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_every_operation_is_drawn_with_the_numbers_of_ops(name):
    operation = operations.OPERATIONS[name]
    example = operation.example()
    picture = plots.step_through(name, *example.arrays, **example.hyperparameters)
    forward, backward = picture.scenes
    example = operation.example()
    y, cache = operation.forward()(*example.arrays, **example.hyperparameters)
    for i, part in enumerate(as_tuple(y)):
        assert_shows(forward, f"y[{i}]" if isinstance(y, tuple) else "y", part)
    dy = tuple(np.zeros(np.shape(part)) for part in as_tuple(y))
    for i, part in enumerate(dy):
        stem = f"dy[{i}]" if isinstance(y, tuple) else "dy"
        for index in np.ndindex(part.shape):
            label = stem + (f"[{','.join(map(str, index))}]" if index else "")
            part[index] = shown(backward)[label]  # tenths, so nothing was rounded
    gradients = operation.backward()(dy if isinstance(y, tuple) else dy[0][()], cache)
    names = operation.differentiable
    if names[0].startswith("*"):
        names = [f"{names[0][1:]}[{i}]" for i in range(len(example.arrays))]
    for argument, gradient in zip(names, as_tuple(gradients), strict=True):
        if gradient is not None:
            assert_shows(backward, f"d{argument}", gradient)


@pytest.mark.parametrize("name", CASES)
def test_the_sums_that_are_written_out_are_right(name):
    arrays, hyperparameters = CASES[name]
    for scene in plots.step_through(name, *arrays, **hyperparameters).scenes:
        assert scene.steps
        for step in scene.steps:
            terms = [worth(term, scene) for term in step.terms]
            total = max(terms) if step.function == "max" else sum(terms)
            assert value_of(step.value) == pytest.approx(total, abs=0.0051)


def test_a_convolutions_output_reads_its_window_and_its_kernel():
    x, w = tenths(1, 1, 5, 5), tenths(1, 1, 3, 3, seed=1)
    scene = plots.step_through("conv2d", x, w, stride=2, padding=1).scenes[0]
    step = next(s for s in scene.steps if scene.labels[s.output] == "y[0,0,0,1]")
    read = {scene.labels[e] for e in step.reads}
    pixels = {f"x[0,0,{r},{s}]" for r in (0, 1) for s in (1, 2, 3)}  # the row above is padding
    assert read == pixels | {f"w[0,0,{i},{j}]" for i in (1, 2) for j in (0, 1, 2)}


def test_a_maximum_sends_its_gradient_to_the_winner_alone():
    x = np.array([[0.1, 0.9], [0.4, 0.2]]).reshape(1, 1, 2, 2)
    forward, backward = plots.step_through("max_pool2d", x, kernel_size=2).scenes
    assert [forward.labels[e] for e in forward.steps[0].winners] == ["x[0,0,0,1]"]
    reading = [backward.labels[s.output] for s in backward.steps if s.reads]
    assert reading == ["dx[0,0,0,1]"]


def test_batch_norm_writes_mean_and_deviation_out():
    x, one = tenths(2, 1, 2, 2), np.ones(1)
    scene = plots.step_through("batch_norm", x, one, 0 * one).scenes[0]
    said = re.match(r"mean (\S+) and standard deviation (\S+),", scene.steps[0].note)
    found = [value_of(text) for text in said.groups()]
    np.testing.assert_allclose(found, [x.mean(), x.std()], atol=0.0051)


def test_wires_of_a_shuffle_run_back_the_way_they_came():
    forward, backward = plots.shuffle_wires(6, 2).scenes
    came_from = {f.labels[s.output]: f.labels[s.reads[0]] for f in [forward] for s in f.steps}
    assert came_from == {f"y[{k}]": f"x[{s}]" for k, s in enumerate((0, 3, 1, 4, 2, 5))}
    goes_to = {b.labels[s.output]: b.labels[s.reads[0]] for b in [backward] for s in b.steps}
    assert goes_to == {f"d{x}": f"d{y}" for y, x in came_from.items()}


@units
def test_a_unit_is_drawn_with_all_its_layers_and_its_costs(name):
    unit, channels = UNITS[name]
    nodes = dataflow(unit, np.random.default_rng(0).normal(size=(2, channels, 6, 6)))
    table = models.summary(unit, (channels, 6, 6))
    drawn = {node.name: node for node in nodes if node.layer}
    assert set(drawn) == {row.name for row in table.rows}
    for row in table.rows:
        node = drawn[row.name]
        assert (node.shape, node.parameters) == (row.output_shape, row.parameters)
        assert node.multiply_adds == row.multiply_adds
    added = sum(node.kind == "add" for node in nodes)
    assert added == (1 if name in ("V1, stride 1", "V1 with SE", "V2 with all") else 0)
    picture = plots.unit(unit, (channels, 6, 6))
    assert [len(scene.steps) for scene in picture.scenes] == [len(nodes)] * 2


@units
def test_running_for_a_drawing_leaves_the_unit_as_it_was(name):
    unit, channels = UNITS[name]
    before = {key: array.copy() for key, array in unit.state_dict().items()}
    plots.unit(unit, (channels, 6, 6))
    for key, array in unit.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("name", [n for n in UNITS if n not in ("V1 with SE", "V2 with all")])
def test_channels_of_a_unit_add_up_forward_and_backward(name):
    unit, channels = UNITS[name]
    picture = plots.unit_channels(unit, channels, seed=3)
    for scene in picture.scenes:
        for step in scene.steps:
            terms = [worth(term, scene) for term in step.terms]
            # Values and slopes are rounded to 0.005 on the picture.
            assert value_of(step.value) == pytest.approx(sum(terms), abs=0.012 * (len(terms) + 1))


def test_channels_reach_what_the_jacobian_says():
    """Follow the wires of a drawn V1 unit from each output: they end where a gradient arrives."""
    rng = np.random.default_rng(0)
    unit = nn.ShuffleNetV1Unit(16, 16, groups=2, stride=1, shuffle=False).astype(np.float64)
    for array in unit.parameters().values():
        array[...] = rng.uniform(0.5, 1, array.shape)  # all positive: no ReLU is dead
    x = rng.uniform(0.5, 1, (1, 16, 1, 1))
    nodes = dataflow(unit, x, training=False)
    links = links_of(nodes)

    def inputs(spot):
        if spot.node == 0:
            return {spot.channel}
        return set().union(*(inputs(other) for other, _ in links[spot]))

    for k in range(16):
        unit.forward(x)
        dy = np.zeros((1, 16, 1, 1))
        dy[0, k] = 1
        reached = set(np.flatnonzero(unit.backward(dy).ravel()))
        assert inputs(Spot(len(nodes) - 1, 0, k)) == reached
        assert reached == set(range(8 * (k // 8), 8 * (k // 8) + 8))


@pytest.mark.parametrize("build", [models.shufflenet_v1, models.shufflenet_v2])
def test_a_network_is_drawn_with_every_unit_and_its_total(build):
    model = build(stem="small", num_classes=10)
    picture = plots.network(model, (3, 32, 32))
    (scene,) = picture.scenes
    units = [name for name, layer in model.named_layers() if "Unit" in type(layer).__name__]
    assert len(units) == 16
    assert set(units) <= set(scene.labels)
    assert set(model.children()) <= set(scene.labels)
    million = models.summary(model, (3, 32, 32)).multiply_adds / 1e6
    assert f"{million:.2f} M multiply-adds" in picture.title


def test_a_picture_holds_all_that_it_needs():
    page = plots.step_through("conv2d", tenths(1, 1, 3, 3), tenths(1, 1, 2, 2)).page()
    assert not re.search(r"https?:|src=|@import|url\(|<link", page)
    assert page.count('class="scene"') == 2  # both are there, and none is hidden, without scripts
    assert (
        "hidden" not in page.partition("<script>")[0].partition("</style>")[2].partition("<div")[2]
    )


def test_the_same_picture_is_the_same_text():
    first, second = (plots.shuffle_wires(6, 2).html() for _ in range(2))
    assert first == second
    assert first != plots.shuffle_wires(6, 3).html()


def test_save_writes_the_page(tmp_path):
    picture = plots.shuffle_wires(4, 2)
    picture.save(tmp_path / "shuffle.html")
    assert (tmp_path / "shuffle.html").read_text("utf-8") == picture.page()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"conv2d has \d+ entries to draw"):
        plots.step_through("conv2d", np.zeros((1, 1, 35, 35)), np.zeros((1, 1, 10, 5)))
    with pytest.raises(ValueError, match="there is no operation 'conv3d'"):
        plots.step_through("conv3d", np.zeros(3))
    with pytest.raises(ValueError, match="channels=30 is too many"):
        plots.shuffle_wires(30, 2)
    with pytest.raises(ValueError, match="groups=4 does not divide"):
        plots.shuffle_wires(6, 4)
    with pytest.raises(ValueError, match="the unit has up to 116 channels"):
        plots.unit_channels(nn.ShuffleNetV2Unit(116, 116, stride=1), 116)


def test_a_given_dy_is_the_one_that_is_drawn():
    x, dy = tenths(1, 2, 2, 2), np.arange(8.0).reshape(1, 2, 2, 2)
    scene = plots.step_through("relu", x, dy=dy).scenes[1]
    assert_shows(scene, "dx", ops.relu_backward(dy, ops.relu_forward(x)[1]))
