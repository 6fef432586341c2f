"""Convert a file of weights to another format, or to the names of another library.

examples:
  numpy-shufflenet convert shufflenetv2_x1-5666bf0f80.pth x1.safetensors
  numpy-shufflenet convert ShuffleNetV1-1.0x-group3.pth.tar v1.npz --layout native
  numpy-shufflenet convert mine.safetensors mine.pth --layout torchvision
  numpy-shufflenet convert runs/demo/checkpoint.safetensors demo.onnx --batch 1

without --layout, names and numbers stay as they are, but half precision becomes float32;
with it, the network is recognised first, as models.from_weights does

if OUT ends in .onnx, the whole network is written for other engines, as model.export does; a
checkpoint adds the size of its images, their normalisation, and the names of the classes

IN may be a file of safetensors, NumPy (.npz), PyTorch, PaddlePaddle or ONNX; OUT ends in
.safetensors, .npz, .pth, .pt or .onnx
"""

import argparse
from typing import TYPE_CHECKING, Any

from numpy_shufflenet._files import expanded
from numpy_shufflenet.commands._common import positive_int

if TYPE_CHECKING:
    from numpy_shufflenet.models import ImageClassifier


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("source", type=expanded, metavar="IN")
    parser.add_argument("target", type=expanded, metavar="OUT")
    parser.add_argument(
        "--layout",
        choices=("native", "torchvision", "authors"),
        help="names and order of channels in OUT",
    )
    graph = parser.add_argument_group("graph, if OUT ends in .onnx").add_argument
    graph("--batch", type=positive_int, help="number of images, if it is fixed")
    graph("--size", type=positive_int, help="height and width of the images in pixels")


def run(arguments: argparse.Namespace) -> int:
    """Convert, and say what was written."""
    from numpy_shufflenet import models, weights

    if arguments.target.suffix == ".onnx":
        print(f"{arguments.target}: {_export(arguments)!r}")
    elif arguments.batch or arguments.size:
        raise ValueError(f"--batch and --size are for .onnx, and OUT is {arguments.target}")
    elif arguments.layout is None:
        arrays = weights.load(arguments.source)
        weights.save(arguments.target, arrays)
        print(f"{arguments.target}: {len(arrays)} arrays")
    else:
        model = models.from_weights(arguments.source)
        model.save(arguments.target, arguments.layout)
        print(f"{arguments.target}: {model!r}")
    return 0


def _export(arguments: argparse.Namespace) -> "ImageClassifier":
    """Write the network as a graph, and return it."""
    from numpy_shufflenet import models
    from numpy_shufflenet.training import load_checkpoint
    from numpy_shufflenet.weights.files import read_weights

    if arguments.layout is not None:
        raise ValueError(f"--layout {arguments.layout} is for weights, and OUT is a graph")
    model = models.from_weights(arguments.source)
    settings: dict[str, Any] = {"batch": arguments.batch or "any", "size": arguments.size}
    if "checkpoint" in read_weights(arguments.source)[1]:
        checkpoint = load_checkpoint(arguments.source)
        settings["size"] = arguments.size or checkpoint.image_shape[1:]
        mean, std = checkpoint.standardise
        settings |= {"classes": checkpoint.classes, "mean": mean, "std": std}
        settings["channel_order"] = "RGB" if model.in_channels == 3 else None
    model.export(arguments.target, **settings)
    return model
