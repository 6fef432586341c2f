"""JupyterLite: our wheel and notebooks are in it, and a lesson asks for it only when clicked."""

import base64
import csv
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from peers import need

from numpy_shufflenet.course.lessons import lessons

need("jupyterlite_core")
need("jupyterlite_pyodide_kernel")

from numpy_shufflenet.course.editions import student, write_notebook  # noqa: E402
from numpy_shufflenet.course.site import lesson_page, lite  # noqa: E402


def test_lessons_that_need_numpy_alone_run_in_a_browser():
    assert {lesson.number for lesson in lessons() if lite.runs(lesson)} == {*range(12), 13}


def test_the_wheel_is_whole_and_works_where_nothing_is_installed(tmp_path):
    wheel = lite.write_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (record,) = (name for name in names if name.endswith("/RECORD"))
        rows = list(csv.reader(archive.read(record).decode().splitlines()))
        assert sorted(row[0] for row in rows) == sorted(names)
        for name, digest, size in rows:
            if name != record:
                data = archive.read(name)
                sha = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
                assert (digest, size) == (f"sha256={sha.rstrip('=')}", str(len(data)))
    program = (
        f"import sys; sys.path.insert(0, {str(wheel)!r})\nsys.modules['numba'] = None\n"
        "import numpy_shufflenet.exercises as found; print(found.__file__)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd="/")
    assert run.stdout.startswith(str(wheel)), run.stderr


def test_the_application_holds_the_lesson_and_the_wheel(tmp_path, monkeypatch):
    lesson = lessons()[0]
    write_notebook(student(lesson), tmp_path / f"{lesson.name}.ipynb")
    monkeypatch.chdir(tmp_path)
    out = Path("lite")  # relative, as on the command line
    lite.build_lite([tmp_path / f"{lesson.name}.ipynb"], out)
    notebook = json.loads((out / f"files/{lesson.name}.ipynb").read_text("utf-8"))
    assert notebook["cells"][0]["source"] == lite.SETUP
    assert notebook["metadata"]["kernelspec"]["name"] == "python"
    index = json.loads((out / "pypi/all.json").read_text())
    ((release,),) = index["numpy-shufflenet"]["releases"].values()
    assert (out / "pypi" / release["filename"]).exists()
    assert (out / "lab/index.html").exists()


@pytest.mark.parametrize("wanted", [False, True])
def test_a_lesson_offers_it_only_if_it_is_there(wanted):
    lesson = lessons()[0]
    page = lesson_page.lesson_page(lesson, lesson.read(), runs_in_browser=wanted)
    assert ("lite/lab/index.html?path=00_start_here.ipynb" in page.cells[0].source) == wanted
