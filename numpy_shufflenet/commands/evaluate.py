"""Measure a trained network on test images: accuracy, and which class is taken for which.

examples:
  numpy-shufflenet evaluate runs/demo/checkpoint.safetensors
  numpy-shufflenet evaluate runs/cifar/checkpoint.safetensors --data cifar10:cifar-10-python.tar.gz
"""

import argparse
from pathlib import Path

from numpy_shufflenet.commands._common import need, positive_int, show_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--data", default="embedded", help="the images, as for train")
    parser.add_argument("--size", type=positive_int, default=64, help="of images from a folder")
    parser.add_argument("--out", type=Path, metavar="PNG", help="also draw the confusion matrix")


def run(arguments: argparse.Namespace) -> int:
    """Print accuracy by class."""
    from numpy_shufflenet import plots
    from numpy_shufflenet.data import load_dataset
    from numpy_shufflenet.training import evaluate, load_checkpoint

    checkpoint = load_checkpoint(arguments.checkpoint)
    if arguments.out is not None:
        need("matplotlib", "drawing")
    _, test_set = load_dataset(arguments.data, size=arguments.size)
    if test_set.classes != checkpoint.classes:
        raise ValueError(
            f"--data {arguments.data} has the classes {', '.join(test_set.classes)}, but the "
            f"network was trained on {', '.join(checkpoint.classes)}"
        )
    found = evaluate(checkpoint.build_model(), test_set, checkpoint.standardise)
    rows = []
    for number, name in enumerate(test_set.classes):
        total, right = found.confusion[number].sum(), found.confusion[number, number]
        share = f"{right / total:.1%}" if total else "-"
        rows.append([name, str(total), str(right), share])
    show_table(str(arguments.checkpoint), ["class", "images", "right", "accuracy"], rows)
    print(f"test accuracy {found.accuracy:.2%}, loss {found.loss:.4f}, {len(test_set)} images")
    if arguments.out is not None:
        plots.save(plots.confusion_matrix(found.confusion, test_set.classes), arguments.out)
    return 0
