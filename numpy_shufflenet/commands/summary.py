"""Print a network layer by layer: shapes, parameters, multiply-adds.

examples:
  numpy-shufflenet summary shufflenet_v2
  numpy-shufflenet summary shufflenet_v1 --groups 8 --scale 0.5
  numpy-shufflenet summary shufflenet_v2 --scale 0.5 --stem small --size 28 --channels 1
  numpy-shufflenet summary shufflenet_v2 --plan

As in both papers, only the multiply-adds of convolutions and of the classifier are counted.
"""

import argparse

from numpy_shufflenet import models
from numpy_shufflenet.commands._common import (
    add_model_arguments,
    build_model,
    check_memory,
    positive_int,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("model", choices=models.MODELS, metavar="MODEL", help=", ".join(models.MODELS))
    add("--size", type=positive_int, help="height and width of the images in pixels")
    add("--plan", action="store_true", help="list the instructions of the inference plan instead")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or the instructions of the plan."""
    model = build_model(arguments.model, arguments, seed=0)
    size = arguments.size or model.default_size
    shape = (model.in_channels, size, size)
    check_memory(model, size)
    print(model.plan().program(shape) if arguments.plan else models.summary(model, shape))
    return 0
