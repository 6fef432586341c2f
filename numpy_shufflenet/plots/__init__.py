"""Pictures: of training and of what a network has learned, and operations that move.

Figures are drawn by matplotlib; moving pictures are HTML and need NumPy alone.
"""

from numpy_shufflenet.plots.figures import (
    confusion_matrix,
    filters,
    learning_curves,
    predictions,
    save,
)
from numpy_shufflenet.plots.gradients import gradient_map
from numpy_shufflenet.plots.insight import activations, occlusion, occlusion_map
from numpy_shufflenet.plots.moving import (
    MovingPicture,
    network,
    shuffle_wires,
    step_through,
    unit,
    unit_channels,
)

__all__ = [
    "MovingPicture",
    "activations",
    "confusion_matrix",
    "filters",
    "gradient_map",
    "learning_curves",
    "network",
    "occlusion",
    "occlusion_map",
    "predictions",
    "save",
    "shuffle_wires",
    "step_through",
    "unit",
    "unit_channels",
]
