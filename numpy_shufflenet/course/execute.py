"""Runs notebooks with the Python that runs this code; installed Jupyter kernels don't matter."""

import asyncio
import os
import re
import tempfile
import warnings
from datetime import datetime
from typing import Any

from numpy_shufflenet._optional import need

INLINE = "module://matplotlib_inline.backend_inline"  # shows figures below their cell
SECONDS = 300  # limit for a cell; for a stricter limit, compare with `seconds_of`


class _Loop(asyncio.SelectorEventLoop):
    """Leaves signals to the program.

    nbclient 0.11 asks for SIGINT and SIGTERM. It then ends the kernel twice, which fails with an
    AssertionError, and the program doesn't end as the signal says.
    """

    def add_signal_handler(self, *arguments: Any) -> None:  # type: ignore[override]
        """Refuse, with the error that nbclient expects outside of the main thread."""
        raise RuntimeError("the program handles signals itself")

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Say nothing of an error that the end of the program causes, such as a killed kernel."""
        if not str(context.get("message")).endswith("asyncio.run() shutdown"):
            super().call_exception_handler(context)


def execute(notebook: Any, name: str, *, errors: bool = False) -> None:
    """Run all cells of a notebook, and store outputs, start times and end times in the notebook.

    If a cell begins with a comment "# Picture: a boot, ...", or "# 图：...", this text becomes the
    alternative text of the cell's pictures.

    Parameters
    ----------
    notebook : NotebookNode
    name : str
        Name in error messages.
    errors : bool
        Whether to continue after a cell that fails without the tag `raises-exception`.

    Raises
    ------
    ImportError
        If nbclient or ipykernel is not installed.
    ValueError
        If a cell fails, or takes more than 5 minutes; the message names the notebook.
    """
    nbclient = need("nbclient", "running a notebook")
    need("ipykernel", "running a notebook")
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    manager = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the libraries of Jupyter
        client = nbclient.NotebookClient(
            notebook,
            km=manager,
            timeout=SECONDS,
            allow_errors=errors,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": folder}},
        )
        try:
            environment = {**os.environ, "MPLBACKEND": INLINE}
            with asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(client.async_execute(env=environment, cleanup_kc=True))
        except (nbclient.exceptions.CellExecutionError, TimeoutError) as error:
            text = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # no colours
            raise ValueError(f"{name} failed: {text}") from None
    for cell in notebook.cells:
        _describe_pictures(cell)


def seconds_of(cell: Any) -> float:
    """Return the seconds that an executed cell took; 0 if unknown."""
    times = cell.metadata.get("execution", {})
    keys = ("iopub.execute_input", "shell.execute_reply")
    if cell.cell_type != "code" or not all(key in times for key in keys):
        return 0.0
    begin, end = (datetime.fromisoformat(times[key]) for key in keys)
    return (end - begin).total_seconds()


def _describe_pictures(cell: Any) -> None:
    comment = re.match(r"# (?:Picture: |图：)((?:.*\n#)*.*)", cell.source)
    if cell.cell_type != "code" or not comment:
        return
    text = " ".join(comment[1].replace("\n#", "\n").split())
    text = text[:1].upper() + text[1:]
    for output in cell.outputs:
        for kind in output.get("data", {}):
            if kind.startswith("image/"):
                output.metadata.setdefault(kind, {}).setdefault("alt", text)
