"""Convert weights between files and layouts.

examples
  numpy-shufflenet convert shufflenetv2_x1-5666bf0f80.pth x1.safetensors
  numpy-shufflenet convert ShuffleNetV1-1.0x-group3.pth.tar v1.npz --layout native
  numpy-shufflenet convert mine.safetensors mine.pth --layout torchvision
  numpy-shufflenet convert x1_swish.pdparams x1.safetensors --layout native --activation swish
  numpy-shufflenet convert runs/demo/checkpoint.safetensors demo.onnx --batch 1

without --layout, names and numbers stay as they are, but half precision becomes float32;
with it, the network is recognised first, as models.from_weights does, and its channels get the
order of the layout

if OUT ends in .onnx, the whole network is written for other engines, as model.export does; a
checkpoint adds the size of its images, their normalisation, and the names of the classes

IN may be a file of safetensors, NumPy (.npz), PyTorch, PaddlePaddle or ONNX; OUT ends in
.safetensors, .npz, .pth, .pt or .onnx
"""

import argparse
from collections.abc import Mapping
from typing import Any

from numpy_shufflenet import models
from numpy_shufflenet._files import expanded
from numpy_shufflenet._text import shown
from numpy_shufflenet.commands._common import positive_int
from numpy_shufflenet.nn.layers import ACTIVATIONS
from numpy_shufflenet.weights import layouts
from numpy_shufflenet.weights.files import TITLES, file_format, read_weights, save


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("source", type=expanded, metavar="IN")
    add("target", type=expanded, metavar="OUT")
    choices = ("native", "torchvision", "authors")
    add("--layout", choices=choices, help="names and order of channels in OUT")
    help_of_activation = "activation of the network, if IN doesn't show it; for --layout or .onnx"
    add("--activation", choices=tuple(ACTIVATIONS), help=help_of_activation)
    add("--overwrite", action="store_true", help="replace OUT if it exists")
    graph = parser.add_argument_group("graph, if OUT ends in .onnx").add_argument
    graph("--batch", type=positive_int, help="fixed number of images (default: any number)")
    graph("--size", type=positive_int, help="height and width of the images in pixels")


def run(arguments: argparse.Namespace) -> int:
    """Convert, and say what was recognised and written."""
    source, target, layout = arguments.source, arguments.target, arguments.layout
    graph = target.suffix == ".onnx"
    if arguments.activation and layout is None and not graph:
        raise ValueError("--activation needs --layout: without it, no network is built")
    if graph and layout is not None:
        raise ValueError(f"--layout {layout} is for weights, and OUT is a graph")
    if (arguments.batch or arguments.size) and not graph:
        raise ValueError(f"--batch and --size are for .onnx, and OUT is {target}")
    if target.exists() and not arguments.overwrite:
        raise ValueError(f"{target} exists; --overwrite replaces it")
    arrays, metadata = read_weights(source)
    print(
        f"read {shown(source)}: {TITLES[file_format(source)]}, {len(arrays)} arrays; "
        f"{_title(arrays)}"
    )
    if layout is None and not graph:
        save(target, arrays, metadata)
        print(f"wrote {shown(target)}: the same arrays, by the same names")
        if metadata and target.suffix != ".safetensors":
            print(f"{target.suffix} has no place for {', '.join(metadata)}, which is left out")
        return 0
    options = {"activation": arguments.activation} if arguments.activation else {}
    model = models.from_weights(source, **options)
    if graph:
        model.export(target, **_about_images(arguments, metadata))
        print(f"wrote {shown(target)}: {model!r}, as a graph")
    else:
        model.save(target, layout)
        print(f"wrote {shown(target)}: {model!r}, in the layout {layout}")
    return 0


def _about_images(arguments: argparse.Namespace, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what the graph says of its images; for a checkpoint also size, mean, std, classes."""
    from numpy_shufflenet.training import load_checkpoint

    settings: dict[str, Any] = {"batch": arguments.batch or "any", "size": arguments.size}
    if "checkpoint" in metadata:
        checkpoint = load_checkpoint(arguments.source)
        settings["size"] = arguments.size or checkpoint.image_shape[1:]
        mean, std = checkpoint.standardise
        settings |= {"classes": checkpoint.classes, "mean": mean, "std": std}
        settings["channel_order"] = "RGB" if checkpoint.image_shape[0] == 3 else None
    return settings


def _title(arrays: Mapping[str, Any]) -> str:
    try:
        return f"recognised as {layouts.recognise(arrays)[0].title}"
    except ValueError as error:
        return str(error).partition(";")[0]
