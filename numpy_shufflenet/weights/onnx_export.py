"""ONNX files of whole networks, for other engines.

    layer                   nodes
    Conv2d                  Conv
    BatchNorm2d             none, as it is folded; or BatchNormalization
    ReLU                    Relu
    LeakyReLU, Swish        LeakyRelu; Sigmoid, Mul
    MaxPool2d, AvgPool2d    MaxPool, AveragePool
    GlobalAvgPool           GlobalAveragePool, Flatten
    Linear                  Gemm
    ChannelSplit            Split
    ChannelConcat           Concat
    ChannelShuffle          Reshape, Transpose, Reshape; none if it has one group
    Add                     Add, for every array after the first
    SqueezeExcitation       GlobalAveragePool, Conv, Relu, Conv, Sigmoid, Mul
    Dropout                 none

A node and its output have the name of the layer, as in `model.trace`. Initialisers have the names
of `state_dict`. If the network is folded, these are the names of the folded network.

We tried these engines with V1 1x g=3, V2 1x and V2 0.5x, random weights and statistics, images of
224 pixels, and batches of 1 and 5. The last column is the largest difference from `infer`, relative
to the largest logit, with `batch="any"`.

    engine             version         what it needs                             difference
    ONNX Runtime       1.32.0          nothing                                   6.1e-7
    OpenVINO           2026.4.1        INFERENCE_PRECISION_HINT f32              9.3e-7
    OpenCV DNN         5.0.0.93        nothing                                   6.3e-7
    OpenCV DNN         4.14.0.94       nothing                                   5.3e-7
    ncnn, by pnnx      1.0.20261020    inputshape=[1,3,224,224] fp16=0; below    6.5e-7
    MNN, by mnnconvert 3.6.1           nothing                                   1.5e-6
    tract              0.23.9          nothing                                   1.3e-6
    TVM                0.27.0.post1    nothing                                   1.7e-6
    onnx2torch         1.5.15          nothing                                   7.0e-7

ncnn takes one image at a time. Set its options use_fp16_packed, use_fp16_storage and
use_fp16_arithmetic to False: with float16 the difference is 4e-4. The default precision of OpenVINO
may be bfloat16. `tests/weights/engines.py` measures the differences. ONNX Runtime, OpenVINO,
OpenCV, MNN, tract and onnx2torch also ran files with a fixed batch, and files whose batch
normalisation was not folded.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_shufflenet._files import PathLike, expanded, write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import IntOrPair
from numpy_shufflenet._version import __version__
from numpy_shufflenet.data.standardise import to_float
from numpy_shufflenet.nn.layer import not_finite
from numpy_shufflenet.ops.checks import as_pair, is_integer, is_sequence
from numpy_shufflenet.weights.onnx_nodes import GraphWriter, Value

if TYPE_CHECKING:
    from numpy_shufflenet.models.classifier import ImageClassifier

FIRST_OPSET = 13  # in older opsets, Split has its sizes as an attribute
LARGEST_WEIGHTS = 2**31 - 2**21  # bytes; protobuf reads at most 2 GiB, which includes the nodes


def export_model(
    model: "ImageClassifier",
    path: PathLike,
    *,
    batch: int | str,
    size: IntOrPair | None,
    opset: int,
    fold: bool,
    **preprocessing: Any,
) -> None:
    """Write a network's graph; see `ImageClassifier.export`."""
    onnx = need("onnx", "an ONNX file")
    if expanded(path).suffix != ".onnx":
        raise ValueError(f"path={str(path)!r} does not end in .onnx")
    if not (batch == "any" or (is_integer(batch) and int(batch) >= 1)):
        raise ValueError(f"batch={batch!r} is neither 'any' nor a whole number of at least 1")
    newest = onnx.defs.onnx_opset_version()
    if not is_integer(opset) or not FIRST_OPSET <= opset <= newest:
        raise ValueError(
            f"opset={opset!r} is not a whole number from {FIRST_OPSET} to {newest}, the newest of "
            f"the package onnx {onnx.__version__}"
        )
    h, w = as_pair("size", model.default_size if size is None else size)
    metadata = _metadata(model, size=[h, w], **preprocessing)

    network = _without_training(model, fold=fold)
    images = Value("images", (model.in_channels, h, w))
    graph = GraphWriter(onnx, network)
    value, outputs = images, []
    for name, layer in network.children().items():
        value = layer.forward(value)
        if name.startswith("stage") and not network.num_classes:
            value = graph.renamed(value, name)
            outputs.append(value)
    outputs = outputs or [graph.renamed(value, "logits")]
    helper = onnx.helper

    def described(value: Value) -> Any:
        shape = ["batch" if batch == "any" else int(batch), *value.shape]
        return helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape)

    opsets = [helper.make_opsetid("", int(opset))]
    file = helper.make_model(
        helper.make_graph(
            graph.nodes,
            model.config["name"],
            [described(images)],
            [described(value) for value in outputs],
            graph.initialisers,
        ),
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="numpy_shufflenet",
        producer_version=__version__,
        doc_string=repr(model),
    )
    helper.set_model_props(file, metadata)
    onnx.checker.check_model(file, full_check=True)
    write_bytes(path, file.SerializeToString())


def _without_training(model: "ImageClassifier", *, fold: bool) -> "ImageClassifier":
    """Return a copy in float32 for inference, or raise if a weight isn't finite in it."""
    copy = model.astype(np.float64)
    with np.errstate(all="ignore"):
        copy = (copy.fold() if fold else copy).astype(np.float32)
    state = copy.state_dict()
    if names := not_finite(state):
        raise ValueError(f"these weights are NaN, infinite, or too large for float32: {names}")
    if sum(array.nbytes for array in state.values()) > LARGEST_WEIGHTS:
        raise ValueError(f"the weights are larger than the {LARGEST_WEIGHTS} bytes of an ONNX file")
    return copy


def _metadata(
    model: "ImageClassifier",
    *,
    size: Sequence[int],
    classes: Sequence[str] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    channel_order: str | None,
) -> dict[str, str]:
    """Return the metadata of the file, by name, as JSON."""
    channels = model.in_channels
    if classes is not None:
        if not is_sequence(classes) or not all(isinstance(name, str) for name in classes):
            raise ValueError(f"classes={classes!r} is not a list of names")
        if len(classes) != model.num_classes:
            raise ValueError(
                f"classes holds {len(classes)} names, but the network has {model.num_classes}"
            )
    if (mean is None) != (std is None):
        raise ValueError(f"mean={mean!r} and std={std!r}: both or none are needed")
    if mean is not None and std is not None:
        to_float(np.zeros((1, channels, 1, 1), np.uint8), mean, std)  # raises unless they fit
        mean, std = ([float(number) for number in numbers] for numbers in (mean, std))
    if channel_order not in (None, "RGB", "BGR") or (channel_order and channels != 3):
        raise ValueError(
            f"channel_order={channel_order!r} does not fit in_channels={channels}; 'RGB' or 'BGR' "
            "fits three channels, None any"
        )
    values = {
        "architecture": model.config,
        "classes": classes and list(classes),
        "mean": mean,
        "std": std,
        "channel_order": channel_order,
        "size": size,
    }
    return {key: json.dumps(value) for key, value in values.items() if value is not None}
