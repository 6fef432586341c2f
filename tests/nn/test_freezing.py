"""Frozen layers: what stays as it is, bit for bit, and gradients of the rest beside PyTorch."""

import numpy as np
import pytest
import torch_networks
from networks import largest, loss_and_gradients, randomised

from numpy_shufflenet import backend, nn
from numpy_shufflenet.gradcheck import check_model
from numpy_shufflenet.models import shufflenet_v1, shufflenet_v2

torch = torch_networks.torch
SMALL = {"num_classes": 5, "stem": "small", "seed": 0}
BUILD = {
    "V1": lambda: shufflenet_v1(groups=3, scale=0.25, se=True, **SMALL),
    "V2": lambda: shufflenet_v2(scale=0.5, layout="torchvision", **SMALL),
}
CASES = [
    ("V1", ("stage2", "stage3")),
    ("V1", ("conv1", "stage2")),
    ("V2", ("stage3",)),
    ("V2", ("conv1", "stage2", "stage3", "stage4", "conv5")),
    ("V2", ("stage2.0", "stage3.1.branch2.4", "conv5.1")),
]
IMAGES = np.random.default_rng(0).normal(size=(3, 3, 16, 18))
LABELS = np.array([4, 0, 2])


def frozen_in_pytorch(model, names):
    """A twin in PyTorch, in which users freeze: no gradients, and evaluation mode."""
    twin = torch_networks.build(model.config)
    torch_networks.load(twin, model.state_dict())
    twin.train()
    for name in names:
        module = twin.get_submodule(name).eval()
        for parameter in module.parameters():
            parameter.requires_grad_(False)
    return twin


def within(name, names):
    return any(name.startswith(f"{outer}.") for outer in names)


@pytest.mark.parametrize(("network", "names"), CASES, ids=str)
def test_gradients_of_the_rest_are_those_of_pytorch(network, names):
    model = randomised(BUILD[network]())
    model.freeze(*names)
    before = model.state_dict()
    twin = frozen_in_pytorch(model, names)
    x = torch.tensor(IMAGES, requires_grad=True)
    logits = twin(x)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    criterion(logits, torch.tensor(LABELS)).backward()
    theirs = {n: p.grad.numpy() for n, p in twin.named_parameters() if p.grad is not None}

    ours, _, dx, gradients = loss_and_gradients(model, IMAGES, LABELS, training=True)
    np.testing.assert_allclose(ours, logits.detach(), rtol=0, atol=1e-10 * largest([ours]))
    np.testing.assert_allclose(dx, x.grad, rtol=0, atol=1e-9 * largest([dx]))
    assert gradients.keys() == theirs.keys()
    for name, gradient in gradients.items():
        bound = 1e-9 * largest([theirs[name]]) + 1e-12
        np.testing.assert_allclose(gradient, theirs[name], rtol=0, atol=bound, err_msg=name)
    after, expected = model.state_dict(), torch_networks.arrays(twin)
    for name, array in before.items():
        if within(name, names):
            np.testing.assert_array_equal(after[name], array, err_msg=name)
        else:  # running statistics move as theirs do
            np.testing.assert_allclose(after[name], expected[name], atol=1e-10, err_msg=name)

    # Without dx, layers at the beginning keep nothing; the gradients are the same.
    model.load_state_dict(before)
    model.zero_gradients()
    again = model.forward(IMAGES, training=True, input_gradient=False)
    np.testing.assert_array_equal(again, ours)
    model.backward(np.ones_like(again), input_gradient=False)
    model.load_state_dict(before)
    less = model.gradients()
    model.zero_gradients()
    model.forward(IMAGES, training=True)
    model.backward(np.ones_like(again))
    for name, gradient in model.gradients().items():
        np.testing.assert_array_equal(gradient, less[name], err_msg=name)


@pytest.mark.parametrize("implementation", backend.BACKENDS)
def test_in_float32_by_each_backend(implementation):
    """The fused paths of float32 see frozen layers, too."""
    for network, names in CASES[1:3]:
        exact = randomised(BUILD[network]())
        exact.freeze(*names)
        model = exact.astype(np.float32)
        assert model.frozen_layers() == list(names)
        *_, dx, expected = loss_and_gradients(exact, IMAGES, LABELS, training=True)
        with backend.use(implementation):
            x = IMAGES.astype(np.float32)
            *_, found_dx, found = loss_and_gradients(model, x, LABELS, training=True)
        assert found.keys() == expected.keys()
        np.testing.assert_allclose(found_dx, dx, rtol=0, atol=2e-3 * largest([dx]))
        whole = largest(expected.values())
        for name, gradient in expected.items():
            np.testing.assert_allclose(found[name], gradient, rtol=0, atol=2e-4 * whole)


def test_a_frozen_network_passes_the_checker():
    model = randomised(BUILD["V1"]())
    model.freeze("conv1", "stage2", "stage3", "stage4.1")
    verdict = check_model(model, IMAGES, LABELS, entries=1, include_input=True)
    names = [row.name for row in verdict.rows]
    assert verdict.passed
    assert "x" in names
    assert "fc.weight" in names
    assert not any(within(name, model.frozen_layers()) for name in names)


def test_frozen_dropout_drops_nothing():
    layers = nn.Sequential(nn.Dropout(0.5, seed=0), nn.Linear(3, 2))
    x = np.ones((2, 3), np.float32)
    layers[0].frozen = True
    layers.forward(x, training=True)
    np.testing.assert_array_equal(layers.backward(np.ones((2, 2), np.float32)), np.zeros((2, 3)))
    state = layers[0].rng.bit_generator.state
    layers[0].frozen = False
    layers.forward(x, training=True)
    assert layers[0].rng.bit_generator.state != state


def test_forwards_in_evaluation_may_come_before_one_in_training():
    model = BUILD["V2"]()
    x = IMAGES.astype(np.float32)
    model.freeze("conv1", "stage3")
    for input_gradient in (True, False, True):
        model.forward(x)
        y = model.forward(x, training=True, input_gradient=input_gradient)
        dx = model.backward(np.ones_like(y), input_gradient=input_gradient)
        assert (dx is not None) == input_gradient
    model.forward(x, training=True, input_gradient=False)
    with pytest.raises(ValueError, match="after a forward with input_gradient=False"):
        model.backward(np.ones_like(y))
    model.backward(np.ones_like(y), input_gradient=False)


def test_names_of_layers():
    model = BUILD["V2"]()
    for names, message in (
        (["stage9"], "there is no layer 'stage9' to freeze; there are conv1, stage2, stage3"),
        (["stage2", ""], "there is no layer '' to freeze"),
        ([], "names of layers to freeze are needed; there are conv1, stage2"),
    ):
        with pytest.raises(ValueError, match=message):
            model.freeze(*names)
        assert model.frozen_layers() == []
    model.freeze("stage3.1", "stage2", "stage2.0.branch1", "fc")
    assert model.frozen_layers() == ["stage2", "stage3.1", "fc"]
    assert model.stage2[1].branch2[0].frozen
    assert not model.frozen
    model.frozen = True
    assert model.frozen_layers() == [""]
    assert model.gradients() == {}
    model.frozen = False
    assert model.frozen_layers() == []
    assert len(model.gradients()) == len(model.parameters())
