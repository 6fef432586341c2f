"""Inference: nothing is kept, images run in blocks, and batch normalisation can be folded away."""

import numpy as np
import pytest
from networks import randomised

from numpy_shufflenet import nn
from numpy_shufflenet.models import shufflenet_v1, shufflenet_v2

BUILDERS = {
    "v1": lambda: shufflenet_v1(scale=0.25, num_classes=4, in_channels=1, stem="small", seed=0),
    "v1 with excitation": lambda: shufflenet_v1(
        scale=0.25, groups=2, num_classes=4, in_channels=1, stem="small", se=True, seed=0
    ),
    "v2": lambda: shufflenet_v2(scale=0.5, num_classes=4, in_channels=1, stem="small", seed=0),
    "v2, all extras": lambda: shufflenet_v2(
        scale=0.5,
        num_classes=4,
        in_channels=1,
        stem="small",
        se=True,
        residual=True,
        extra_depthwise=True,
        dropout=0.5,
        seed=0,
    ),
}
networks = pytest.mark.parametrize("name", BUILDERS)
X = np.random.default_rng(0).normal(size=(19, 1, 17, 20))


def trained(name):
    return randomised(BUILDERS[name]()).astype(np.float64)


@networks
def test_infer_gives_the_logits_of_an_evaluation_forward(name):
    model = trained(name)
    expected = model.forward(X)
    model.release()
    np.testing.assert_allclose(model.infer(X), expected, rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match="without a forward"):
        model.backward(expected)


def test_infer_does_not_disturb_a_forward_before_it():
    model = trained("v2")
    logits = model.forward(X[:2], training=True)
    model.infer(X[:3])
    assert model.backward(np.ones_like(logits)).shape == X[:2].shape


def test_an_empty_batch_has_no_logits():
    assert trained("v2").infer(X[:0]).shape == (0, 4)


@networks
def test_a_folded_network_gives_the_same(name):
    model = trained(name)
    before = model.state_dict()
    folded = model.fold()
    np.testing.assert_allclose(folded.infer(X), model.infer(X), rtol=1e-9, atol=1e-9)
    assert not any(isinstance(layer, nn.BatchNorm2d) for _, layer in folded.named_layers())
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
    folded.parameters()["fc.weight"][...] = 0
    assert model.parameters()["fc.weight"].any()


def test_a_fold_is_what_its_formula_says():
    """Each output channel's kernel is scaled, and the shift becomes a bias."""
    rng = np.random.default_rng(0)
    conv, norm = nn.Conv2d(3, 4, 3, padding=1, bias=True), nn.BatchNorm2d(4, eps=1e-3)
    for array in (*conv.parameters().values(), *norm.parameters().values()):
        array[...] = rng.normal(size=array.shape)
    norm.running_mean.value[...] = rng.normal(size=4)
    norm.running_var.value[...] = rng.uniform(0.5, 2, size=4)
    folded = nn.fold(nn.Sequential(conv, norm).astype(np.float64))
    assert [type(layer).__name__ for layer in folded] == ["Conv2d"]
    scale = norm.weight.value / np.sqrt(norm.running_var.value + 1e-3)
    np.testing.assert_allclose(
        folded.parameters()["0.weight"][2], conv.weight.value[2] * scale[2], rtol=1e-6
    )
    expected = scale * (conv.bias.value - norm.running_mean.value) + norm.bias.value
    np.testing.assert_allclose(folded.parameters()["0.bias"], expected, rtol=1e-5)


@networks
def test_a_trace_runs_layer_by_layer_and_gives_the_same(name):
    """Pairs of layers run as one, but not while somebody looks at what is between them."""
    model = trained(name)
    y = model.forward(X[:3], training=True)
    dx = model.backward(np.ones_like(y))
    other = trained(name)
    trace = other.trace(X[:3], training=True)
    np.testing.assert_allclose(trace.activations["output"], y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other.backward(np.ones_like(y)), dx, rtol=1e-8, atol=1e-9)
    named = {key for key, layer in other.named_layers() if not layer.children()}
    assert named <= set(trace.activations)
