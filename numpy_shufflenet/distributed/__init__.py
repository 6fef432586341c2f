"""Several processes that train one network: what they exchange, by MPI or simulated in threads."""

from numpy_shufflenet.distributed.agree import AgreedError, check_equal, together
from numpy_shufflenet.distributed.buckets import BUCKET_BYTES, Buckets
from numpy_shufflenet.distributed.communicator import Communicator, Single
from numpy_shufflenet.distributed.mpi import launched, world
from numpy_shufflenet.distributed.simulated import simulate

__all__ = [
    "BUCKET_BYTES",
    "AgreedError",
    "Buckets",
    "Communicator",
    "Single",
    "check_equal",
    "launched",
    "simulate",
    "together",
    "world",
]
