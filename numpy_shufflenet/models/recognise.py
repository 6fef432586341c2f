"""Networks from weights: names and shapes show which network the weights belong to."""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_shufflenet import models
from numpy_shufflenet._files import PathLike, expanded
from numpy_shufflenet._typing import Array
from numpy_shufflenet.models.classifier import ImageClassifier
from numpy_shufflenet.models.from_onnx import from_onnx, has_nodes
from numpy_shufflenet.models.v1 import REPEATS, STAGE2_CHANNELS, STEM_CHANNELS, v1_widths
from numpy_shufflenet.models.v2 import WIDTHS
from numpy_shufflenet.nn.initialise import without_weights
from numpy_shufflenet.weights import layouts
from numpy_shufflenet.weights.files import read_weights

CIFAR = (10, 100)  # classes
AUTHORS_DROPOUT = {2.0: 0.2}  # by scale, of V2


def from_weights(source: PathLike | Mapping[str, Array], **options: Any) -> ImageClassifier:
    """Return the ShuffleNet to which some weights belong, with these weights, in float32.

    The network is in float64 if weights are.

    This function knows the networks of torchvision, of the authors, of pytorchcv, mmpretrain,
    PaddlePaddle and pytorch-cifar-models, and backbones of detectors: `weights.layouts` has the
    table. Wrappers and prefixes ("state_dict", "ema", "module", "backbone", ...) are removed.

    `from_onnx` reads an ONNX file, unless the file holds initialisers without a graph.

    A network without classifier is a feature extractor: see `ImageClassifier.stage_outputs`.

    Parameters
    ----------
    source : path, or dict of str to array
        A file that `weights.load` reads, or the result of `weights.load`.
    **options
        Arguments of `shufflenet_v1` or `shufflenet_v2` that the weights don't show, such as
        dropout. The default of `stem` is "small" for 10 and 100 classes with torchvision's names
        (as in pytorch-cifar-models), and "imagenet" otherwise. The default of `activation` is
        "leaky_relu" for NanoDet's whole detector, and "relu" otherwise. PaddlePaddle's network
        with swish has the same shapes as its network with ReLU.

    Raises
    ------
    FileNotFoundError, ImportError
        As `weights.load`.
    ValueError
        If the file is damaged or belongs to another network, an entry is missing, unknown or
        misshapen, or our functions can't build the network. The message names the file and the
        reason.
    """
    if isinstance(source, Mapping):
        return _from_arrays(source, {}, options)
    if expanded(source).suffix == ".onnx" and has_nodes(source):
        return from_onnx(source, **options)
    arrays, metadata = read_weights(source)
    if "checkpoint" in metadata:
        from numpy_shufflenet.training import load_checkpoint

        _check_no_options(options, "a checkpoint")
        model = load_checkpoint(source).build_model()
        assert isinstance(model, ImageClassifier)
        return model
    try:
        return _from_arrays(arrays, metadata, options)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _from_arrays(
    arrays: Mapping[str, Array], metadata: Mapping[str, str], options: dict[str, Any]
) -> ImageClassifier:
    if "architecture" in metadata:
        from numpy_shufflenet.training._schema import architecture

        try:
            config = json.loads(metadata["architecture"])
            architecture(config, "architecture")
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its description of the network is damaged: {error}") from error
        _check_no_options(options, "a file that says how its network is built")
        state = dict(arrays)
        claimed = config.get("num_classes", 1000)
        if "fc.weight" in state and np.shape(state["fc.weight"])[:1] != (claimed,):
            raise ValueError(f"it has num_classes={claimed}, but fc.weight does not")
        return _built(config, state, {})
    layout, state = renamed(arrays)
    try:
        config = describe(layout, state)
        if not config.get("classifier", True) and layout is layouts.TORCHVISION:
            if any(layouts.NANODET_HEAD in name for name in arrays):
                config["activation"] = "leaky_relu"
            elif "activation" not in options:
                raise ValueError(
                    "it has torchvision's names and no classifier, and nothing tells its "
                    "activation; pass activation='leaky_relu' if it is NanoDet's backbone, or "
                    "activation='relu'"
                )
        return _built(config, state, options)
    except ValueError as error:
        raise ValueError(_in_their_words(str(error), layout)) from error


def _in_their_words(message: str, layout: layouts.Layout) -> str:
    """Return a message in which our names of arrays are replaced by the names in the file."""
    ours = re.findall(r"\w+(?:\.\w+)+", message)
    theirs = layouts.their_names(layout, ours)
    return re.sub(r"\w+(?:\.\w+)+", lambda name: theirs[name[0]] or name[0], message)


def _built(
    config: dict[str, Any], state: Mapping[str, Array], options: Mapping[str, Any]
) -> ImageClassifier:
    """Build the network of a config, in which options replace arguments, and load its state."""
    config |= options
    try:
        with without_weights():
            model = models.build(config)
    except TypeError as error:
        raise ValueError(f"options={options} don't fit {config['name']}: {error}") from None
    wrong = [
        f"{name} has dtype {state[name].dtype}"
        for name in model.parameters()
        if name in state and np.asarray(state[name]).dtype.kind != "f"
    ]
    if wrong:
        raise ValueError(f"{wrong[0]}; floating-point weights are needed")
    shapes = {name: np.shape(array) for name, array in state.items()}
    fits = all(shapes.get(name) == p.shape for name, p in model.parameters().items())
    if fits and any(np.asarray(array).dtype == np.float64 for array in state.values()):
        model = model.astype(np.float64)
    model.load_state_dict(state)
    return model


