"""Networks from weights: which one they are of follows from names and shapes."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_shufflenet import models
from numpy_shufflenet._files import PathLike, expanded
from numpy_shufflenet._typing import Array
from numpy_shufflenet.models.classifier import ImageClassifier
from numpy_shufflenet.models.from_onnx import from_onnx, has_nodes
from numpy_shufflenet.models.v1 import STAGE2_CHANNELS, STEM_CHANNELS, v1_widths
from numpy_shufflenet.models.v2 import WIDTHS
from numpy_shufflenet.nn.initialise import without_weights
from numpy_shufflenet.weights import layouts
from numpy_shufflenet.weights.files import read_weights, save

CIFAR = (10, 100)  # classes
UNTOLD = (
    *("stem", "shuffle", "shuffle_order", "residual", "pool_padding"),
    *("stride2_padding", "count_include_pad"),
)
AUTHORS_DROPOUT = {2.0: 0.2}  # by scale, of V2


def from_weights(source: PathLike | Mapping[str, Array], **options: Any) -> ImageClassifier:
    """Return the ShuffleNet that some weights are of, with these weights.

    Recognised are the networks of torchvision, of the authors, of pytorchcv, mmpretrain,
    PaddlePaddle, pytorch-cifar-models, and backbones of detectors: `weights.layouts` has the table.
    Wrappers and prefixes ("state_dict", "ema", "module", "backbone", ...) are taken off.

    An ONNX file is read by `from_onnx`, unless it holds initialisers without a graph.

    A network without classifier is a feature extractor: see `ImageClassifier.stage_outputs`.

    Parameters
    ----------
    source : path, or dict of str to array
        A file that `weights.load` reads, or what that returned.
    **options
        Arguments of `shufflenet_v1` or `shufflenet_v2` that leave no trace in the weights, such as
        dropout. The stem is small for 10 and 100 classes with torchvision's names (as in
        pytorch-cifar-models), and "imagenet" elsewhere, unless `stem` says otherwise.

    Returns
    -------
    ImageClassifier, in float32, or in float64 if weights are

    Raises
    ------
    FileNotFoundError, ImportError
        As `weights.load`.
    ValueError
        If the file is damaged, or of another network; an entry is missing, unknown or misshapen;
        or the library can't express the network. The message names the file and the reason.
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
    else:
        layout, state = _renamed(arrays)
        config = _describe(layout, state)
        backbone = not config.get("classifier", True) and layout is layouts.TORCHVISION
        if backbone and "classifier" not in options:
            raise ValueError(
                "it has torchvision's names without a classifier, as NanoDet's backbone, which has "
                "LeakyReLU; this library has none. If this one was trained with ReLU, pass "
                "classifier=False"
            )
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


def _renamed(arrays: Mapping[str, Array]) -> tuple[layouts.Layout, dict[str, Array]]:
    layout, own = layouts.recognise(arrays)
    return layout, layouts.to_ours(layout, own)


def _check_no_options(options: Mapping[str, Any], kind: str) -> None:
    if options:
        raise ValueError(f"options={dict(options)} can't change {kind}")


def _shape(state: Mapping[str, Array], name: str, axes: int) -> tuple[int, ...]:
    if name not in state:
        raise ValueError(f"{name} (by our name) is missing")
    shape = np.shape(state[name])
    if len(shape) != axes or 0 in shape:
        raise ValueError(f"{name} (by our name) has shape {shape}; {axes} axes are needed")
    return shape


def _describe(layout: layouts.Layout, state: Mapping[str, Array]) -> dict[str, Any]:
    """Return the config of the network, as far as shapes tell it."""
    v1 = "stage2.0.branch.0.weight" in state
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


def _describe_v1(stem: int, config: dict[str, Any], state: Mapping[str, Array]) -> dict[str, Any]:
    for axes, name in ((1, "stage2.0.branch.5.weight"), (4, "stage2.0.branch.6.weight")):
        _shape(state, name, axes)
    groups = layouts.groups_of(state)
    if groups not in STAGE2_CHANNELS:
        raise ValueError(f"it has {groups} groups; 1, 2, 3, 4 or 8 are needed")
    widths = [stem, *(_shape(state, f"stage{k}.1.branch.6.weight", 4)[0] for k in (2, 3, 4))]
    if "num_classes" not in config:
        raise ValueError("fc.weight (by our name) is missing: V1 is read with its classifier only")
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
    if reason := _why_not(config, layout, state):
        raise ValueError(f"layout={layout!r} can't express this network: {reason}")
    if layout == "authors":
        v1 = config["name"] == "shufflenet_v1"
        state = layouts.from_ours(layouts.AUTHORS_V1 if v1 else layouts.AUTHORS_V2, state)
    save(path, state)


def _untold(config: Mapping[str, Any], state: Mapping[str, Array]) -> str:
    """Return an argument that `from_weights` would not find again without being told, or ""."""
    if config["name"] not in ("shufflenet_v1", "shufflenet_v2", "shufflenet_v2_50"):
        return f"name={config['name']!r}"
    for option in ("classifier", "batch_norm"):
        if config.get(option) is False:
            return f"{option}=False"
    with without_weights():
        found = models.build(_describe(*_renamed(state))).config
    differing = (
        f"{name}={config[name]!r}" for name in UNTOLD if found.get(name) != config.get(name)
    )
    return next(differing, "")


def _why_not(config: Mapping[str, Any], layout: str, state: Mapping[str, Array]) -> str:
    """Return what a layout can't express of a network, or ""."""
    name, order = config["name"], config.get("shuffle_order", "paper")
    if name not in ("shufflenet_v1", "shufflenet_v2"):
        return f"it is {name}"
    for option in ("se", "residual", "extra_depthwise", "stride2_padding"):
        if config.get(option):
            return f"it has {option}={config[option]}"
    for option in ("shuffle", "batch_norm", "count_include_pad"):
        if config.get(option) is False:
            return f"it has {option}=False"
    if layout == "torchvision":
        first = state.get("stage2.0.branch1.2.weight")
        if first is None:
            return "torchvision has no V1"
        if order != "paper":
            return f"it has shuffle_order={order!r}, torchvision has the paper's"
        if 2 * len(first) != len(first) + len(state["stage2.0.branch2.5.weight"]):
            return "it has layout='paper', whose first unit has other shapes"
        return "it has no bias in its classifier" if "fc.bias" not in state else ""
    if order != "authors":
        return "it has shuffle_order='paper'; build it with shuffle_order='authors'"
    kept = state.get("stage2.0.branch1.2.weight")
    if kept is not None and kept.shape[0] != kept.shape[1]:
        return "it has layout='torchvision', whose first unit has other shapes"
    return "it has a bias in its classifier" if "fc.bias" in state else ""
