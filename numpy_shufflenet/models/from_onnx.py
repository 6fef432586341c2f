"""Networks from ONNX graphs: the computation of the nodes shows which ShuffleNet a graph is."""

from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet import models
from numpy_shufflenet._files import PathLike, existing_file
from numpy_shufflenet._typing import Array, IntOrPair
from numpy_shufflenet.models.classifier import ImageClassifier
from numpy_shufflenet.models.match import match
from numpy_shufflenet.models.walk import Convolution, Match
from numpy_shufflenet.nn import BatchNorm2d, Conv2d, Linear, SqueezeExcitation
from numpy_shufflenet.nn.initialise import without_weights
from numpy_shufflenet.ops.checks import as_pair
from numpy_shufflenet.weights.graph import Graph, Normalisation, NotUnderstoodError
from numpy_shufflenet.weights.onnx import parse

OPTIONS = ("dropout", "seed")


def from_onnx(
    path: PathLike, *, image_size: IntOrPair | None = None, **options: Any
) -> ImageClassifier:
    """Return the ShuffleNet that an ONNX graph computes, with its weights, in float32.

    The graph may come from any exporter, and be a V1 or V2 with the options of `shufflenet_v1` and
    `shufflenet_v2`, a V2-50 or an SE-V2-164. Its shuffles, splits and means may consist of any
    nodes, and its shapes may be computed. If batch normalisation is folded into the convolutions,
    the network has `batch_norm=False`. The channels of the network may have another order than in
    the graph. Images are (n, c, h, w) even if the graph takes (n, h, w, c). A softmax at the end is
    left out: the network returns logits. It is in float64 if weights of the graph are.

    Parameters
    ----------
    path : path
        The file. Weights may be in other files of the same folder.
    image_size : int or (height, width), optional
        The size of the images. It is needed if the graph doesn't say it and has padding that
        depends on it (`auto_pad`). Then the network fits images of this size only.
    **options
        Arguments that the graph doesn't show: dropout, seed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If the package onnx isn't installed.
    ValueError
        If the file is damaged or claims more than it holds, or the graph is of another network. The
        message names the file, and the first node that is not understood.
    """
    if unknown := set(options) - set(OPTIONS):
        raise ValueError(f"{sorted(unknown)[0]} follows from the graph; {OPTIONS} can be given")
    size = None if image_size is None else as_pair("image_size", image_size)
    path = existing_file(path, "an ONNX file")
    try:
        return _network(path, size, options)
    except NotUnderstoodError as error:
        raise ValueError(f"{path}: {error}; weights.load reads the weights alone") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def has_nodes(path: PathLike) -> bool:
    """Whether a file holds a graph, and not only initialisers; False if it is no ONNX file."""
    try:
        return bool(parse(existing_file(path, "an ONNX file")).graph.node)
    except ValueError:
        return False


def _network(path: Path, size: tuple[int, int] | None, options: dict[str, Any]) -> ImageClassifier:
    message = parse(path)
    if not message.graph.node:
        raise ValueError("it is not an ONNX file, or its graph is empty")
    graph = Graph(message, path.parent, size)
    found = match(graph.steps, graph.output)
    has_norms = all(conv.norm is not None for conv in found.convolutions)
    with without_weights():
        model = models.build({**found.config, **options})
        if not has_norms:
            model = model.fold()
    if any(conv.weight.dtype == np.float64 for conv in found.convolutions):
        model = model.astype(np.float64)
    model.load_state_dict(_state(model, found))
    return model


def _state(model: ImageClassifier, found: Match) -> dict[str, Array]:
    """Return the weights by our names; `model` and `found` have layers in the same order."""
    state: dict[str, Array] = {}
    convolutions, excitations = iter(found.convolutions), iter(found.excitations)
    conv: Convolution | None = None
    for name, layer in model.named_layers():
        arrays: dict[str, Array | None] = {}
        if isinstance(layer, Conv2d):
            conv = next(convolutions)
            if conv.weight.shape != layer.weight.value.shape:
                needed = layer.weight.value.shape
                reason = f"its weights have the shape {conv.weight.shape}; {needed} is needed here"
                raise NotUnderstoodError(conv.node, reason)
            weight, bias = _folded(conv) if layer.bias is not None else (conv.weight, None)
            arrays = {"weight": weight, "bias": bias}
        elif isinstance(layer, BatchNorm2d):
            assert conv is not None
            assert conv.norm is not None
            arrays |= _statistics(conv.norm, conv.bias, layer.hyperparameters["eps"])
        elif isinstance(layer, SqueezeExcitation):
            arrays = dict(zip(layer.parameter_names, next(excitations), strict=True))
        elif isinstance(layer, Linear):
            arrays = {"weight": found.weight, "bias": found.bias}
        state |= {f"{name}.{key}": array for key, array in arrays.items() if array is not None}
    return state


def _folded(conv: Convolution) -> tuple[Array, Array]:
    """Return the weight and the bias, with a batch normalisation folded into them."""
    bias = np.zeros(len(conv.weight)) if conv.bias is None else conv.bias
    if conv.norm is None:
        return conv.weight, bias
    gamma, beta, mean, var, eps = conv.norm
    scale = gamma / np.sqrt(var + eps)
    return conv.weight * scale[:, None, None, None], scale * (bias - mean) + beta


def _statistics(norm: Normalisation, bias: Array | None, eps: float) -> dict[str, Array]:
    """Return the parameters of an equal batch normalisation with another eps and without a bias.

    The variance compensates the difference of eps. If it would become negative, gamma does.
    """
    var = np.maximum(0, norm.var + (norm.eps - eps)).astype(norm.var.dtype)
    scale = np.sqrt((var + eps) / (norm.var + norm.eps))
    same = norm.eps == eps
    return {
        "weight": norm.gamma if same else norm.gamma * scale,
        "bias": norm.beta,
        "running_mean": norm.mean if bias is None else norm.mean - bias,
        "running_var": norm.var if same else var,
        "num_batches_tracked": np.array(0),
    }
