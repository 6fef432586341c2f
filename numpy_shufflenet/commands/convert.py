"""Convert a file of weights to another format, or to the names of another library.

examples:
  numpy-shufflenet convert shufflenetv2_x1-5666bf0f80.pth x1.safetensors
  numpy-shufflenet convert ShuffleNetV1-1.0x-group3.pth.tar v1.npz --layout native
  numpy-shufflenet convert mine.safetensors mine.pth --layout torchvision
  numpy-shufflenet convert x1_swish.pdparams x1.safetensors --layout native --activation swish

without --layout, names and numbers stay as they are, but half precision becomes float32;
with it, the network is recognised first, as models.from_weights does, and its channels get the
order of the layout

IN may be a file of safetensors, NumPy (.npz), PyTorch, PaddlePaddle or ONNX; OUT ends in
.safetensors, .npz, .pth or .pt
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy_shufflenet import models
from numpy_shufflenet._files import expanded
from numpy_shufflenet._text import shown
from numpy_shufflenet.nn.layers import ACTIVATIONS
from numpy_shufflenet.weights import layouts
from numpy_shufflenet.weights.files import TITLES, file_format, read_weights, save


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add = parser.add_argument
    add("source", type=expanded, metavar="IN")
    add("target", type=expanded, metavar="OUT")
    choices = ("native", "torchvision", "authors")
    add("--layout", choices=choices, help="names and order of channels in OUT")
    add("--activation", choices=tuple(ACTIVATIONS), help="if IN doesn't tell it; with --layout")
    add("--overwrite", action="store_true", help="replace OUT if it exists")


def run(arguments: argparse.Namespace) -> int:
    """Convert, and say what was recognised and written."""
    source, target, layout = arguments.source, arguments.target, arguments.layout
    options = {"activation": arguments.activation} if arguments.activation else {}
    if options and layout is None:
        raise ValueError("--activation needs --layout: without it, no network is built")
    if target.exists() and not arguments.overwrite:
        raise ValueError(f"{target} exists; --overwrite replaces it")
    arrays, metadata = read_weights(source)
    print(
        f"read {shown(source)}: {TITLES[file_format(source)]}, {len(arrays)} arrays; "
        f"{_title(arrays)}"
    )
    if layout is None:
        save(target, arrays, metadata)
        print(f"wrote {shown(target)}: the same arrays, by the same names")
        if metadata and target.suffix != ".safetensors":
            print(f"{target.suffix} has no place for {', '.join(metadata)}, which is left out")
    else:
        model = models.from_weights(source, **options)
        write_network(model, target, layout)
        print(f"wrote {shown(target)}: {model!r}, in the layout {layout}")
    return 0


def write_network(model: models.ImageClassifier, target: Path, layout: str) -> None:
    """Write a network in the format of the target's suffix."""
    model.save(target, layout)


def _title(arrays: Mapping[str, Any]) -> str:
    try:
        return f"recognised as {layouts.recognise(arrays)[0].title}"
    except ValueError as error:
        return str(error).partition(";")[0]
