"""ONNX graphs of our networks, node by node, in the spellings of different exporters."""

from typing import Any

import numpy as np
from peers import need

from numpy_shufflenet import nn
from numpy_shufflenet.ops.checks import as_padding

onnx = need("onnx")
FLOAT = onnx.TensorProto.FLOAT

SPELLINGS = {  # by what is spelled; the first one is the usual
    "shuffle": ("any batch", "batch 1", "computed", "sliced", "merged", "flat"),
    "split": ("split", "slices", "gather"),
    "mean": ("reduce", "reduce, keep", "global", "global, squeeze", "reshape", "average"),
    "classifier": ("gemm", "gemm, transposed", "matmul", "conv"),
    "norm": ("left", "folded", "affine", "bias"),
    "padding": ("explicit", "node", "same"),
    "weights": ("initialisers", "constants", "identities"),
    "opset": (18, 12),
}


class Graph:
    """Writes one network; `spelling` says how, by what is spelled."""

    def __init__(self, model: Any, size: tuple[int, int], batch: int | str = "n", **spelling: Any):
        self.model, self.size, self.batch = model, size, batch
        usual = {what: options[0] for what, options in SPELLINGS.items()}
        self.spelling = usual | spelling
        self.nodes: list[Any] = []
        self.initialisers: list[Any] = []
        self.count = 0

    # Nodes

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.count}"

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        name = self.name(kind)
        names = [f"{name}:{number}" for number in range(outputs)]
        self.nodes.append(onnx.helper.make_node(kind, inputs, names, name, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array: Any, dtype: Any = np.int64) -> str:
        tensor = onnx.numpy_helper.from_array(np.asarray(array, dtype), self.name("w"))
        if self.spelling["weights"] == "constants":
            return str(self.node("Constant", value=tensor))
        self.initialisers.append(tensor)
        if self.spelling["weights"] == "identities":
            return str(self.node("Identity", tensor.name))
        return str(tensor.name)

    def weight(self, array: Any) -> str:
        return self.constant(array, np.float32)

    def axes(self, kind: str, x: str, axes: list[int], **attributes: Any) -> str:
        """A node whose axes are an input, or an attribute as they were before."""
        if self.spelling["opset"] >= (18 if kind == "ReduceMean" else 13):
            return str(self.node(kind, x, self.constant(axes), **attributes))
        return str(self.node(kind, x, axes=axes, **attributes))

    # Layers

    def chain(self, x: str, layers: Any) -> str:
        for layer in layers:
            match layer:
                case nn.Conv2d():
                    x = self.conv(x, layer)
                case nn.BatchNorm2d():
                    x = self.norm(x, layer)
                case nn.ReLU():
                    x = self.node("Relu", x)
                case nn.ChannelShuffle():
                    channels = layers[0].weight.value.shape[0]
                    x = self.shuffle(x, channels, layer.hyperparameters["groups"])
        return x

    def conv(self, x: str, layer: Any) -> str:
        w = layer.weight.value
        inputs = [self.weight(w)]
        bias = layer.bias is not None or self.spelling["norm"] == "bias"
        if bias:
            b = layer.bias.value if layer.bias is not None else np.linspace(-1, 1, len(w))
            inputs.append(self.weight(b))
            if layer.bias is None:
                self.shift = b
        groups = layer.hyperparameters.get("groups", 1)
        if layer.operation == "depthwise_conv2d":
            groups = len(w)
        return self.window("Conv", x, inputs, w.shape[2:], layer, group=groups)

    def window(
        self, kind: str, x: str, inputs: list[str], kernel: Any, layer: Any, **attributes: Any
    ) -> str:
        (top, bottom), (left, right) = as_padding(layer.hyperparameters.get("padding", 0))
        stride = layer.hyperparameters.get("stride", 1)
        pads = [top, left, bottom, right]
        spelled = self.spelling["padding"] if any(pads) and stride == 2 else "explicit"
        if spelled == "node":
            around = self.constant([0, 0, top, left, 0, 0, bottom, right])
            value = self.weight(-np.inf if kind == "MaxPool" else 0.0)
            x = self.node("Pad", x, around, value)
            pads = [0, 0, 0, 0]
        padding = {"auto_pad": "SAME_UPPER"} if spelled == "same" else {"pads": pads}
        return str(
            self.node(
                kind, x, *inputs, kernel_shape=kernel, strides=[stride] * 2, **padding, **attributes
            )
        )

    def norm(self, x: str, layer: Any) -> str:
        gamma, beta = layer.weight.value, layer.bias.value
        mean, var = layer.running_mean.value, layer.running_var.value
        eps = layer.hyperparameters["eps"]
        if self.spelling["norm"] == "affine":
            scale = gamma / np.sqrt(var + eps)
            x = self.node("Mul", x, self.weight(scale[:, None, None]))
            return str(self.node("Add", self.weight((beta - scale * mean)[:, None, None]), x))
        if self.spelling["norm"] == "bias":
            mean = mean + self.shift
        arrays = [self.weight(array) for array in (gamma, beta, mean, var)]
        return str(self.node("BatchNormalization", x, *arrays, epsilon=float(eps)))

    def pool(self, x: str, layer: Any) -> str:
        if isinstance(layer, nn.MaxPool2d):
            return self.window("MaxPool", x, [], (3, 3), layer)
        count = int(layer.hyperparameters["count_include_pad"])
        return self.window("AveragePool", x, [], (3, 3), layer, count_include_pad=count)

    def shuffle(self, x: str, channels: int, groups: int) -> str:
        c, g = channels // groups, groups
        how = self.spelling["shuffle"]
        order, before = [0, 2, 1, 3, 4], [0, g, c, *self.now]
        after: Any = self.constant([1 if how == "batch 1" else -1, channels, *self.now])
        if how == "batch 1":
            before[0] = 1
        elif how == "merged":
            order, before = [0, 2, 1, 3], [-1, g, c, self.now[0] * self.now[1]]
        elif how == "flat":
            order, before = [1, 0], [g, c]
            flat = self.node("Transpose", x, perm=[1, 0, 2, 3])  # c n h w
            flat = self.node("Reshape", flat, self.constant([g, c, -1]))
            flat = self.node("Transpose", flat, perm=[1, 0, 2])
            flat = self.node("Reshape", flat, self.constant([channels, -1, *self.now]))
            return str(self.node("Transpose", flat, perm=[1, 0, 2, 3]))
        shape: Any = self.constant(before)
        if how in ("computed", "sliced"):
            sizes = [self.size_of(x, axis) for axis in range(4)]
            if how == "computed":
                each = self.node("Div", sizes[1], self.constant([g]))
                each = self.node("Cast", each, to=onnx.TensorProto.INT64)
            else:
                each = self.constant([c])
            parts = sizes[0], self.constant([g]), each, *sizes[2:]
            shape = self.node("Concat", *parts, axis=0)
            after = self.node("Concat", *sizes, axis=0)
        x = self.node("Transpose", self.node("Reshape", x, shape), perm=order)
        return str(self.node("Reshape", x, after))

    def size_of(self, x: str, axis: int) -> str:
        shape = self.node("Shape", x)
        if self.spelling["shuffle"] == "sliced":
            ends = (self.constant([k]) for k in (axis, axis + 1, 0))
            return str(self.node("Slice", shape, *ends))
        one = self.node("Gather", shape, self.constant(axis), axis=0)
        return self.axes("Unsqueeze", one, [0])

    def split(self, x: str, half: int) -> list[str]:
        match self.spelling["split"]:
            case "slices":
                ends = [(0, half), (half, np.iinfo(np.int64).max)]
                return [
                    str(self.node("Slice", x, *(self.constant([k]) for k in (start, end, 1))))
                    for start, end in ends
                ]
            case "gather":
                halves = np.arange(2 * half).reshape(2, half)
                return [str(self.node("Gather", x, self.constant(h), axis=1)) for h in halves]
        if self.spelling["opset"] < 13:
            return list(self.node("Split", x, outputs=2, axis=1, split=[half, half]))
        return list(self.node("Split", x, self.constant([half, half]), outputs=2, axis=1))

    def excite(self, x: str, layer: Any) -> str:
        w1, b1, w2, b2 = (getattr(layer, name).value for name in layer.parameter_names)
        y = self.node("GlobalAveragePool", x)
        if self.spelling["classifier"] == "conv":
            y = self.node("Conv", y, self.weight(w1[:, :, None, None]), self.weight(b1))
            y = self.node("Conv", self.node("Relu", y), self.weight(w2[:, :, None, None]))
            y = self.node("Add", y, self.weight(b2[:, None, None]))
        else:
            y = self.node("Flatten", y)
            y = self.node("Gemm", y, self.weight(w1), self.weight(b1), transB=1)
            y = self.node("Gemm", self.node("Relu", y), self.weight(w2.T), self.weight(b2))
            y = self.axes("Unsqueeze", self.node("Sigmoid", y), [2, 3])
            return str(self.node("Mul", y, x))
        return str(self.node("Mul", x, self.node("Sigmoid", y)))

    # Units

    def unit(self, x: str, unit: Any) -> str:
        stride = 1 if getattr(unit, "stride", 1) == 1 and not hasattr(unit, "branch1") else 2
        join = [unit.se] if unit.se is not None else []
        halved = [-(-size // 2) for size in self.now]
        if isinstance(unit, nn.ShuffleNetV1Unit):
            first, *rest = _cut(unit.branch)
            y = self.chain(x, first)  # the shuffle is before the stride
            y = self.chain(y, rest[0])
            if stride == 1:
                y = self.excite(y, unit.se) if join else y
                return str(self.node("Relu", self.node("Sum", y, x)))
            self.now = halved
            y = self.node("Concat", self.pool(x, unit.pool), y, axis=1)
            y = self.excite(y, unit.se) if join else y
            return str(self.node("Relu", y))
        channels = unit.branch2[0].weight.value.shape[0 if stride == 1 else 1]
        if stride == 1:
            kept, given = self.split(x, channels)
        else:
            kept, given = self.chain(x, unit.branch1), x
            self.now = halved
        y = self.chain(given, unit.branch2)
        if unit.residual:
            y = self.node("Relu", self.node("Add", given, y))
        y = self.node("Concat", kept, y, axis=1)
        y = self.excite(y, unit.se) if join else y
        groups = unit.shuffle.hyperparameters["groups"]
        if groups == 1:
            return str(y)
        ends = [layer for layer in unit.branch2 if isinstance(layer, nn.Conv2d)]
        kept_channels = channels
        if stride == 2:
            pointwise = [layer for layer in unit.branch1 if isinstance(layer, nn.Conv2d)]
            kept_channels = len(pointwise[-1].weight.value)
        return self.shuffle(y, kept_channels + len(ends[-1].weight.value), groups)

    def classify(self, x: str, fc: Any) -> str:
        w, b = fc.weight.value, None if fc.bias is None else fc.bias.value
        mean, how = self.spelling["mean"], self.spelling["classifier"]
        if how == "conv":
            x = self.node("GlobalAveragePool", x)
            y = self.node("Conv", x, self.weight(w[:, :, None, None]))
            y = self.node("Flatten", y, axis=1)
            return str(self.node("Add", y, self.weight(b)) if b is not None else y)
        if mean == "reduce":
            x = self.axes("ReduceMean", x, [2, 3], keepdims=0)
        elif mean == "reduce, keep":
            x = self.node("Flatten", self.axes("ReduceMean", x, [-1, -2]))
        elif mean == "reshape":
            x = self.node("Reshape", x, self.constant([0, w.shape[1], -1]))
            x = self.axes("ReduceMean", x, [2], keepdims=0)
        elif mean == "average":
            x = self.node("AveragePool", x, kernel_shape=self.now, strides=[1, 1])
            x = self.node("Reshape", x, self.constant([-1, w.shape[1]]))
        elif mean == "global":
            x = self.node("Flatten", self.node("GlobalAveragePool", x))
        else:
            x = self.axes("Squeeze", self.node("GlobalAveragePool", x), [2, 3])
        x = self.node("Dropout", self.node("Identity", x))
        if how == "matmul":
            y = self.node("MatMul", x, self.weight(w.T))
            return str(self.node("Add", y, self.weight(b)) if b is not None else y)
        inputs = [self.weight(w if how == "gemm" else w.T)]
        inputs += [] if b is None else [self.weight(b)]
        return str(self.node("Gemm", x, *inputs, transB=int(how == "gemm")))

    def proto(self) -> Any:
        """The whole model."""
        model = self.model
        if self.spelling["norm"] == "folded":
            model = model.fold()
        self.now = list(self.size)
        x = "images"
        for name, layer in model.children().items():
            if name.startswith("stage"):
                for unit in layer:
                    x = self.unit(x, unit)
            elif isinstance(layer, nn.Sequential):
                x = self.chain(x, layer)
                stride = layer[0].hyperparameters.get("stride", 1)
                self.now = [-(-size // stride) for size in self.now]
            elif isinstance(layer, nn.MaxPool2d):
                x = self.pool(x, layer)
                self.now = [-(-size // 2) for size in self.now]
            elif isinstance(layer, nn.Linear):
                x = self.classify(x, layer)
        value = onnx.helper.make_tensor_value_info
        shape = self.batch, model.in_channels, *self.size
        graph = onnx.helper.make_graph(
            self.nodes,
            "graph",
            [value("images", FLOAT, shape)],
            [value(x, FLOAT, [self.batch, model.num_classes])],
            self.initialisers,
        )
        opset = onnx.helper.make_opsetid("", self.spelling["opset"])
        return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)


def _cut(layers: Any) -> tuple[list[Any], list[Any]]:
    """Parts before and after a shuffle, with the shuffle in the first one."""
    kinds = [isinstance(layer, nn.ChannelShuffle) for layer in layers]
    place = kinds.index(True) + 1
    return list(layers)[:place], list(layers)[place:]
