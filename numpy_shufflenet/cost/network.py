"""What a network costs, layer by layer: formulas applied to the shapes that flow through it."""

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
    "two a multiply-add": "2 FLOPs a multiply-add, of convolutions and matrix products only",
    "all arithmetic": "every +, -, x, /, comparison and function, with BN, ReLU and pooling",
}
"""What "FLOPs" may mean. One network has a different number under each."""


@dataclass(frozen=True)
class LayerCost:
    """One layer of a network.

    Attributes
    ----------
    name : str
        As in the model's dicts; of an addition, the unit that adds.
    kind : str
        One of `kinds.ORDER`.
    text : str
        Its class and settings.
    x_shape, y_shape : tuple of int
        Input and output, with the batch; of several arrays, all channels together.
    cost : Cost
    """

    name: str
    kind: str
    text: str
    x_shape: Shape
    y_shape: Shape
    cost: Cost


@dataclass(frozen=True)
class NetworkCost:
    """What one forward and one backward of a network cost.

    Attributes
    ----------
    layers : tuple of LayerCost
        In the order of forward.
    kept_bytes : int
        What the caches of `ops` keep between forward and backward, without parameters. An array
        that several layers keep is counted once.
    """

    title: str
    image_shape: Shape
    batch: int
    training: bool
    layers: tuple[LayerCost, ...]
    kept_bytes: int

    @property
    def forward(self) -> Counts:
        """The sum over all layers."""
        return sum((layer.cost.forward for layer in self.layers), Counts())

    @property
    def backward(self) -> Counts:
        """The sum over all layers."""
        return sum((layer.cost.backward for layer in self.layers), Counts())

    @property
    def parameters(self) -> int:
        """Learned numbers."""
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
    """Count what a network does to a batch of images of shape (c, h, w).

    The shapes come from a run on a batch of no images, which costs nothing itself.

    Parameters
    ----------
    model : Layer
        Any network built from the layers of `nn`.
    image_shape : (c, h, w)
    batch : int
        Images. Weights are read once for all of them.
    training : bool
        Whether batch normalisation takes its statistics from the batch, and dropout drops.

    Raises
    ------
    ValueError
        If such images don't fit the network, or it has a layer that is unknown here: one that is
        neither an operation nor composed of layers.
    """
    check_positive("batch", batch)
    dtype = next((value.dtype for value in model.parameters().values()), np.dtype(np.float32))
    trace = model.trace(np.zeros((0, *image_shape), dtype))
    model.release()
    layers: list[LayerCost] = []
    kept = _KeptMemory(batch, dtype.itemsize)
    for name, layer in model.named_layers():
        if (name or "output") not in trace.activations:
            continue  # composed, and runs its layers itself
        x, y = trace.inputs[name or "output"], trace.activations[name or "output"]
        x_shape, y_shape = _joint_shape(x, batch), _joint_shape(y, batch)
        if isinstance(layer, OperationLayer):
            if isinstance(layer, Dropout) and not training:
                continue  # does nothing
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
                "composed of layers; what it costs is unknown"
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
    """The shape of an array, or of several along their channels, for so many images."""
    parts = value if isinstance(value, tuple) else (value,)
    channels = sum(part.shape[1] for part in parts)
    return (batch, channels, *parts[0].shape[2:])


class _KeptMemory:
    """Which arrays caches keep alive: those of a batch of no images, told apart by their owners.

    A view keeps all of the memory that it looks into: the half of a split keeps both halves.
    """

    KEEPS_OUTPUT = ("relu", "sigmoid")
    KEEPS_NO_ACTIVATION = ("dropout",)

    def __init__(self, batch: int, itemsize: int):
        self._batch, self._itemsize = batch, itemsize
        self._sizes: dict[int, int] = {}  # of every activation's memory
        self._alive: dict[int, Any] = {}
        self._kept: set[int] = set()
        self._besides = 0

    def add(self, operation: str, x: Any, y: Any, kept_bytes: int) -> None:
        """Note what a layer saw and gave, and what its cache holds of that."""
        for value in (x, y):
            for part in value if isinstance(value, tuple) else (value,):
                self._note(part)
        if not kept_bytes:
            return
        if operation in self.KEEPS_NO_ACTIVATION:
            self._besides += kept_bytes
            return
        activation = y if operation in self.KEEPS_OUTPUT else x
        self._kept.add(self._note(activation))
        self._besides += kept_bytes - self._size(activation)

    def bytes(self) -> int:
        """Return the sum."""
        return self._besides + sum(self._sizes[owner] for owner in self._kept)

    def _note(self, array: Any) -> int:
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        key = id(owner)
        self._alive[key] = owner  # so that no other array gets its id
        self._sizes[key] = max(self._sizes.get(key, 0), self._size(array))
        return key

    def _size(self, array: Any) -> int:
        return self._itemsize * self._batch * math.prod(array.shape[1:])
