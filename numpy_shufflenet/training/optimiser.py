"""Stochastic gradient descent with momentum: the rule that every network here is trained by.

With the gradient g of a parameter p, the learning rate lr, momentum mu and weight decay wd,

    g <- g + wd p                  only if p has more than one dimension
    v <- mu v + g                  v = 0 before the first step
    p <- p - lr v                  plain momentum
    p <- p - lr (g + mu v)         Nesterov: look one step of v ahead

Without momentum, v = g. Weight decay pulls the kernels and the classifier's matrix to 0; biases
and batch normalisation's scale and shift are vectors, and are left alone, as the authors do.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.ops.checks import check_share, check_size

SETTINGS = ("learning_rate", "momentum", "nesterov", "weight_decay")


def sgd_update(
    p: Array,
    g: Array,
    v: Array | None,
    *,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Move one parameter p, and its velocity v if it has one, in place, by its gradient g."""
    if weight_decay:
        g = g + weight_decay * p
    if v is not None:
        v *= momentum
        v += g
        g = g + momentum * v if nesterov else v
    p -= learning_rate * g


class SGD:
    """Changes the parameters of a model, in place, by their gradients.

    Parameters
    ----------
    model : Layer
        Its parameters are looked up here, once.
    learning_rate : float
        An attribute too: a schedule sets it before each step.
    momentum : float
        Share of the last step that goes into the next, from 0 to below 1.
    nesterov : bool
        Nesterov's momentum; it needs momentum > 0.
    weight_decay : float
        Strength of the pull to 0 on parameters of more than one dimension; at least 0.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Source: Sutskever et al., On the importance of initialization and momentum, 2013, section 2,
    with the learning rate outside of v, as in PyTorch. Decay as in the code of ShuffleNet V2.
    """

    def __init__(
        self,
        model: Layer,
        *,
        learning_rate: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        self.momentum = check_share("momentum", momentum, below=True)
        if nesterov and momentum == 0:
            raise ValueError("nesterov=True looks along the momentum; momentum > 0 is needed")
        self.model = model
        self.learning_rate = learning_rate
        self.nesterov = bool(nesterov)
        self.weight_decay = check_size("weight_decay", weight_decay)
        self._parameters = dict(model.named_parameters())
        self._velocity: dict[str, Array] = {}
        if momentum > 0:
            self._velocity = {
                name: np.zeros_like(parameter.value) for name, parameter in self._parameters.items()
            }

    @property
    def learning_rate(self) -> float:
        """The size of the next step; at least 0."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = check_size("learning_rate", value)

    def step(self) -> None:
        """Move every parameter once, by the gradients that the model has accumulated.

        With momentum, kernels and parameters of one dtype (as in every network here), an interrupt
        comes before the step or after it.
        """
        rule = {name: getattr(self, name) for name in SETTINGS}
        parameters = [
            (parameter.value, parameter.gradient, self._velocity.get(name))
            for name, parameter in self._parameters.items()
        ]
        compiled = _kernel()
        if compiled is not None and compiled.fits(parameters):
            compiled.sgd_update_all(parameters, **rule)
            return
        for p, g, v in parameters:
            sgd_update(p, g, v, **{**rule, "weight_decay": self.weight_decay * (p.ndim > 1)})

    def state_dict(self) -> dict[str, Any]:
        """Return the settings by name, and "velocity", a copy of v of every parameter by name."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        return {**settings, "velocity": {name: v.copy() for name, v in self._velocity.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the settings and velocities of a `state_dict`.

        Raises
        ------
        ValueError
            If an entry is missing or unknown, or a velocity doesn't fit its parameter. Nothing is
            changed then.
        """
        if set(state) != {*SETTINGS, "velocity"}:
            needed = ", ".join([*SETTINGS, "velocity"])
            raise ValueError(f"state has the entries {', '.join(state)}; {needed} are needed")
        settings = {name: state[name] for name in SETTINGS}
        new = SGD(self.model, **settings)  # checks them
        velocity = state["velocity"]
        if set(velocity) != set(new._velocity):
            odd = sorted(set(velocity) ^ set(new._velocity))
            raise ValueError(
                f"state['velocity'] and the parameters differ in {', '.join(odd[:5])}; "
                "with momentum there is one for each parameter, without there is none"
            )
        for name, v in new._velocity.items():
            if np.shape(velocity[name]) != v.shape:
                raise ValueError(
                    f"state['velocity'][{name!r}] has shape {np.shape(velocity[name])}; "
                    f"{v.shape} is needed"
                )
            v[...] = velocity[name]
        vars(self).update(vars(new))

    def __repr__(self) -> str:
        return f"SGD({', '.join(f'{name}={getattr(self, name)}' for name in SETTINGS)})"


def _kernel() -> Any:
    """Return the module that holds the rule compiled, or None if the backend has no kernels."""
    if backend.current() != "numba":
        return None
    from numpy_shufflenet.kernels import sgd

    return sgd
