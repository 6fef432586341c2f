"""What a network promises around its numbers: names, states, one backward a forward, errors."""

import inspect
import itertools
from typing import Any

import numpy as np
import pytest
from networks import largest, loss_and_gradients, randomised

from numpy_shufflenet import ops
from numpy_shufflenet.models import (
    MODELS,
    ImageClassifier,
    build,
    mobilenet_v1,
    resnet_50,
    se_shufflenet_v2_164,
    shufflenet_v1,
    shufflenet_v2,
    shufflenet_v2_50,
    summary,
)
from numpy_shufflenet.nn import BatchNorm2d, Conv2d, Linear, ShuffleNetV1Unit, ShuffleNetV2Unit

BOTH = {"v1": shufflenet_v1, "v2": shufflenet_v2}
both = pytest.mark.parametrize("function", BOTH.values(), ids=BOTH)


def small(function: Any, **arguments: Any) -> ImageClassifier:
    """A quick network for images of about 16 pixels."""
    settings = {"scale": 0.5, "num_classes": 4, "stem": "small", "seed": 0, **arguments}
    model: ImageClassifier = function(**settings)
    return model


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


X = images(2, 3, 13, 16)
LABELS = np.array([1, 3])


# Names


def bn(name: str) -> list[str]:
    entries = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [f"{name}.{entry}" for entry in entries]


def test_v2_has_torchvisions_names_in_torchvisions_order() -> None:
    expected = ["conv1.0.weight", *bn("conv1.1")]
    for stage, repeats in ((2, 4), (3, 8), (4, 4)):
        for unit in range(repeats):
            prefix = f"stage{stage}.{unit}"
            if unit == 0:
                expected += [f"{prefix}.branch1.0.weight", *bn(f"{prefix}.branch1.1")]
                expected += [f"{prefix}.branch1.2.weight", *bn(f"{prefix}.branch1.3")]
            for conv in (0, 3, 5):
                expected += [f"{prefix}.branch2.{conv}.weight", *bn(f"{prefix}.branch2.{conv + 1}")]
    expected += ["conv5.0.weight", *bn("conv5.1"), "fc.weight", "fc.bias"]
    assert list(shufflenet_v2().state_dict()) == expected


def test_v1_has_names_of_the_same_pattern() -> None:
    expected = ["conv1.0.weight", *bn("conv1.1")]
    for stage, repeats in ((2, 4), (3, 8), (4, 4)):
        for unit in range(repeats):
            prefix = f"stage{stage}.{unit}.branch"
            for conv in (0, 4, 6):
                expected += [f"{prefix}.{conv}.weight", *bn(f"{prefix}.{conv + 1}")]
    expected += ["fc.weight", "fc.bias"]
    assert list(shufflenet_v1().state_dict()) == expected


@both
def test_dicts_share_names_and_order(function: Any) -> None:
    model = small(function, se=True)
    state, parameters = model.state_dict(), model.parameters()
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    assert list(parameters) == [name for name in state if not name.endswith(buffers)]
    assert list(model.gradients()) == list(parameters)
    for name, gradient in model.gradients().items():
        assert gradient.shape == parameters[name].shape
        assert not gradient.any()


def test_a_classifier_without_bias_has_none() -> None:
    assert "fc.bias" not in small(shufflenet_v1, classifier_bias=False).state_dict()
    assert "fc.bias" in small(shufflenet_v1).state_dict()


# States


def test_parameters_are_live_and_states_are_copies() -> None:
    model = small(shufflenet_v2)
    state = model.state_dict()
    model.parameters()["fc.bias"][...] = 7
    assert (model.fc.bias.value == 7).all()
    assert not state["fc.bias"].any()
    state["fc.bias"][...] = 9
    assert (model.fc.bias.value == 7).all()


