"""An exponential moving average of a network's weights and running statistics.

It often classifies better than the weights after the last step. After step t, counted from 1, each
weight or running statistic w changes its average a:

    a <- a + (1 - d) (w - a)        d = min(decay, (1 + t) / (10 + t))

so the average forgets the random initial weights quickly, and later covers about 1 / (1 - decay)
steps. The running statistics of batch normalisation are averaged over the same steps, so they need
no further pass over the training images. They describe activations of the weights that were
averaged, not of the average. Under a learning rate that falls to 0, the two agree at the end.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.layer import Buffer, Layer, Parameter
from numpy_shufflenet.ops.checks import check_share


class WeightAverage:
    """The average of a model's parameters and running statistics.

    Parameters
    ----------
    model : Layer
        The average begins with its weights.
    decay : float
        Share of the average that stays in a step, from 0 to below 1.

    Raises
    ------
    ValueError
        If decay is out of range.

    Source: Polyak, Juditsky, Acceleration of stochastic approximation by averaging, 1992, with an
    exponential average as in Szegedy et al., Rethinking the Inception architecture, 2016, section
    8. The smaller d of the first steps is TensorFlow's.
    """

    def __init__(self, model: Layer, decay: float):
        self.decay = check_share("decay", decay, below=True)
        self._stored = dict(model._named(Parameter, Buffer))
        self.arrays = model.state_dict()

    def update(self, step: int) -> None:
        """Include the weights after a step, counted from 1. Counters are copied."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, average in self.arrays.items():
            value = self._stored[name].value
            if average.dtype.kind == "f":
                average += average.dtype.type(share) * (value - average)
            else:
                average[...] = value

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Exchange the average and the weights of the model, during a `with` block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, average in self.arrays.items():
            value = self._stored[name].value
            value[...], average[...] = average.copy(), value.copy()

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the averages, by the names of `Layer.state_dict`."""
        return {name: np.array(average) for name, average in self.arrays.items()}
