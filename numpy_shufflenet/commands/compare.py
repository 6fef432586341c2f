"""Compare a network with its port to PyTorch or ONNX, and name the first layer that differs.

examples:
  numpy-shufflenet compare x1.safetensors x1.onnx --images photos
  numpy-shufflenet compare x0_5.pth torchvision.models:shufflenet_v2_x0_5 --their-weights x0_5.pth
  numpy-shufflenet compare ours.npz mynet:build --fill-statistics --layers --out layers.svg

OURS is a file of weights; the command recognises the network by its weights. THEIRS is either a
file that ends in .onnx, which ONNX Runtime runs, or MODULE:FUNCTION, where the function returns a
torch.nn.Module. Your own modules are found in the current folder.

A network with new running statistics gives practically the same logits for every image, so that a
wrong port seems right. The command measures that, and says so. --fill-statistics gives both
networks the statistics of the images.

exit status: 0 if the networks are equal, 1 if they differ or the comparison can't tell, 2 for bad
input
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_shufflenet._files import expanded
from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import Array
from numpy_shufflenet.commands._common import STEMS, positive_int, show_table

if TYPE_CHECKING:
    from numpy_shufflenet.compare import LayerDifference, NetworkComparison

SHOWN = ("unit", "concat", "pool", "logits")  # kinds of layers that are listed without --layers
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as torchvision has them
GREY_MEAN, GREY_STD = 0.45, 0.225


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("ours", type=expanded, metavar="OURS", help="file of weights")
    add("theirs", metavar="THEIRS", help="file.onnx, or MODULE:FUNCTION")
    weights = "weights for the module that FUNCTION returns"
    add("--their-weights", type=expanded, metavar="FILE", help=weights)
    add("--images", type=expanded, metavar="DIR", help="folder of images (default: random images)")
    add("--count", type=positive_int, default=8, help="largest number of images")
    add("--size", type=positive_int, help="height and width of the images in pixels")
    add(
        "--preprocessing",
        choices=("torchvision", "authors"),
        default="torchvision",
        help="RGB with ImageNet's mean and std, or the authors' BGR from 0 to 255",
    )
    add("--their-bgr", action="store_true", help="swap red and blue for THEIRS")
    add("--stem", choices=STEMS, help="first layers of OURS, which the weights don't show")
    add("--fill-statistics", action="store_true", help="first fill the running statistics of both")
    add("--any-order", action="store_true", help="accept channels in another order")
    add("--layers", action="store_true", help="list each layer")
    add("--out", type=expanded, metavar="PNG", help="draw the differences into this PNG or SVG")


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the layers and the verdict, and return 0 or 1."""
    from numpy_shufflenet import models, plots
    from numpy_shufflenet.compare import compare_networks

    if arguments.out is not None:
        need("matplotlib", "drawing")
        if arguments.out.suffix not in (".png", ".svg"):
            raise ValueError(f"--out {arguments.out} ends neither in .png nor in .svg")
    model = models.from_weights(
        arguments.ours, **({"stem": arguments.stem} if arguments.stem else {})
    )
    if not model.num_classes:
        raise ValueError(f"{arguments.ours} holds a network without a classifier")
    theirs = _theirs(arguments)
    size = arguments.size or model.default_size
    images = _preprocessed(arguments, model.in_channels, size)
    found = compare_networks(
        model,
        theirs,
        images,
        their_images=images[:, ::-1] if arguments.their_bgr else None,
        fill_statistics=arguments.fill_statistics,
        any_order=arguments.any_order,
    )
    _show(found, every=arguments.layers)
    print(found)
    if arguments.out is not None:
        plots.save(plots.layer_differences(found), arguments.out)
        print(f"see {arguments.out}")
    return 0 if found.verdict == "equal" else 1


def _theirs(arguments: argparse.Namespace) -> Any:
    """Return the path of an ONNX file, or a PyTorch module."""
    from numpy_shufflenet import weights
    from numpy_shufflenet.compare.torch_network import load_factory, load_into

    if arguments.theirs.endswith(".onnx"):
        if arguments.their_weights is not None:
            raise ValueError("--their-weights is for MODULE:FUNCTION; an ONNX file has its weights")
        return expanded(arguments.theirs)
    sys.path.insert(0, os.getcwd())
    try:
        module = load_factory(arguments.theirs)
    finally:
        sys.path.remove(os.getcwd())
    if arguments.their_weights is not None:
        load_into(module, weights.load(arguments.their_weights))
    return module


def _preprocessed(arguments: argparse.Namespace, channels: int, size: int) -> Array:
    """Return images (n, c, size, size) in float32, ready for a network."""
    from numpy_shufflenet.data.standardise import to_float

    if arguments.images is None:
        images = random_images(arguments.count, channels, size)
    else:
        images = _read(arguments.images, arguments.count, channels, size)
    if arguments.preprocessing == "authors":
        return images[:, ::-1].astype(np.float32)
    if channels == 3:
        return to_float(images, MEAN, STD)
    return to_float(images, (GREY_MEAN,) * channels, (GREY_STD,) * channels)


def random_images(count: int, channels: int, size: int, seed: int = 0) -> Array:
    """Return uint8 images (count, channels, size, size) that differ in colours and noise."""
    rng = np.random.default_rng(seed)
    places = np.arange(size) * 4 // size
    patches = rng.uniform(0, 255, size=(count, channels, 4, 4))[:, :, places][..., places]
    noise = rng.normal(0, 1, size=(count, channels, size, size))
    contrast = rng.uniform(5, 60, size=(count, 1, 1, 1))
    return (patches + contrast * noise).clip(0, 255).astype(np.uint8)


def _read(folder: Path, count: int, channels: int, size: int) -> Array:
    from numpy_shufflenet.data import load_image
    from numpy_shufflenet.data.image_folder import SUFFIXES

    if not folder.is_dir():
        raise ValueError(f"--images {folder} is not a folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:count]
    if len(paths) < 2:
        raise ValueError(f"--images {folder} has {len(paths)} images; at least 2 are needed")
    return np.stack([load_image(path, size=size, channels=channels) for path in paths])


def _show(found: "NetworkComparison", *, every: bool) -> None:
    rows = [
        _cells(layer)
        for layer in found.layers
        if every or layer.kind in SHOWN or layer is found.first
    ]
    header = ["layer", "theirs", "shape", "difference", "relative", "rounding", "images apart", ""]
    show_table("Layers, and how far theirs is from ours", header, rows, left=3)


def _cells(layer: "LayerDifference") -> list[str]:
    numbers = layer.difference, layer.relative, layer.limit, layer.apart
    shape = " x ".join(map(str, layer.shape[1:]))
    mark = "differs" if layer.beyond else "reordered" if layer.reordered else ""
    return [layer.layer, layer.theirs, shape, *(f"{number:.1e}" for number in numbers), mark]
