"""Measure training steps: two ranks of one thread against one process of two threads.

    mpiexec -n 2 python tests/distributed/speed.py [v1|v2] [batch] [rounds]

Rounds take turns: both ranks together, then rank 0 alone with two threads. The ratio is that of the
medians. Also: the seconds of the sums when nothing else runs, and how long a step waits for them.
"""

import json
import sys
import time

import numpy as np

from numpy_shufflenet import backend, models
from numpy_shufflenet.data import Dataset
from numpy_shufflenet.distributed import Buckets, world
from numpy_shufflenet.distributed.buckets import BUCKET_BYTES
from numpy_shufflenet.training import SGD, Trainer
from numpy_shufflenet.training.distributed import RankShare

STEPS = 3  # in a round


def make(network, batch):
    build = {"v1": models.shufflenet_v1, "v2": models.shufflenet_v2}[network]
    images = np.random.default_rng(0).integers(0, 256, (batch, 3, 224, 224), dtype=np.uint8)
    model = build(num_classes=1000, seed=0)
    data = Dataset(images, np.arange(batch) % 1000, tuple(map(str, range(1000))))
    optimiser = SGD(model, learning_rate=1e-3, momentum=0.9)
    return Trainer(model, optimiser, data, epochs=1, batch_size=batch)


def main(network="v2", batch="32", rounds="6"):
    ranks = world()
    one, shared = make(network, int(batch)), make(network, int(batch))
    buckets = Buckets(shared.model, ranks, BUCKET_BYTES)
    shared.share = RankShare(ranks, buckets, synchronised=False)
    chosen, found = np.arange(int(batch)), {"one": [], "ranks": [], "waited": [], "sums": []}
    for number in range(int(rounds) + 1):
        backend.set_num_threads(1)
        ranks.exchange(None)
        waited, start = buckets.waited, time.perf_counter()
        for _ in range(STEPS):
            shared._run_step(chosen)
        ranks.exchange(None)
        found["ranks"].append((time.perf_counter() - start) / STEPS)
        found["waited"].append((buckets.waited - waited) / STEPS)
        ranks.exchange(None)
        start = time.perf_counter()
        with buckets.reduction():
            pass  # no backward: nothing hides the sums
        found["sums"].append(time.perf_counter() - start)
        if ranks.rank == 0:
            backend.set_num_threads(2)
            start = time.perf_counter()
            for _ in range(STEPS):
                one._run_step(chosen)
            found["one"].append((time.perf_counter() - start) / STEPS)
            for other in range(1, ranks.size):
                ranks._comm.send(number, other)
        else:  # a blocking receive would spin on the core that the other process needs
            while not ranks._comm.iprobe(0):
                time.sleep(0.005)
            ranks._comm.recv(source=0)
    if ranks.rank == 0:
        medians = {name: float(np.median(values[1:])) for name, values in found.items()}
        medians["ranks / one"] = medians["ranks"] / medians["one"]
        medians["hidden"] = 1 - medians["waited"] / medians["sums"]
        print(json.dumps({**medians, "bytes": buckets.bytes, "buckets": len(buckets)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
