"""Measure the accuracy of a trained network on test images, and which classes it confuses.

examples:
  numpy-shufflenet evaluate --data cifar10:cifar-10-python.tar.gz
  numpy-shufflenet evaluate runs/demo/checkpoint.safetensors
  numpy-shufflenet evaluate runs/cifar/checkpoint.safetensors --data cifar10:cifar-10-python.tar.gz
  numpy-shufflenet evaluate runs/train/checkpoint.safetensors --data folder:~/other_photos

If a folder has no train/ and test/, the command uses all images of the folder. But if the network
was trained on a part of these images, the command uses only the other part. Images are resized to
the size of the training images.
"""

import argparse

from numpy_shufflenet._files import expanded
from numpy_shufflenet._optional import need
from numpy_shufflenet.commands._common import positive_int, show_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    network = "a trained network; by default the one in the package, for CIFAR-10"
    add("checkpoint", nargs="?", type=expanded, metavar="CHECKPOINT", help=network)
    add("--data", default="embedded", help="the images, as in the command train")
    add("--size", type=positive_int, help="height and width of images from a folder")
    add("--out", type=expanded, metavar="PNG", help="draw the confusion matrix into this file")


def run(arguments: argparse.Namespace) -> int:
    """Print the accuracy of each class."""
    from numpy_shufflenet import plots
    from numpy_shufflenet.data.load import load_held_out
    from numpy_shufflenet.training import SHIPPED, evaluate, load_trained
    from numpy_shufflenet.training.trained import was_trained_on

    path = arguments.checkpoint or SHIPPED
    model, preprocessing, classes = load_trained(path)
    if preprocessing is None or preprocessing.style != "fit" or classes is None:
        raise ValueError(f"{path} is neither a checkpoint nor a file of save_trained")
    if arguments.out is not None:
        need("matplotlib", "drawing")
    test_set, which = load_held_out(
        arguments.data,
        lambda images: was_trained_on(path, images),
        size=arguments.size or preprocessing.crop,
        channels=model.in_channels,
    )
    if test_set.classes != classes:
        raise ValueError(
            f"--data {arguments.data} has the classes {', '.join(test_set.classes)}, but the "
            f"network was trained on {', '.join(classes)}"
        )
    trained_shape = (model.in_channels, preprocessing.crop, preprocessing.crop)
    if test_set.images.shape[1:] != trained_shape:
        print(
            f"the images are {' x '.join(map(str, test_set.images.shape[1:]))}, but the network "
            f"was trained on {' x '.join(map(str, trained_shape))}"
        )
    found = evaluate(model, test_set, preprocessing.standardise)
    rows = []
    for number, name in enumerate(test_set.classes):
        total, right = found.confusion[number].sum(), found.confusion[number, number]
        share = f"{right / total:.1%}" if total else "-"
        rows.append([name, str(total), str(right), share])
    show_table(str(path), ["class", "images", "right", "accuracy"], rows)
    print(
        f"test accuracy {found.accuracy:.2%}, loss {found.loss:.4f}, "
        f"{len(test_set)} images ({which})"
    )
    if arguments.out is not None:
        plots.save(plots.confusion_matrix(found.confusion, test_set.classes), arguments.out)
    return 0
