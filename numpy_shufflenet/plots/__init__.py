"""Pictures of training, of what a network has learned and of what it costs, by matplotlib."""

from numpy_shufflenet.plots.costs import (
    channels_at_budget,
    cost_by_kind,
    cost_by_layer,
    guideline,
    reachability,
)
from numpy_shufflenet.plots.figures import (
    confusion_matrix,
    filters,
    learning_curves,
    predictions,
    save,
)

__all__ = [
    "channels_at_budget",
    "confusion_matrix",
    "cost_by_kind",
    "cost_by_layer",
    "filters",
    "guideline",
    "learning_curves",
    "predictions",
    "reachability",
    "save",
]
