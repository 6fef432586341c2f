"""Weights of networks, written in our layout, torchvision's and the authors'."""

import inspect
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_shufflenet import models
from numpy_shufflenet._files import PathLike, expanded
from numpy_shufflenet._typing import Array
from numpy_shufflenet.models.classifier import ImageClassifier
from numpy_shufflenet.models.recognise import describe, renamed
from numpy_shufflenet.nn.initialise import without_weights
from numpy_shufflenet.weights import layouts
from numpy_shufflenet.weights.files import save
from numpy_shufflenet.weights.relabel import relabelled

UNTOLD = (
    *("stem", "shuffle", "shuffle_order", "residual", "pool_padding", "activation"),
    *("stride2_padding", "count_include_pad"),
)
FREE = (  # arguments that each layout can express, or that are looked at one by one
    *("groups", "scale", "widths", "num_classes", "in_channels", "stem", "layout", "dropout"),
    *("shuffle_order", "classifier", "classifier_bias", "seed"),
)


def save_model(model: ImageClassifier, path: PathLike, layout: str) -> None:
    """Write a network's weights in one of the layouts; see `ImageClassifier.save`."""
    state, config = model.state_dict(), model.config
    if layout == "native":
        if expanded(path).suffix != ".safetensors" and (untold := _untold(config, state)):
            raise ValueError(
                f"path={str(path)!r} can't hold {untold} of this network, which its shapes don't "
                "tell; a .safetensors file can"
            )
        save(path, state, {"architecture": json.dumps(config)})
        return
    if layout not in ("torchvision", "authors"):
        raise ValueError(f"layout={layout!r} is not one of 'native', 'torchvision', 'authors'")
    try:
        state = _expressed(state, config, layout)
    except ValueError as error:
        raise ValueError(f"layout={layout!r} can't express this network: {error}") from None
    if layout == "authors":
        v1 = config["name"] == "shufflenet_v1"
        state = layouts.from_ours(layouts.AUTHORS_V1 if v1 else layouts.AUTHORS_V2, state)
    save(path, state)


def _untold(config: Mapping[str, Any], state: Mapping[str, Array]) -> str:
    """Return an argument that `from_weights` could not find from names and shapes, or ""."""
    if config["name"] not in ("shufflenet_v1", "shufflenet_v2", "shufflenet_v2_50"):
        return f"name={config['name']!r}"
    for option in ("classifier", "batch_norm"):
        if config.get(option) is False:
            return f"{option}=False"
    with without_weights():
        found = models.build(describe(*renamed(state))).config
    differing = (
        f"{name}={config[name]!r}" for name in UNTOLD if found.get(name) != config.get(name)
    )
    return next(differing, "")


def _expressed(
    state: Mapping[str, Array], config: Mapping[str, Any], layout: str
) -> dict[str, Array]:
    """Return the arrays by our names, with the channel order and the bias of a layout."""
    state, name = dict(state), config["name"]
    if name not in ("shufflenet_v1", "shufflenet_v2"):
        raise ValueError(f"it is {name}")
    for option, parameter in inspect.signature(models.MODELS[name]).parameters.items():
        if option not in FREE and config.get(option, parameter.default) != parameter.default:
            raise ValueError(f"it has {option}={config[option]!r}")
    if name == "shufflenet_v2":
        kept, others = (state[f"stage2.0.{part}.weight"] for part in ("branch1.2", "branch2.5"))
        halves = len(kept) == len(others)
        if not (halves if layout == "torchvision" else kept.shape[0] == kept.shape[1]):
            raise ValueError(
                f"it has layout={config['layout']!r}, whose first unit has other shapes"
            )
    elif layout == "torchvision":
        raise ValueError("torchvision has no V1")
    bias = state.pop("fc.bias", None)
    order = "paper" if layout == "torchvision" else "authors"
    if config["shuffle_order"] != order:
        if "fc.weight" not in state:
            raise ValueError("it has no classifier, and its output's channels would change places")
        state = relabelled(state, order)
    if layout == "torchvision" and "fc.weight" in state:
        weight = state["fc.weight"]
        state["fc.bias"] = np.zeros(len(weight), weight.dtype) if bias is None else bias
    elif bias is not None and bias.any():
        raise ValueError("it has a bias in its classifier")
    return state
