"""The face of the package: what `import numpy_shufflenet` gives, and when it loads it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numpy_shufflenet as ns


def test_every_name_loads_when_it_is_asked_for():
    for name in ns.__all__:
        assert getattr(ns, name) is not None
    assert set(ns.__all__) <= set(dir(ns))
    assert ns.shufflenet_v2 is ns.models.shufflenet_v2
    assert ns.check_pair is ns.gradcheck.check_pair


def test_names_for_type_checkers_are_those_that_load():
    lines = Path(ns.__file__).read_text("utf-8").splitlines()
    typed = {line.split(" as ")[1] for line in lines if line.startswith("    from numpy_shuffle")}
    assert typed == set(ns.__all__)


def test_nothing_is_loaded_before_it_is_asked_for():
    code = (
        "import sys, numpy_shufflenet as ns; "
        "assert 'numpy' not in sys.modules and 'numpy_shufflenet.ops' not in sys.modules; "
        "ns.ops; assert 'numpy_shufflenet.ops' in sys.modules; "
        "assert not {'numba', 'matplotlib', 'hypothesis'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'numpy_shufflenet' has no attribute 'conv3d'"):
        ns.conv3d  # noqa: B018


def test_the_example_in_the_docstring_runs():
    rng = np.random.default_rng(0)
    small = {"x": rng.normal(size=(2, 3, 6, 5)), "w": rng.normal(size=(4, 3, 3, 3))}
    scope = {
        **small,
        "images": rng.normal(size=(2, 3, 32, 32)).astype(np.float32),
        "dy": rng.normal(size=(2, 4, 2, 2)),
        "my_forward": ns.ops.conv2d_forward,
        "my_backward": ns.ops.conv2d_backward,
    }
    lines = [line[4:] for line in ns.__doc__.splitlines() if line.startswith("    ")]
    assert lines.pop().startswith("verdict = ns.check_model(model, images, labels)")  # minutes
    exec("\n".join(lines), scope)
    assert scope["logits"].shape == (2, 1000)
    assert scope["dw"].shape == small["w"].shape
    assert scope["verdict"].passed
