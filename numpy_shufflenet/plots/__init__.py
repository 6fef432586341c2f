"""Pictures of a training, of a network's cost, and of what the network has learned.

matplotlib draws the figures. Moving pictures, which readers can play, are HTML and need only NumPy.
"""

from numpy_shufflenet.plots.classes import accuracy_by_class, similarity, wilson_interval
from numpy_shufflenet.plots.comparison import layer_differences
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
from numpy_shufflenet.plots.gradients import gradient_map
from numpy_shufflenet.plots.insight import (
    activations,
    occlusion,
    occlusion_map,
    strongest_images,
)
from numpy_shufflenet.plots.moving import (
    MovingPicture,
    network,
    shuffle_wires,
    step_through,
    unit,
    unit_channels,
)
from numpy_shufflenet.plots.roofline import Work, roofline
from numpy_shufflenet.plots.scaling import scaling_efficiency

__all__ = [
    "MovingPicture",
    "Work",
    "accuracy_by_class",
    "activations",
    "channels_at_budget",
    "confusion_matrix",
    "cost_by_kind",
    "cost_by_layer",
    "filters",
    "gradient_map",
    "guideline",
    "layer_differences",
    "learning_curves",
    "network",
    "occlusion",
    "occlusion_map",
    "predictions",
    "reachability",
    "roofline",
    "save",
    "scaling_efficiency",
    "shuffle_wires",
    "similarity",
    "step_through",
    "strongest_images",
    "unit",
    "unit_channels",
    "wilson_interval",
]
