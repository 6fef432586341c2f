"""A training program computes what the layers compute, in any network that it takes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import largest, randomised

from numpy_shufflenet import backend
from numpy_shufflenet.engine import ProgramMemory, TrainingProgram, Unsupported
from numpy_shufflenet.models import MODELS
from numpy_shufflenet.nn import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    ChannelShuffle,
    Conv2d,
    Dropout,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Parallel,
    ReLU,
    Sequential,
    ShuffleNetV1Unit,
    ShuffleNetV2Unit,
    SqueezeExcitation,
    synchronise,
)


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run_layers(model, x, dlogits):
    """Logits and activation pattern of the layers in double precision; dlogits goes back."""
    with backend.use("numpy"):
        logits = model.forward(x, training=True)
        pattern = [part.copy() for part in model.activation_pattern()]
        if dlogits is None:
            model.release()
        else:
            model.backward(dlogits)
    return logits, pattern


def is_clear(model, x, pattern):
    """Whether numbers that differ in the sixth digit make the same choices."""
    for seed in (0, 1):
        noise = 1 + 3e-6 * np.random.default_rng(seed).normal(size=x.shape)
        _, other = run_layers(model.astype(np.float64), x * noise, None)
        if any((a != b).any() for a, b in zip(pattern, other, strict=True)):
            return False
    return True


def check(model, shape, seed=0):
    """Compare logits, every gradient and every statistic with the layers' in double precision."""
    oracle = randomised(model, seed).astype(np.float64)
    model = oracle.astype(np.float32)
    untouched = oracle.astype(np.float64)
    x = normal(*shape)
    program = TrainingProgram(model, shape)
    logits = program.forward(x)
    dlogits = normal(*logits.shape, seed=2)
    wide = x.astype(np.float64)
    expected, pattern = run_layers(oracle, wide, dlogits.astype(np.float64))
    assume(is_clear(untouched, wide, pattern))  # near a kink, rounding decides
    program.backward(dlogits)
    assert logits.dtype == np.float32
    close(logits, expected, "logits")
    found, gradients = model.gradients(), oracle.gradients()
    assert found.keys() == gradients.keys()
    most = largest(gradients.values())
    for name, gradient in gradients.items():
        close(found[name], gradient, name, least=5e-2 * most)
    state = model.state_dict()
    for name, array in oracle.state_dict().items():
        close(state[name], array, name)


def close(found, expected, name, least=1e-3):
    atol = 2e-4 * max(least, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=name)


ODD = {"stride": (2, 1), "padding": ((2, 1), (0, 1)), "dilation": (1, 2)}
LAYERS = {  # each reads and gives 6 channels
    "product": lambda: Conv2d(6, 6, 1, bias=True),
    "group product": lambda: Conv2d(6, 6, 1, groups=3),
    "convolution": lambda: Conv2d(6, 6, 3, padding=1),
    "group convolution, odd": lambda: Conv2d(6, 6, (3, 2), groups=2, bias=True, **ODD),
    "depthwise": lambda: Conv2d(6, 6, 3, padding=1, groups=6),
    "depthwise, stride 2": lambda: Conv2d(6, 6, 3, stride=2, padding=1, groups=6),
    "depthwise, odd": lambda: Conv2d(6, 6, (3, 2), groups=6, bias=True, **ODD),
    "max": lambda: MaxPool2d(3, stride=2, padding=1),
    "average": lambda: AvgPool2d(3, stride=2, padding=1),
    "shuffle": lambda: ChannelShuffle(3),
    "add": lambda: Sequential(Parallel(Sequential(), Conv2d(6, 6, 1)), Add()),
    "excitation": lambda: SqueezeExcitation(6, reduction=2),
    "V1 unit": lambda: ShuffleNetV1Unit(6, 6, groups=2, stride=1, se=True),
    "V2 unit": lambda: ShuffleNetV2Unit(6, 6, stride=1, residual=True, extra_depthwise=True),
}