def renamed(arrays: Mapping[str, Array]) -> tuple[layouts.Layout, dict[str, Array]]:
    """Return the layout of some weights, and the weights by our names, in our order."""
    layout, own = layouts.recognise(arrays)
    return layout, layouts.to_ours(layout, own)


def _check_no_options(options: Mapping[str, Any], kind: str) -> None:
    if options:
        raise ValueError(f"options={dict(options)} can't change {kind}")


def _shape(state: Mapping[str, Array], name: str, axes: int) -> tuple[int, ...]:
    if name not in state:
        raise ValueError(f"{name} is missing")
    shape = np.shape(state[name])
    if len(shape) != axes or 0 in shape:
        raise ValueError(f"{name} has shape {shape}; {axes} axes are needed")
    return shape


def describe(layout: layouts.Layout, state: Mapping[str, Array]) -> dict[str, Any]:
    """Return the config of the network, as far as names and shapes show it."""
    v1 = "stage2.0.branch.0.weight" in state
    if "conv6.0.weight" not in state:
        _check_units(state)
    config: dict[str, Any] = {**layout.options}
    stem, config["in_channels"], _, _ = _shape(state, "conv1.0.weight", 4)
    config["se"] = any(".se." in name for name in state)
    if "fc.weight" in state:
        config["num_classes"], _ = _shape(state, "fc.weight", 2)
        config["classifier_bias"] = "fc.bias" in state
    if v1:
        return _describe_v1(stem, config, state)
    if "conv6.0.weight" in state:
        large = "se_shufflenet_v2_164" if config["se"] else "shufflenet_v2_50"
        return {key: value for key, value in config.items() if key != "se"} | {"name": large}
    return _describe_v2(layout, stem, config, state)


def _check_units(state: Mapping[str, Array]) -> None:
    """Raise unless the stages have the number of units of V1 and V2."""
    counts = [0, 0, 0]
    for name in state:
        if place := re.match(r"stage([234])\.(\d+)\.", name):
            stage, unit = int(place[1]) - 2, int(place[2])
            counts[stage] = max(counts[stage], unit + 1)
    if counts != list(REPEATS):
        found, needed = (", ".join(map(str, c[:2])) + f" and {c[2]}" for c in (counts, REPEATS))
        raise ValueError(
            f"it is a ShuffleNet of another depth: its stages have {found} units; {needed} are "
            "needed"
        )


def _describe_v1(stem: int, config: dict[str, Any], state: Mapping[str, Array]) -> dict[str, Any]:
    for axes, name in ((1, "stage2.0.branch.5.weight"), (4, "stage2.0.branch.6.weight")):
        _shape(state, name, axes)
    groups = layouts.groups_of(state)
    if groups not in STAGE2_CHANNELS:
        raise ValueError(f"it has {groups} groups; 1, 2, 3, 4 or 8 are needed")
    widths = [stem, *(_shape(state, f"stage{k}.1.branch.6.weight", 4)[0] for k in (2, 3, 4))]
    if "num_classes" not in config:
        raise ValueError("fc.weight is missing: V1 is read with its classifier only")
    scales = [scale for scale in STEM_CHANNELS if widths == v1_widths(groups, scale)]
    size = {"scale": scales[0]} if scales else {"widths": widths}
    return {"name": "shufflenet_v1", "groups": groups, **size, **config}


def _describe_v2(
    layout: layouts.Layout, stem: int, config: dict[str, Any], state: Mapping[str, Array]
) -> dict[str, Any]:
    kept = [_shape(state, f"stage{k}.0.branch1.2.weight", 4)[0] for k in (2, 3, 4)]
    extra = "stage2.0.branch2.8.weight" in state  # V2* has two layers more in front
    last = "branch2.7.weight" if extra else "branch2.5.weight"
    stages = [
        first + _shape(state, f"stage{k}.0.{last}", 4)[0]
        for k, first in zip((2, 3, 4), kept, strict=True)
    ]
    halves = [2 * first for first in kept] == stages
    head = _shape(state, "conv5.0.weight", 4)[0] if "conv5.0.weight" in state else 0
    config["layout"] = "torchvision" if halves else "paper"
    if "num_classes" not in config:
        config["classifier"] = False
    scales = [
        scale
        for scale, widths in WIDTHS.items()
        if [stem, *stages] == [24, *widths[:3]]
        if head in (0, widths[3])
    ]
    size = {"scale": scales[0]} if scales else {"widths": [stem, *stages, head or 1024]}
    if layout is layouts.TORCHVISION and config.get("num_classes") in CIFAR:
        config["stem"] = "small"
    if layout is layouts.AUTHORS_V2 and scales:
        config["dropout"] = AUTHORS_DROPOUT.get(scales[0], 0.0)
    return {"name": "shufflenet_v2", **size, "extra_depthwise": extra, **config}
