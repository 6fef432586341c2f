"""Interrupt something at random moments, many times, and compare what it computes afterwards.

usage: interrupting.py WORK COUNT THREADS... [--seed SEED]

A timer interrupts the main thread as Ctrl-C does, after a random share of the time that the work
takes. Prints, as JSON, for each number of threads how many interrupts there were, and what went
wrong: other bits, another exception than KeyboardInterrupt, or work that went on to its end
although it was interrupted.
"""

import _thread
import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from numpy_shufflenet import backend, models
from numpy_shufflenet.data import Dataset, augment, batches
from numpy_shufflenet.training import SGD, Trainer, load_weights, save_weights
from numpy_shufflenet.training.passes import Passes

Work = Callable[[], bytes]
CHECK = 0.1  # share of the interrupts after which an uninterrupted run is compared, too


def images(n: int) -> Any:
    return np.random.default_rng(0).normal(size=(n, 3, 32, 32)).astype(np.float32)


def network() -> Any:
    return models.shufflenet_v2(scale=0.5, stem="small", num_classes=10, seed=1)


def bits(arrays: Any) -> bytes:
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def forward() -> Work:
    model, x = network(), images(16)
    return lambda: bits([model.infer(x)])


def backward() -> Work:
    model, x = network(), images(8)
    state = model.state_dict()
    dy = np.random.default_rng(1).normal(size=(8, 10)).astype(np.float32)

    def work() -> bytes:
        model.release()
        model.load_state_dict(state)  # its running statistics
        model.zero_gradients()
        y = model.forward(x, training=True)
        dx = model.backward(dy)
        return bits([y, dx, *model.gradients().values()])

    return work


def program() -> Work:
    model, x = network(), images(8)
    state, passes = model.state_dict(), Passes(model)
    dy = np.random.default_rng(1).normal(size=(8, 10)).astype(np.float32)

    def work() -> bytes:
        model.load_state_dict(state)
        model.zero_gradients()
        y = passes.forward(x)
        assert passes.reason is None
        passes.backward(dy)
        return bits([y, *model.gradients().values(), *model.state_dict().values()])

    return work


def update() -> Work:
    model, x = network(), images(4)
    model.forward(x, training=True)
    model.backward(np.ones((4, 10), np.float32))
    start, optimiser = model.state_dict(), SGD(model, learning_rate=0.1, momentum=0.9)
    begin = optimiser.state_dict()

    def state() -> bytes:
        return bits([*model.state_dict().values(), *optimiser.state_dict()["velocity"].values()])

    def prepare() -> None:
        model.load_state_dict(start)
        optimiser.load_state_dict(begin)

    def work() -> bytes:
        optimiser.step()
        return state()

    before, after = state(), work()
    work.prepare = prepare
    work.check = lambda: state() in (before, after)  # an update is whole, or hasn't happened
    return work


def plan() -> Work:
    ready, x = network().plan(), images(5)
    return lambda: bits([ready(x), ready(x[:1])])


def planning() -> Work:
    """Plan in changing sizes: recording, fusing, placing."""
    model = models.shufflenet_v2(scale=0.5, stem="small", num_classes=3, seed=1)
    x = images(1)
    return lambda: bits([model.plan()(x[:, :, :9, :7])])


def data() -> Work:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (64, 3, 32, 32), np.uint8)
    train = Dataset(pixels, rng.integers(0, 3, 64), ("a", "b", "c"))

    def work() -> bytes:
        draw = np.random.default_rng(3)
        parts = [
            augment(part, draw, crop_padding=2, flip=True) for part, _ in batches(train, 16, draw)
        ]
        return bits(parts)

    return work


def checkpoint() -> Work:
    folder = Path(tempfile.mkdtemp())
    model, path = network(), folder / "weights.safetensors"
    save_weights(model, path)

    def work() -> bytes:
        load_weights(model, path)  # whole, whatever an interrupt did to the last write
        save_weights(model, path)
        return path.read_bytes()

    return work


def training() -> Work:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (24, 3, 32, 32), np.uint8)
    train = Dataset(pixels, rng.integers(0, 3, 24), ("a", "b", "c"))
    model = models.shufflenet_v2(scale=0.5, stem="small", num_classes=3, seed=0)
    state = model.state_dict()

    def work() -> bytes:
        model.load_state_dict(state)
        optimiser = SGD(model, learning_rate=0.1, momentum=0.9)
        Trainer(model, optimiser, train, epochs=1, batch_size=12).run()
        return bits(model.state_dict().values())

    return work


