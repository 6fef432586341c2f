"""Several processes that train one network: what they exchange, by MPI or simulated in threads."""

from numpy_shufflenet.distributed.communicator import Communicator, Single
from numpy_shufflenet.distributed.simulated import simulate

__all__ = ["Communicator", "Single", "simulate"]
