"""Measure the accuracy of a trained network on test images, and which classes it confuses.

examples:
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
    add("checkpoint", type=expanded, metavar="CHECKPOINT")
    add("--data", default="embedded", help="the images, as in the command train")
    add("--size", type=positive_int, help="height and width of images from a folder")
    add("--out", type=expanded, metavar="PNG", help="draw the confusion matrix into this file")


def run(arguments: argparse.Namespace) -> int:
    """Print the accuracy of each class."""
    from numpy_shufflenet import plots
    from numpy_shufflenet.data.load import load_held_out
    from numpy_shufflenet.training import evaluate, load_checkpoint
    from numpy_shufflenet.training.loop import fingerprint

    checkpoint = load_checkpoint(arguments.checkpoint)
    if arguments.out is not None:
        need("matplotlib", "drawing")
    channels, trained_size, _ = checkpoint.image_shape
    test_set, which = load_held_out(
        arguments.data,
        lambda images: fingerprint(images) == checkpoint.fingerprint,
        size=arguments.size or trained_size,
        channels=channels,
    )
    if test_set.classes != checkpoint.classes:
        raise ValueError(
            f"--data {arguments.data} has the classes {', '.join(test_set.classes)}, but the "
            f"network was trained on {', '.join(checkpoint.classes)}"
        )
    if test_set.images.shape[1:] != checkpoint.image_shape:
        print(
            f"the images are {' x '.join(map(str, test_set.images.shape[1:]))}, but the network "
            f"was trained on {' x '.join(map(str, checkpoint.image_shape))}"
        )
    found = evaluate(checkpoint.build_model(), test_set, checkpoint.standardise)
    rows = []
    for number, name in enumerate(test_set.classes):
        total, right = found.confusion[number].sum(), found.confusion[number, number]
        share = f"{right / total:.1%}" if total else "-"
        rows.append([name, str(total), str(right), share])
    show_table(str(arguments.checkpoint), ["class", "images", "right", "accuracy"], rows)
    print(
        f"test accuracy {found.accuracy:.2%}, loss {found.loss:.4f}, "
        f"{len(test_set)} images ({which})"
    )
    if arguments.out is not None:
        plots.save(plots.confusion_matrix(found.confusion, test_set.classes), arguments.out)
    return 0
