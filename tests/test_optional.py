"""Whoever lacks a package is told what to install."""

import subprocess
import sys

import pytest

CALLS = {
    "hypothesis": ("from numpy_shufflenet import exercises", "hypothesis", "notebooks"),
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
    assert f'needs {package}: pip install "numpy_shufflenet[{extra}]"' in last
