"""One process that trains, predicts and plans in changing sizes for hours.

Its memory stays flat, and it computes the same bits as fresh processes.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from numpy_shufflenet import backend, models
from numpy_shufflenet.data import Dataset
from numpy_shufflenet.training import SGD, Trainer, load_weights, save_weights

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc"),
]
HOURS = 2
GROWTH = 1.05, 20e6  # that the memory may have: a factor, and bytes
FRESH = 0.02  # share of the tasks that a fresh process repeats
SETTINGS = {"num_classes": 4, "stem": "small", "seed": 0}


class Tasks:
    """Everything that a user's process keeps: two models, their plans, and a folder."""

    def __init__(self):
        v1 = models.shufflenet_v1(scale=0.25, groups=3, **SETTINGS)
        v2 = models.shufflenet_v2(scale=0.5, **SETTINGS)
        self.models = [(model, model.plan(), model.state_dict()) for model in (v1, v2)]
        self.folder = tempfile.TemporaryDirectory()

    def run(self, number):
        """Run task `number`; return what it was, and a checksum of its results."""
        draw = random.Random(f"soak {number}")
        model, plan, state = draw.choice(self.models)
        n, h, w = draw.randrange(2, 12), draw.randrange(9, 40), draw.randrange(9, 40)
        backend.set_num_threads(draw.choice((1, 2, 4)))
        rng = np.random.default_rng(number)
        kind = draw.choice(("train", "infer", "plan", "make a plan", "save"))
        x = rng.normal(size=(n, 3, h, w)).astype(np.float32)
        model.load_state_dict(state)
        if kind == "train":
            images = rng.integers(0, 256, (3 * n - 1, 3, h, w), np.uint8)
            data = Dataset(images, rng.integers(0, 4, len(images)), tuple("abcd"))
            optimiser = SGD(model, learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
            settings = {"batch_size": n, "accumulation": draw.choice((1, 1, 2)), "seed": number}
            Trainer(model, optimiser, data, epochs=1, **settings).run()
            arrays = model.state_dict().values()
        elif kind == "save":
            path = Path(self.folder.name, "weights.safetensors")
            save_weights(model, path)
            load_weights(model, path)
            arrays = [np.frombuffer(path.read_bytes(), np.uint8)]
        else:
            run = {"infer": model.infer, "plan": plan}.get(kind)
            arrays = [(run or model.plan())(x)]
        crc = 0
        for array in arrays:
            crc = zlib.crc32(np.ascontiguousarray(array), crc)
        return f"{kind} ({n}, 3, {h}, {w})", crc


def resident():
    """Return the bytes of memory that this process has in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_soak(campaign):
    """--campaign-size is a number of seconds."""
    seconds = campaign.size or HOURS * 3600
    draw, tasks = random.Random(campaign.seed), Tasks()
    before, start = backend.num_threads(), time.perf_counter()
    tried, problems, memory = 0, [], []
    try:
        while (passed := time.perf_counter() - start) < seconds:
            number = draw.randrange(10**6)
            said, crc = tasks.run(number)
            tried += 1
            memory.append((passed, resident()))
            if draw.random() < FRESH:
                fresh = subprocess.run(
                    [sys.executable, __file__, str(number)],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if fresh.stdout.strip() != str(crc):
                    problems.append(f"{said}: {crc}, but {fresh.stdout or fresh.stderr}")
    finally:
        backend.set_num_threads(before)
        tasks.folder.cleanup()
    early, late = (
        max(m for t, m in memory if a < t / seconds <= b) for a, b in ((0.2, 0.5), (0.8, 1.1))
    )
    campaign.show(f"memory: {early / 1e6:.0f} MB, at the end {late / 1e6:.0f} MB")
    if late > GROWTH[0] * early + GROWTH[1]:
        problems.append("the memory grows")
    smallest = (0, 0, "soak", "; ".join(problems)) if problems else None
    campaign.report(tried, tried - len(problems), time.perf_counter() - start, smallest)


if __name__ == "__main__":
    tasks = Tasks()
    print(tasks.run(int(sys.argv[1]))[1])
    tasks.folder.cleanup()
