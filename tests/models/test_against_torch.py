"""Whole networks and their units against independent ones in PyTorch, in float64."""

from typing import Any

import numpy as np
import pytest
import torch_networks
from hypothesis import given
from hypothesis import strategies as st
from networks import largest, loss_and_gradients, randomised
from strategies import seeds
from torch_networks import torch

from numpy_shufflenet.models import build
from numpy_shufflenet.nn import Layer, ShuffleNetV1Unit, ShuffleNetV2Unit

TOLERANCE = 1e-9  # of the network's largest gradient

V1 = {"name": "shufflenet_v1", "scale": 0.5, "num_classes": 5}
V2 = {"name": "shufflenet_v2", "scale": 0.5, "num_classes": 5}
SMALL = {"stem": "small", "in_channels": 1}
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {  # config, (n, h, w)
    "v1 g=1": ({**V1, "groups": 1}, (2, 37, 50)),
    "v1 g=2": ({**V1, "groups": 2, **SMALL}, (2, 15, 18)),
    "v1 g=3": ({**V1, "groups": 3}, (3, 64, 33)),
    "v1 g=3, 1x": ({**V1, "groups": 3, "scale": 1.0}, (2, 41, 33)),
    "v1 g=4, SE": ({**V1, "groups": 4, "se": True, **SMALL}, (2, 13, 16)),
    "v1 g=8, 0.25x": ({**V1, "groups": 8, "scale": 0.25, "classifier_bias": False}, (2, 35, 64)),
    "v1 g=8, no shuffle": ({**V1, "groups": 8, "shuffle": False, **SMALL}, (2, 16, 13)),
    "v2": (V2, (3, 37, 50)),
    "v2 small": ({**V2, **SMALL}, (2, 19, 14)),
    "v2 1x, paper": ({**V2, "scale": 1.0, "layout": "paper"}, (2, 33, 41)),
    "v2 1x, torchvision": ({**V2, "scale": 1.0, "layout": "torchvision"}, (2, 41, 33)),
    "v2 SE": ({**V2, "se": True, "in_channels": 2}, (2, 64, 35)),
    "v2 residual": ({**V2, "residual": True, "classifier_bias": False}, (2, 48, 37)),
    "v2 extra depthwise": ({**V2, "extra_depthwise": True, **SMALL}, (2, 13, 18)),
    "v2 all options": (
        {**V2, "layout": "torchvision", "se": True, "residual": True, "extra_depthwise": True},
        (2, 39, 45),
    ),
    "v2 leaky ReLU": ({**V2, "activation": "leaky_relu"}, (3, 37, 50)),
    "v2 swish": ({**V2, "activation": "swish", "residual": True, **SMALL}, (2, 19, 14)),
    "v2-50": ({"name": "shufflenet_v2_50", "num_classes": 5}, (2, 33, 20)),
}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any], scale: float) -> None:
    """Equal names in equal order, and no number differs by more than TOLERANCE * scale."""
    assert list(ours) == list(theirs)
    for name, array in ours.items():
        assert array.shape == theirs[name].shape, name
        difference = np.abs(array - theirs[name]).max()
        assert difference <= TOLERANCE * scale, f"{name} differs by {difference:.1e} of {scale:.1e}"


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(("config", "shape"), NETWORKS.values(), ids=NETWORKS)
def test_network(config: dict[str, Any], shape: tuple[int, int, int], training: bool) -> None:
    model = randomised(build(config))
    network = torch_networks.build(config).train(training)
    torch_networks.load(network, model.state_dict())
    n, h, w = shape
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, config.get("in_channels", 3), h, w))
    labels = rng.integers(0, 5, n)

    logits, loss, dx, gradients = loss_and_gradients(model, x, labels, training=training)

    x_torch = torch.tensor(x, requires_grad=True)
    logits_torch = network(x_torch)
    loss_torch = torch.nn.functional.cross_entropy(
        logits_torch, torch.tensor(labels), label_smoothing=0.1
    )
    loss_torch.backward()
    assert_same({"": logits}, {"": logits_torch.detach().numpy()}, largest([logits]))
    assert loss == pytest.approx(loss_torch.item(), rel=TOLERANCE)
    theirs = torch_networks.gradients(network)
    scale = largest(theirs.values())
    assert_same(gradients, theirs, scale)
    assert_same({"dx": dx}, {"dx": x_torch.grad.numpy()}, scale)
    assert np.abs(dx).max() > 1e-6 * scale  # so that the line above says something
    after = torch_networks.arrays(network)
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(array, after[name], rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("name", ["v1 g=3", "v2 all options"])
def test_trace_has_every_activation_and_its_gradient(name: str) -> None:
    """As PyTorch's hooks see them, for all layers that both networks have under one name."""
    config, (n, h, w) = NETWORKS[name]
    model = randomised(build(config))
    network = torch_networks.build(config).train()
    torch_networks.load(network, model.state_dict())
    outputs = {}

    def keep(name: str, y: Any) -> None:
        y.retain_grad()
        outputs[name] = y

    for layer, module in network.named_modules():
        if layer:
            module.register_forward_hook(lambda module, x, y, layer=layer: keep(layer, y))
    rng = np.random.default_rng(2)
    x, dlogits = rng.normal(size=(n, 3, h, w)), rng.normal(size=(n, 5))
    network(torch.tensor(x)).backward(torch.tensor(dlogits))

    trace = model.trace(x, training=True)
    model.backward(dlogits)
    shared = [name for name in trace.activations if name in outputs and name != "dropout"]
    assert {"conv1.2", "maxpool", "stage3.0", "stage4", "fc"} <= set(shared)
    assert len(shared) > 100
    scale = largest(trace.gradients[name] for name in shared)
    for layer in shared:
        y, dy = outputs[layer].detach().numpy(), outputs[layer].grad.numpy()
        assert_same({layer: trace.activations[layer]}, {layer: y}, largest([y]))
        assert_same({layer: trace.gradients[layer]}, {layer: dy}, scale)


@st.composite
def v1_units(draw: st.DrawFn) -> tuple[int, int, dict[str, Any]]:
    """Input and output channels and options; often 1 < groups < channels / groups."""
    groups = draw(st.sampled_from((2, 3, 1, 4)))
    inputs = outputs = groups * draw(st.integers(1, 5))
    stride = draw(st.sampled_from((1, 2)))
    if stride == 2:
        outputs = inputs + groups * draw(st.integers(1, 5))
    options = {
        "groups": groups,
        "stride": stride,
        "first_groups": draw(st.sampled_from((None, 1))),
        "shuffle": draw(st.booleans()),
        "se": draw(st.booleans()),
    }
    return inputs, outputs, options


@st.composite
def v2_units(draw: st.DrawFn) -> tuple[int, int, dict[str, Any]]:
    """Units that split, and those with two branches of either stride and any widths."""
    outputs = 2 * draw(st.integers(2, 6))
    splits = draw(st.booleans())
    inputs = outputs if splits else draw(st.integers(1, 9).filter(lambda c: c != outputs))
    options = {
        "stride": 1 if splits else draw(st.sampled_from((1, 2))),
        "kept": None if splits else draw(st.none() | st.integers(1, outputs - 1)),
        "se": draw(st.booleans()),
        "residual": draw(st.booleans()),
        "extra_depthwise": draw(st.booleans()),
    }
    return inputs, outputs, options


def assert_unit_same(
    unit: Layer, module: Any, channels: int, seed: int, size: tuple[int, int], training: bool
) -> None:
    unit = randomised(unit, seed)
    module = module.double().train(training)
    torch_networks.load(module, unit.state_dict())
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, channels, *size))
    x_torch = torch.tensor(x, requires_grad=True)
    y_torch = module(x_torch)

    y = unit.forward(x, training=training)
    assert_same({"y": y}, {"y": y_torch.detach().numpy()}, max(1, largest([y])))
    dy = rng.normal(size=y.shape)
    y_torch.backward(torch.tensor(dy))
    dx = unit.backward(dy)
    theirs = {"dx": x_torch.grad.numpy(), **torch_networks.gradients(module)}
    assert_same({"dx": dx, **unit.gradients()}, theirs, max(1, largest(theirs.values())))
    after = torch_networks.arrays(module)
    for name, array in unit.state_dict().items():
        np.testing.assert_allclose(array, after[name], rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


sizes = st.tuples(st.integers(3, 7), st.integers(3, 7))


@given(v1_units(), seeds(), sizes, st.booleans())
def test_v1_unit(
    case: tuple[int, int, dict[str, Any]], seed: int, size: tuple[int, int], training: bool
) -> None:
    inputs, outputs, options = case
    unit = ShuffleNetV1Unit(inputs, outputs, **options)
    module = torch_networks.V1Unit(inputs, outputs, **options)
    assert_unit_same(unit, module, inputs, seed, size, training)


@given(v2_units(), seeds(), sizes, st.booleans())
def test_v2_unit(
    case: tuple[int, int, dict[str, Any]], seed: int, size: tuple[int, int], training: bool
) -> None:
    inputs, outputs, options = case
    module = torch_networks.V2Unit(inputs, outputs, **options)
    options["branch1_channels"] = options.pop("kept")
    unit = ShuffleNetV2Unit(inputs, outputs, **options)
    assert_unit_same(unit, module, inputs, seed, size, training)
