"""Live exercises without a browser: what an answer needs from above, and what is shown."""

import hashlib
import json
import types

import pytest

from numpy_shufflenet.course import editions, live, tasks
from numpy_shufflenet.course.lessons import find
from numpy_shufflenet.course.site import runtime


@pytest.fixture(autouse=True)
def _no_figures():
    """A worker begins without the figures that other tests have left."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.close("all")


def run(cells, answer):
    """Return whether the answer is right, and the outputs."""
    shown = []
    right = live.run(live.setup_for(cells, answer), answer, lambda *output: shown.append(output))
    return right, shown


def texts(shown, kind):
    return "".join(content for a_kind, content, _ in shown if a_kind == kind)


def test_only_what_an_answer_needs_runs():
    cells = [
        "import json, math\nfrom os import path, sep\nraise SystemExit",
        "a = 1\nb = a + 1\nslow = forever()\ntable = {}\ntable[0] = b",
        "a = 20\nprint('not this')",
        "def outer():\n    return inner() + table[0]\n\n",
        "@staticmethod\ndef inner():\n    return a",
        "this is no Python",
    ]
    setup = live.setup_for(
        cells, "x = outer()\nassert x == 22, math.pi\nlocal = [slow for slow in x]"
    )
    assert setup.splitlines() == [
        *("import math", "", "a = 1", "", "b = a + 1", "", "table = {}", "", "table[0] = b", ""),
        *("a = 20", "", "def outer():", "    return inner() + table[0]", "", "@staticmethod"),
        *("def inner():", "    return a"),
    ]
    assert run(cells, "print(outer() + 1)")[1] == [
        ("text", "23", ""),
        ("text", "\n", ""),
        ("status", "", ""),
    ]


@pytest.mark.parametrize("number", [9, 10, 12])
def test_exercises_run_from_the_cells_above_alone(number):
    """In these lessons they need more than an import."""
    (lesson,) = find([number])
    cells = editions.student(lesson).cells
    for task in tasks.tasks(lesson):
        name = lesson.read().cells[task.cell].id
        place = next(i for i, cell in enumerate(cells) if cell.id == name)
        above = [cell.source for cell in cells[:place] if cell.cell_type == "code"]
        right, shown = run(above, "\n\n".join((task.solution, *task.checks)))
        assert right, shown
        assert not run(above, cells[place].source)[0]


def test_each_check_and_the_last_value_are_shown():
    wrong = 'exercises.check("relu_forward", lambda x: abs(x))'
    cells = ["import numpy as np\nfrom numpy_shufflenet import exercises"]
    right, shown = run(
        cells, 'exercises.check("relu_forward", lambda x: np.maximum(x, 0))\n"a" "b"'
    )
    assert right
    assert [kind for kind, _, _ in shown] == ["html", "text", "status"]
    assert "✓ Right: relu_forward" in shown[0][1]
    assert shown[1][1] == "'ab'\n"
    right, shown = run(cells, f"print('<b>')\n{wrong}\nprint('not reached')")
    assert not right
    assert texts(shown, "text") == "<b>\n"
    assert "✗ Not yet: relu_forward" in texts(shown, "html")
    assert texts(shown, "status").startswith("relu_forward: y[")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("x = 1\n1 / 0", "line 2: 1 / 0\nZeroDivisionError: division by zero"),
        ("x = (", "line 1: x = (\n'(' was never closed"),
        ("raise SystemExit(3)", "line 1: raise SystemExit(3)\nSystemExit: 3"),
        ("assert 0, '<i>'", "<i>"),
        ("raise NotImplementedError", "nothing is written yet"),
        (
            "nothing_of_this_name",
            "line 1: nothing_of_this_name\nNameError: name 'nothing_of_this_name'",
        ),
    ],
)
def test_an_error_is_told_with_its_line(answer, said):
    right, shown = run([], answer)
    assert not right
    assert texts(shown, "status").startswith(said)


def test_endless_printing_is_cut():
    _, shown = run([], "for i in range(9000):\n    print(i)")
    assert len(texts(shown, "text")) < live.MOST_PRINTED + 100
    assert "the rest is not shown" in texts(shown, "text")


def test_without_matplotlib_an_exercise_has_no_picture(monkeypatch):
    monkeypatch.setattr(live.importlib.util, "find_spec", lambda name: None)
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(live.sys.modules, name, types.ModuleType(name))
    code = "_, (axes, _) = plt.subplots(1, 2)\naxes.spines[:].set_visible(False)\nplt.show()"
    assert run(["import matplotlib.pyplot as plt"], code) == (True, [("status", "", "")])


def release(folder):
    """Make a folder like that of a Pyodide release."""
    names = (*runtime.CORE, runtime.MODULES[0], "numpy-2.whl", "threadpoolctl-3.whl", "more.whl")
    for name in names:
        (folder / name).write_text(name)
    packages = {
        name.partition("-")[0]: {
            "file_name": name,
            "depends": [],
            "sha256": hashlib.sha256(name.encode()).hexdigest(),
        }
        for name in names[-3:-1]
    }
    packages["matplotlib"] = {"file_name": "matplotlib-1.whl", "depends": ["numpy"], "sha256": ""}
    (folder / runtime.LOCK).write_text(json.dumps({"info": {}, "packages": packages}))
    return folder


def test_a_runtime_of_ones_own_becomes_part_of_the_site(tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    runtime.write_runtime(tmp_path / "live", release(folder))
    settings = json.loads((tmp_path / "live" / "runtime.json").read_text())
    assert settings["base"] == settings["packages"] == "pyodide/"
    assert {path.name for path in (tmp_path / "live/pyodide").iterdir()} == {
        *(*runtime.CORE, runtime.MODULES[0], "numpy-2.whl", "threadpoolctl-3.whl")
    }
    lock = json.loads((tmp_path / "live" / runtime.LOCK).read_text())
    assert set(lock["packages"]) == {"numpy", "threadpoolctl"}
    assert set(settings["integrity"]) == {*runtime.CORE, runtime.MODULES[0]}
    assert (tmp_path / "live" / settings["package"]).stat().st_size > 100_000


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("pyodide.mjs", r"has no pyodide.mjs; the files of a Pyodide release"),
        ("numpy-2.whl", r"has no numpy-2.whl"),
        (None, r"numpy-2.whl is damaged: its checksum"),
    ],
)
def test_a_folder_that_is_no_release_is_refused(tmp_path, name, problem):
    release(tmp_path)
    if name:
        (tmp_path / name).unlink()
    else:
        (tmp_path / "numpy-2.whl").write_text("else")
    with pytest.raises(ValueError, match=problem):
        runtime.write_runtime(tmp_path / "live", tmp_path)


def test_the_cdn_is_pinned_by_checksums(tmp_path):
    runtime.write_runtime(tmp_path / "live")
    settings = json.loads((tmp_path / "live" / "runtime.json").read_text())
    assert settings["base"].startswith("https://")
    assert set(settings["integrity"]) == {*runtime.CORE, settings["module"]}
    lock = json.loads((tmp_path / "live" / runtime.LOCK).read_text())
    assert {*runtime.NEEDED, "matplotlib"} <= set(lock["packages"])
    assert all(len(package["sha256"]) == 64 for package in lock["packages"].values())
