"""Folding: put batch normalisation, which is affine in inference, into the convolution before it.

    gamma (w * x + b - mean) / sqrt(var + eps) + beta  =  w' * x + b'

    w' = scale w        b' = scale (b - mean) + beta        scale = gamma / sqrt(var + eps)

with one scale for each output channel. The folded network gives the same outputs, up to
rounding, with less memory traffic. Training it is not the same, since batch norm is gone.

Source: Ioffe, Szegedy, Batch normalization, 2015, section 3.1.
"""

import copy
from typing import TypeVar

from numpy_shufflenet.nn.fusion import folded_convolution
from numpy_shufflenet.nn.layer import Layer, Parameter
from numpy_shufflenet.nn.layers import BatchNorm2d, Conv2d
from numpy_shufflenet.nn.sequential import Sequential

L = TypeVar("L", bound=Layer)


def fold(model: L) -> L:
    """Return a new model for inference, with batch norms folded into the convolutions before them.

    Layers after a folded one get new numbers, so the names of their parameters change.
    """
    folded = copy.deepcopy(model)
    folded.release()
    folded.zero_gradients()
    for _, layer in list(folded.named_layers()):
        if isinstance(layer, Sequential):
            layer.replace(_without_batch_norm(layer))
    return folded


def _without_batch_norm(layers: Sequential) -> list[Layer]:
    kept: list[Layer] = []
    for layer in layers:
        if isinstance(layer, BatchNorm2d) and kept and isinstance(kept[-1], Conv2d):
            _fold_into(kept[-1], layer)
        else:
            kept.append(layer)
    return kept


def _fold_into(conv: Conv2d, norm: BatchNorm2d) -> None:
    w, b = folded_convolution(conv, norm)
    conv.weight, conv.bias = Parameter(w), Parameter(b)
