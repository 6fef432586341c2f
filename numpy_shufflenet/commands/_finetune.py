"""Fine-tuning: train a network of `--weights` on other images, with parts of it frozen."""

import argparse
from typing import Any

from numpy_shufflenet.data import Dataset, Standardise
from numpy_shufflenet.models import ImageClassifier
from numpy_shufflenet.training.trained import Trained, load_trained

FIXED = ("model", "groups", "scale", "layout", "se", "shuffle")  # what the weights determine
LEARNING_RATE = 0.05  # by default; lower than for random weights, as is usual, but not tuned


def opened(arguments: argparse.Namespace) -> Trained | None:
    """Open the network of --weights, or return None if there is none.

    Raises
    ------
    ValueError
        If --freeze is given without --weights, if an argument would change the network's shapes,
        or if `load_trained` raises it.
    """
    if arguments.weights is None:
        if arguments.freeze:
            raise ValueError(
                f"--freeze {arguments.freeze} would freeze random weights; give --weights, too"
            )
        return None
    given = [name for name in FIXED if getattr(arguments, name) is not None]
    if given:
        flags = ", ".join("--no-shuffle" if name == "shuffle" else f"--{name}" for name in given)
        raise ValueError(f"{flags} can't change the network of --weights; leave it out")
    return load_trained(arguments.weights)


def image_size(trained: Trained) -> int:
    """Return the height and width of the images that a network was trained on."""
    preprocessing = trained.preprocessing
    return trained.model.default_size if preprocessing is None else preprocessing.crop


def adapted(
    trained: Trained, train_set: Dataset, arguments: argparse.Namespace
) -> tuple[ImageClassifier, Standardise | None]:
    """Return the network for the classes of a dataset, and how its input is standardised.

    The network keeps its classifier if its classes have the same names in the same order.
    Otherwise, it gets a new one. A network for BGR becomes one for RGB: the input channels of its
    first convolution are swapped.

    Raises
    ------
    ValueError
        If the images have another number of channels.
    """
    model, preprocessing, classes = trained
    channels = train_set.images.shape[1]
    if channels != model.in_channels:
        raise ValueError(
            f"--data {arguments.data} has images of {channels} channels, but the network of "
            f"{arguments.weights} takes {model.in_channels}"
        )
    options: dict[str, Any] = {"stem": arguments.stem, "dropout": arguments.dropout}
    options = {name: value for name, value in options.items() if value is not None}
    found = model.with_classes(len(train_set.classes), seed=arguments.seed, **options)
    kept = classes == train_set.classes
    if kept:
        found.load_state_dict(model.state_dict())
    if preprocessing is not None and preprocessing.bgr:
        first = found.conv1[0].parameters()["weight"]  # o c kh kw
        first[...] = first[:, ::-1].copy()
    if arguments.freeze:
        found.freeze(*arguments.freeze.split(","))
    which = "its classifier" if kept else f"a new classifier for {len(train_set.classes)} classes"
    frozen = ", ".join(found.frozen_layers()) or "nothing"
    print(f"fine-tuning {arguments.weights} with {which}; frozen: {frozen}")
    return found, None if preprocessing is None else preprocessing.standardise
