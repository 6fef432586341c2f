"""Open any trained network: the network, how it wants its images, and names of its classes."""

from typing import NamedTuple

from numpy_shufflenet._files import PathLike
from numpy_shufflenet.data import (
    CIFAR10_CLASSES,
    PREPROCESSINGS,
    Preprocessing,
    imagenet_classes,
)
from numpy_shufflenet.models import ImageClassifier, from_weights
from numpy_shufflenet.training.checkpoint import FORMAT, Checkpoint, load_checkpoint
from numpy_shufflenet.weights.files import read_weights
from numpy_shufflenet.weights.layouts import TORCHVISION, recognise

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


class Trained(NamedTuple):
    """What `load_trained` returns."""

    #: The network with its weights.
    model: ImageClassifier
    #: How its images are prepared; None if the file doesn't tell.
    preprocessing: Preprocessing | None
    #: Names of the classes, in the order of the logits; None if they aren't known.
    classes: tuple[str, ...] | None


def load_trained(path: PathLike, *, preprocessing: str | None = None, **options: object) -> Trained:
    """Open a checkpoint, or any file of weights that `models.from_weights` reads.

    Parameters
    ----------
    path : path
    preprocessing : str, optional
        A name in `data.PREPROCESSINGS`, in place of that which follows from the file: a
        checkpoint has its own, and other files that of the library whose names they have.
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
