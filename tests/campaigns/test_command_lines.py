"""Command lines drawn from the parsers' own options, with odd values.

Every command ends by itself within 20 s of computing or by SIGTERM, with an exit status that it
documents, and says something; nothing ends in a traceback.
"""

import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numpy_shufflenet import backend, cli, models
from numpy_shufflenet.data import Dataset
from numpy_shufflenet.training import SGD, Trainer

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks"),
]
SECONDS = 20  # of computing, for one command
WALL = 60  # seconds after which SIGTERM ends a command; SECONDS for those of LONG
# Commands that may compute for longer than SECONDS if all is well.
LONG = {"demo", "train", "bench", "guidelines", "zoo", "audit", "check", "cost", "course"}
NUMBERS = ("0", "1", "-1", "2", "3", "007", "1e3", "1000000000000", "-0", "nan", "inf", "1e400")
TEXTS = (
    "",
    " ",
    "[/y]",
    "[bold]x",
    "a\nb",
    "\u202ex",
    "$x$",
    "x" * 300,
    "é",
    "~",
    ".",
)
PATHS = (
    *(
        "images/a/0.png",
        "images",
        "checkpoint.safetensors",
        "weights.npz",
        "missing",
        "folder:images",
    ),
    *(
        "embedded",
        "folder:missing",
        "cifar10:images",
        "images/a",
        "broken.png",
        "broken.safetensors",
    ),
)
GOOD_NUMBERS = ("1", "2", "3", "8", "0.5", "0.25")


def parsers(parser, words=()):
    """Yield each parser that has no subparsers, with the words that lead to it."""
    subs = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for action in subs:
        for name, inner in action.choices.items():
            yield from parsers(inner, (*words, name))
    if not subs:
        yield words, parser


def draw_value(rng: random.Random, action):
    """Draw a value for an option: often one that fits, sometimes anything."""
    if action.choices and rng.random() < 0.8:
        return str(rng.choice([choice for choice in action.choices if choice is not None]))
    path = "expanded" in str(action.type) or action.dest in ("data", "images", "notebooks")
    if rng.random() < 0.7:
        return rng.choice(PATHS if path else GOOD_NUMBERS)
    return rng.choice((*NUMBERS, *TEXTS, *PATHS))


def draw_command(rng: random.Random, leaves):
    words, parser = rng.choice(leaves)
    command = list(words)
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            if rng.random() < 0.02:
                command.append("--help")
        elif not action.option_strings:
            if action.nargs != "?" or rng.random() < 0.8:
                command += [draw_value(rng, action) for _ in range(rng.choice((1, 1, 1, 2)))][
                    : None if action.nargs == "+" else 1
                ]
        elif rng.random() < 0.25:
            command.append(action.option_strings[-1])
            if action.nargs != 0:
                command.append(draw_value(rng, action))
    if rng.random() < 0.05:
        command.insert(rng.randrange(len(command) + 1), rng.choice(TEXTS))
    return command


def prepare(folder: Path):
    """Write images, a checkpoint, weights and broken files into a folder."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 1, 16, 16), np.uint8)
    for number in range(12):
        place = folder / "images" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[number, 0]).save(place / f"{number}.png")
    model = models.shufflenet_v2(scale=0.5, in_channels=1, num_classes=2, stem="small", seed=0)
    data, optimiser = Dataset(pixels, np.arange(12) % 2, ("a", "b")), SGD(model, learning_rate=0.1)
    path = folder / "checkpoint.safetensors"
    Trainer(model, optimiser, data, epochs=1, batch_size=6, checkpoint=path).run()
    np.savez(folder / "weights.npz", **model.state_dict())
    for name in ("broken.png", "broken.safetensors"):
        (folder / name).write_bytes(path.read_bytes()[:100])


def run(command, folder):
    """Run a command in a forked process; return its status, output, and seconds of computing."""
    output = folder / "output"
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.chdir(folder)
            os.environ["HOME"] = str(folder)
            handle = os.open(output, os.O_CREAT | os.O_TRUNC | os.O_RDWR)
            null = os.open(os.devnull, os.O_RDONLY)
            for number, to in ((null, 0), (handle, 1), (handle, 2)):
                os.dup2(number, to)
            sys.stdin, sys.stdout, sys.stderr = (open(n, "rw"[n > 0]) for n in range(3))  # noqa: SIM115
            resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
            status = cli.main(command)
        except SystemExit as end:
            status = end.code
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(status if isinstance(status, int) else 71)
    start, ended = time.monotonic(), False
    patience = SECONDS if command and command[0] in LONG else WALL
    while True:
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid:
            break
        waited = time.monotonic() - start
        if waited > patience and not ended:
            os.kill(child, signal.SIGTERM)
            ended = True
        if waited > patience + WALL:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    text = output.read_text(errors="replace") if output.exists() else ""
    return os.waitstatus_to_exitcode(status), text, used.ru_utime + used.ru_stime, ended


def test_command_lines(campaign):
    leaves = [
        leaf
        for leaf in parsers(cli.build_parser())
        if leaf[0] not in (("bench",), ("course", "start"), ("course", "grade"))
    ]  # a comparison of many minutes, a server, and programs of students
    threads = backend.num_threads()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backend.set_num_threads(1)
        prepare(folder)

        def case(rng: random.Random, say):
            command = draw_command(rng, leaves)
            say(repr(command))
            status, text, seconds, ended = run(command, folder)
            last = text.strip()[-600:]
            if "Traceback" in text:
                return f"a traceback: {last}"
            if not text.strip():
                return f"silence, exit status {status}"
            if ended and (status != 143 or "ended by SIGTERM" not in text):
                return f"SIGTERM led to exit status {status}: {last}"
            if ended or seconds > SECONDS:
                return None if command[0] in LONG else f"{seconds:.0f} s: {last}"
            return None if status in (0, 1, 2) else f"exit status {status}: {last}"

        try:
            campaign.run(case, size=2000)
        finally:
            backend.set_num_threads(threads)
