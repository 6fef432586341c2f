"""Run by mpiexec: a training in which rank 1 fails after the first epoch, or before the start.

mpiexec -n 3 python tests/distributed/fails.py HOW CHECKPOINT
"""

import os
import signal
import sys

import numpy as np
import small_trainings

from numpy_shufflenet.distributed import AgreedError, world
from numpy_shufflenet.training import Distributed


def main(how, checkpoint):
    ranks = world()
    trainer = small_trainings.trainer("V2", epochs=4, checkpoint=checkpoint)
    if ranks.rank == 1 and how == "images":
        trainer.train_set.images[3, 0, 0, 0] ^= 1
    try:
        distributed = Distributed(trainer, ranks)
    except AgreedError as error:
        if ranks.rank == 0:
            print(error, file=sys.stderr)
        sys.exit(2)
    step, weights = trainer.optimiser.step, trainer.model.parameters()

    def fail():
        if trainer.step == 4 and (ranks.rank == 1 or how == "all"):
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if how in ("raise", "all"):
                raise KeyError("a defect")
            if how == "weights":
                next(iter(weights.values()))[...] += np.float64(2.0**-52)
        step()

    trainer.optimiser.step = fail
    distributed.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
