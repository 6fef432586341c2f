"""Measure training steps: two ranks of one thread against one process of two threads.

    mpiexec -n 2 python tests/distributed/speed.py [v1|v2] [batch] [rounds] [sync]

Rounds take turns: both ranks together; both ranks without sums; the sums alone; and rank 0 alone
with two threads. `hidden` says how much of the time of the sums lies within the backward: 1 means
that no sum ends after the backward of the last rank. `sync` synchronises batch normalisation.

`links.py` runs this between hosts with slow connections.
"""

import json
import sys
import time
from contextlib import contextmanager

import numpy as np

from numpy_shufflenet import backend, models
from numpy_shufflenet.data import Dataset
from numpy_shufflenet.distributed import Buckets, Single, world
from numpy_shufflenet.distributed.buckets import BUCKET_BYTES
from numpy_shufflenet.nn import synchronise
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


class Watched(Buckets):
    """Notes when the backward ended, and when the sums did."""

    @contextmanager
    def reduction(self):
        with super().reduction():
            yield
            self.computed = time.perf_counter()
        self.summed = time.perf_counter()


class WithoutSums(Single):
    """Ranks that share the images, and never add up anything."""

    def __init__(self, ranks):
        self.rank, self.size = ranks.rank, ranks.size


def main(network="v2", batch="32", rounds="6", sync=""):
    ranks = world()
    one, shared = make(network, int(batch)), make(network, int(batch))
    buckets = Watched(shared.model, ranks, BUCKET_BYTES)
    if sync:
        synchronise(shared.model, ranks.gather)
    share = RankShare(ranks, buckets, synchronised=bool(sync))
    apart = WithoutSums(ranks)
    apart = RankShare(apart, Buckets(shared.model, apart, BUCKET_BYTES), synchronised=False)
    chosen = np.arange(int(batch))
    found = {"one": [], "ranks": [], "without sums": [], "sums": [], "longer": []}
    for _ in range(int(rounds) + 1):
        backend.set_num_threads(1)
        for name, shared.share in (("ranks", share), ("without sums", apart)):
            ranks.exchange(None)
            start = time.perf_counter()
            for _ in range(STEPS):
                shared._run_step(chosen)
                ends = np.array(ranks.exchange((buckets.computed, buckets.summed))).max(axis=0)
                if name == "ranks":
                    found["longer"].append(ends[1] - ends[0])
            found[name].append((time.perf_counter() - start) / STEPS)
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
                ranks._comm.send(None, other)
        else:  # a blocking receive would spin on the core that the other process needs
            while not ranks._comm.iprobe(0):
                time.sleep(0.005)
            ranks._comm.recv(source=0)
    if ranks.rank == 0:
        medians = {name: float(np.median(values[1:])) for name, values in found.items()}
        medians["ranks / one"] = medians["ranks"] / medians["one"]
        medians["hidden"] = 1 - medians["longer"] / medians["sums"]
        print(json.dumps({**medians, "bytes": buckets.bytes, "buckets": len(buckets)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
