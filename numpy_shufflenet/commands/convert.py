"""Convert a file of weights to another format, or to the names of another library.

examples:
  numpy-shufflenet convert shufflenetv2_x1-5666bf0f80.pth x1.safetensors
  numpy-shufflenet convert ShuffleNetV1-1.0x-group3.pth.tar v1.npz --layout native
  numpy-shufflenet convert mine.safetensors mine.pth --layout torchvision

without --layout, names and numbers stay as they are, but half precision becomes float32;
with it, the network is recognised first, as models.from_weights does

IN may be a file of safetensors, NumPy (.npz), PyTorch, PaddlePaddle or ONNX; OUT ends in
.safetensors, .npz, .pth or .pt
"""

import argparse

from numpy_shufflenet._files import expanded
from numpy_shufflenet._text import shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("source", type=expanded, metavar="IN")
    parser.add_argument("target", type=expanded, metavar="OUT")
    parser.add_argument(
        "--layout",
        choices=("native", "torchvision", "authors"),
        help="names and order of channels in OUT",
    )


def run(arguments: argparse.Namespace) -> int:
    """Convert, and say what was written."""
    from numpy_shufflenet import models, weights

    if arguments.layout is None:
        arrays = weights.load(arguments.source)
        weights.save(arguments.target, arrays)
        print(f"{shown(arguments.target)}: {len(arrays)} arrays")
    else:
        model = models.from_weights(arguments.source)
        model.save(arguments.target, arguments.layout)
        print(f"{shown(arguments.target)}: {model!r}")
    return 0
