"""Initial weights as in the authors' code."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from numpy_shufflenet._room import check_room
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.nn.layers import BatchNorm2d, Conv2d, Linear, SqueezeExcitation

_skipped = ContextVar("skipped", default=False)


@contextmanager
def without_weights() -> Iterator[None]:
    """Let `initialise` do nothing in this thread, because weights will be loaded later.

    Zeros take no memory until a program writes to them.
    """
    token = _skipped.set(True)
    try:
        yield
    finally:
        _skipped.reset(token)


def initialise(model: Layer, rng: np.random.Generator, *, stem: str = "conv1") -> None:
    """Draw the weights of all layers within a model, in the order of forward.

        convolution           normal, std 0.01 in the stem, 1 / (input channels a group) elsewhere
        linear, excitation    normal, std 0.01; biases 0
        batch normalisation   gamma 1, beta 0.0001

    Parameters
    ----------
    model : Layer
    rng : numpy.random.Generator
    stem : str
        Name of the child whose convolutions count as the stem.

    Raises
    ------
    MemoryError
        If the weights don't fit into memory.

    Source: the authors' published code for both papers (which give no rule).
    """

    if _skipped.get():
        return
    sizes = [array.size for array in model.parameters().values()]
    check_room(4 * sum(sizes) + 8 * max(sizes, default=0), f"a network of {sum(sizes):,} weights")

    def normal(shape: tuple[int, ...], std: float) -> np.ndarray:
        return rng.normal(0, std, shape)

    for name, layer in model.named_layers():
        if isinstance(layer, Conv2d):
            shape = layer.weight.value.shape
            in_stem = name == stem or name.startswith(f"{stem}.")
            layer.weight.value[...] = normal(shape, 0.01 if in_stem else 1 / shape[1])
        elif isinstance(layer, Linear):
            layer.weight.value[...] = normal(layer.weight.value.shape, 0.01)
        elif isinstance(layer, SqueezeExcitation):
            for weight in (layer.reduce_weight, layer.expand_weight):
                weight.value[...] = normal(weight.value.shape, 0.01)
        elif isinstance(layer, BatchNorm2d):
            layer.bias.value[...] = 1e-4
