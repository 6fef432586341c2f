"""Moving pictures, for any notebook, of operations, units and networks, forward and backward."""

from numpy_shufflenet.plots.moving.channels import unit_channels
from numpy_shufflenet.plots.moving.network import network
from numpy_shufflenet.plots.moving.picture import MovingPicture
from numpy_shufflenet.plots.moving.stepper import step_through
from numpy_shufflenet.plots.moving.unit import unit
from numpy_shufflenet.plots.moving.wires import shuffle_wires

__all__ = ["MovingPicture", "network", "shuffle_wires", "step_through", "unit", "unit_channels"]