@both
def test_a_state_moves_to_another_network(function: Any) -> None:
    """Also after training, and from one dtype to another."""
    model = randomised(small(function))
    model.forward(X, training=True)
    other = small(function, seed=1).astype(np.float64)
    other.forward(X, training=True)
    other.release()
    other.load_state_dict(model.state_dict())
    model.release()
    np.testing.assert_array_equal(other.forward(X), model.forward(X))
    tracked = other.state_dict()["conv1.1.num_batches_tracked"]
    assert tracked.dtype == np.int64
    assert tracked.shape == ()

    single = small(function)
    single.load_state_dict(model.state_dict())
    assert {value.dtype for value in single.parameters().values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("fc.weight"), r"fc\.weight is missing"),
        (lambda state: state.pop("conv1.1.running_var"), r"conv1\.1\.running_var is missing"),
        (lambda state: state.update(head=np.zeros(3)), r"head is unknown"),
        (
            lambda state: state.update({"fc.bias": np.zeros(5)}),
            r"fc\.bias has shape \(5,\), but \(4,\) is needed",
        ),
        (lambda state: state.clear(), r"conv1\.0\.weight is missing; .* and 277 more"),
    ],
    ids=["missing parameter", "missing statistic", "unknown", "misshapen", "empty"],
)
def test_a_state_that_does_not_fit_changes_nothing(spoil: Any, message: str) -> None:
    model = small(shufflenet_v2)
    before = model.state_dict()
    state = small(shufflenet_v2, seed=1).state_dict()
    spoil(state)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    after = model.state_dict()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


def test_astype_makes_a_new_network() -> None:
    model = small(shufflenet_v1)
    double = model.astype(np.float64)
    assert {v.dtype for v in double.parameters().values()} == {np.dtype(np.float64)}
    assert double.state_dict()["conv1.1.num_batches_tracked"].dtype == np.int64
    double.parameters()["fc.weight"][...] = 0
    assert model.parameters()["fc.weight"].any()
    assert model.astype(np.float32).parameters()["fc.weight"] is not model.parameters()["fc.weight"]
    with pytest.raises(ValueError, match=r"dtype=float16 is not one of float32, float64"):
        model.astype(np.float16)
    with pytest.raises(ValueError, match=r"x has float64"):
        model.forward(X)


def test_astype_leaves_gradients_and_pending_forwards_behind() -> None:
    model = randomised(small(shufflenet_v2))
    loss_and_gradients(model, X, LABELS, training=True)
    model.forward(X)
    new = model.astype(np.float64)
    assert largest(model.gradients().values()) > 0
    assert largest(new.gradients().values()) == 0
    assert new.activation_pattern() == []
    with pytest.raises(ValueError, match="backward without a forward"):
        new.backward(np.zeros((2, 4)))


@both
def test_float32_stays_float32_and_close_to_float64(function: Any) -> None:
    double = randomised(small(function))
    single = double.astype(np.float32)
    logits = double.forward(X)
    dlogits = images(2, 4)
    dx = double.backward(dlogits)
    logits_single = single.forward(X.astype(np.float32))
    dx_single = single.backward(dlogits.astype(np.float32))
    assert logits_single.dtype == dx_single.dtype == np.float32
    np.testing.assert_allclose(logits_single, logits, rtol=0, atol=1e-4 * largest([logits]))
    assert np.linalg.norm(dx_single - dx) < 1e-3 * np.linalg.norm(dx)
    for name, gradient in single.gradients().items():
        assert gradient.dtype == np.float32, name
    single.forward(X.astype(np.float32), training=True)
    for name, value in single.state_dict().items():
        expected = np.int64 if name.endswith("num_batches_tracked") else np.float32
        assert value.dtype == expected, name


# Forward and backward


@both
def test_gradients_accumulate_until_they_are_zeroed(function: Any) -> None:
    model = randomised(small(function))
    dlogits = images(2, 4)
    model.forward(X)
    model.backward(dlogits)
    once = model.gradients()
    model.forward(X)
    model.backward(dlogits)
    for name, gradient in model.gradients().items():
        np.testing.assert_array_equal(gradient, 2 * once[name], err_msg=name)
    model.zero_gradients()
    assert largest(model.gradients().values()) == 0
    assert largest(once.values()) > 0


@both
def test_arrays_handed_out_are_never_changed(function: Any) -> None:
    model = randomised(small(function, se=True))
    trace = model.trace(X, training=True)
    dx = model.backward(images(2, 4))
    given = {"dx": dx, "input": X}
    given |= {f"state {k}": v for k, v in model.state_dict().items()}
    given |= {f"gradient {k}": v for k, v in model.gradients().items()}
    for kind in ("activations", "gradients"):
        for name, value in getattr(trace, kind).items():
            parts = value if isinstance(value, tuple) else (value,)
            given |= {f"{kind} {name} {i}": part for i, part in enumerate(parts)}
    copies = {name: value.copy() for name, value in given.items()}
    for seed in (1, 2):
        model.forward(images(*X.shape, seed=seed), training=True)
        model.backward(images(2, 4, seed=seed))
    model.forward(images(*X.shape, seed=3))
    model.zero_gradients()
    for name, value in given.items():
        np.testing.assert_array_equal(value, copies[name], err_msg=name)


