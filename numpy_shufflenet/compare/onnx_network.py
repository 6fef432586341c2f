"""A network in an ONNX file, which ONNX Runtime runs; the outputs of all layers are recorded."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from numpy_shufflenet._files import PathLike, existing_file
from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import Array
from numpy_shufflenet.compare.record import ConvBlock, LayerOutput, Record

COPIES = ("Identity", "Cast")


class OnnxNetwork:
    """A graph with one input for images and one output for logits.

    ONNX Runtime runs it as it is, without optimisations that would fuse layers.
    """

    def __init__(self, path: PathLike):
        self.path = existing_file(path, "an ONNX file")
        self.onnx = need("onnx", "comparing with an ONNX file")
        self.runtime = need("onnxruntime", "comparing with an ONNX file")
        protobuf = need("google.protobuf.message", "comparing with an ONNX file")
        try:
            self.model = self.onnx.load(self.path)
            self.onnx.checker.check_model(self.model)
        except (protobuf.DecodeError, self.onnx.checker.ValidationError) as error:
            raise ValueError(f"{path} is damaged, or not an ONNX file: {error}") from error
        graph = self.model.graph
        self.initialisers = {tensor.name: tensor for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in self.initialisers]
        if len(inputs) != 1 or not graph.output:
            raise ValueError(f"{path} has {len(inputs)} inputs; one for the images is needed")
        self.input = inputs[0]
        shape = self.input.type.tensor_type.shape
        self.shape = tuple(axis.dim_value for axis in shape.dim)  # 0 where any size fits
        if len(self.shape) != 4:
            raise ValueError(
                f"{path}: its input {self.input.name} has {len(self.shape)} axes; images have 4"
            )
        self.makers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[Any]] = defaultdict(list)
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self.readers[name].append(node)
        self.nodes = list(self._in_order(graph.output[0].name))

    def run(self, x: Array) -> Record:
        """Return the outputs of all layers."""
        for axis, (size, given) in enumerate(zip(self.shape, x.shape, strict=True)):
            fits = not size or (given % size == 0 if axis == 0 else given == size)
            if not fits:
                raise ValueError(
                    f"images have shape {x.shape}; {self.path} needs "
                    f"{tuple(size or 'any' for size in self.shape)}"
                )
        wanted = self._wanted()
        arrays = self._outputs(x.astype(np.float32), list(wanted))
        found = Record(logits=arrays[self.model.graph.output[0].name])
        for name, (kind, node) in wanted.items():
            if kind == "conv":
                groups = _integer(node, "group", 1)
                block = ConvBlock(_title(node), self._weight(node), groups, arrays[name])
                norms = (n for n in self.readers[name] if n.op_type == "BatchNormalization")
                if norm := next(norms, None):
                    block.norm, block.normalised = _title(norm), arrays[norm.output[0]]
                found.blocks.append(block)
            elif kind in ("concat", "shuffle", "pool") and arrays[name].ndim == 4:
                found.others.setdefault(kind, []).append(LayerOutput(_title(node), arrays[name]))
        return found

    def write_statistics(self, statistics: Mapping[str, tuple[Array, Array]]) -> None:
        """Set running means and variances of BatchNormalization nodes, by the nodes' names."""
        norms = {_title(n): n for n in self.nodes if n.op_type == "BatchNormalization"}
        for name, arrays in statistics.items():
            for place, values in zip((3, 4), arrays, strict=True):
                # A new name: exporters let equal arrays share one initialiser.
                new = f"{name}.statistics.{place}"
                tensor = self.onnx.numpy_helper.from_array(np.asarray(values, np.float32), new)
                self.model.graph.initializer.append(tensor)
                norms[name].input[place] = new

    def _in_order(self, output: str) -> Iterator[Any]:
        """Yield all nodes, each after the nodes that it reads, in the order of its inputs.

        Exporters may write branches in any order. Here, branches come in the order in which a
        Concat reads them.
        """
        seen: set[str] = set()
        waiting = [(output, False)]
        while waiting:
            name, done = waiting.pop()
            node = self.makers.get(name)
            if node is None or (not done and name in seen):
                continue
            if done:
                yield node
                continue
            seen.update(node.output)
            waiting.append((name, True))
            waiting += [(read, False) for read in reversed(node.input)]

    def _wanted(self) -> dict[str, tuple[str, Any]]:
        """Return the tensors to record: (kind, node) by name."""
        kinds = {"Conv": "conv", "BatchNormalization": "norm", "MaxPool": "pool"}
        found = {}
        for node in self.nodes:
            if node.op_type in kinds:
                found[node.output[0]] = (kinds[node.op_type], node)
            elif node.op_type == "Concat" and _integer(node, "axis", 0) == 1:  # not of shapes
                found[node.output[0]] = ("concat", node)
            elif node.op_type == "Reshape" and self._shuffles(node):
                found[node.output[0]] = ("shuffle", node)
        return found

    def _shuffles(self, last: Any) -> bool:
        """Whether a node ends Reshape, Transpose, Reshape."""
        transpose = self.makers.get(last.input[0])
        if transpose is None or transpose.op_type != "Transpose":
            return False
        first = self.makers.get(transpose.input[0])
        return first is not None and first.op_type == "Reshape"

    def _weight(self, node: Any) -> Array:
        name = node.input[1]
        while name in self.makers and self.makers[name].op_type in COPIES:
            name = self.makers[name].input[0]
        if name in self.initialisers:
            tensor = self.initialisers[name]
        elif name in self.makers and self.makers[name].op_type == "Constant":
            tensor = self.makers[name].attribute[0].t
        else:
            raise ValueError(
                f"{self.path}: the weights of {_title(node)} are computed in the graph"
            )
        return self.onnx.numpy_helper.to_array(tensor)

    def _outputs(self, x: Array, names: list[str]) -> dict[str, Array]:
        model = self.onnx.ModelProto()
        model.CopyFrom(self.model)
        logits = model.graph.output[0].name
        there = {value.name for value in model.graph.output}
        model.graph.output.extend(
            self.onnx.ValueInfoProto(name=name) for name in names if name not in there
        )
        options = self.runtime.SessionOptions()
        options.graph_optimization_level = self.runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        names = list(dict.fromkeys([*names, logits]))
        try:
            session = self.runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            step = self.shape[0] or len(x)
            parts = [
                session.run(names, {self.input.name: x[start : start + step]})
                for start in range(0, len(x), step)
            ]
        except Exception as error:  # ONNX Runtime has exception classes of its own
            raise ValueError(f"ONNX Runtime can't run {self.path}: {error}") from error
        return {
            name: np.concatenate(arrays)
            for name, arrays in zip(names, zip(*parts, strict=True), strict=True)
        }


def _title(node: Any) -> str:
    return str(node.name or node.output[0])


def _integer(node: Any, name: str, default: int) -> int:
    """Return an attribute of a node."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)
