"""Layers as nodes of an ONNX graph; `onnx_export` has the table.

The forward of the network runs on values of the graph in place of arrays. So units, and your layers
that are composed of other layers, need no function here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.nn.layers import OperationLayer
from numpy_shufflenet.nn.trace import Trace
from numpy_shufflenet.ops.checks import as_pair
from numpy_shufflenet.ops.windows import Windows, windows_over


@dataclass(frozen=True)
class Value:
    """A value of the graph: its name, and its shape without the batch."""

    name: str
    shape: tuple[int, ...]


class GraphWriter(Trace):
    """Runs layers on values in place of arrays, and collects nodes.

    The network can't run on arrays afterwards. `forward` raises ValueError if a layer can't be
    written, or an image is too small for a window.
    """

    def __init__(self, onnx: Any, network: Layer):
        super().__init__(network.named_layers())
        self.onnx = onnx
        self.nodes: list[Any] = []  #: messages of ONNX, as are the initialisers
        self.initialisers: list[Any] = []
        for _, layer in network.named_layers():
            layer._trace = self
        self.recording = True

    def forward(self, layer: Any, x: Any, training: bool) -> Any:
        """Add the nodes of a layer, and return its output."""
        name = self._names[id(layer)]
        if isinstance(layer, OperationLayer):
            if layer.operation not in WRITERS:
                raise ValueError(f"{name} can't be written to ONNX: it runs {layer.operation}")
            try:
                return WRITERS[layer.operation](self, name, layer, x)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        try:
            return layer._forward(x, training)
        except (TypeError, AttributeError) as error:
            kind = type(layer).__name__
            message = f"{name} can't be written to ONNX: {kind} computes by itself: {error}"
            raise ValueError(message) from error

    def node(
        self, kind: str, name: str, *inputs: Value, shape: Sequence[int] = (), **attributes: Any
    ) -> Value:
        """Add a node, and return its output, with the name of the node.

        Without `shape`, the output has the shape of the first input.
        """
        output = Value(name, tuple(shape) or inputs[0].shape)
        self.node_of_several(kind, name, inputs, [output], **attributes)
        return output

    def node_of_several(
        self, kind: str, name: str, inputs: Iterable[Value], outputs: Iterable[Value], **given: Any
    ) -> None:
        """Add a node with these outputs."""
        names = [[value.name for value in values] for values in (inputs, outputs)]
        self.nodes.append(self.onnx.helper.make_node(kind, *names, name, **given))

    def renamed(self, value: Value, name: str) -> Value:
        """Give another name to a value that no node reads yet."""
        node = next(node for node in reversed(self.nodes) if value.name in node.output)
        node.output[list(node.output).index(value.name)] = name
        return replace(value, name=name)

    def integers(self, name: str, numbers: Sequence[int]) -> Value:
        """Add a node for constant integers."""
        tensor = self.onnx.numpy_helper.from_array(np.array(numbers, np.int64), name)
        return self.node("Constant", name, shape=(len(numbers),), value=tensor)

    def array(self, name: str, array: Array) -> Value:
        """Add an initialiser."""
        self.initialisers.append(self.onnx.numpy_helper.from_array(array, name))
        return Value(name, array.shape)

    def arrays(self, name: str, layer: Any, *more: str) -> list[Value]:
        """Add initialisers for the parameters of a layer, and for further attributes."""
        attributes = (*layer.parameter_names, *more)
        stored = [(attribute, getattr(layer, attribute)) for attribute in attributes]
        return [self.array(f"{name}.{a}", s.value) for a, s in stored if s is not None]


# One function for each kind of layer: (graph, name of the layer, layer, its input) -> its output


def _windows(x: Value, kernel: Any, settings: Any) -> tuple[Windows, dict[str, Any]]:
    """Return the windows over x, and the attributes that describe them."""
    given = {key: settings[key] for key in ("stride", "padding", "dilation") if key in settings}
    windows = windows_over(np.empty((0, *x.shape)), as_pair("kernel_size", kernel), **given)
    (top, bottom), (left, right) = windows.padding
    pads = (top, left, bottom, right)
    return windows, {"kernel_shape": windows.kernel, "strides": windows.stride, "pads": pads}


def _conv(graph: GraphWriter, name: str, layer: Any, x: Value) -> Value:
    settings = layer.hyperparameters
    channels, _, *kernel = layer.weight.value.shape
    depthwise = layer.operation == "depthwise_conv2d"
    groups = channels // layer.multiplier if depthwise else settings.get("groups", 1)
    windows, attributes = _windows(x, kernel, settings)
    attributes |= {"dilations": windows.dilation, "group": groups}
    shape = (channels, *windows.output)
    return graph.node("Conv", name, x, *graph.arrays(name, layer), shape=shape, **attributes)


def _batch_norm(graph: GraphWriter, name: str, layer: Any, x: Value) -> Value:
    arrays = graph.arrays(name, layer, "running_mean", "running_var")
    settings = {"epsilon": layer.hyperparameters["eps"], "momentum": 1 - layer.momentum}
    return graph.node("BatchNormalization", name, x, *arrays, **settings)


def _swish(graph: GraphWriter, name: str, layer: Any, x: Value) -> Value:
    return graph.node("Mul", name, x, graph.node("Sigmoid", f"{name}.sigmoid", x))


def _max_pool(graph: GraphWriter, name: str, layer: Any, x: Value) -> Value:
    settings = layer.hyperparameters
    windows, attributes = _windows(x, settings["kernel_size"], settings)
    return graph.node("MaxPool", name, x, shape=(x.shape[0], *windows.output), **attributes)


def _avg_pool(graph: GraphWriter, name: str, layer: Any, x: Value) -> Value:
    """Add a node for the border if it counts in the mean: OpenCV 4 ignores count_include_pad."""
    settings = layer.hyperparameters
    windows, attributes = _windows(x, settings["kernel_size"], settings)
    shape = (x.shape[0], *windows.output)
    if settings["count_include_pad"] and any(attributes["pads"]):
        top, left, bottom, right = attributes.pop("pads")
        pads = graph.integers(f"{name}.pads", (0, 0, top, left, 0, 0, bottom, right))
        padded = (x.shape[0], *windows.padded_size)
        # pnnx needs the mode, which is the default.
        x = graph.node("Pad", f"{name}.padded", x, pads, shape=padded, mode="constant")
    return graph.node("AveragePool", name, x, shape=shape, **attributes)


def _global_avg_pool(graph: GraphWriter, name: str, layer: Any, x: Value) -> Value:
    mean = graph.node("GlobalAveragePool", f"{name}.mean", x, shape=(x.shape[0], 1, 1))
    return graph.node("Flatten", name, mean, shape=x.shape[:1])


def _linear(graph: GraphWriter, name: str, layer: Any, x: Value) -> Value:
    shape = layer.weight.value.shape[:1]
    return graph.node("Gemm", name, x, *graph.arrays(name, layer), shape=shape, transB=1)


def _split(graph: GraphWriter, name: str, layer: Any, x: Value) -> tuple[Value, ...]:
    sizes = layer.hyperparameters["sizes"]
    parts = [Value(f"{name}.{i}", (size, *x.shape[1:])) for i, size in enumerate(sizes)]
    inputs = (x, graph.integers(f"{name}.sizes", sizes))
    graph.node_of_several("Split", name, inputs, parts, axis=1)
    return tuple(parts)


def _concat(graph: GraphWriter, name: str, layer: Any, x: Sequence[Value]) -> Value:
    shape = (sum(part.shape[0] for part in x), *x[0].shape[1:])
    return graph.node("Concat", name, *x, shape=shape, axis=1)


def _shuffle(graph: GraphWriter, name: str, layer: Any, x: Value) -> Value:
    """Add nodes that fit any batch: a size of 0 in a reshape means the size of the input."""
    groups = layer.hyperparameters["groups"]
    if groups == 1:
        return x
    c, h, w = x.shape
    apart = graph.integers(f"{name}.groups", (0, groups, c // groups, h, w))
    y = graph.node("Reshape", f"{name}.split", x, apart)
    y = graph.node("Transpose", f"{name}.transposed", y, perm=(0, 2, 1, 3, 4))
    together = graph.integers(f"{name}.shape", (0, c, h, w))
    return graph.node("Reshape", name, y, together, shape=x.shape)


def _add(graph: GraphWriter, name: str, layer: Any, x: Sequence[Value]) -> Value:
    first, *middle, last = x
    for number, value in enumerate(middle):
        first = graph.node("Add", f"{name}.{number}", first, value)
    return graph.node("Add", name, first, last)


def _excitation(graph: GraphWriter, name: str, layer: Any, x: Value) -> Value:
    """Add the two linear layers as 1x1 convolutions, which keep both axes of the image."""
    c, reduced = x.shape[0], len(layer.reduce_bias.value)
    w1, b1, w2, b2 = (
        graph.array(f"{name}.{key}", w[..., None, None] if w.ndim == 2 else w)
        for key in layer.parameter_names
        for w in [getattr(layer, key).value]
    )
    y = graph.node("GlobalAveragePool", f"{name}.mean", x, shape=(c, 1, 1))
    y = graph.node("Conv", f"{name}.reduced", y, w1, b1, shape=(reduced, 1, 1))
    y = graph.node("Relu", f"{name}.relu", y)
    y = graph.node("Conv", f"{name}.expanded", y, w2, b2, shape=(c, 1, 1))
    return graph.node("Mul", name, x, graph.node("Sigmoid", f"{name}.sigmoid", y))


WRITERS: dict[str, Callable[[GraphWriter, str, Any, Any], Any]] = {  # by a layer's operation
    **dict.fromkeys(("conv2d", "pointwise_conv2d", "group_conv2d", "depthwise_conv2d"), _conv),
    "batch_norm_inference": _batch_norm,
    "relu": lambda graph, name, layer, x: graph.node("Relu", name, x),
    "leaky_relu": lambda graph, name, layer, x: graph.node(
        "LeakyRelu", name, x, alpha=layer.hyperparameters["slope"]
    ),
    "swish": _swish,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "global_avg_pool": _global_avg_pool,
    "linear": _linear,
    "channel_split": _split,
    "channel_concat": _concat,
    "channel_shuffle": _shuffle,
    "add": _add,
    "squeeze_excitation": _excitation,
    "dropout": lambda graph, name, layer, x: x,
}
