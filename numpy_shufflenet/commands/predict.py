"""Classify images with a trained network, and show which parts of an image it looks at.

examples:
  numpy-shufflenet predict cat.jpg
  numpy-shufflenet predict shoe.png --weights runs/demo/checkpoint.safetensors
  numpy-shufflenet predict --weights runs/cifar/checkpoint.safetensors --top 3 *.jpg
  numpy-shufflenet predict cat.jpg --weights shufflenetv2_x1-5666bf0f80.pth
  numpy-shufflenet predict cat.jpg --weights ShuffleNetV2.1.0x.pth.tar --explain cat_map.png
  numpy-shufflenet predict cat.jpg --weights mine.npz --preprocessing imagenet-232

By default, the network in the package classifies: ShuffleNet V2 0.5x for the ten classes of
CIFAR-10. --weights takes a checkpoint, or any file that models.from_weights reads. How images are
prepared follows from the file, unless --preprocessing says otherwise; a line below the table says
how it was done. The embedded images show bright clothes on a black background. If a network was
trained on these images, use --invert for photographs with a white background.
"""

import argparse
import warnings
from typing import TYPE_CHECKING

import numpy as np

from numpy_shufflenet import ops, plots
from numpy_shufflenet._files import expanded
from numpy_shufflenet._optional import need
from numpy_shufflenet._text import shown
from numpy_shufflenet._typing import Array
from numpy_shufflenet.commands._common import check_memory, positive_int, show_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from numpy_shufflenet.models import ImageClassifier

STEPS = 14  # the square that covers parts of an image moves from border to border in so many steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("images", nargs="+", type=expanded, metavar="IMAGE")
    weights = "a checkpoint, or weights of a trained network"
    add("--weights", "--checkpoint", type=expanded, metavar="FILE", help=weights)
    add("--preprocessing", metavar="NAME", help="imagenet-256, authors, ...: see data.preprocess")
    add("--top", type=positive_int, default=5, help="number of classes to show for each image")
    add("--size", type=positive_int, help="height and width of the network's input in pixels")
    add("--invert", action="store_true", help="swap black and white")
    explain = "draw how much covering each part of an image lowers the probability of its class"
    add("--explain", type=expanded, metavar="PNG", help=explain)


def run(arguments: argparse.Namespace) -> int:
    """Print the most probable classes of each image."""
    from numpy_shufflenet.data import PREPROCESSINGS
    from numpy_shufflenet.nn.layer import not_finite
    from numpy_shufflenet.training import SHIPPED, load_trained

    need("PIL", "reading images")
    source = arguments.weights or SHIPPED
    if arguments.explain is not None:
        need("matplotlib", "drawing")
        if len(arguments.images) > 1:
            raise ValueError(f"--explain draws one image; {len(arguments.images)} are given")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights that are NaN are refused below
        model, preprocessing, classes = load_trained(source, preprocessing=arguments.preprocessing)
    if names := not_finite(model.state_dict()):
        raise ValueError(
            f"{source} holds weights that are NaN or infinite ({names}), because the "
            "training diverged; use an earlier checkpoint, or train again"
        )
    if preprocessing is None:
        raise ValueError(
            f"{source} doesn't say how images are prepared for its network; give "
            f"--preprocessing, one of {', '.join(PREPROCESSINGS)}"
        )
    if arguments.size:
        preprocessing = preprocessing.at(arguments.size)
    check_memory(model, preprocessing.crop, len(arguments.images))
    classes = classes or tuple(f"class {k}" for k in range(model.num_classes))
    pixels = np.stack([preprocessing.load(path) for path in arguments.images])  # n c h w
    if arguments.invert:
        pixels = 255 - pixels
    dtype = next(iter(model.parameters().values())).dtype
    x = preprocessing(pixels, dtype)
    probabilities = probabilities_of(model.infer(x))
    rows = []
    for path, row in zip(arguments.images, probabilities, strict=True):
        top = np.argsort(-row, kind="stable")[: arguments.top]
        rows += [[str(path) if k == top[0] else "", classes[k], f"{row[k]:.1%}"] for k in top]
    show_table("Predictions", ["image", "class", "probability"], rows, left=2)
    print(preprocessing)
    parameters = sum(array.size for array in model.parameters().values())
    print(f"network: {shown(source)}, {model.config['name']} with {parameters:,} parameters")
    if source == SHIPPED:
        print(f"It knows only {', '.join(classes)}; {shown(SHIPPED.with_suffix('.md'))} says more.")
    if arguments.explain is not None:
        first = int(probabilities[0].argmax())
        title = f"{classes[first]} {probabilities[0, first]:.1%}"
        figure = occlusion_figure(model, x[0], pixels[0], first, title)
        plots.save(figure, arguments.explain)
        print(f"{arguments.explain}: where a covered part lowers the probability")
    return 0


def probabilities_of(logits: Array) -> Array:
    """Return the probabilities (n, k) of logits (n, k)."""
    labels = np.zeros(len(logits), int)  # any labels: the probabilities do not depend on them
    _, cache = ops.softmax_cross_entropy_forward(logits, labels)
    return cache.probabilities


def occlusion_figure(
    model: "ImageClassifier", x: Array, pixels: Array, best: int, title: str
) -> "Figure":
    """Draw an image, and how much a grey square on it lowers the probability of class `best`.

    Parameters
    ----------
    model : ImageClassifier
    x, pixels : array, shape (c, h, h)
        The input of the network, and the image to draw.
    """
    side = x.shape[1]
    stride = max(1, side // STEPS)
    size = min(side, 2 * stride + side % stride)  # so that the last square ends at the border
    fallen = plots.occlusion_map(
        lambda images: probabilities_of(model.infer(images))[:, best],
        x,
        size=size,
        stride=stride,
        fill=float(x.mean()),
    )
    return plots.occlusion(pixels, fallen, title=title, overlay=True)
