"""Kill -9 within training, then resume: the same bits, and no file is left."""

import os
import random
import select
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from numpy_shufflenet import backend, models
from numpy_shufflenet.data import Dataset, load_embedded
from numpy_shufflenet.training import SGD, Trainer, cosine_schedule, load_checkpoint

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks"),
]
EPOCHS, IMAGES = 3, 24
NETWORKS = (("shufflenet_v1", {"groups": 3, "scale": 0.25}), ("shufflenet_v2", {"scale": 0.5}))


def images():
    train, _ = load_embedded()
    return Dataset(train.images[:IMAGES], train.labels[:IMAGES], train.classes)


def trainer(path, name, settings, dtype):
    model = models.build(
        {"name": name, "in_channels": 1, "num_classes": 10, "stem": "small", "seed": 0, **settings}
    ).astype(dtype)
    return Trainer(
        model,
        SGD(model, learning_rate=0.05, momentum=0.9),
        images(),
        epochs=EPOCHS,
        batch_size=8,
        schedule=cosine_schedule(0.05, 9, 1),
        augmentation={"crop_padding": 2},
        checkpoint=path,
    )


def train(path, *network):
    """Train to the end, from the checkpoint if there is one."""
    (Trainer.resume(path, images()) if path.exists() else trainer(path, *network)).run()


def forked(path, network, within_write):
    """Train in another process; return its number, and a pipe that tells when it writes."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    try:
        if within_write:
            real = os.fsync

            def fsync(handle):
                os.write(writer, b"w")
                time.sleep(0.02)  # so that the kill comes before the end of the write
                real(handle)

            os.fsync = fsync
        train(path, *network)
        os._exit(0)
    finally:
        os._exit(1)


def bits(path):
    checkpoint = load_checkpoint(path)
    arrays = [*checkpoint.model.values(), *checkpoint.optimiser["velocity"].values()]
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def test_kills(campaign):
    """A case is one training, killed once to four times; half of these within a write."""
    expected = {}
    kills = {True: 0, False: 0}

    def case(rng: random.Random, say):
        (name, settings), dtype = rng.choice(NETWORKS), rng.choice(("float32", "float64"))
        network, left = (name, settings, dtype), rng.randrange(1, 5)
        say(f"{name} {dtype}, {left} kills")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint.safetensors"
            if (name, dtype) not in expected:
                start = time.perf_counter()
                train(path, *network)
                expected[name, dtype] = bits(path), time.perf_counter() - start
                path.unlink()
            right, seconds = expected[name, dtype]
            while True:
                within_write = rng.random() < 0.5
                child, reader = forked(path, network, within_write and left > 0)
                wait = rng.random() * seconds
                if left and within_write:
                    select.select([reader], [], [], 60)
                    wait = rng.random() * 0.02
                if left:
                    time.sleep(wait)
                    os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
                os.close(reader)
                if left == 0 or os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
                    break
                left -= 1
                kills[within_write] += 1
            if os.waitstatus_to_exitcode(status):
                return f"exit status {os.waitstatus_to_exitcode(status)}"
            if bits(path) != right:
                return "other bits"
            files = os.listdir(folder)
            return None if files == [path.name] else f"files left: {files}"

    threads = backend.num_threads()
    backend.set_num_threads(1)
    try:
        campaign.run(case, size=80)
    finally:
        backend.set_num_threads(threads)
        campaign.show(f"{kills[True]} kills within a write, {kills[False]} elsewhere")
