"""Say what a trained network sees in images.

examples:
  numpy-shufflenet predict --checkpoint runs/demo/checkpoint.safetensors shoe.png
  numpy-shufflenet predict --checkpoint runs/cifar/checkpoint.safetensors --top 5 *.jpg

images are resized to what the network was trained on; the embedded images show bright clothes on
black, so a photograph on white needs --invert
"""

import argparse
from pathlib import Path

import numpy as np

from numpy_shufflenet._files import expanded
from numpy_shufflenet.commands._common import need, positive_int, show_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("images", nargs="+", type=expanded, metavar="IMAGE")
    parser.add_argument(
        "--checkpoint", type=expanded, default=Path("runs/demo/checkpoint.safetensors")
    )
    parser.add_argument("--top", type=positive_int, default=3, help="classes shown for each image")
    parser.add_argument("--size", type=positive_int, help="height and width in pixels")
    parser.add_argument("--invert", action="store_true", help="swap black and white")


def run(arguments: argparse.Namespace) -> int:
    """Print the most probable classes of each image."""
    from numpy_shufflenet import ops
    from numpy_shufflenet.data import load_image
    from numpy_shufflenet.training import load_checkpoint

    need("PIL", "reading images")
    checkpoint = load_checkpoint(arguments.checkpoint)
    model = checkpoint.build_model()
    channels, trained_size, _ = checkpoint.image_shape
    size = arguments.size or trained_size
    loaded = [load_image(path, size=size, channels=channels) for path in arguments.images]
    images = np.stack(loaded)  # n c h w
    if arguments.invert:
        images = 255 - images
    logits = model.forward(checkpoint.standardise(images, np.float32))  # n k
    labels = np.zeros(len(logits), int)  # of no account for the probabilities
    _, cache = ops.softmax_cross_entropy_forward(logits, labels)
    rows = []
    for path, row in zip(arguments.images, cache.probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[: arguments.top]
        rows.append([str(path), "  ".join(f"{checkpoint.classes[k]} {row[k]:.1%}" for k in best)])
    show_table("Predictions", ["image", "most probable classes"], rows, left=2)
    return 0