def test_backward_needs_exactly_one_forward() -> None:
    model = randomised(small(shufflenet_v2))
    dlogits = images(2, 4)
    with pytest.raises(ValueError, match=r"ShuffleNetV2.backward without a forward before it"):
        model.backward(dlogits)
    model.forward(X)
    model.backward(dlogits)
    assert model.activation_pattern() == []  # nothing is kept
    with pytest.raises(ValueError, match=r"without a forward"):
        model.backward(dlogits)
    for first, second in ((True, True), (True, False), (False, False)):
        model.forward(X, training=first)
        model.forward(X, training=second)
        with pytest.raises(ValueError, match=r"ShuffleNetV2.backward after 2 forwards"):
            model.backward(dlogits)
        model.release()


@both
def test_evaluation_may_come_before_a_training_forward(function: Any) -> None:
    model, other = randomised(small(function)), randomised(small(function))
    for seed in (1, 2):
        model.forward(images(3, 3, 9, 8, seed=seed))
    dlogits = images(2, 4)
    model.forward(X, training=True)
    other.forward(X, training=True)
    np.testing.assert_array_equal(model.backward(dlogits), other.backward(dlogits))


def test_release_forgets_a_forward() -> None:
    model = randomised(small(shufflenet_v1))
    model.forward(X)
    assert len(model.activation_pattern()) > 0
    model.release()
    assert model.activation_pattern() == []
    with pytest.raises(ValueError, match="backward without a forward"):
        model.backward(images(2, 4))
    model.forward(X)
    assert model.backward(images(2, 4)).shape == X.shape


def test_a_wrong_dlogits_can_be_put_right() -> None:
    model = randomised(small(shufflenet_v2))
    model.forward(X)
    with pytest.raises(ValueError, match=r"dy has shape \(2, 5\), but the output has \(2, 4\)"):
        model.backward(images(2, 5))
    assert largest(model.gradients().values()) == 0
    assert model.backward(images(2, 4)).shape == X.shape


@both
def test_one_pixel_and_one_image_cannot_train(function: Any) -> None:
    """It fails deep inside, and nothing is left pending anywhere."""
    model = small(function, stem="imagenet").astype(np.float64)
    with pytest.raises(ValueError, match=r"one value per channel, .*; use a larger batch or image"):
        model.forward(images(1, 3, 32, 32), training=True)
    assert model.activation_pattern() == []
    with pytest.raises(ValueError, match="backward without a forward"):
        model.backward(images(1, 4))
    model.forward(images(2, 3, 32, 32), training=True)
    assert model.backward(images(2, 4)).shape == (2, 3, 32, 32)


@both
def test_a_batch_of_one_and_an_empty_one(function: Any) -> None:
    model = randomised(small(function))
    logits = model.forward(X)
    np.testing.assert_allclose(model.forward(X[:1]), logits[:1], rtol=1e-9, atol=1e-9)
    assert model.forward(X[:0]).shape == (0, 4)


