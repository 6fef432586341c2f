"""What a network costs: FLOPs, memory access, the four guidelines, the audit of a network."""

from numpy_shufflenet.cost.counts import CONVENTIONS, Cost, Counts
from numpy_shufflenet.cost.kinds import ORDER
from numpy_shufflenet.cost.network import LayerCost, NetworkCost, count
from numpy_shufflenet.cost.published import Figure, compare

__all__ = [
    "CONVENTIONS",
    "ORDER",
    "Cost",
    "Counts",
    "Figure",
    "LayerCost",
    "NetworkCost",
    "compare",
    "count",
]
