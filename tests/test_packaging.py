"""What is installed: metadata, files, and a core that needs NumPy alone."""

import configparser
import importlib.util
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import numpy_shufflenet

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "numpy_shufflenet"
OPTIONAL = ("PIL", "jax", "matplotlib", "numba", "onnx", "rich", "safetensors", "scipy", "torch")


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_one_version_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == numpy_shufflenet.__version__
    assert metadata.version("numpy_shufflenet") == numpy_shufflenet.__version__


def test_every_room_is_a_package():
    """And named in setup.cfg, which would else leave it out in silence."""
    packages = {module.parent for module in PACKAGE.rglob("*.py")}
    named = setup_cfg()["options"]["packages"].split()
    assert named[-1] == "numpy_shufflenet.course.lessons_source"
    assert {".".join(package.relative_to(ROOT).parts) for package in packages} == set(named[:-1])
    assert all((package / "__init__.py").exists() for package in packages)


def test_every_other_file_is_package_data():
    declared = setup_cfg()["options.package_data"]
    covered = {
        path
        for package, patterns in declared.items()
        for pattern in patterns.split(",")
        for path in PACKAGE.joinpath(*package.split(".")[1:]).glob(pattern.strip())
    }
    others = {
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert PACKAGE / "py.typed" in covered
    assert covered == others


@pytest.mark.parametrize(
    "package",
    [
        "ops",
        "steps",
        "operations",
        "nn",
        "models",
        "gradcheck",
        "zoo",
        "backend",
        "weights",
        "compare",
        "plots",
        "course",
    ],
)
def test_a_package_needs_numpy_alone(package):
    """A fresh interpreter in which none of the other libraries can be imported."""
    program = (
        f"import sys\nfor name in {OPTIONAL}: sys.modules[name] = None\n"
        f"import numpy_shufflenet.{package}"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_command_is_there():
    """The entry point that pip has made a script of leads to a function."""
    (entry,) = metadata.entry_points(group="console_scripts", name="numpy-shufflenet")
    assert importlib.util.find_spec(entry.module)
    assert callable(entry.load())
