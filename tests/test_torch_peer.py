"""The peer in PyTorch computes what the network computes, forward and backward."""

import numpy as np
import pytest
from networks import randomised
from peers import need

from numpy_shufflenet import nn
from numpy_shufflenet.models import mobilenet_v1, shufflenet_v1, shufflenet_v2

NETWORKS = {
    "V1": lambda: shufflenet_v1(scale=0.25, groups=3, num_classes=5, seed=0),
    "V1 without shuffle": lambda: shufflenet_v1(
        scale=0.25, groups=2, num_classes=5, shuffle=False, seed=0
    ),
    "V2": lambda: shufflenet_v2(scale=0.5, num_classes=5, classifier_bias=False, seed=0),
    "V2, authors' shuffle": lambda: shufflenet_v2(
        scale=0.5, num_classes=5, shuffle_order="authors", pool_padding=[[0, 1], [1, 0]], seed=0
    ),
    "V1, padded elsewhere": lambda: shufflenet_v1(
        scale=0.25,
        num_classes=5,
        shuffle_order="authors",
        stride2_padding=[[[0, 1], [0, 1]]] * 4,
        seed=0,
    ),
    "V2, leaky": lambda: shufflenet_v2(scale=0.5, num_classes=5, activation="leaky_relu", seed=0),
    "V2, swish": lambda: shufflenet_v2(scale=0.5, num_classes=5, activation="swish", seed=0),
    "MobileNet": lambda: mobilenet_v1(scale=0.25, num_classes=5, seed=0),
    "sum": lambda: nn.Sequential(
        nn.Parallel(nn.Sequential(nn.ReLU()), nn.Conv2d(3, 3, 1, bias=True)), nn.Add()
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("training", [False, True])
def test_a_peer_computes_the_same(name, training):
    torch = need("torch")
    from numpy_shufflenet.torch_peer import to_torch

    model = randomised(NETWORKS[name]())
    x = np.random.default_rng(1).normal(size=(3, 3, 40, 33))
    theirs = to_torch(model, inplace=name != "sum").train(training)
    x_torch = torch.from_numpy(x).requires_grad_()
    y_torch = theirs(x_torch)
    y = model.forward(x, training=training)
    np.testing.assert_allclose(y_torch.detach().numpy(), y, rtol=1e-8, atol=1e-8)
    dy = np.random.default_rng(2).normal(size=y.shape)
    y_torch.backward(torch.from_numpy(dy))
    dx = model.backward(dy)
    np.testing.assert_allclose(x_torch.grad.numpy(), dx, rtol=0, atol=1e-8 * np.abs(dx).max())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.SqueezeExcitation(4, reduction=2), "SqueezeExcitation has no peer"),
        (nn.ShuffleNetV2Unit(4, 4, stride=1, residual=True), "excitation or residual"),
        (nn.ShuffleNetV1Unit(4, 4, groups=1, stride=1, se=True), "SqueezeExcitation has no peer"),
    ],
)
def test_what_has_no_peer_is_said(layer, message):
    need("torch")
    from numpy_shufflenet.torch_peer import to_torch

    with pytest.raises(ValueError, match=message):
        to_torch(layer)