NORMALISED = {name for name in LAYERS if name not in ("shuffle", "add", "excitation")}
NORMALISED -= {"V1 unit", "V2 unit"}  # batch normalisation may follow the others


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=4, deadline=None)
@given(n=st.integers(2, 17), h=st.integers(4, 11), w=st.integers(4, 11), norm=st.booleans())
def test_each_kind_of_layer(name, n, h, w, norm):
    """Between others, so that it reads a view and its output is read as one."""

    def activation():
        return [BatchNorm2d(6), ReLU()] if norm else [ReLU()]

    after = activation() if name in NORMALISED else [ReLU()]
    layers = [Conv2d(2, 6, 3, padding=1), *activation(), LAYERS[name](), *after]
    model = Sequential(*layers, Conv2d(6, 5, 1), ReLU(), GlobalAvgPool(), Linear(5, 4))
    check(model, (n, 2, h, w))


@settings(max_examples=20, deadline=None)
@given(networks(first_kind="convolution", max_size=5), st.integers(2, 9), st.data())
def test_networks_of_any_make(network, n, data):
    channels, model = network
    h, w = (data.draw(st.integers(8, 20)) for _ in range(2))
    check(model, (n, channels, h, w))


@pytest.mark.parametrize("name", ["shufflenet_v1", "shufflenet_v2", "mobilenet_v1"])
def test_any_number_of_threads_gives_the_same_bits(name):
    settings = {"stem": "small"} if "shuffle" in name else {}
    scale = 0.5 if name == "shufflenet_v2" else 0.25
    results = []
    before = backend.num_threads()
    try:
        for threads in (1, 2, 5):
            backend.set_num_threads(threads)
            model = MODELS[name](scale=scale, num_classes=7, seed=0, **settings)
            program = TrainingProgram(model, (9, 3, 34, 33))
            logits = program.forward(normal(9, 3, 34, 33))
            program.backward(normal(9, 7, seed=3))
            results.append({"logits": logits, **model.gradients(), **model.state_dict()})
    finally:
        backend.set_num_threads(before)
    for other in results[1:]:
        for key, array in results[0].items():
            np.testing.assert_array_equal(other[key], array, err_msg=key)


def test_gradients_add_up_and_stay():
    model = Sequential(Conv2d(2, 3, 1), ReLU(), GlobalAvgPool(), Linear(3, 2))
    model = randomised(model).astype(np.float32)
    program = TrainingProgram(model, (4, 2, 3, 3))
    program.forward(normal(4, 2, 3, 3))
    program.backward(normal(4, 2))
    first = {name: (g, g.copy()) for name, g in model.gradients().items()}
    program.forward(normal(4, 2, 3, 3, seed=5))
    program.backward(normal(4, 2, seed=6))
    both = model.gradients()
    model.zero_gradients()
    program.forward(normal(4, 2, 3, 3, seed=5))
    program.backward(normal(4, 2, seed=6))
    for name, second in model.gradients().items():
        array, copy = first[name]
        np.testing.assert_array_equal(array, copy)
        np.testing.assert_array_equal(both[name], copy + second)


def test_dropout_draws_what_the_layer_draws():
    layers = lambda: Sequential(  # noqa: E731
        Conv2d(2, 30, 1), GlobalAvgPool(), Dropout(0.4, seed=3), Linear(30, 2)
    )
    model = randomised(layers()).astype(np.float32)
    other = randomised(layers()).astype(np.float32)
    program = TrainingProgram(model, (4, 2, 3, 3))
    for seed in (1, 2):
        x = normal(4, 2, 3, 3, seed=seed)
        close(program.forward(x), other.forward(x, training=True), "logits")
        other.release()


