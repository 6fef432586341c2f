"""Which arrays are taken: all implementations compute the same of them, or refuse them alike."""

import re

import numpy as np
import pytest
from strategies import argument_names, as_tuple, cotangent_like, run

from numpy_shufflenet import backend, kernels, models, nn, ops, steps
from numpy_shufflenet.kernels.sgd import fits
from numpy_shufflenet.operations import OPERATIONS, Example
from numpy_shufflenet.plan import InferencePlan

EVERYWHERE = [
    (name, implementation)
    for name in OPERATIONS
    for implementation in OPERATIONS[name].implementations
]
everywhere = pytest.mark.parametrize(("name", "implementation"), EVERYWHERE)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


class Decibels(np.ndarray):
    """A subclass that could have any arithmetic."""


def read_only(array):
    array = array.copy("K")
    array.flags.writeable = False
    return array


def mapped(array):
    """A memory map, as np.load(..., mmap_mode="r") returns it; here of memory, not of a file."""
    view = array.copy("K").view(np.memmap)
    view.flags.writeable = False
    return view


def channel_major(array):
    order = (1, 2, 3, 0) if array.ndim == 4 else range(array.ndim)
    return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))


def every_second_channel(array):
    return np.repeat(channel_major(array), 2, axis=1)[:, ::2] if array.ndim == 4 else array


def unaligned(array):
    moved = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def backwards(array):
    return array[(slice(None, None, -1),) * array.ndim].copy()[
        (slice(None, None, -1),) * array.ndim
    ]


GOOD = {
    "read-only": read_only,
    "read-only, channel-major": lambda a: read_only(channel_major(a)),
    "read-only, every second channel": lambda a: read_only(every_second_channel(a)),
    "memory map": mapped,
    "not aligned": unaligned,
    "not aligned, read-only": lambda a: _locked(unaligned(a)),
    "backwards": backwards,
    "fortran": np.asfortranarray,
}
BAD = {
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "bytes in the other order": lambda a: a.astype(a.dtype.newbyteorder()),
    "bool": lambda a: a > 0,
    "integers": lambda a: a.astype(np.int64),
    "text": lambda a: a.astype(str),
    "dates": lambda a: a.astype(np.int64).astype("M8[s]"),
    "masked": lambda a: np.ma.masked_array(a, a > 0),
    "masked, nothing": np.ma.asarray,
    "matrix": lambda a: a.reshape(len(a), -1).view(np.matrix),
    "record": lambda a: a.view(np.recarray),
    "subclass": lambda a: a.view(Decibels),
    "list": lambda a: a.tolist(),
    "number": lambda a: 1.0,
    "NumPy number": lambda a: a.dtype.type(1),
    "buffer": lambda a: memoryview(np.ascontiguousarray(a)),
    "None": lambda a: None,
}


def _locked(array):
    array.flags.writeable = False
    return array


def each(change, value):
    """The same of every array that holds floating-point numbers."""
    if isinstance(value, tuple):
        return tuple(each(change, part) for part in value)
    dense = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim > 0
    return change(value) if dense else value


@everywhere
@dtypes
def test_any_memory_gives_the_same(name, implementation, dtype):
    operation, example = OPERATIONS[name], OPERATIONS[name].example(0, dtype)
    y, cache = run(operation, example)
    dy = cotangent_like(y, np.random.default_rng(0))
    expected = (*as_tuple(y), *as_tuple(operation.backward()(dy, cache)))
    for kind, change in GOOD.items():
        case = Example(each(change, example.arrays), example.hyperparameters)
        y, cache = run(operation, case, implementation)
        found = (
            *as_tuple(y),
            *as_tuple(operation.backward(implementation)(each(change, dy), cache)),
        )
        for a, b in zip(found, expected, strict=True):
            if b is not None:
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=kind)


