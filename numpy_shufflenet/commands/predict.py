"""Classify images with a trained network.

examples:
  numpy-shufflenet predict --checkpoint runs/demo/checkpoint.safetensors shoe.png
  numpy-shufflenet predict --checkpoint runs/cifar/checkpoint.safetensors --top 5 *.jpg

Images are resized to the size of the training images. The embedded images show bright clothes on a
black background. If a network was trained on these images, use --invert for photographs with
a white background.
"""

import argparse
from pathlib import Path

import numpy as np

from numpy_shufflenet._files import expanded
from numpy_shufflenet._optional import need
from numpy_shufflenet.commands._common import check_memory, positive_int, show_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("images", nargs="+", type=expanded, metavar="IMAGE")
    add("--checkpoint", type=expanded, default=Path("runs/demo/checkpoint.safetensors"))
    add("--top", type=positive_int, default=3, help="number of classes to show for each image")
    add("--size", type=positive_int, help="height and width in pixels")
    add("--invert", action="store_true", help="swap black and white")


def run(arguments: argparse.Namespace) -> int:
    """Print the most probable classes of each image."""
    from numpy_shufflenet import ops
    from numpy_shufflenet.data import load_image
    from numpy_shufflenet.nn.layer import not_finite
    from numpy_shufflenet.training import load_checkpoint

    need("PIL", "reading images")
    checkpoint = load_checkpoint(arguments.checkpoint)
    if names := not_finite(checkpoint.model):
        raise ValueError(
            f"{arguments.checkpoint} holds weights that are NaN or infinite ({names}), because the "
            "training diverged; use an earlier checkpoint, or train again"
        )
    model = checkpoint.build_model()
    channels, trained_size, _ = checkpoint.image_shape
    size = arguments.size or trained_size
    check_memory(model, size, len(arguments.images))
    loaded = [load_image(path, size=size, channels=channels) for path in arguments.images]
    images = np.stack(loaded)  # n c h w
    if arguments.invert:
        images = 255 - images
    logits = model.forward(checkpoint.standardise(images, np.float32))  # n k
    labels = np.zeros(len(logits), int)  # any labels: the probabilities do not depend on them
    _, cache = ops.softmax_cross_entropy_forward(logits, labels)
    rows = []
    for path, row in zip(arguments.images, cache.probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[: arguments.top]
        rows.append([str(path), "  ".join(f"{checkpoint.classes[k]} {row[k]:.1%}" for k in best)])
    show_table("Predictions", ["image", "most probable classes"], rows, left=2)
    return 0
