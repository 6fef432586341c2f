"""The process of a student's notebook: runs it, then computes what it is asked for.

usage: python -m numpy_shufflenet.course._worker NOTEBOOK, by `_student` alone.
"""

import contextlib
import copy
import inspect
import json
import os
import pickle
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from numpy_shufflenet import exercises
from numpy_shufflenet.course._student import START_SECONDS, encode
from numpy_shufflenet.exercises.sandbox import limit_computing

MEMORY = 8 * 2**30  # bytes of address space
SKIPPED = {"timing", "long", "solution"}


def main() -> None:
    """Run the notebook, say which functions it has, and answer calls until there are no more."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # what the notebook prints goes nowhere
        os.dup2(null, descriptor)
    _limit_memory()
    limit_computing(START_SECONDS)
    warnings.simplefilter("ignore")
    namespace = run_cells(Path(sys.argv[1]))
    limit_computing(0)
    send(replies, dict(signatures(namespace)))
    while size := requests.read(8):
        request = pickle.loads(requests.read(int.from_bytes(size, "little")))
        name, positional, named, seconds = request
        send(replies, answer(namespace[name], positional, named, seconds))


def run_cells(path: Path) -> dict[str, Any]:
    """Run a notebook's code, going on where a cell fails; return its variables."""
    from IPython.core.interactiveshell import InteractiveShell

    # Checks are made later, and not here.
    exercises.check = lambda *arguments, **options: None  # type: ignore[assignment]
    shell: Any = InteractiveShell.instance()
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code" and not SKIPPED & set(cell["metadata"].get("tags", ())):
            with contextlib.suppress(SystemExit):
                shell.run_cell("".join(cell["source"]), store_history=False)
    found: dict[str, Any] = shell.user_ns
    return found


def signatures(namespace: dict[str, Any]) -> Iterator[tuple[str, list[list[Any]]]]:
    """Yield each function that can be an answer, with its parameters."""
    for name, function in namespace.items():
        if name.startswith("my_") and callable(function):
            with contextlib.suppress(TypeError, ValueError):
                yield (
                    name,
                    [
                        [p.name, int(p.kind), p.default is not inspect.Parameter.empty]
                        for p in inspect.signature(function).parameters.values()
                    ],
                )


def answer(
    function: Any, positional: tuple[Any, ...], named: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Call a function; return its value or its error, and which arrays it wrote into."""
    before = copy.deepcopy((positional, named))
    begin = time.process_time()
    limit_computing(seconds)
    try:
        reply: dict[str, Any] = {"value": encode(function(*positional, **named))}
    except BaseException as error:
        reply = {"error": [type(error).__name__, str(error)]}
    limit_computing(0)
    reply["seconds"] = time.process_time() - begin
    reply["changed"] = [
        [key, encode(new)]
        for old, new, key in (
            *(
                (old, new, i)
                for i, (old, new) in enumerate(zip(before[0], positional, strict=True))
            ),
            *((before[1][key], named[key], key) for key in named),
        )
        if isinstance(new, np.ndarray) and not np.array_equal(old, new, equal_nan=True)
    ]
    return reply


def send(replies: BinaryIO, message: Any) -> None:
    """Write one message."""
    data = json.dumps(message).encode()
    replies.write(len(data).to_bytes(8, "little") + data)
    replies.flush()


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
