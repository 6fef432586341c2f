"""Run by mpiexec: ranks compute what one process computes. Rank 0 prints the differences.

mpiexec -n 3 python tests/distributed/equal.py V1 V2
"""

import json
import sys

import small_trainings

from numpy_shufflenet import backend
from numpy_shufflenet.distributed import world

CASES = {
    "V1": {"accumulation": 2, "dropout": 0.3},
    "V2": {"weight_decay": 0.0, "momentum": 0.5, "nesterov": False},
}
AGAIN = {"sync_batch_norm": False, "steps": 6}


def main(ranks, names):
    found = {"size": ranks.size}
    for name in names:
        settings = CASES[name]
        state = small_trainings.train(ranks, name, **settings)
        everywhere = ranks.exchange(small_trainings.bits(state))
        if ranks.rank == 0:
            one = small_trainings.trainer(name, **settings)
            one.run()
            found[f"{name}: difference"] = small_trainings.difference(state, one.state())
            found[f"{name}: random states"] = one.state().rng == state.rng
            found[f"{name}: all ranks"] = len(set(everywhere)) == 1
    runs = {small_trainings.bits(small_trainings.train(ranks, "V2", **AGAIN)) for _ in range(2)}
    found["again"] = len(runs) == 1
    if ranks.rank == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    ranks = world()
    try:
        with backend.use("numpy"):
            main(ranks, sys.argv[1:])
    except BaseException as error:
        ranks.fail(error)
