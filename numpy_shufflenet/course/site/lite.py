"""Lessons that run in the reader's browser: JupyterLite with this package.

The application and our wheel are part of the site. Python and NumPy, compiled to WebAssembly, come
from the CDN of Pyodide, because no package index has these builds. A page loads Python and NumPy
only when a reader opens a lesson in JupyterLite. Other pages of the site load neither.
"""

import base64
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy_shufflenet
from numpy_shufflenet._optional import need
from numpy_shufflenet.course.lessons import Lesson

LEFT_OUT = (12, *range(14, 19))  # they measure the machine, train, or start processes
SETUP = "%pip install -q numpy_shufflenet matplotlib hypothesis"


def runs(lesson: Lesson) -> bool:
    """Whether a lesson runs in a browser, with NumPy alone and one thread."""
    return lesson.number not in LEFT_OUT


def build_lite(notebooks: Sequence[Path], out: Path) -> None:
    """Write the application with these notebooks into a folder.

    Raises
    ------
    ImportError
        If the extra `lite` is not installed.
    RuntimeError
        If JupyterLite can't be built; the message holds its output.
    """
    for module in ("jupyterlite_core", "jupyterlite_pyodide_kernel"):
        need(module, "JupyterLite", extra="lite")
    with tempfile.TemporaryDirectory() as folder:
        contents = Path(folder, "contents")
        contents.mkdir()
        for path in notebooks:
            (contents / path.name).write_text(_with_setup(path), "utf-8")
        wheel = write_wheel(Path(folder))
        command = [sys.executable, "-m", "jupyterlite_core", "build"]
        command += ["--apps", "lab", "--no-sourcemaps", "--lite-dir", folder]
        command += ["--contents", str(contents), "--piplite-wheels", str(wheel)]
        command += ["--output-dir", str(out.resolve())]  # the command runs in another folder
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"JupyterLite failed:\n{run.stdout}\n{run.stderr}")


def write_wheel(folder: Path) -> Path:
    """Write a wheel of this package, from a checkout or an installation; return its path.

    The wheel has no sources of lessons, because the application has the notebooks.
    """
    version = numpy_shufflenet.__version__
    info = f"numpy_shufflenet-{version}.dist-info"
    root = Path(numpy_shufflenet.__file__).parent
    distribution = metadata.distribution("numpy_shufflenet")
    about = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    files = {
        path.relative_to(root.parent).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not {"__pycache__", "lessons_source"} & set(path.parts)
    }
    files[f"{info}/METADATA"] = about.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = io.StringIO()
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        record.write(f"{name},sha256={digest},{len(data)}\n")
    record.write(f"{info}/RECORD,,\n")
    files[f"{info}/RECORD"] = record.getvalue().encode()
    wheel = folder / f"numpy_shufflenet-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return wheel


def _with_setup(path: Path) -> str:
    """Return a notebook whose first cell installs the packages that it needs."""
    notebook = json.loads(path.read_text("utf-8"))
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "setup",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": SETUP,
    }
    notebook["cells"].insert(0, cell)
    notebook["metadata"]["kernelspec"] = {
        "name": "python",
        "display_name": "Python (Pyodide)",
        "language": "python",
    }
    return json.dumps(notebook, ensure_ascii=False, indent=1)
