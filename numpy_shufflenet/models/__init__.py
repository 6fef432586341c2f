"""ShuffleNet V1 and V2, two other networks for comparison, and tables of layers.

`from_weights` and `from_onnx` open trained networks, by the names and shapes of their weights, or
by the nodes of their graph.
"""

from typing import Any

from numpy_shufflenet.models.classifier import ImageClassifier
from numpy_shufflenet.models.from_onnx import from_onnx
from numpy_shufflenet.models.mobilenet import MobileNetV1, mobilenet_v1
from numpy_shufflenet.models.recognise import from_weights
from numpy_shufflenet.models.resnet import ResNet, resnet_50
from numpy_shufflenet.models.summary import Summary, SummaryRow, summary
from numpy_shufflenet.models.v1 import ShuffleNetV1, shufflenet_v1
from numpy_shufflenet.models.v2 import (
    LAYOUTS,
    ShuffleNetV2,
    se_shufflenet_v2_164,
    shufflenet_v2,
    shufflenet_v2_50,
)

MODELS = {
    function.__name__: function
    for function in (
        shufflenet_v1,
        shufflenet_v2,
        shufflenet_v2_50,
        se_shufflenet_v2_164,
        mobilenet_v1,
        resnet_50,
    )
}
"""The functions that build a network, by name."""


def build(config: dict[str, Any]) -> ImageClassifier:
    """Build a network from a `config`: a name in MODELS, and keyword arguments.

    Raises
    ------
    ValueError
        If the name is unknown, or the function refuses an argument.
    """
    arguments = dict(config)
    name = arguments.pop("name", None)
    if name not in MODELS:
        raise ValueError(f"name={name!r} is not one of {', '.join(MODELS)}")
    return MODELS[name](**arguments)


__all__ = [
    "LAYOUTS",
    "MODELS",
    "ImageClassifier",
    "MobileNetV1",
    "ResNet",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "Summary",
    "SummaryRow",
    "build",
    "from_onnx",
    "from_weights",
    "mobilenet_v1",
    "resnet_50",
    "se_shufflenet_v2_164",
    "shufflenet_v1",
    "shufflenet_v2",
    "shufflenet_v2_50",
    "summary",
]
