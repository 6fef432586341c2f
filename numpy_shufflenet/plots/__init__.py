"""Pictures of training and of what a network has learned, drawn by matplotlib."""

from numpy_shufflenet.plots.figures import (
    confusion_matrix,
    filters,
    learning_curves,
    predictions,
    save,
)

__all__ = ["confusion_matrix", "filters", "learning_curves", "predictions", "save"]
