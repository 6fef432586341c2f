"""Print a network layer by layer: shapes, parameters, multiply-adds.

examples:
  numpy-shufflenet summary shufflenet_v2
  numpy-shufflenet summary shufflenet_v1 --groups 8 --scale 0.5
  numpy-shufflenet summary shufflenet_v2 --scale 0.5 --stem small --size 28 --channels 1
  numpy-shufflenet summary shufflenet_v2 --plan     # the instructions it becomes for inference

multiply-adds are counted as in both papers: convolutions and the classifier
"""

import argparse

from numpy_shufflenet import models
from numpy_shufflenet.commands._common import add_model_arguments, build_model, positive_int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument(
        "model", choices=models.MODELS, metavar="MODEL", help=", ".join(models.MODELS)
    )
    parser.add_argument(
        "--size", type=positive_int, help="height and width of the images in pixels"
    )
    parser.add_argument(
        "--plan", action="store_true", help="list the instructions of its inference plan instead"
    )
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or the program."""
    model = build_model(arguments.model, arguments, seed=0)
    size = arguments.size or model.default_size
    shape = (model.in_channels, size, size)
    print(model.plan().program(shape) if arguments.plan else models.summary(model, shape))
    return 0
