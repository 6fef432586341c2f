"""A student's notebook in a process of its own, and its functions as if they were here.

The process runs the notebook, and then only computes: it gets arguments and returns numbers. What
is right is decided on this side of the pipe, where nothing of the notebook runs. Arguments go there
by pickle; what comes back is JSON, which can't run anything here.

The process limits the time in which it computes by itself; whatever it does about that, it is ended
from here after `PATIENCE` times as long by the clock on the wall.
"""

import base64
import builtins
import inspect
import io
import json
import os
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from numpy_shufflenet.exercises.sandbox import PATIENCE

START_SECONDS = 300  # of computing, for the whole notebook
START_PATIENCE = 3
WORKER = "numpy_shufflenet.course._worker"


class Student:
    """The functions of a notebook; use it in a `with` block, which ends the process.

    Parameters
    ----------
    notebook : Path
    seconds : float
        Of computing, for all calls of a function together.
    """

    def __init__(self, notebook: Path, seconds: float = 60.0):
        self.notebook = notebook
        self.seconds = seconds
        self.signatures: dict[str, list[list[Any]]] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Student":
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._stop()

    def function(self, name: str) -> Callable[..., Any] | None:
        """Return a function of the notebook, or None if there is none of this name."""
        if self._process is None:
            self._start()
        if name not in self.signatures:
            return None
        left, end = self.seconds, time.monotonic() + PATIENCE * self.seconds

        def call(*positional: Any, **named: Any) -> Any:
            nonlocal left
            reply = self._call((name, positional, named, left), end)
            left = max(left - max(float(reply["seconds"]), 0.0), 1e-3)
            for key, array in reply["changed"]:
                argument = named[key] if isinstance(key, str) else positional[key]
                np.copyto(argument, decode(array), casting="unsafe")
            if "error" in reply:
                kind, text = reply["error"]
                error = getattr(builtins, str(kind), None)
                if isinstance(error, type) and issubclass(error, Exception):
                    raise error(text)
                raise RuntimeError(f"{kind}: {text}")
            return decode(reply["value"])

        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(
                    parameter,
                    inspect._ParameterKind(kind),
                    default=None if optional else inspect.Parameter.empty,
                )
                for parameter, kind, optional in self.signatures[name]
            ]
        )
        return call

    def _start(self) -> None:
        environment = {**os.environ, "MPLBACKEND": "Agg"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER, str(self.notebook)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        try:
            self.signatures = self._receive(time.monotonic() + START_PATIENCE * START_SECONDS)
        except (TimeoutError, EOFError):
            self._stop()
            self.signatures = {}

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _call(self, request: tuple[Any, ...], end: float) -> Any:
        """Have a function called; return what the process replies."""
        if self._process is not None:
            try:
                self._send(pickle.dumps(request))
                return self._receive(end)
            except (TimeoutError, EOFError, BrokenPipeError):
                self._stop()
        raise TimeoutError(f"it was not done after {self.seconds:g} s, or ended Python itself")

    def _send(self, data: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(len(data).to_bytes(8, "little") + data)
        self._process.stdin.flush()

    def _receive(self, end: float) -> Any:
        """Read one message, until the end of the time or of the process."""
        size = int.from_bytes(self._read(8, end), "little")
        return json.loads(self._read(size, end))

    def _read(self, size: int, end: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor, data = self._process.stdout.fileno(), b""
        while len(data) < size:
            left = end - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise TimeoutError
            part = os.read(descriptor, min(size - len(data), 1 << 20))
            if not part:
                raise EOFError
            data += part
        return data


class Strange:
    """In the place of a result that is no number, array, text, or tuple of such."""


def encode(value: Any) -> Any:
    """Return what a function returned as JSON."""
    if value is None or isinstance(value, bool | str):
        return {"plain": value}
    if isinstance(value, tuple | list):
        return {type(()).__name__ if isinstance(value, tuple) else "list": [*map(encode, value)]}
    if isinstance(value, int) and abs(value) >= 2**63:
        return {"plain": value}
    if isinstance(value, int | float | np.generic | np.ndarray):
        array = np.asarray(value)
        if not array.dtype.hasobject:
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            data = base64.b64encode(buffer.getvalue()).decode()
            return {"array" if isinstance(value, np.ndarray) else "number": data}
    return {"strange": type(value).__name__}


def decode(value: Any) -> Any:
    """Return what `encode` was given; a `Strange` for what it couldn't encode."""
    ((kind, content),) = value.items()
    if kind == "plain":
        return content
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(map(decode, content))
    if kind in ("array", "number"):
        array = np.load(io.BytesIO(base64.b64decode(content)), allow_pickle=False)
        return array if kind == "array" else array.item()
    return type(str(content), (Strange,), {})()