@both
@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_any_image_size(function: Any, stem: str) -> None:
    """Each halving rounds up: with padding 1, every size leaves at least one pixel."""
    model = small(function, stem=stem)
    halvings = 5 if stem == "imagenet" else 3
    if stem == "imagenet":
        sizes = [(h, 97 - h) for h in range(32, 66)] + [(1, 1), (7, 224)]
    else:
        sizes = [(28, 31), (33, 40), (1, 2), (64, 5)]
    for size in sizes:
        trace = model.trace(np.zeros((1, 3, *size), np.float32))
        expected = tuple(-(-side // 2**halvings) for side in size)
        assert trace.activations["stage4"].shape[2:] == expected, size
        assert trace.activations["output"].shape == (1, 4)
        model.release()


def test_memory_layout_does_not_matter() -> None:
    model = randomised(small(shufflenet_v2))
    expected = model.forward(X)
    np.testing.assert_array_equal(model.forward(np.asfortranarray(X)), expected)
    channels_last = np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(model.forward(channels_last), expected)


# The units, from raw operations


def bottleneck(unit: ShuffleNetV1Unit, x: np.ndarray) -> np.ndarray:
    """The plain bottleneck with a depthwise convolution, in training mode: no group, no shuffle."""
    p = unit.branch.parameters()
    y = ops.conv2d_forward(x, p["0.weight"])[0]
    y = ops.batch_norm_forward(y, p["1.weight"], p["1.bias"])[0]
    y = ops.conv2d_forward(
        np.maximum(y, 0), p["4.weight"], stride=unit.stride, padding=1, groups=y.shape[1]
    )[0]
    y = ops.batch_norm_forward(y, p["5.weight"], p["5.bias"])[0]
    y = ops.conv2d_forward(y, p["6.weight"])[0]
    y = ops.batch_norm_forward(y, p["7.weight"], p["7.bias"])[0]
    if unit.stride == 1:
        return np.maximum(x + y, 0)
    pooled = ops.avg_pool2d_forward(x, 3, stride=2, padding=1)[0]
    return np.maximum(np.concatenate((pooled, y), axis=1), 0)


def test_v1_with_one_group_is_the_plain_bottleneck() -> None:
    model = randomised(small(shufflenet_v1, groups=1, shuffle=False))
    p = model.parameters()
    y = ops.conv2d_forward(X, p["conv1.0.weight"], padding=1)[0]
    y = ops.batch_norm_forward(y, p["conv1.1.weight"], p["conv1.1.bias"])[0]
    y = np.maximum(y, 0)
    for unit in itertools.chain(model.stage2, model.stage3, model.stage4):
        y = bottleneck(unit, y)
    expected = y.mean(axis=(2, 3)) @ p["fc.weight"].T + p["fc.bias"]
    np.testing.assert_allclose(model.forward(X, training=True), expected, rtol=1e-9, atol=1e-9)


def test_shuffle_matters_with_groups_and_not_without() -> None:
    """One group shuffles nothing; with several, leaving it out is another network."""
    for groups in (1, 3):
        with_shuffle = randomised(small(shufflenet_v1, groups=groups))
        without = small(shufflenet_v1, groups=groups, shuffle=False).astype(np.float64)
        without.load_state_dict(with_shuffle.state_dict())
        difference = np.abs(without.forward(X) - with_shuffle.forward(X)).max()
        assert (difference > 1e-3) == (groups > 1)


def test_without_shuffle_groups_never_meet() -> None:
    """The reason for the shuffle: a group's output depends on its own channels alone."""
    x = images(1, 36, 4, 4)
    changed = x.copy()
    changed[:, :12] += 1  # the first of three groups
    for shuffle in (True, False):
        unit = randomised(ShuffleNetV1Unit(36, 36, groups=3, stride=1, shuffle=shuffle))
        moved = np.abs(unit.forward(changed) - unit.forward(x)).max(axis=(0, 2, 3)) > 0
        assert moved[:12].any()
        assert moved[12:].any() == shuffle


def v2_branch(
    p: dict[str, np.ndarray], x: np.ndarray, steps: list[tuple[str, Any]]
) -> tuple[np.ndarray, Any]:
    """Run conv, BN and ReLU steps on x; return y, and a function from dy to dx and gradients."""
    pairs = []
    for kind, detail in steps:
        if kind == "conv":
            name, stride, groups = detail
            weight = p[f"{name}.weight"]
            x, cache = ops.conv2d_forward(
                x, weight, stride=stride, padding=weight.shape[2] // 2, groups=groups
            )
            pairs.append((ops.conv2d_backward, cache, (f"{name}.weight",)))
        elif kind == "bn":
            x, cache = ops.batch_norm_forward(x, p[f"{detail}.weight"], p[f"{detail}.bias"])
            names = (f"{detail}.weight", f"{detail}.bias")
            pairs.append((ops.batch_norm_backward, cache, names))
        else:
            x, cache = ops.relu_forward(x)
            pairs.append((ops.relu_backward, cache, ()))

    def backward(dy: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        gradients = {}
        for function, cache, names in reversed(pairs):
            result = function(dy, cache)
            if names:
                dy, *own = result
                gradients |= dict(zip(names, own, strict=False))
            else:
                dy = result
        return dy, gradients

    return x, backward


@pytest.mark.parametrize("stride", [1, 2])
def test_a_v2_unit_from_raw_operations(stride: int) -> None:
    inputs, outputs = (12, 12) if stride == 1 else (5, 12)
    unit = randomised(ShuffleNetV2Unit(inputs, outputs, stride=stride))
    p = unit.parameters()
    x, dy = images(2, inputs, 7, 5), images(2, outputs, -(-7 // stride), -(-5 // stride), seed=1)

    main: list[tuple[str, Any]] = [
        ("conv", ("branch2.0", 1, 1)),
        ("bn", "branch2.1"),
        ("relu", None),
        ("conv", ("branch2.3", stride, 6)),
        ("bn", "branch2.4"),
        ("conv", ("branch2.5", 1, 1)),
        ("bn", "branch2.6"),
        ("relu", None),
    ]
    side: list[tuple[str, Any]] = [
        ("conv", ("branch1.0", 2, inputs)),
        ("bn", "branch1.1"),
        ("conv", ("branch1.2", 1, 1)),
        ("bn", "branch1.3"),
        ("relu", None),
    ]
    deal = np.arange(12).reshape(2, 6).T.ravel()  # 0 6 1 7 ...
    dconcat = np.empty_like(dy)
    dconcat[:, deal] = dy
    if stride == 1:
        right, main_backward = v2_branch(p, x[:, 6:], main)
        left = x[:, :6]
        dright, gradients = main_backward(dconcat[:, 6:])
        expected_dx = np.concatenate((dconcat[:, :6], dright), axis=1)
    else:
        left, side_backward = v2_branch(p, x, side)
        right, main_backward = v2_branch(p, x, main)
        dside, gradients = side_backward(dconcat[:, :6])
        dmain, own = main_backward(dconcat[:, 6:])
        gradients |= own
        expected_dx = dside + dmain
    expected = np.concatenate((left, right), axis=1)[:, deal]

    y = unit.forward(x, training=True)
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(unit.backward(dy), expected_dx, rtol=1e-9, atol=1e-9)
    assert set(gradients) == set(unit.gradients())
    for name, gradient in unit.gradients().items():
        np.testing.assert_allclose(gradient, gradients[name], rtol=1e-9, atol=1e-9, err_msg=name)


# Trace


@both
def test_trace_has_every_layer_and_ends_with_the_output(function: Any) -> None:
    model = randomised(small(function, se=True))
    trace = model.trace(X, training=True)
    names = {name or "output" for name, _ in model.named_layers()}
    assert set(trace.activations) == {"input", *names}
    assert next(iter(trace.activations)) == "input"
    assert trace.gradients == {}
    np.testing.assert_array_equal(trace.activations["output"], trace.activations["fc"])

    dlogits = images(2, 4)
    dx = model.backward(dlogits)
    assert set(trace.gradients) == set(trace.activations)
    np.testing.assert_array_equal(trace.gradients["input"], dx)
    np.testing.assert_array_equal(trace.gradients["output"], dlogits)
    weight = model.parameters()["fc.weight"]
    np.testing.assert_allclose(trace.gradients["pool"], dlogits @ weight, rtol=1e-12)
    for name, y in trace.activations.items():
        parts = zip(y, trace.gradients[name], strict=True) if isinstance(y, tuple) else None
        for part, gradient in parts or [(y, trace.gradients[name])]:
            assert part.shape == gradient.shape, name


def test_a_later_forward_is_not_traced() -> None:
    model = randomised(small(shufflenet_v2))
    trace = model.trace(X)
    logits, dlogits = trace.activations["output"], images(2, 4)
    model.backward(dlogits)
    model.forward(2 * X)
    model.backward(2 * dlogits)
    assert trace.activations["output"] is logits
    assert trace.gradients["output"] is dlogits


@both
def test_activations_lie_channel_by_channel_with_the_batch_last(function: Any) -> None:
    """See `backend.channel_major`: one layer that changed it would slow down all that follow."""
    model = small(function, stem="imagenet")
    trace = model.trace(images(2, 3, 40, 37).astype(np.float32), training=True)
    del trace.activations["input"]
    for name, y in trace.activations.items():
        for part in y if isinstance(y, tuple) else (y,):
            if part.ndim == 4:
                assert part.transpose(1, 2, 3, 0).flags.c_contiguous, name


# Building


@both
def test_seeds_reproduce(function: Any) -> None:
    first, same, other = (small(function, seed=seed).state_dict() for seed in (5, 5, 6))
    assert all(np.array_equal(first[name], same[name]) for name in first)
    weights = [name for name in first if first[name].ndim > 1]
    assert all(not np.array_equal(first[name], other[name]) for name in weights)


@pytest.mark.parametrize("function", [shufflenet_v1, shufflenet_v2], ids=BOTH)
def test_initial_weights_are_the_authors(function: Any) -> None:
    """Std 0.01 in the stem and the classifier, 1 / (inputs a group) elsewhere, as sampled."""
    model = function(seed=3)
    for name, layer in model.named_layers():
        if isinstance(layer, Conv2d | Linear):
            weight = layer.weight.value.astype(np.float64)
            small_std = name == "conv1.0" or isinstance(layer, Linear)
            std = 0.01 if small_std else 1 / weight.shape[1]
            # 5 standard errors of the sample's std and mean
            assert weight.std() == pytest.approx(std, rel=5 / np.sqrt(2 * weight.size)), name
            assert abs(weight.mean()) < 5 * std / np.sqrt(weight.size), name
        elif isinstance(layer, BatchNorm2d):
            assert (layer.weight.value == 1).all()
            assert (layer.bias.value == np.float32(1e-4)).all()
            assert not layer.running_mean.value.any()
            assert (layer.running_var.value == 1).all()
            assert layer.num_batches_tracked.value == 0
    assert not model.parameters()["fc.bias"].any()


def test_training_counts_batches_and_evaluation_changes_nothing() -> None:
    model = randomised(small(shufflenet_v1))
    before = model.state_dict()
    model.forward(X)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    model.forward(X, training=True)
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert value == before[name] + 1
        elif "running" in name:
            assert not np.array_equal(value, before[name]), name
        else:
            np.testing.assert_array_equal(value, before[name], err_msg=name)


@both
def test_dropout_drops_in_training_only(function: Any) -> None:
    model = randomised(small(function, dropout=0.5))
    plain = randomised(small(function))
    np.testing.assert_array_equal(model.forward(X), plain.forward(X))
    model.release()
    trace = model.trace(X, training=True)
    pooled, dropped = trace.activations["pool"], trace.activations["dropout"]
    kept = dropped != 0
    assert 0.3 < (kept | (pooled == 0)).mean() < 0.95
    np.testing.assert_allclose(dropped[kept], 2 * pooled[kept], rtol=1e-12)
    model.backward(images(2, 4))
    expected = trace.gradients["dropout"] * np.where(kept, 2, 0)
    np.testing.assert_allclose(
        trace.gradients["pool"][pooled != 0], expected[pooled != 0], rtol=1e-12
    )
    again = model.trace(X, training=True).activations["dropout"]
    assert not np.array_equal(again != 0, kept)
    same = randomised(small(function, dropout=0.5)).trace(X, training=True)
    np.testing.assert_array_equal(same.activations["dropout"] != 0, kept)


CONFIGS = [
    {"name": "shufflenet_v1", "groups": 8, "scale": 0.25, "shuffle": False, "se": True},
    {"name": "shufflenet_v2", "scale": 1.0, "layout": "torchvision", "residual": True},
    {"name": "shufflenet_v2", "scale": 0.5, "stem": "small", "dropout": 0.2, "in_channels": 1},
    {"name": "shufflenet_v2_50", "num_classes": 3, "stem": "small"},
    {"name": "mobilenet_v1", "scale": 0.25, "stem": "small", "dropout": 0.1},
    {"name": "resnet_50", "num_classes": 3, "in_channels": 1},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_config_builds_the_same_network_again(config: dict[str, Any]) -> None:
    model = build({**config, "seed": 11})
    assert config.items() <= model.config.items()
    arguments = inspect.signature(MODELS[config["name"]]).parameters
    assert set(model.config) == {"name", *arguments}
    again = build(model.config)
    assert again.config == model.config
    assert repr(again) == repr(model)
    theirs = again.state_dict()
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_models_are_listed_by_name() -> None:
    functions = (
        shufflenet_v1,
        shufflenet_v2,
        shufflenet_v2_50,
        se_shufflenet_v2_164,
        mobilenet_v1,
        resnet_50,
    )
    assert {function.__name__: function for function in functions} == MODELS


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (shufflenet_v1, {"groups": 5}, r"groups=5 is not one of 1, 2, 3, 4, 8"),
        (shufflenet_v1, {"scale": 3}, r"scale=3 is not one of 0\.25, 0\.5, 1, 1\.5, 2"),
        (shufflenet_v1, {"stem": "tiny"}, r"stem='tiny' is not one of 'imagenet', 'small'"),
        (shufflenet_v1, {"num_classes": 0}, r"num_classes=0 is not a whole number"),
        (shufflenet_v1, {"in_channels": 1.5}, r"in_channels=1\.5 is not a whole number"),
        (shufflenet_v1, {"dropout": 1.0}, r"rate=1\.0 is not a number from 0 to below 1"),
        (shufflenet_v2, {"scale": 0.25}, r"scale=0\.25 is not one of 0\.5, 1, 1\.5, 2"),
        (shufflenet_v2, {"layout": "keras"}, r"layout='keras' is not one of 'paper', 'torchv"),
        (shufflenet_v2, {"stem": None}, r"stem=None is not one of"),
        (shufflenet_v2, {"num_classes": True}, r"num_classes=True is not a whole number"),
        (mobilenet_v1, {"scale": 2}, r"scale=2 is not one of 0\.25, 0\.5, 0\.75, 1"),
        (resnet_50, {"num_classes": 0}, r"num_classes=0 is not a whole number"),
        (shufflenet_v2_50, {"in_channels": 0}, r"in_channels=0 is not a whole number"),
        (build, {"config": {"name": "resnet"}}, r"name='resnet' is not one of shufflenet_v1, "),
        (build, {"config": {}}, r"name=None is not one of"),
    ],
)
def test_bad_arguments_are_named(function: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(**arguments)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 1, 8, 8), np.float32), r"x has shape \(2, 1, 8, 8\); \(n, 3, h, w\)"),
        (np.zeros((3, 8, 8), np.float32), r"x has shape \(3, 8, 8\); \(n, 3, h, w\) is needed"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"x has dtype uint8; float32 or float64 is needed"),
        ([[1.0]], r"x has shape None; \(n, 3, h, w\) is needed"),
    ],
)
def test_bad_images_are_named(x: Any, message: str) -> None:
    model = small(shufflenet_v2)
    with pytest.raises(ValueError, match=message):
        model.forward(x)
    with pytest.raises(ValueError, match="backward without a forward"):
        model.backward(np.zeros((2, 4), np.float32))


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (shufflenet_v1, {"shuffle_order": "torch"}, "shuffle_order='torch' is not one of 'paper'"),
        (shufflenet_v2, {"shuffle_order": None}, "shuffle_order=None is not one of 'paper'"),
        (shufflenet_v2, {"pool_padding": 2}, r"pool_padding=2 is not one of 0, 1, or \[\["),
        (shufflenet_v1, {"pool_padding": "1"}, "pool_padding='1' is not one of 0, 1, or"),
        (
            shufflenet_v2,
            {"stride2_padding": [1, 1, 1]},
            "a list of 4 is needed, for the stem",
        ),
        (shufflenet_v1, {"stride2_padding": [1, 1, 2, 1]}, "stride2_padding=2 is not one of 0, 1"),
        (shufflenet_v1, {"widths": (24, 240, 480)}, r"widths=\(24, 240, 480\); a list of 4 whole"),
        (shufflenet_v2, {"widths": 24}, "widths=24; a list of 5 whole numbers is needed"),
        (shufflenet_v2, {"widths": (24, 0, 96, 192, 1024)}, r"widths\[1\]=0 is not"),
        (shufflenet_v2, {"widths": (24, 47, 96, 192, 1024)}, "out_channels=47 is odd"),
    ],
)
def test_wrong_widths_and_orders_are_refused(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_a_network_without_classifier_ends_after_stage_4():
    model = shufflenet_v2(scale=0.5, classifier=False, seed=0)
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 96)).astype(np.float32)
    outputs = model.stage_outputs(x)
    shapes = {name: y.shape for name, y in outputs.items()}
    assert shapes == {
        "stage2": (2, 48, 8, 12),
        "stage3": (2, 96, 4, 6),
        "stage4": (2, 192, 2, 3),
    }
    np.testing.assert_allclose(model.infer(x), outputs["stage4"], rtol=1e-5, atol=1e-5)
    assert model.num_classes == 0
    assert model.backward(model.forward(x, training=True)).shape == x.shape
    assert "192 x 2 x 3" in str(summary(model, (3, 64, 96)))
    with pytest.raises(ValueError, match="this network has no classifier, and a plan ends in"):
        model.plan()
