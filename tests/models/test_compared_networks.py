"""MobileNet V1 and ResNet-50 against independent ones in PyTorch, written from their papers."""

from typing import Any

import numpy as np
import pytest
from networks import loss_and_gradients, randomised
from torch_networks import conv_bn, torch

from numpy_shufflenet.models import build

nn = torch.nn


class Added(nn.Module):
    """The sum of two branches."""

    def __init__(self, *branches: Any):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Any) -> Any:
        return self.branches[0](x) + self.branches[1](x)


def mobilenet(scale: float, classes: int) -> Any:
    """MobileNets, table 1, stem of stride 2."""
    widths = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    widths = [int(width * scale) for width in widths]
    layers = conv_bn(3, widths[0], 3, stride=2)
    for inputs, outputs, stride in zip(widths, widths[1:], strides, strict=False):
        layers += conv_bn(inputs, inputs, 3, stride=stride, groups=inputs)
        layers += conv_bn(inputs, outputs, 1)
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pool, nn.Linear(widths[-1], classes))


def resnet(classes: int) -> Any:
    """Deep residual learning, table 1, 50 layers."""
    layers = [*conv_bn(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, repeats in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for unit in range(repeats):
            stride = 2 if width > 64 and unit == 0 else 1
            fits = stride == 1 and inputs == 4 * width
            shortcut = [] if fits else conv_bn(inputs, 4 * width, 1, stride=stride, relu=False)
            branch = [
                *conv_bn(inputs, width, 1, stride=stride),
                *conv_bn(width, width, 3),
                *conv_bn(width, 4 * width, 1, relu=False),
            ]
            layers += [Added(nn.Sequential(*shortcut), nn.Sequential(*branch)), nn.ReLU()]
            inputs = 4 * width
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pool, nn.Linear(inputs, classes))


NETWORKS = {
    "mobilenet": ({"name": "mobilenet_v1", "scale": 0.25}, lambda: mobilenet(0.25, 5), (3, 37, 50)),
    "resnet": ({"name": "resnet_50"}, lambda: resnet(5), (2, 33, 41)),
}


@pytest.mark.parametrize(("config", "other", "shape"), NETWORKS.values(), ids=NETWORKS)
def test_network(config: dict[str, Any], other: Any, shape: tuple[int, int, int]) -> None:
    model = randomised(build({**config, "num_classes": 5}))
    network = other().double()
    state = model.state_dict()
    theirs = network.state_dict()
    assert [value.shape for value in state.values()] == [tuple(v.shape) for v in theirs.values()]
    copied = (torch.from_numpy(np.ascontiguousarray(value)) for value in state.values())
    network.load_state_dict(dict(zip(theirs, copied, strict=True)))
    n, h, w = shape
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(n, 3, h, w)), rng.integers(0, 5, n)
    _, _, _, gradients = loss_and_gradients(model, x, labels, training=True)

    network.train()
    tensor = torch.from_numpy(x)
    nn.functional.cross_entropy(
        network(tensor), torch.from_numpy(labels), label_smoothing=0.1
    ).backward()
    scale = max(float(p.grad.abs().max()) for p in network.parameters())
    for (name, ours), parameter in zip(gradients.items(), network.parameters(), strict=True):
        difference = np.abs(ours - parameter.grad.numpy()).max()
        assert difference <= 1e-9 * scale, name

    network.eval()
    model.release()
    with torch.no_grad():
        expected = network(tensor).numpy()
    np.testing.assert_allclose(model.forward(x), expected, rtol=0, atol=1e-9 * abs(expected).max())
