"""A new operation takes four files, and is everywhere then.

`tests/new_operation` holds them for a clipped ReLU: in ops, steps and kernels, and its test. They
are added to a copy of the project, and nothing else in it is touched.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent / "new_operation"
NAME = "clipped_relu"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for name in ("numpy_shufflenet", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", folder)
    for package in ("ops", "steps", "kernels"):
        shutil.copy(
            HERE / f"{package}_{NAME}.py", folder / "numpy_shufflenet" / package / f"{NAME}.py"
        )
    shutil.copy(HERE / f"tests_{NAME}.py", folder / "tests" / "ops" / f"test_{NAME}.py")
    return folder


def python(project, *arguments):
    """What Python prints, run in the project."""
    environment = {**os.environ, "PYTHONPATH": str(project)}
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_every_test_that_walks_the_table_passes_for_it(project):
    """And tests that compare the table with other lists: of functions, oracles and kinds."""
    files = ["test_operations.py", "test_contracts.py", "test_array_kinds.py", "cost", "steps"]
    files += ["ops/test_clipped_relu.py", "plots/test_moving.py", "exercises/test_check.py"]
    files += ["gradcheck/test_everything.py", "commands/test_cost.py"]
    files += ["ops/test_all_torch.py", "ops/test_jax.py"]
    complete = ["every_forward", "has_a_peer", "has_its_functions"]
    wanted = " or ".join([NAME, *complete])
    said = python(
        project, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", wanted,
        *(f"tests/{file}" for file in files),
    )  # fmt: skip
    passed = [line for line in said.splitlines() if " PASSED " in line]
    assert len([line for line in passed if NAME in line]) > 40, said
    for name in ("ops/test_clipped_relu.py", *complete):
        assert any(name in line for line in passed), name


def test_the_command_line_checks_and_costs_it(project):
    assert python(project, "-m", "numpy_shufflenet", "check", NAME).startswith("pass")
    said = " ".join(python(project, "-m", "numpy_shufflenet", "cost", NAME).split())
    assert "forward comparisons 2*size" in said
    assert "1*size" not in said
    assert NAME in python(project, "-m", "numpy_shufflenet", "check", "--help")


def test_it_is_an_exercise(project):
    said = python(
        project,
        "-c",
        "from numpy_shufflenet import exercises, ops\n"
        "from numpy_shufflenet.cost.kinds import ORDER\n"
        "assert 'clipped ReLU' in ORDER\n"
        f"forward = lambda x, cap: ops.{NAME}_forward(x, cap=cap)[0]\n"
        f"print(exercises.check('{NAME}_forward', forward))\n"
        "try:\n"
        f"    exercises.check('{NAME}_backward', lambda dy, x, cap: dy)\n"
        "except exercises.NotYet as error:\n"
        "    print(error)\n",
    )
    assert f"{NAME}_forward" in said
    assert "clipped_relu" in said
