"""One name, one meaning: no two modules define a function or a class of the same name."""

import ast
import functools
from collections import defaultdict
from fnmatch import fnmatch
from pathlib import Path

import pytest

import numpy_shufflenet

PACKAGE = Path(numpy_shufflenet.__file__).parent

# Names that several modules define on purpose: pattern of the name, patterns of the modules.
PROTOCOLS = {
    "an operation, by three implementations": ("*_forward", "ops/* kernels/* steps/*"),
    "its backward": ("*_backward", "ops/* kernels/* steps/*"),
    "and what it keeps": ("*Cache", "ops/* kernels/* steps/*"),
    "steps that keep less for backward": ("*_backward_steps", "steps/*"),
    "convolution by columns, taps or tiles": (
        "convolve correlate spread",
        "kernels/_conv2d_columns.py kernels/_conv2d_taps.py kernels/_conv2d_tiles.py",
    ),
    "what students write, beside the library's own, with mistakes to choose": (
        "*_forward *_backward sgd_step cosine_schedule im2col inverse_std",
        "ops/* kernels/* steps/* exercises/learning.py training/schedule.py zoo/answers/*",
    ),
    "an instruction of inference, and of training": ("run_* Arrays", "plan/* engine/*"),
    "a command of the command line; an answer on a page": (
        "add_arguments run",
        "commands/* course/live.py",
    ),
    "a program": ("main", "cli.py course/_student.py data/build_embedded.py"),
    "the entry of a module's table by its name": (
        "find",
        "course/lessons.py exercises/table.py operations.py zoo/__init__.py",
    ),
    "a number or a table, and its picture": (
        "channels_at_budget confusion_matrix",
        "cost/closed_forms.py training/evaluation.py plots/*",
    ),
    "reading a vector of lanes, or a file": ("load", "kernels/_vectors.py weights/files.py"),
    "a file of a picture, or of weights": ("save", "plots/* weights/*"),
    "what a package is for: exercises, gradients, a zoo of mistakes": (
        "check",
        "exercises/check.py gradcheck/check.py zoo/score.py",
    ),
}


@functools.cache
def definitions():
    """Return where each function and class of a module is defined; of private ones, classes."""
    found = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).as_posix()
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) or (
                isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            ):
                found[node.name].add(module)
    return found


def is_meant(name, modules):
    """Whether a protocol allows these modules to define this name."""
    return any(
        any(fnmatch(name, pattern) for pattern in names.split())
        and all(any(fnmatch(module, pattern) for pattern in where.split()) for module in modules)
        for names, where in PROTOCOLS.values()
    )


def test_no_name_has_two_meanings():
    several = {
        name: sorted(modules)
        for name, modules in definitions().items()
        if len(modules) > 1 and not is_meant(name, modules)
    }
    assert not several


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_is_used(protocol):
    names, _where = PROTOCOLS[protocol]
    assert any(
        len(modules) > 1 and is_meant(name, modules)
        for name, modules in definitions().items()
        if any(fnmatch(name, pattern) for pattern in names.split())
    )


def test_a_second_meaning_is_seen():
    assert not is_meant("run", {"commands/demo.py", "kernels/relu.py"})
    assert is_meant("run", {"commands/demo.py", "commands/train.py"})
