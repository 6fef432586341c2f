"""Whoever lacks a package is told what to install."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import numpy_shufflenet

CALLS = {
    "matplotlib": (
        "from numpy_shufflenet.plots.figures import new_figure; new_figure(1, 1)",
        "matplotlib",
        "demo",
    ),
    "PIL": (
        "from numpy_shufflenet.data import load_image; load_image('a', size=3, channels=1)",
        "Pillow",
        "demo",
    ),
    "rich": ("from numpy_shufflenet.training import ProgressBar; ProgressBar()", "rich", "demo"),
    "onnx": (
        "from numpy_shufflenet.weights.onnx import read_onnx; read_onnx('a')",
        "onnx",
        "onnx",
    ),
    "safetensors": (
        "from numpy_shufflenet import nn, training; training.save_weights(nn.ReLU(), 'a')",
        "safetensors",
        "demo",
    ),
    "jupytext": (
        "from numpy_shufflenet.course.lessons import lessons; lessons()[0].read()",
        "jupytext",
        "notebooks",
    ),
    "threadpoolctl": (
        "import sys, numpy_shufflenet.cli as cli; sys.exit(cli.main(['summary', 'shufflenet_v2']))",
        "threadpoolctl",
        "",
    ),
    "numba": ("from numpy_shufflenet import kernels", "numba", ""),
    "numba.extending": ("from numpy_shufflenet.plan import InferencePlan", "numba", ""),
    "hypothesis.strategies": ("from numpy_shufflenet import strategies", "hypothesis", "notebooks"),
    "torch": (
        "from numpy_shufflenet.compare.torch_network import load_factory; load_factory('a:b')",
        "torch",
        "peers",
    ),
    "sphinx": (
        "from numpy_shufflenet._optional import need; need('sphinx', 'the site', extra='site')",
        "sphinx",
        "site",
    ),
}


@pytest.mark.parametrize("module", CALLS)
def test_a_missing_package_is_named_with_its_extra(module):
    call, package, extra = CALLS[module]
    code = f"import sys; sys.modules[{module!r}] = None\n{call}"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    last = result.stderr.strip().splitlines()[-1]
    target = f'"numpy_shufflenet[{extra}]"' if extra else package
    assert f"needs {package}: pip install {target}" in last
    assert ("Traceback" in result.stderr) == ("cli.main" not in call)


# Imports that another function's `need` precedes, so that they can't fail: file, package.
REACHED_LATER = {
    ("bench/networks.py", "onnxruntime"),  # the command asks for all of these
    ("bench/networks.py", "torch"),
    ("bench/operations.py", "torch"),
    ("commands/_distributed.py", "mpi4py"),  # `world` asks
    ("course/_student.py", "IPython"),  # `grading` asks first
    ("course/execute.py", "jupyter_client"),  # nbclient depends on it
    ("course/site/api.py", "sphinx"),
    ("course/site/chinese.py", "sphinx"),
    ("course/site/conf.py", "sphinx"),
    ("exercises/result.py", "IPython"),  # IPython calls it
    ("plots/_notebook.py", "matplotlib"),  # `new_figure` asks
    ("plots/costs.py", "matplotlib"),
    ("plots/roofline.py", "matplotlib"),
}
ALONE = ("gradcheck/",)  # needs NumPy only, and names PyTorch, JAX and matplotlib in Python's words
ALWAYS = {"numpy", "numpy_shufflenet", *sys.stdlib_module_names}


def imports_that_may_fail(path):
    """Yield the packages that a file imports, unless it asks for them or a try catches it."""
    tree = ast.parse(path.read_text("utf-8"))
    safe, asked = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            safe |= set(map(id, ast.walk(node)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "need":
            constants = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
            asked |= {str(value).partition(".")[0] for value in constants}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        else:
            continue
        packages = {name.partition(".")[0] for name in names} - ALWAYS
        yield from packages - asked if id(node) not in safe else ()


def test_every_import_that_may_fail_asks_for_its_package():
    folder = Path(numpy_shufflenet.__file__).parent
    found = set()
    for path in folder.rglob("*.py"):
        name = path.relative_to(folder).as_posix()
        if name.startswith(("kernels/", "plan/", "engine/")):  # `kernels` asks for Numba
            assert set(imports_that_may_fail(path)) <= {"numba", "llvmlite"}
        elif not name.startswith(ALONE):
            found |= {(name, package) for package in imports_that_may_fail(path)}
    assert found == REACHED_LATER
