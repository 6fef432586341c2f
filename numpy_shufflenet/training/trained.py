"""Open any trained network: the network, how it wants its images, and names of its classes.

`SHIPPED` is such a network, which is part of the package; a model card lies beside it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._files import PathLike
from numpy_shufflenet.data import (
    CIFAR10_CLASSES,
    PREPROCESSINGS,
    Dataset,
    Preprocessing,
    Standardise,
    imagenet_classes,
)
from numpy_shufflenet.data.preprocess import LONG_SIDE
from numpy_shufflenet.models import ImageClassifier, from_weights
from numpy_shufflenet.training._kinds import (
    finite_number,
    flag,
    list_of,
    object_with,
    one_of,
    text,
    whole_number,
)
from numpy_shufflenet.training._schema import LARGEST_SIDE
from numpy_shufflenet.training.checkpoint import FORMAT, Checkpoint, load_checkpoint
from numpy_shufflenet.training.loop import fingerprint
from numpy_shufflenet.weights.files import read_weights
from numpy_shufflenet.weights.layouts import TORCHVISION, recognise
from numpy_shufflenet.weights.safetensors import write_safetensors

SHIPPED = Path(__file__).parent / "cifar10.safetensors"
SOURCES = {  # by the titles of layouts
    "torchvision's V2": "imagenet-256",
    "the authors' V1": "authors",
    "the authors' V2": "authors",
    "pytorchcv's V1": "imagenet-256",
    "pytorchcv's V2": "imagenet-256",
    "pytorchcv's V2 b": "imagenet-256",
    "mmpretrain's V1": "imagenet-256",
    "mmpretrain's V2": "imagenet-256",
    "PaddlePaddle's V2": "paddlepaddle",
}
WIDE = (1.5, 2.0)  # scales of torchvision's networks that were evaluated with a short side of 232
CIFAR = {10: "cifar10", 100: "cifar100"}
_side = whole_number(1, LARGEST_SIDE)
DESCRIPTION = object_with(
    {
        "name": text,
        "resize": _side,
        "crop": _side,
        "standardise": list_of(list_of(finite_number()), 2),
        "style": one_of("fit", *LONG_SIDE),
        "bgr": flag,
    }
)


class Trained(NamedTuple):
    """What `load_trained` returns."""

    #: The network with its weights.
    model: ImageClassifier
    #: How its images are prepared; None if the file doesn't tell.
    preprocessing: Preprocessing | None
    #: Names of the classes, in the order of the logits; None if they aren't known.
    classes: tuple[str, ...] | None


def load_trained(
    path: PathLike = SHIPPED, *, preprocessing: str | None = None, **options: object
) -> Trained:
    """Open a checkpoint, or any file of weights that `models.from_weights` reads.

    Parameters
    ----------
    path : path
        By default the network in the package, ShuffleNet V2 0.5x for the classes of CIFAR-10.
    preprocessing : str, optional
        A name in `data.PREPROCESSINGS`, in place of that which follows from the file: a
        checkpoint and a file of `save_trained` have their own, and other files that of the
        library whose names they have.
    **options
        As in `models.from_weights`.

    Returns
    -------
    Trained

    Raises
    ------
    FileNotFoundError, ImportError, ValueError
        As `models.from_weights`; ValueError also if preprocessing is another name, or the network
        takes images of another number of channels, or has no classifier.
    """
    if preprocessing is not None and preprocessing not in PREPROCESSINGS:
        known = ", ".join(PREPROCESSINGS)
        raise ValueError(f"preprocessing={preprocessing!r} is not one of {known}")
    arrays, metadata = read_weights(path)
    model = from_weights(path, **options)
    if not model.num_classes:
        raise ValueError(f"{path} holds a network without a classifier, which names no classes")
    own: Preprocessing | None = None
    classes: tuple[str, ...] | None = imagenet_classes() if model.num_classes == 1000 else None
    if metadata.get("format") == FORMAT:
        checkpoint = load_checkpoint(path)
        own, classes = preprocessing_of(checkpoint), checkpoint.classes
    elif "preprocessing" in metadata:
        own, classes = _described(path, metadata, model.num_classes)
    elif "architecture" not in metadata:
        layout, config = recognise(arrays)[0], model.config
        name = SOURCES.get(layout.title)
        if layout is TORCHVISION and config.get("stem") == "small":
            name = CIFAR.get(model.num_classes)
            classes = CIFAR10_CLASSES if name == "cifar10" else classes
        elif layout is TORCHVISION and config.get("scale") in WIDE:
            name = "imagenet-232"
        own = PREPROCESSINGS[name] if name else None
    chosen = own if preprocessing is None else PREPROCESSINGS[preprocessing]
    if chosen is not None and chosen.channels != model.in_channels:
        if preprocessing is not None:
            raise ValueError(
                f"{path} holds a network for images of {model.in_channels} channels; "
                f"preprocessing={preprocessing!r} makes {chosen.channels}"
            )
        chosen = None
    return Trained(model, chosen, classes)


def preprocessing_of(checkpoint: Checkpoint) -> Preprocessing:
    """Return the preprocessing of the images of a training, as `data.load_image` reads them."""
    size = checkpoint.image_shape[1]
    return Preprocessing("checkpoint", size, size, checkpoint.standardise, "fit")


def was_trained_on(path: PathLike, dataset: Dataset) -> bool:
    """Whether a file is a checkpoint whose training set was exactly this one."""
    is_checkpoint = read_weights(path)[1].get("format") == FORMAT
    return is_checkpoint and load_checkpoint(path).fingerprint == fingerprint(dataset)


def save_trained(trained: Trained, path: PathLike, *, half: bool = False) -> None:
    """Write a network with all that `load_trained` returns to a safetensors file.

    Parameters
    ----------
    trained : Trained
    path : path
    half : bool
        Whether to round weights and running statistics to float16.

    Raises
    ------
    OSError
        If the file can't be written. Then the old file stays.
    ValueError
        If the preprocessing or the classes aren't known, or a number is too large for float16.
    """
    model, preprocessing, classes = trained
    if preprocessing is None or classes is None:
        raise ValueError(f"trained has {preprocessing=} and {classes=}; both are needed")
    arrays = model.state_dict()
    if half:
        with np.errstate(over="ignore"):
            rounded = {k: a.astype(np.float16) for k, a in arrays.items() if a.dtype.kind == "f"}
        for name, array in rounded.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds {np.abs(arrays[name]).max():g}, beyond float16")
        arrays |= rounded
    described = {
        "architecture": model.config,
        "preprocessing": asdict(preprocessing),
        "classes": classes,
    }
    write_safetensors(path, arrays, {name: json.dumps(value) for name, value in described.items()})


def _described(
    path: PathLike, metadata: Mapping[str, str], count: int
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Return the preprocessing and the classes in a file of `save_trained`."""
    try:
        own: dict[str, Any] = json.loads(metadata["preprocessing"])
        DESCRIPTION(own, "preprocessing")
        mean, std = own["standardise"]
        list_of(finite_number(0, above=True), len(mean))(std, "preprocessing.standardise[1]")
        classes = json.loads(metadata.get("classes", "null"))
        list_of(text, count)(classes, "classes")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its description is damaged: {error}") from error
    own["standardise"] = Standardise(tuple(mean), tuple(std))
    return Preprocessing(**own), tuple(classes)
