"""The folder alone is a package of its own: it needs NumPy, and nothing else of this project."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from numpy_shufflenet import gradcheck

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "gradcheck-alone"
version = "1"
dependencies = ["numpy"]

[tool.setuptools]
packages = ["gradcheck"]
"""
PROGRAM = """
import sys
for name in ("numpy_shufflenet", "numba", "torch", "jax", "matplotlib", "scipy"):
    sys.modules[name] = None  # an import of it raises ImportError
import numpy as np
import gradcheck

assert gradcheck.__file__.startswith(sys.argv[1]), gradcheck.__file__
x, w = np.random.default_rng(0).normal(size=(2, 3, 4))
right = gradcheck.check(np.sin, lambda dy, x: dy * np.cos(x), x, per_entry=True)
wrong = gradcheck.check(np.sin, lambda dy, x: 2 * dy * np.cos(x), x)
assert (right.status, wrong.status) == ("pass", "fail")
assert wrong.explain().family == "factor"
assert "<svg" in wrong._repr_html_()
assert set(right.error_curve().errors) == {
    "forward", "central", "five-point", "richardson", "complex step"
}
gradcheck.assert_gradients(
    lambda x, w: (x * w, (x, w)), lambda dy, cache: (dy * cache[1], dy * cache[0]), x, w
)


class Scale:
    def __init__(self, w):
        self.w, self.dw = w, 0

    def astype(self, dtype):
        return Scale(self.w.astype(dtype))

    def parameters(self):
        return {"w": self.w}

    def gradients(self):
        return {"w": self.dw}

    def zero_gradients(self):
        self.dw = 0 * self.w

    def release(self):
        self.x = None

    def forward(self, x, *, training):
        self.x = x
        return x * self.w

    def backward(self, dy):
        self.dw = dy * self.x
        return dy * self.w

    def activation_pattern(self):
        return []


def loss(y):
    return float(np.sin(y).sum()), np.cos(y)


gradcheck.check_layer(Scale(w), x).raise_if_failed()
gradcheck.check_model(Scale(w), x, loss=loss).raise_if_failed()
gradcheck.check_model_hessian(Scale(w), x, loss=loss).raise_if_failed()
gradcheck.check_hessian(lambda x: [np.cos(x)], x).raise_if_failed()
try:
    gradcheck.check_operation("relu")
except ImportError:
    print("done")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Install a copy of the folder, by itself, into an empty directory."""
    project, site = (tmp_path_factory.mktemp(name) for name in ("project", "site"))
    shutil.copytree(
        Path(gradcheck.__file__).parent,
        project / "gradcheck",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (project / "pyproject.toml").write_text(PROJECT)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", str(site)]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "."],
        cwd=project,
        check=True,
        capture_output=True,
    )
    return site


def test_the_installed_folder_checks_gradients_without_the_rest(site):
    code = f"import sys\nsys.path.insert(0, sys.argv[1])\n{PROGRAM}"
    command = [sys.executable, "-W", "error", "-c", code, str(site)]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
