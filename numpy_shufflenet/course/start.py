"""Writes the student edition into a folder, and opens it in JupyterLab."""

import os
import subprocess
import sys
from pathlib import Path

from numpy_shufflenet._optional import need
from numpy_shufflenet.course.editions import student, write_notebook
from numpy_shufflenet.course.lessons import Lesson, lessons
from numpy_shufflenet.locale import ENGLISH


def write_student_edition(
    folder: Path, *, overwrite: bool = False, language: str = ENGLISH
) -> tuple[list[Lesson], list[Lesson]]:
    """Write the student edition into a folder; return the lessons written and the lessons kept.

    A notebook that exists stays as it is, unless `overwrite` is True. The folder is created if it
    doesn't exist; if it is a file, ValueError is raised.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; a folder is needed")
    folder.mkdir(parents=True, exist_ok=True)
    written, kept = [], []
    for lesson in lessons(language):
        path = folder / f"{lesson.name}.ipynb"
        if path.exists() and not overwrite:
            kept.append(lesson)
        else:
            write_notebook(student(lesson), path)
            written.append(lesson)
    return written, kept


def open_lab(folder: Path, *, browser: bool = True) -> int:
    """Run JupyterLab on the first lesson until it is closed; return its exit status.

    ImportError is raised if JupyterLab isn't installed.
    """
    need("jupyterlab", "opening the course")
    first = lessons()[0]
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.resolve()}"]
    command.append(f"--LabApp.default_url=/lab/tree/{first.name}.ipynb")
    if not browser:
        command.append("--no-browser")
    if getattr(os, "geteuid", lambda: 1)() == 0:  # root, as in a container
        command.append("--allow-root")
    # BLAS threads slow small products down, and our kernels have their own threads.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    return subprocess.run(command, env=environment, check=False).returncode