def compiling() -> Work:
    """Compile a kernel that calls another; each time anew, and not to the disk."""
    from numba.core.dispatcher import Dispatcher

    from numpy_shufflenet.kernels import _compile

    Dispatcher.enable_caching = lambda self: None  # never from the disk
    old: SimpleQueue[Any] = SimpleQueue()

    def forget() -> None:
        """Drop kernels on another thread: Numba has finalizers, which an interrupt would end."""
        while True:
            time.sleep(0.01)
            while old.qsize() > 5:  # the last ones are still in use
                old.get()

    threading.Thread(target=forget, daemon=True).start()

    def work() -> bytes:
        @_compile.compiled
        def inner(a: Any) -> None:
            for i in range(a.size):
                a[i] += i

        @_compile.compiled
        def outer(a: Any) -> None:
            inner(a)
            inner(a)

        a = np.zeros(5)
        old.put((inner, outer))
        outer(a)
        return bits([a])

    return work


WORKS = (forward, backward, program, update, plan, planning, data, checkpoint, training, compiling)


class Interrupter:
    """Interrupts the main thread while it works; some interrupts come two or three in a row."""

    def __init__(self, work: Work, rng: random.Random) -> None:
        self.code, self.rng = work.__code__, rng
        self.left = 0  # interrupts to come
        self.handling = self.raised = False
        self.delays: SimpleQueue[float] = SimpleQueue()
        signal.signal(signal.SIGALRM, self._handle)
        threading.Thread(target=self._from_another_thread, daemon=True).start()

    def arm(self, seconds: float) -> None:
        """Interrupt once or more often, the first time after so many seconds."""
        self.left = self.rng.choice([1, 1, 1, 2, 3])
        if self.rng.random() < 0.25:
            self.delays.put(seconds)
        else:
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))

    def _from_another_thread(self) -> None:
        while True:
            time.sleep(self.delays.get())
            _thread.interrupt_main(signal.SIGALRM)

    def _handle(self, number: int, frame: Any) -> None:
        while frame and frame.f_code is not self.code:
            frame = frame.f_back
        if frame is None or self.handling:  # not within the work, but soon
            signal.setitimer(signal.ITIMER_REAL, 1e-5)
            return
        self.handling = True
        self.left -= 1
        if self.left:
            signal.setitimer(signal.ITIMER_REAL, self.rng.choice([1e-6, 5e-5, 1e-3]))
        self.handling, self.raised = False, True
        raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=[made.__name__ for made in WORKS])
    parser.add_argument("count", type=int)
    parser.add_argument("threads", type=int, nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    work = {made.__name__: made for made in WORKS}[arguments.work]()
    interrupter = Interrupter(work, random.Random(arguments.seed))
    found = []
    for threads in arguments.threads:
        sent, problems = interrupt(work, interrupter, threads, arguments.count)
        found.append({"threads": threads, "interrupts": sent, "problems": problems})
    print(json.dumps(found))


def interrupt(
    work: Work, interrupter: Interrupter, threads: int, count: int
) -> tuple[int, list[str]]:
    """Return how many interrupts there were, and what went wrong."""
    prepare = getattr(work, "prepare", lambda: None)
    check = getattr(work, "check", lambda: True)
    backend.set_num_threads(threads)
    prepare()
    expected = work()
    prepare()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    sent, problems = 0, []
    rng = interrupter.rng
    sys.unraisablehook = lambda args: problems.append(f"lost: {args}")
    while sent < count and len(problems) < 5:
        interrupter.arm(rng.random() * seconds)
        sent += interrupter.left
        while interrupter.left:
            interrupter.raised = False
            prepare()
            try:
                if work() != expected:
                    problems.append(f"other bits, of {sent} interrupts")
                if interrupter.raised:
                    problems.append("lost: the work went on")
            except KeyboardInterrupt:
                if not check():
                    problems.append(f"half done, of {sent} interrupts")
            except Exception as error:
                problems.append(f"{type(error).__name__}, of {sent} interrupts: {error}")
        prepare()
        if rng.random() < CHECK and work() != expected:
            problems.append(f"other bits, after {sent} interrupts")
    return sent, problems


if __name__ == "__main__":
    main()
