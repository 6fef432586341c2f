"""Named settings of `numpy-shufflenet train`, which options on the command line override."""

from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    # For random weights and 32 x 32 pixels in colour. A network of 0.35 million weights underfits
    # in so few epochs, so there is no augmentation beyond a mirror image and a shift.
    "cifar10": {
        "epochs": 40,
        "batch_size": 128,
        "learning_rate": 0.4,
        "schedule": "cosine",
        "warmup": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "crop_padding": 4,
        "average": 0.999,
    },
}
