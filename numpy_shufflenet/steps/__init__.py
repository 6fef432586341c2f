"""Every operation as a generator that computes one entry at a time: slow, but easy to follow.

`NAME_forward_steps(arrays..., hyperparameters)` and `NAME_backward_steps(dy, arrays...,
hyperparameters)` yield `Output` and `Step` records. From each pair of generators, this file makes
NAME_forward and NAME_backward, which run the generators and have the signatures of `ops`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy_shufflenet._discover import public_names
from numpy_shufflenet.steps._driver import Output, Step, functions

if TYPE_CHECKING:  # type checkers don't run the lines below

    def __getattr__(name: str) -> Callable[..., Any]: ...


_names = public_names(__name__, __path__, globals())
for _name in [name for name in _names if name.endswith("_forward_steps")]:
    for _function in functions(globals()[_name], globals()[_name.replace("_forward", "_backward")]):
        globals()[_function.__name__] = _function
        _names.append(_function.__name__)
__all__ = ["Output", "Step", *sorted(_names)]