def test_a_backward_without_its_forward_is_refused():
    model = randomised(Sequential(Conv2d(2, 4, 1), GlobalAvgPool(), Linear(4, 2))).astype(
        np.float32
    )
    memory, x, dy = ProgramMemory(), normal(3, 2, 3, 3), normal(3, 2, seed=1)
    first, second = (TrainingProgram(model, x.shape, memory) for _ in range(2))
    message = "needs a forward of this program"
    with pytest.raises(RuntimeError, match=message):
        first.backward(dy)
    first.forward(x)
    first.backward(dy)
    with pytest.raises(RuntimeError, match=message):
        first.backward(dy)
    first.forward(x)
    second.forward(x)
    with pytest.raises(RuntimeError, match=message):
        first.backward(dy)
    with pytest.raises(ValueError, match=r"\(3, 2\) is needed"):
        second.backward(dy[:1])
    with ThreadPoolExecutor() as pool, pytest.raises(RuntimeError, match=message):
        pool.submit(second.backward, dy).result()
    second.backward(dy)


def test_two_threads_cannot_run_one_program(monkeypatch):
    model = randomised(Sequential(Conv2d(2, 4, 1), GlobalAvgPool(), Linear(4, 2))).astype(
        np.float32
    )
    x = normal(3, 2, 3, 3)
    program = TrainingProgram(model, x.shape)
    alone, problems = program.forward(x), []

    def meanwhile(*arguments, original=program._run):
        monkeypatch.undo()
        with ThreadPoolExecutor() as pool:
            problems.append(pool.submit(program.forward, x).exception())
        original(*arguments)

    monkeypatch.setattr(program, "_run", meanwhile)
    np.testing.assert_array_equal(program.forward(x), alone)
    assert "another thread runs this program" in str(problems[0])


class Doubled(Layer):
    def _forward(self, x, training):
        return 2 * x


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([LeakyReLU()], "can't run leaky_relu"),
        ([Doubled()], "computes by itself"),
        ([AvgPool2d(3, stride=2, padding=1, count_include_pad=False)], "average inside"),
        ([MaxPool2d(3, stride=2, padding=((0, 1), (0, 1)))], "padding 1 is needed"),
        ([MaxPool2d(2, stride=2)], "padding 1 is needed"),
        ([Dropout(0.5)], "dropout on features"),
        (
            [Parallel(Sequential(), Sequential()), Add(), BatchNorm2d(4)],
            "follows this operation: add",
        ),
        ([Parallel(ReLU(), Sequential()), Add()], "also read without it"),
    ],
)
def test_what_it_cannot_run_is_named(layers, message):
    model = Sequential(Conv2d(2, 4, 1), *layers, GlobalAvgPool(), Linear(4, 2))
    with pytest.raises(Unsupported, match=message):
        TrainingProgram(model, (3, 2, 6, 6))


def test_models_it_cannot_run():
    model = Sequential(Conv2d(2, 4, 1), BatchNorm2d(4), GlobalAvgPool(), Linear(4, 2))
    with pytest.raises(Unsupported, match="one value"):
        TrainingProgram(model, (1, 2, 1, 1))
    with pytest.raises(Unsupported, match="float32"):
        TrainingProgram(model.astype(np.float64), (3, 2, 6, 6))
    with pytest.raises(Unsupported, match="linear layer"):
        TrainingProgram(Sequential(Conv2d(2, 4, 1)), (3, 2, 6, 6))
    model.freeze("0")
    with pytest.raises(Unsupported, match="frozen"):
        TrainingProgram(model, (3, 2, 6, 6))
    model.frozen = False
    synchronise(model, lambda vector: vector[None])
    with pytest.raises(Unsupported, match="sync_batch_norm"):
        TrainingProgram(model, (3, 2, 6, 6))


def test_images_that_do_not_fit():
    model = Sequential(Conv2d(2, 4, 1), GlobalAvgPool(), Linear(4, 2))
    program = TrainingProgram(model, (3, 2, 6, 6))
    with pytest.raises(ValueError, match=r"shape \(2, 2, 6, 6\) and dtype float32; \(3, 2, 6, 6\)"):
        program.forward(normal(2, 2, 6, 6))


def test_its_text_lists_the_instructions():
    model = Sequential(Conv2d(2, 4, 1), GlobalAvgPool(), Linear(4, 2))
    text = str(TrainingProgram(model, (3, 2, 6, 6)))
    assert "product_backward" in text
    assert "MB in all" in text
