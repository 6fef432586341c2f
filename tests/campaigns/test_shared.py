"""1 to 16 threads that share a model, a plan and a training program, with forks and new processes.

All of them compute the same bits. A program belongs to one thread at a time, and refuses others.
"""

import copy
import os
import random
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

from numpy_shufflenet import backend, models
from numpy_shufflenet.engine import TrainingProgram

pytestmark = pytest.mark.campaign
TRAINED = 2  # the batch that the training program runs
PROGRAM = """
import pickle, sys
plan, images = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(plan(images).tobytes())
"""


def test_threads(campaign):
    """A case is a round: all threads begin together; some rounds fork or start a process within."""
    import pickle

    model = models.shufflenet_v2(scale=0.5, stem="small", num_classes=5, seed=1)
    plan = model.plan()
    rng = np.random.default_rng(0)
    batches = [
        rng.normal(size=(n, 3, s, s)).astype(np.float32) for n in (1, 3, 8) for s in (16, 24)
    ]
    expected = [
        {"plan": plan(x).tobytes(), "infer": model.infer(x).tobytes(), "program": None}
        for x in batches
    ]
    # It has a model of its own, because it changes running statistics.
    program = TrainingProgram(copy.deepcopy(model), batches[TRAINED].shape)
    expected[TRAINED]["program"] = program.forward(batches[TRAINED]).tobytes()

    def run(i, how):
        if how == "program":
            try:
                return program.forward(batches[i]).tobytes()
            except RuntimeError as error:
                if "another thread runs this program" not in str(error):
                    raise
                return expected[i][how]
        return (plan(batches[i]) if how == "plan" else model.infer(batches[i])).tobytes()

    def child(problems):
        pid = os.fork()
        if pid == 0:
            works = [(1, "plan"), (1, "infer"), (TRAINED, "program")]
            os._exit(0 if all(run(i, how) == expected[i][how] for i, how in works) else 3)
        _, status = os.waitpid(pid, 0)
        if status:
            problems.append(f"a forked process ended with {status}")

    def other_process(problems):
        data = pickle.dumps((plan, batches[0]))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], input=data, capture_output=True, check=False
        )
        if done.stdout != expected[0]["plan"]:
            problems.append(f"a new process: {done.stderr.decode()[-300:] or 'other bits'}")

    def case(draw: random.Random, say):
        count, inner = draw.choice((1, 2, 3, 4, 8, 16)), draw.choice((1, 2, 4))
        works = [
            (draw.randrange(len(batches)), draw.choice(("plan", "infer"))) for _ in range(count)
        ]
        works = [(TRAINED, "program") if draw.random() < 0.3 else work for work in works]
        forks = draw.randrange(3) if hasattr(os, "fork") else 0
        process = draw.random() < 0.03
        say(f"{count} threads, {inner} workers, {forks} forks{', a new process' * process}")
        backend.set_num_threads(inner)
        barrier, problems = threading.Barrier(count), []

        def work(i, how):
            try:
                barrier.wait()
                if any(run(i, how) != expected[i][how] for _ in range(3)):
                    problems.append(f"other bits of batch {i}, {how}")
            except BaseException as error:
                problems.append(repr(error))

        threads = [threading.Thread(target=work, args=w, daemon=True) for w in works]
        for thread in threads:
            thread.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            for _ in range(forks):
                child(problems)
        if process:
            other_process(problems)
        for thread in threads:
            thread.join(120)
            if thread.is_alive():
                problems.append("a thread hangs")
        return "; ".join(sorted(set(problems)))

    before = backend.num_threads()
    try:
        campaign.run(case, size=500)
    finally:
        backend.set_num_threads(before)
