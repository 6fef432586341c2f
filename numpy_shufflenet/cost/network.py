"""The cost of a network, layer by layer: evaluates its operations' formulas at its real shapes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet.cost.kinds import ADDITION
from numpy_shufflenet.nn import BatchNorm2d, Dropout, Layer, OperationLayer, Sequential
from numpy_shufflenet.ops.checks import check_positive
from numpy_shufflenet.registry.formula import Cost, Counts

Shape = tuple[int, ...]

CONVENTIONS = {
    "papers": "multiply-adds of convolutions and matrix products, classifier included",
    "papers, no classifier": "the same without the classifier, as in V1's table 1",
    "two a multiply-add": "2 FLOPs for each multiply-add of convolutions and matrix products",
    "all arithmetic": "every +, -, x, /, comparison and function, also of BN, ReLU and pooling",
}
"""What "FLOPs" may mean. Each convention gives a different number for the same network."""


@dataclass(frozen=True)
class LayerCost:
    """One layer of a network.

    If a layer has several inputs or outputs, `x_shape` or `y_shape` has the sum of the channels.
    """

    name: str  #: as in `named_layers`; an addition has the name of the unit that adds
    kind: str  #: one of `kinds.ORDER`
    text: str  #: class and settings
    x_shape: Shape
    y_shape: Shape
    cost: Cost


@dataclass(frozen=True)
class NetworkCost:
    """What one forward and one backward of a network cost."""

    title: str
    image_shape: Shape
    batch: int
    training: bool
    layers: tuple[LayerCost, ...]  #: in the order of forward
    kept_bytes: int  #: size of all arrays that caches of `ops` keep for backward, each counted once

    @property
    def forward(self) -> Counts:
        """The counts of a forward, summed over all layers."""
        return sum((layer.cost.forward for layer in self.layers), Counts())

    @property
    def backward(self) -> Counts:
        """The counts of a backward, summed over all layers."""
        return sum((layer.cost.backward for layer in self.layers), Counts())

    @property
    def parameters(self) -> int:
        """The number of learned parameters."""
        return sum(layer.cost.parameters for layer in self.layers)

    def conventions(self) -> dict[str, int]:
        """Return the "FLOPs" of a forward under each of `CONVENTIONS`."""
        papers = self.forward.multiply_adds
        classifier = sum(
            layer.cost.forward.multiply_adds for layer in self.layers if layer.kind == "classifier"
        )
        return {
            "papers": papers,
            "papers, no classifier": papers - classifier,
            "two a multiply-add": 2 * papers,
            "all arithmetic": self.forward.arithmetic,
        }

    def by_kind(self) -> dict[str, Counts]:
        """Return the sums of forward over the layers of each kind."""
        kinds: dict[str, Counts] = {}
        for layer in self.layers:
            kinds[layer.kind] = kinds.get(layer.kind, Counts()) + layer.cost.forward
        return kinds


def count(
    model: Layer, image_shape: tuple[int, int, int], *, batch: int = 1, training: bool = False
) -> NetworkCost:
    """Count the operations of a network on a batch of images of shape (c, h, w).

    The shapes come from a forward on an empty batch, which takes almost no time.

    Parameters
    ----------
    model : Layer
        Any network built from the layers of `nn`.
    batch : int
        Number of images. Weights are read once for the whole batch.
    training : bool
        Whether batch normalisation uses the statistics of the batch, and dropout is active.

    Raises
    ------
    ValueError
        If the images do not fit the network, or a layer is neither an operation nor composed of
        layers.
    """
    check_positive("batch", batch)
    dtype = next((value.dtype for value in model.parameters().values()), np.dtype(np.float32))
    trace = model.trace(np.zeros((0, *image_shape), dtype))
    model.release()
    layers: list[LayerCost] = []
    kept = _KeptMemory(batch, dtype.itemsize)
    for name, layer in model.named_layers():
        if (name or "output") not in trace.activations:
            continue  # a composed layer whose parent runs its children directly
        x, y = trace.inputs[name or "output"], trace.activations[name or "output"]
        x_shape, y_shape = _joint_shape(x, batch), _joint_shape(y, batch)
        if isinstance(layer, OperationLayer):
            if isinstance(layer, Dropout) and not training:
                continue  # dropout does nothing in inference mode
            as_trained = isinstance(layer, BatchNorm2d) and training
            operation = operations.find("batch_norm" if as_trained else layer.operation)
            cost = operation.cost(
                layer.shapes(x, batch), layer.hyperparameters, itemsize=dtype.itemsize
            )
            kept.add(operation.name, x, y, cost.kept_bytes)
            layers.append(LayerCost(name, operation.kind, repr(layer), x_shape, y_shape, cost))
        elif not layer.children() and not isinstance(layer, Sequential):
            raise ValueError(
                f"layer {name!r} is a {type(layer).__name__}, which is neither an operation nor "
                "composed of layers; its cost is unknown"
            )
        forward, backward = layer.own_additions(x_shape, y_shape)
        if forward or backward:
            cost = Cost(_sum_of_two(forward), _sum_of_two(backward), 0, 0)
            layers.append(LayerCost(name, ADDITION, "x + y", x_shape, y_shape, cost))
    if not layers:
        raise ValueError(f"{type(model).__name__} has no layer that computes anything")
    return NetworkCost(
        repr(model), tuple(image_shape), batch, training, tuple(layers), kept.bytes()
    )


def _sum_of_two(elements: int) -> Counts:
    return Counts(additions=elements, read=2 * elements, written=elements)


def _joint_shape(value: Any, batch: int) -> Shape:
    """Return the shape of an array, or of several arrays side by side, for a batch of this size."""
    parts = value if isinstance(value, tuple) else (value,)
    channels = sum(part.shape[1] for part in parts)
    return (batch, channels, *parts[0].shape[2:])


class _KeptMemory:
    """The memory that caches keep for backward, found from the arrays of an empty batch.

    Two views of an array share memory, so a view is identified by the array that owns its memory.
    A view keeps the whole owner: half of a split keeps both halves.
    """

    KEEPS_OUTPUT = ("relu", "leaky_relu", "sigmoid", "swish")
    KEEPS_NO_ACTIVATION = ("dropout",)

    def __init__(self, batch: int, itemsize: int):
        self._batch, self._itemsize = batch, itemsize
        self._sizes: dict[int, int] = {}  # bytes of each owner
        self._alive: dict[int, Any] = {}  # an id is unique only as long as its array exists
        self._kept: set[int] = set()
        self._other_bytes = 0

    def add(self, operation: str, x: Any, y: Any, kept_bytes: int) -> None:
        """Add a layer with input x, output y, and a cache of this many bytes."""
        for value in (x, y):
            for part in value if isinstance(value, tuple) else (value,):
                self._note(part)
        if not kept_bytes:
            return
        if operation in self.KEEPS_NO_ACTIVATION:
            self._other_bytes += kept_bytes
            return
        activation = y if operation in self.KEEPS_OUTPUT else x
        self._kept.add(self._note(activation))
        self._other_bytes += kept_bytes - self._size(activation)

    def bytes(self) -> int:
        """Return the bytes of all caches together."""
        return self._other_bytes + sum(self._sizes[owner] for owner in self._kept)

    def _note(self, array: Any) -> int:
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        key = id(owner)
        self._alive[key] = owner
        self._sizes[key] = max(self._sizes.get(key, 0), self._size(array))
        return key

    def _size(self, array: Any) -> int:
        return self._itemsize * self._batch * math.prod(array.shape[1:])
