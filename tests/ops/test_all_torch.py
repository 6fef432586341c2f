"""Every operation against PyTorch, in float64: outputs and all gradients."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import need
from strategies import as_pair, as_sides, as_tuple, cases, cotangent_like, hyperparameters, seeds

from numpy_shufflenet import ops
from numpy_shufflenet.operations import OPERATIONS

torch = need("torch")
F = torch.nn.functional


def pad(x, padding, value=0.0):
    """PyTorch's own padding is the same on both sides; this one need not be."""
    (top, bottom), (left, right) = as_sides(padding)
    return F.pad(x, (left, right, top, bottom), value=value)


def conv2d(x, w, b, *, stride=1, padding=0, dilation=1, groups=1):
    x = pad(x, padding)
    return F.conv2d(x, w, b, stride=stride, dilation=dilation, groups=groups)


def depthwise_conv2d(x, w, b, **hyperparameters):
    return conv2d(x, w, b, groups=x.shape[1], **hyperparameters)


def batch_norm(x, gamma, beta, *, eps):
    return F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)


def batch_norm_inference(x, gamma, beta, mean, var, *, eps):
    return F.batch_norm(x, mean, var, gamma, beta, training=False, eps=eps)


def channel_unshuffle(x, groups):
    return F.channel_shuffle(x, x.shape[1] // groups)


def max_pool2d(x, *, kernel_size, stride, padding):
    return F.max_pool2d(pad(x, padding, -torch.inf), kernel_size, stride)


def avg_pool2d(x, *, kernel_size, stride, padding, count_include_pad):
    y = F.avg_pool2d(pad(x, padding), kernel_size, stride)
    if count_include_pad:
        return y
    return y / F.avg_pool2d(pad(torch.ones_like(x), padding), kernel_size, stride)


def upsample_nearest(x, scale):
    return F.interpolate(x, scale_factor=as_pair(scale), mode="nearest")


def upsample_bilinear(x, *, scale, align_corners):
    return F.interpolate(
        x, scale_factor=as_pair(scale), mode="bilinear", align_corners=align_corners
    )


def squeeze_excitation(x, w1, b1, w2, b2):
    s = F.adaptive_avg_pool2d(x, 1).flatten(1)
    e = torch.sigmoid(F.linear(F.relu(F.linear(s, w1, b1)), w2, b2))
    return x * e[:, :, None, None]


def dropout(x, *, rate, rng):
    """PyTorch draws otherwise, so the mask is ours."""
    return x * torch.from_numpy(rng.random(tuple(x.shape)) >= rate) / (1 - rate)


PEERS = {
    "conv2d": conv2d,
    "group_conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "pointwise_conv2d": conv2d,
    "batch_norm": batch_norm,
    "batch_norm_inference": batch_norm_inference,
    "sync_batch_norm": batch_norm,
    "channel_shuffle": F.channel_shuffle,
    "channel_unshuffle": channel_unshuffle,
    "channel_split": lambda x, sizes: torch.split(x, list(sizes), dim=1),
    "channel_concat": lambda *arrays: torch.cat(arrays, dim=1),
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "global_avg_pool": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "upsample_nearest": upsample_nearest,
    "upsample_bilinear": upsample_bilinear,
    "relu": F.relu,
    "leaky_relu": lambda x, slope: torch.nn.LeakyReLU(slope)(x),
    "sigmoid": torch.sigmoid,
    "swish": torch.nn.SiLU(),
    "squeeze_excitation": squeeze_excitation,
    "linear": F.linear,
    "dropout": dropout,
    "softmax_cross_entropy": F.cross_entropy,
    "add": torch.add,
    "add_relu": lambda x1, x2: F.relu(x1 + x2),
    "batch_norm_relu": lambda *arrays, **hyper: F.relu(batch_norm(*arrays, **hyper)),
    "conv2d_relu": lambda *arrays, **hyper: F.relu(conv2d(*arrays, **hyper)),
    "pointwise_conv2d_relu": lambda *arrays, **hyper: F.relu(conv2d(*arrays, **hyper)),
    "channel_concat_shuffle": lambda *arrays, groups: F.channel_shuffle(
        torch.cat(arrays, dim=1), groups
    ),
}


def close(actual, expected):
    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=1e-10, atol=1e-11)


def tensor(array, differentiable):
    if array is None:
        return None
    # A copy, because PyTorch refuses negative strides.
    return torch.tensor(array.copy(), requires_grad=differentiable)


@pytest.mark.parametrize("name", PEERS)
@given(st.data(), seeds())
def test_outputs_and_gradients_are_those_of_pytorch(name, data, seed):
    operation = OPERATIONS[name]
    case = data.draw(cases(name, np.float64))
    y, cache = operation.forward()(*case.arrays, **hyperparameters(case))
    dy = cotangent_like(y, np.random.default_rng(seed))
    gradients = as_tuple(operation.backward()(dy, cache))

    tensors = [tensor(array, i < len(gradients)) for i, array in enumerate(case.arrays)]
    outputs = as_tuple(PEERS[name](*tensors, **hyperparameters(case)))
    torch.autograd.backward(outputs, [torch.tensor(d) for d in as_tuple(dy)])
    for actual, peers in zip(as_tuple(y), outputs, strict=True):
        close(actual, peers)
    for actual, leaf in zip(gradients, tensors[: len(gradients)], strict=True):
        assert (actual is None) == (leaf is None)
        if leaf is not None:
            close(actual, leaf.grad)


@given(cases("batch_norm", np.float64), st.floats(0, 1), seeds())
def test_running_statistics_are_those_of_pytorch(case, momentum, seed):
    rng = np.random.default_rng(seed)
    channels = case.arrays[0].shape[1]
    mean, var = rng.normal(size=channels), rng.uniform(0.5, 2, size=channels)
    peer_mean, peer_var = torch.tensor(mean), torch.tensor(var)
    F.batch_norm(
        tensor(case.arrays[0], False), peer_mean, peer_var, training=True, momentum=momentum
    )
    _, cache = ops.batch_norm_forward(*case.arrays)
    new_mean, new_var = ops.update_running_statistics(mean, var, cache, momentum=momentum)
    close(new_mean, peer_mean)
    close(new_var, peer_var)


def test_every_operation_has_a_peer():
    """Here, or in a test file of its own beside this one."""
    own = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert set(PEERS) <= set(OPERATIONS) <= {*PEERS, *own}
