"""Running statistics from one batch: what a new network lacks in evaluation mode."""

from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.nn.layers import BatchNorm2d


def fill_statistics(model: Layer, x: Array) -> None:
    """Replace all running statistics by the statistics of the batch x, by a forward in training.

    A new network has mean 0 and variance 1 there. In evaluation mode its activations then shrink
    from layer to layer, until all images have practically the same logits.
    """
    norms = [layer for _, layer in model.named_layers() if isinstance(layer, BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 1.0
        model.forward(x, training=True)
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
        model.release()