@everywhere
@dtypes
def test_one_number_broadcast_to_a_shape_gives_the_same(name, implementation, dtype):
    operation, example = OPERATIONS[name], OPERATIONS[name].example(0, dtype)
    full = each(lambda a: np.full_like(a, 0.5), example.arrays)
    stretched = each(lambda a: np.broadcast_to(dtype(0.5), a.shape), example.arrays)
    results = []
    for arrays, which in ((full, "ops"), (stretched, implementation)):
        y, cache = run(operation, Example(arrays, example.hyperparameters), which)
        dy = each(lambda a: np.broadcast_to(dtype(0.5), a.shape), y)
        results.append((*as_tuple(y), *as_tuple(operation.backward(which)(dy, cache))))
    for a, b in zip(*results, strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@everywhere
@dtypes
def test_other_arrays_are_refused_by_name(name, implementation, dtype):
    operation, example = OPERATIONS[name], OPERATIONS[name].example(0, dtype)
    for i, argument in enumerate(argument_names(operation, example)):
        if argument == "labels":
            continue
        for kind, change in BAD.items():
            if kind == "None" and argument == "b":
                continue
            arrays = (*example.arrays[:i], change(example.arrays[i]), *example.arrays[i + 1 :])
            message = rf"{re.escape(argument)} .*(is needed|make them equal)"
            with pytest.raises(ValueError, match=message):
                run(operation, Example(arrays, example.hyperparameters), implementation)


@everywhere
@dtypes
def test_other_gradients_are_refused(name, implementation, dtype):
    operation, example = OPERATIONS[name], OPERATIONS[name].example(0, dtype)
    y, cache = run(operation, example, implementation)
    scalar = name == "softmax_cross_entropy"  # any number will do there
    for kind, change in BAD.items():
        if scalar and kind not in ("bool", "text", "masked", "None", "dates"):
            continue
        dy = change(np.asarray(y)) if scalar else each(change, y)
        with pytest.raises(ValueError, match=r"^dy"):
            operation.backward(implementation)(dy, cache)
    if isinstance(y, tuple):
        for wrong in (None, 3, iter(y), y[0]):
            with pytest.raises(ValueError, match=r"^dy is a .* a tuple of \d arrays is needed"):
                operation.backward(implementation)(wrong, cache)


@pytest.mark.parametrize("implementation", [ops, steps], ids=["ops", "steps"])
def test_masked_labels_are_refused(implementation):
    labels = np.ma.masked_array([0, 1], [True, False])
    with pytest.raises(ValueError, match=r"labels is a MaskedArray.* np.asarray\(labels\)"):
        implementation.softmax_cross_entropy_forward(np.ones((2, 3)), labels)


@everywhere
def test_complex_numbers_are_for_the_complex_step_of_ops(name, implementation):
    example = OPERATIONS[name].example()
    arrays = each(lambda a: a.astype(complex), example.arrays)
    case = Example(arrays, example.hyperparameters)
    if implementation == "ops" or (name, implementation) == (
        "channel_split",
        "kernels",
    ):  # which makes views
        assert as_tuple(run(OPERATIONS[name], case, implementation)[0])[0].dtype == complex
        return
    with pytest.raises(ValueError, match="complex"):
        run(OPERATIONS[name], case, implementation)


LAYERS = {
    "convolution": lambda: nn.Conv2d(4, 4, 3, padding=1),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "pointwise": lambda: nn.Conv2d(4, 4, 1),
    "group": lambda: nn.Conv2d(4, 4, 3, groups=2),
    "batch norm": lambda: nn.BatchNorm2d(4),
    "ReLU": nn.ReLU,
    "max": lambda: nn.MaxPool2d(3, stride=2, padding=1),
    "average": lambda: nn.AvgPool2d(3, stride=2),
    "mean": nn.GlobalAvgPool,
    "shuffle": lambda: nn.ChannelShuffle(2),
    "split": lambda: nn.ChannelSplit((2, 2)),
    "squeeze": lambda: nn.SqueezeExcitation(4, reduction=2),
    "dropout": lambda: nn.Dropout(0.5, seed=0),
    "fused": lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()),
    "sum": lambda: nn.Sequential(nn.Parallel(nn.Conv2d(4, 4, 1), nn.Sequential()), nn.Add()),
    "model": lambda: models.shufflenet_v2(scale=0.5, num_classes=3, stem="small", in_channels=4),
}


@pytest.mark.parametrize("use", ["numpy", "numba"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_refuse_them_too(name, use):
    images = np.ones((3, 4, 32, 32), np.float32)
    with backend.use(use):
        layer = LAYERS[name]()
        for change in BAD.values():
            for x in (change(images), change(images[:1])):
                for training in (False, True):
                    with pytest.raises(ValueError, match=r"^x "):
                        layer.forward(x, training=training)
                with pytest.raises(ValueError, match=r"^x "):
                    layer.infer(x)


@pytest.mark.parametrize("use", ["numpy", "numba"])
def test_channel_major_refuses_them_before_it_copies(use):
    with backend.use(use):
        for change in BAD.values():
            with pytest.raises(ValueError, match=r"^x "):
                backend.channel_major(change(np.ones((3, 4, 5, 6), np.float32)))


def test_a_plan_takes_any_memory_and_refuses_the_rest():
    model = nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(6, 3))
    plan, images = InferencePlan(model), np.random.default_rng(0).random((3, 4, 5, 6), np.float32)
    expected = plan(images)
    for change in GOOD.values():
        np.testing.assert_array_equal(plan(change(images)), expected)
    for change in BAD.values():
        for x in (change(images), change(images[:1])):
            with pytest.raises(ValueError, match=r"^x .* is needed"):
                plan(x)


@pytest.mark.parametrize("name", ["depthwise_conv2d", "conv2d"])
@pytest.mark.parametrize("multiplier", [1, 2, 3])
@dtypes
def test_a_batch_of_no_images_gives_no_output(name, multiplier, dtype):
    x = np.ones((0, 2, 5, 6), dtype)
    w = np.ones((2 * multiplier, 1 if name == "depthwise_conv2d" else 2, 3, 3), dtype)
    for implementation in (ops, steps, kernels):
        y, cache = getattr(implementation, f"{name}_forward")(x, w, w[:, 0, 0, 0], padding=1)
        assert y.shape == (0, 2 * multiplier, 5, 6)
        dx, dw, db = getattr(implementation, f"{name}_backward")(y, cache)
        assert dx.shape == x.shape
        assert not dw.any()
        assert not db.any()


def test_a_parameter_that_is_read_only_is_not_updated_in_place():
    p = np.ones(3, np.float32)
    assert fits([(p, read_only(p), p)])
    assert not fits([(read_only(p), p, p)])
