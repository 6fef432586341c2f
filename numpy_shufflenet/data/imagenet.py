"""The names of ImageNet's 1000 classes, which are part of the package."""

import functools
from pathlib import Path

NAMES = Path(__file__).parent / "imagenet_classes.txt"


@functools.cache
def imagenet_classes() -> tuple[str, ...]:
    """Return the names of the 1000 classes of ImageNet, in the order of usual networks' logits.

    Raises
    ------
    FileNotFoundError
        If the installed file is missing.

    Source: torchvision 0.28.0, BSD licence in LICENSE-imagenet-classes. The classes are those of
    Russakovsky et al., ImageNet large scale visual recognition challenge, 2015.
    """
    if not NAMES.is_file():
        raise FileNotFoundError(f"{NAMES} is missing; install numpy_shufflenet again")
    return tuple(NAMES.read_text(encoding="utf-8").splitlines())
