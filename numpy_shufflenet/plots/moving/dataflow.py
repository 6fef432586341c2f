"""Finds from a run which layer feeds which layer, so that drawings show what a model really does.

If the input of layer B is the same object as an output of layer A, then A feeds B. If no layer has
this output, the input must be the sum of two outputs: an addition that a unit computes itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn import Layer, OperationLayer, initialise

Place: TypeAlias = tuple[int, int]
"""The number of a node, and the number of one of its outputs."""


@dataclass
class FlowNode:
    """The input of the model, a layer, or an addition."""

    name: str  #: name of the layer in the model, or "input" or "add"
    kind: str  #: a short description for the picture
    layer: OperationLayer | None
    sources: list[Place] = field(default_factory=list)  #: the output that each input comes from
    outputs: tuple[Array, ...] = ()
    gradients: tuple[Array, ...] = ()  #: gradients of the outputs
    inputs: Any = ()  #: the array, or the tuple of arrays, that the layer receives

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output for one image; channels of several outputs are added up."""
        channels = sum(part.shape[1] for part in self.outputs)
        return (channels, *self.outputs[0].shape[2:])

    @property
    def parameters(self) -> int:
        """The number of learned parameters."""
        operands = self.layer.operands() if self.layer else {}
        return sum(array.size for array in operands.values())

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds for one image, counted as in the papers."""
        if self.layer is None:
            return 0
        shapes = self.layer.shapes(self.inputs, 1)
        cost = operations.find(self.layer.operation).cost(shapes, self.layer.hyperparameters)
        return int(cost.forward.multiply_adds)


def dataflow(
    layer: Layer, x: Array, dy: Array | None = None, *, training: bool = True
) -> list[FlowNode]:
    """Run a copy of a layer forward and backward, and return its nodes in the order of forward.

    Parameters
    ----------
    layer : Layer
        An operation layer, or a layer composed of operation layers; it is not changed. If its
        weights are all 0, the copy gets random weights.
    x : array, shape (n, c, h, w), float64
    dy : array, optional
        Upstream gradient; by default, normal numbers from a fixed seed.

    Raises ValueError if the input of a layer is neither an output of another layer nor a sum of two
    outputs.
    """
    run = layer.astype(np.float64)
    if not any(array.any() for array in run.parameters().values() if array.ndim > 1):
        initialise(run, np.random.default_rng(0))  # a new layer has only zeros
    trace = run.trace(x, training=training)
    if dy is None:
        dy = np.random.default_rng(2).normal(size=trace.activations["output"].shape)
    run.backward(dy)
    layers = dict(run.named_layers())
    nodes = [FlowNode("input", "input", None, outputs=(x,), gradients=(trace.gradients["input"],))]
    for name, given in trace.inputs.items():
        own = layers.get(name)
        if not isinstance(own, OperationLayer):
            continue
        taken = given if isinstance(given, tuple) else (given,)
        made = trace.activations[name]
        gradients = trace.gradients[name]
        dinput = partial(_gradient_of_input, own, taken[0], gradients)
        sources = [_source(nodes, array, name, dinput) for array in taken]
        nodes.append(
            FlowNode(
                name,
                describe_layer(own),
                own,
                sources,
                made if isinstance(made, tuple) else (made,),
                tuple(gradients) if isinstance(gradients, tuple) else (gradients,),
                given,
            )
        )
    return nodes


def describe_layer(layer: OperationLayer) -> str:
    """Return a short description of a layer, in the words of the papers' figures."""
    operation, settings = layer.operation, layer.hyperparameters
    stride = f", stride {settings['stride']}" if settings.get("stride", 1) != 1 else ""
    if operation.endswith("conv2d"):
        kh, kw = layer.operands()["w"].shape[2:]
        groups = settings.get("groups", 1)
        kind = "depthwise conv" if operation == "depthwise_conv2d" else "conv"
        grouped = f", {groups} groups" if groups > 1 else ""
        return f"{kh}×{kw} {kind}{grouped}{stride}"
    if operation == "channel_shuffle":
        groups = settings["groups"]
        return "no shuffle" if groups == 1 else f"channel shuffle, {groups} groups"
    if operation.endswith("pool2d"):
        size = settings["kernel_size"]
        return f"{size}×{size} {operation[:3]} pool{stride}"
    names = {
        "batch_norm": "BN",
        "batch_norm_inference": "BN",
        "relu": "ReLU",
        "channel_split": "channel split",
        "channel_concat": "concat",
        "global_avg_pool": "global average pool",
        "squeeze_excitation": "squeeze-and-excitation",
    }
    return names.get(operation, operation.replace("_", " "))


def _source(nodes: list[FlowNode], array: Array, name: str, dinput: Callable[[], Array]) -> Place:
    """Return the place of an array; if it is a sum of two outputs, first add a node for it."""
    known = [((i, k), made) for i, node in enumerate(nodes) for k, made in enumerate(node.outputs)]
    for place, candidate in reversed(known):
        if candidate is array:
            return place
    for i, (first, a) in enumerate(known):
        for second, b in known[i + 1 :]:
            if a.shape == b.shape == array.shape and np.array_equal(a + b, array):
                nodes.append(FlowNode("add", "add", None, [first, second], (array,), (dinput(),)))
                return len(nodes) - 1, 0
    raise ValueError(
        f"the input of layer {name!r} is neither an output of another layer nor a sum of two "
        "outputs"
    )


def _gradient_of_input(layer: OperationLayer, x: Array, dy: Array) -> Array:
    """Return dx of one layer, because a trace has dx only if x is the output of another layer."""
    operation = operations.find(layer.operation)
    _, cache = operation.forward()(x, *layer.operands().values(), **layer.hyperparameters)
    gradients = operation.backward()(dy, cache)
    return gradients[0] if isinstance(gradients, tuple) else gradients
