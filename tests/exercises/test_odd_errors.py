"""Whatever a student's function raises or does to its surroundings, the student hears of it."""

import os
import sys

import numpy as np
import pytest

from numpy_shufflenet.exercises import sandbox

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")


class OfBase(BaseException):
    pass


class CannotBePickledError(Exception):
    def __reduce__(self):
        raise TypeError("no")


class CannotBeShownError(Exception):
    def __str__(self):
        raise RuntimeError("no")


class ShownAsANumberError(Exception):
    def __str__(self):
        return 3


class Nameless(type):
    @property
    def __name__(cls):
        raise ValueError("no name")


class WithoutANameError(Exception, metaclass=Nameless):
    pass


ERRORS = {
    OfBase("hello"): ("OfBase", "hello"),
    CannotBePickledError(lambda: 3): ("CannotBePickledError", "<function"),
    CannotBeShownError(): ("CannotBeShownError", "(its __str__ raised RuntimeError)"),
    ShownAsANumberError(): ("ShownAsANumberError", "(its __str__ raised TypeError)"),
    WithoutANameError("hello"): ("WithoutANameError", "hello"),
    KeyboardInterrupt(): ("KeyboardInterrupt", ""),
    SystemExit(3): ("SystemExit", "3"),
    BaseExceptionGroup("both", [OfBase()]): ("BaseExceptionGroup", "both"),
    ValueError("\ud800\0\x1b[31m"): ("ValueError", "\ud800\0\x1b[31m"),
    ValueError("x" * 10**7): ("ValueError", "x" * 2000),
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: ERRORS[error][0])
def test_every_error_arrives(error):
    def fail():
        raise error

    name, text = ERRORS[error]
    with (
        sandbox.open_sandbox(fail, seconds=5, megabytes=200) as run,
        pytest.raises(Exception) as caught,  # noqa: PT011
    ):
        run()
    assert type(caught.value).__name__ == name
    assert str(caught.value).startswith(text)
    assert len(str(caught.value)) <= 2000


def test_an_argument_of_another_shape_afterwards_is_named():
    def resize(x):
        x.resize((0,), refcheck=False)

    with (
        sandbox.open_sandbox(resize, seconds=5, megabytes=200) as run,
        pytest.raises(ValueError, match=r"changes the shape .* from \(3,\) to \(0,\)"),
    ):
        run(np.ones(3))


def test_a_closed_output_does_no_harm():
    def close(x):
        sys.stdout.close()
        return x

    with sandbox.open_sandbox(close, seconds=5, megabytes=200) as run:
        assert run(3) == 3
