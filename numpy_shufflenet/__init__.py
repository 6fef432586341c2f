"""ShuffleNet V1 and V2 that you can take apart: every backward pass written by hand.

    import numpy_shufflenet as ns

    model = ns.shufflenet_v2(scale=0.5, seed=0)              # a network; ns.models has more
    logits = model.infer(images)                             # (n, 3, 224, 224) -> (n, 1000)

    y, cache = ns.ops.conv2d_forward(x, w, stride=2)         # an operation, in NumPy
    dx, dw, db = ns.ops.conv2d_backward(dy, cache)           # also in ns.steps and ns.kernels

    verdict = ns.check_pair(my_forward, my_backward, x, w)   # is this gradient right?
    verdict = ns.check_model(model, images, labels)          # are all gradients of a network right?

Packages and functions load when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from numpy_shufflenet._version import __version__ as __version__

if TYPE_CHECKING:
    from numpy_shufflenet import backend as backend
    from numpy_shufflenet import compare as compare
    from numpy_shufflenet import cost as cost
    from numpy_shufflenet import data as data
    from numpy_shufflenet import exercises as exercises
    from numpy_shufflenet import gradcheck as gradcheck
    from numpy_shufflenet import kernels as kernels
    from numpy_shufflenet import models as models
    from numpy_shufflenet import nn as nn
    from numpy_shufflenet import operations as operations
    from numpy_shufflenet import ops as ops
    from numpy_shufflenet import plots as plots
    from numpy_shufflenet import steps as steps
    from numpy_shufflenet import strategies as strategies
    from numpy_shufflenet import training as training
    from numpy_shufflenet import weights as weights
    from numpy_shufflenet import zoo as zoo
    from numpy_shufflenet.data import load_dataset as load_dataset
    from numpy_shufflenet.gradcheck import assert_gradients as assert_gradients
    from numpy_shufflenet.gradcheck import check_model as check_model
    from numpy_shufflenet.gradcheck import check_pair as check_pair
    from numpy_shufflenet.models import from_weights as from_weights
    from numpy_shufflenet.models import shufflenet_v1 as shufflenet_v1
    from numpy_shufflenet.models import shufflenet_v2 as shufflenet_v2
    from numpy_shufflenet.training import SGD as SGD
    from numpy_shufflenet.training import Trainer as Trainer
    from numpy_shufflenet.training import evaluate as evaluate

_PACKAGES = (
    *("backend", "compare", "cost", "data", "exercises", "gradcheck", "kernels", "models", "nn"),
    *("operations", "ops", "plots", "steps", "strategies", "training", "weights", "zoo"),
)
_HOMES = {
    "SGD": "training",
    "Trainer": "training",
    "assert_gradients": "gradcheck",
    "check_model": "gradcheck",
    "check_pair": "gradcheck",
    "evaluate": "training",
    "from_weights": "models",
    "load_dataset": "data",
    "shufflenet_v1": "models",
    "shufflenet_v2": "models",
}
__all__ = sorted([*_PACKAGES, *_HOMES])


def __getattr__(name: str) -> Any:
    """Import a package, or a function's package, when it is first asked for (PEP 562)."""
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
