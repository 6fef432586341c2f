"""Runs notebooks in the Python that runs this, whatever kernels are installed for others."""

import asyncio
import os
import re
import tempfile
import warnings
from typing import Any

from numpy_shufflenet.course.lessons import need

INLINE = "module://matplotlib_inline.backend_inline"  # figures appear below their cell
SECONDS = 300  # a cell; its own limits are checked afterwards, on what it took


def execute(notebook: Any, name: str, *, errors: bool = False) -> None:
    """Run all cells of a notebook, in place: outputs, and when each cell began and ended.

    Parameters
    ----------
    notebook : NotebookNode
    name : str
        For messages.
    errors : bool
        Whether to go on where a cell fails that isn't tagged `raises-exception`.

    Raises
    ------
    ImportError
        If nbclient or ipykernel is not installed.
    RuntimeError
        If a cell fails, or takes more than 5 minutes; the message names it.
    """
    nbclient = need("nbclient", "running a notebook")
    need("ipykernel", "running a notebook")
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    manager = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jupyter's own libraries
        client = nbclient.NotebookClient(
            notebook,
            km=manager,
            timeout=SECONDS,
            allow_errors=errors,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": folder}},
        )
        try:
            asyncio.run(client.async_execute(env={**os.environ, "MPLBACKEND": INLINE}))
        except (nbclient.exceptions.CellExecutionError, TimeoutError) as error:
            text = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # no colours
            raise RuntimeError(f"{name} failed: {text}") from None
