"""Runs a student's notebook in another process, and calls the student's functions from this one.

The other process runs the notebook, and then answers calls of its functions; see
`exercises.sandbox`.

usage: python -m numpy_shufflenet.course._student NOTEBOOK; only `Student` starts it.
"""

import contextlib
import functools
import inspect
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numpy_shufflenet import exercises
from numpy_shufflenet.course.lessons import source_folder
from numpy_shufflenet.exercises import sandbox, worker

START_SECONDS = 300  # limit on the computing time of the whole notebook
START_PATIENCE = 3  # wall-clock seconds for each second of computing time
MEGABYTES = 8192
SKIPPED = {"timing", "long", "solution"}
Parameters = list[list[Any]]  # for each: name, kind, whether it has a default


class Student:
    """The functions of a notebook, for a `with` block; the end of the block ends the process.

    `seconds` limits the computing time of all calls of one function together.
    """

    def __init__(self, notebook: Path, seconds: float = 60.0):
        self.notebook = notebook
        self.seconds = seconds

    def __enter__(self) -> "Student":
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def function(self, name: str) -> Callable[..., Any] | None:
        """Return a function of the notebook, or None if the notebook doesn't define it."""
        if self.process.ended:
            self._start()
        if name not in self._signatures:
            return None
        run = functools.partial(self.process.call, name)
        return sandbox.Function(run, self.seconds, self._signatures[name])

    def _start(self) -> None:
        self._signatures: dict[str, inspect.Signature] = {}
        self.process = sandbox.spawn(
            ["-m", "numpy_shufflenet.course._student", str(self.notebook)],
            {**os.environ, "MPLBACKEND": "Agg"},
        )
        try:
            found = self.process.receive(START_PATIENCE * START_SECONDS, self.seconds)
            self._signatures = {name: signature(found[name]) for name in found}
        except Exception:  # it has ended, sleeps, or wrote something else into the pipe
            self.process.stop()


def signature(parameters: Parameters) -> inspect.Signature:
    """Return the signature of a function with these parameters; raise any error if forged."""
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect._ParameterKind(kind),
                default=None if optional else inspect.Parameter.empty,
            )
            for name, kind, optional in parameters
        ]
    )


# In the other process


def main() -> None:
    """Run the notebook, send the parameters of its functions, and answer calls."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # discards the output of the notebook
        os.dup2(null, descriptor)
    hide_solutions()
    worker.limit_memory(MEGABYTES)
    worker.limit_computing(START_SECONDS)
    warnings.simplefilter("ignore")
    namespace = run_cells(Path(sys.argv[1]))
    worker.limit_computing(0)
    worker.send(replies, dict(parameters_in(namespace)))
    worker.serve(namespace, requests, replies)


def hide_solutions() -> None:
    """Let Python refuse to open the sources of the lessons, which hold the solutions."""
    folder = os.path.join(os.path.realpath(source_folder()), "")

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):  # and no descriptor
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if path.startswith(folder) and path.endswith(".py"):
                raise PermissionError("a graded notebook can't read the sources of the lessons")

    sys.addaudithook(refuse)


def run_cells(path: Path) -> dict[str, Any]:
    """Run the code cells of a notebook, even after a cell fails; return its variables."""
    from IPython.core.interactiveshell import InteractiveShell

    # The grader checks the functions later, so the notebook's own checks do nothing.
    exercises.check = lambda *arguments, **options: None  # type: ignore[assignment]
    shell: Any = InteractiveShell.instance()
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code" and not SKIPPED & set(cell["metadata"].get("tags", ())):
            with contextlib.suppress(SystemExit):
                shell.run_cell("".join(cell["source"]), store_history=False)
    found: dict[str, Any] = shell.user_ns
    return found


def parameters_in(namespace: dict[str, Any]) -> Iterator[tuple[str, Parameters]]:
    """Yield the name and the parameters of each function that may be an answer."""
    for name, function in namespace.items():
        if name.startswith("my_") and callable(function):
            with contextlib.suppress(TypeError, ValueError):
                parameters = inspect.signature(function).parameters.values()
                yield name, [[p.name, int(p.kind), p.default is not p.empty] for p in parameters]


if __name__ == "__main__":
    main()
