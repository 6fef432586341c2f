"""An ONNX graph as steps that compute, each with the channels that it reads.

Exporters write one network in many ways: a shuffle with fixed or computed shapes, a split as Split
or as two Slices, a mean as ReduceMean or GlobalAveragePool. Most nodes only move numbers. So an
activation is represented by an array of positions: a position says which step computed the number,
and where in the step's output it is. NumPy runs the nodes that move numbers on these arrays. Only
the steps that compute remain; each knows which channels it reads, and in which order.

    step          computes                                   nodes that it is made of
    input         the images
    conv          convolution, batch normalisation, ReLU     Conv, BatchNormalization, Relu; or Add,
                                                             Sub, Mul, Div by constants
    max, average  pooling                                    MaxPool, AveragePool
    mean          the mean of each channel                   GlobalAveragePool, ReduceMean,
                                                             AveragePool
    linear        matrix product, ReLU, sigmoid or softmax   Gemm, MatMul, Conv, Add, Relu, Sigmoid,
                                                             Softmax
    add           sum of two activations, ReLU               Add, Sum, Relu
    scale         channels times one number each, ReLU       Mul, Relu

`moves` has the nodes that move numbers, `compute` those that compute, and `positions` what connects
them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import Array
from numpy_shufflenet.weights.graph.call import NodeCall
from numpy_shufflenet.weights.graph.compute import COMPUTE
from numpy_shufflenet.weights.graph.moves import CONSTANT, MOVES, run_operator
from numpy_shufflenet.weights.graph.positions import GraphStep, Normalisation, Positions
from numpy_shufflenet.weights.onnx import as_array

__all__ = ["Graph", "GraphStep", "Normalisation", "NotUnderstoodError"]

USUAL_SIZE = 224  # height and width of images, if a graph takes any size
PROBLEMS = (
    *(ValueError, TypeError, IndexError, KeyError, AttributeError, StopIteration),
    *(ArithmeticError, MemoryError),
)


class Activation(NamedTuple):
    """An activation: for each number, the position at which a step computed it."""

    positions: Array


Value = Activation | Array


class NotUnderstoodError(ValueError):
    """A node computes something that no ShuffleNet computes, or in a way that isn't known."""

    def __init__(self, node: str, reason: str):
        super().__init__(f"the first node that is not understood is {node}: {reason}")


def label(node: Any) -> str:
    """Return a node's name and operator, for messages."""
    name = node.name or next(iter(node.output), "")
    return f"{str(name)!r:.120} ({node.op_type!s:.60})"


class Graph:
    """The steps of a graph, in order; the first step is the images.

    `model` is an onnx.ModelProto, and `folder` has its files with further weights. `image_size` is
    used if the graph doesn't say the size of its images. `output` are the channel numbers of the
    graph's output. Raises ValueError if a node is not understood.
    """

    def __init__(self, model: Any, folder: Path, image_size: tuple[int, int] | None = None):
        self._folder = folder
        self._positions = Positions()
        self.steps = self._positions.steps
        graph = model.graph
        self._values: dict[str, Value] = {
            tensor.name: as_array(tensor, folder) for tensor in graph.initializer
        }
        self._add_images(graph, image_size)
        if len(graph.output) != 1:
            raise ValueError(f"its graph has {len(graph.output)} outputs; one, logits, is needed")
        output = graph.output[0].name
        for node in _needed(graph, output):
            self._run(node)
        found = self._values.get(output)
        if not isinstance(found, Activation):
            raise ValueError(f"its output {output!r:.80} does not depend on its images")
        try:
            self.output = self._positions.channels(found.positions)
        except ValueError as error:
            raise ValueError(f"its output {output!r:.80} is not understood: {error}") from error

    def _add_images(self, graph: Any, image_size: tuple[int, int] | None) -> None:
        inputs = [value for value in graph.input if value.name not in self._values]
        if len(inputs) != 1:
            raise ValueError(f"its graph has {len(inputs)} inputs; one, images, is needed")
        dims = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
        if len(dims) != 4 or min(dims) < 0:
            raise ValueError(f"its input has the shape {dims}; (n, c, h, w) is needed")
        last = dims[3] in (1, 3) and dims[1] not in (1, 3)  # channels-last, as in TensorFlow
        n, h, w, c = dims if last else (dims[0], dims[2], dims[3], dims[1])
        self._positions.sized = image_size is not None or bool(h and w)
        usual = image_size or (USUAL_SIZE, USUAL_SIZE)
        h, w = h or usual[0], w or usual[1]
        images = GraphStep("input", repr(inputs[0].name), (), c or 3, (h, w))
        positions = self._positions.add(images, n or 1)
        moved = positions.transpose(0, 2, 3, 1) if last else positions
        self._values[inputs[0].name] = Activation(moved)

    def _run(self, node: Any) -> None:
        try:
            inputs = [self._value(name) for name in node.input]
            attributes = {entry.name: self._attribute(entry) for entry in node.attribute}
            attributes["outputs"] = len(node.output)
            with np.errstate(all="ignore"):
                results = self._results(node, inputs, attributes)
        except NotUnderstoodError:
            raise
        except PROBLEMS as error:
            raise NotUnderstoodError(label(node), str(error) or type(error).__name__) from error
        self._values |= dict(zip(node.output, results, strict=False))

    def _value(self, name: str) -> Value | None:
        if name and name not in self._values:
            raise ValueError(f"no node before it computes {name!r:.80}")
        return self._values[name] if name else None

    def _attribute(self, entry: Any) -> Any:
        onnx = need("onnx", "an ONNX file")
        value = onnx.helper.get_attribute_value(entry)
        return as_array(value, self._folder) if isinstance(value, onnx.TensorProto) else value

    def _results(
        self, node: Any, inputs: Sequence[Value | None], attributes: dict[str, Any]
    ) -> Sequence[Value]:
        kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        active = [isinstance(value, Activation) for value in inputs]
        arrays = [value.positions if isinstance(value, Activation) else value for value in inputs]
        if kind == "Constant":
            return [np.asarray(next(v for k, v in attributes.items() if k.startswith("value")))]
        if kind == "Shape" and arrays[0] is not None:
            shape = np.array(arrays[0].shape, np.int64)
            return [shape[attributes.get("start", 0) : attributes.get("end")]]
        if not any(active) and kind in CONSTANT:
            return run_operator(CONSTANT, kind, arrays, attributes)
        if kind in MOVES and (all(active) or (active[0] and not any(active[1:]))):
            moved = run_operator(MOVES, kind, arrays, attributes)
            self._positions.spend(sum(positions.size for positions in moved))
            return [Activation(positions) for positions in moved]
        if kind in COMPUTE:
            call = NodeCall(self._positions, label(node), arrays, active, attributes)
            return [Activation(COMPUTE[kind](call))]
        raise ValueError("ShuffleNets have no such operator, or don't use it on such inputs")


def _needed(graph: Any, output: str) -> list[Any]:
    """Return the nodes that a graph's output depends on, in order."""
    wanted, kept = {output}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]
