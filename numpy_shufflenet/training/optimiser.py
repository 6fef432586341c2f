"""Stochastic gradient descent with momentum.

With the gradient g of a parameter p, the learning rate lr, momentum mu and weight decay wd,

    g <- g + wd p                  only if p has more than one axis
    v <- mu v + g                  v = 0 before the first step
    p <- p - lr v                  plain momentum
    p <- p - lr (g + mu v)         Nesterov momentum: the gradient one step of v ahead

Without momentum, v = g. Weight decay pulls the weights of convolutions and of the classifier
towards 0. Biases, and the scale and shift of batch normalisation, have one axis, so they don't
decay. The authors of ShuffleNet do the same.
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
    """Update a parameter p in place with its gradient g; also update its velocity v unless None."""
    if weight_decay:
        g = g + weight_decay * p
    if v is not None:
        v *= momentum
        v += g
        g = g + momentum * v if nesterov else v
    p -= learning_rate * g


class SGD:
    """Updates the parameters of a model in place with their gradients.

    Parameters
    ----------
    model : Layer
        The optimiser reads the model's list of parameters only when it is created.
    learning_rate : float
        At least 0. A schedule sets this attribute before each step.
    momentum : float
        Factor of the velocity in the next step, from 0 to below 1.
    nesterov : bool
        Whether to use Nesterov momentum, which needs momentum > 0.
    weight_decay : float
        At least 0. It applies to parameters of more than one axis.

    Raises
    ------
    ValueError
        If a number is out of range.

    Source: Sutskever et al., On the importance of initialization and momentum, 2013, section 2,
    with the learning rate outside of v, as in PyTorch. Weight decay is as in the code of ShuffleNet
    V2.
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
            raise ValueError("nesterov=True without momentum has no effect; momentum > 0 is needed")
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
        """The learning rate of the next step; at least 0."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = check_size("learning_rate", value)

    def step(self) -> None:
        """Update every parameter once that isn't frozen, with its accumulated gradient.

        With momentum, compiled kernels and parameters of one dtype, Ctrl-C acts only before or
        after the step, so either all parameters are updated or none.
        """
        rule = {name: getattr(self, name) for name in SETTINGS}
        parameters = [
            (parameter.value, parameter.gradient, self._velocity.get(name))
            for name, parameter in self._parameters.items()
            if not parameter.frozen
        ]
        compiled = _kernel()
        if compiled is not None and compiled.fits(parameters):
            compiled.sgd_update_all(parameters, **rule)
            return
        for p, g, v in parameters:
            sgd_update(p, g, v, **{**rule, "weight_decay": self.weight_decay * (p.ndim > 1)})

    def state_dict(self) -> dict[str, Any]:
        """Return a dict of the settings, in which "velocity" is a dict of copies of v."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        return {**settings, "velocity": {name: v.copy() for name, v in self._velocity.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the settings and velocities of a `state_dict`.

        Raises
        ------
        ValueError
            If an entry is missing or unknown, or a velocity doesn't fit its parameter. Then nothing
            changes.
        """
        if set(state) != {*SETTINGS, "velocity"}:
            needed = ", ".join([*SETTINGS, "velocity"])
            raise ValueError(f"state has the entries {', '.join(state)}; {needed} are needed")
        settings = {name: state[name] for name in SETTINGS}
        new = SGD(self.model, **settings)  # checks the settings
        velocity = state["velocity"]
        if set(velocity) != set(new._velocity):
            odd = sorted(set(velocity) ^ set(new._velocity))
            raise ValueError(
                f"state['velocity'] and the parameters differ in {', '.join(odd[:5])}; "
                "with momentum each parameter has one, without momentum there are none"
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
    """Return the module with the compiled update, or None if the backend has no kernels."""
    if backend.current() != "numba":
        return None
    from numpy_shufflenet.kernels import sgd

    return sgd
