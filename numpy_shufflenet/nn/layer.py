"""The base class of layers: named parameters, and one forward for each backward."""

import copy
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.freezing import Freezable
from numpy_shufflenet.nn.parameter import Buffer as Buffer
from numpy_shufflenet.nn.parameter import Parameter as Parameter
from numpy_shufflenet.nn.trace import Trace


class NonFiniteWeightsWarning(UserWarning):
    """Weights that are NaN or infinite were loaded."""


Self = TypeVar("Self", bound="Layer")


class _ForwardRun:
    """One forward of a whole network, or of a layer that is called directly."""

    whole = False  # whether the forward has ended, and no backward has begun

    def __init__(self, training: bool = False):
        self.training = training


class _CurrentRun(threading.local):
    run: _ForwardRun | None = None  # the forward that this thread runs now


_local = _CurrentRun()


class Layer(Freezable):
    """A part of a network that runs forward and then backward.

    A layer stores its parameters and child layers as attributes. The names and order in all dicts
    follow from the attributes (`stage2.0.branch1.0.weight`). A subclass
    defines `_forward(x, training)` and `_backward(dy)`. It stores what
    the backward needs as attributes, and drops them in `_release`.

    Each backward belongs to one forward. Any number of evaluation forwards may come before a
    training forward, but none between the training forward and its backward.
    """

    def __init__(self) -> None:
        self._pending = 0  # number of forwards to which the next backward could belong
        self._pending_training = False
        self._run = _ForwardRun()  # of the last of these forwards
        self._trace: Trace | None = None

    # Forward and backward

    def forward(self, x: Any, *, training: bool = False) -> Any:
        """Compute y, and keep what backward needs.

        Parameters
        ----------
        x : array, shape (n, c, h, w), or what the layer's class says
        training : bool
            Whether batch normalisation uses (and updates) the statistics of the batch, and
            dropout drops; not in `frozen` layers.

        Raises
        ------
        ValueError
            If x doesn't fit. Nothing is kept for backward then.
        """
        mode = training and not self._frozen
        if backend.inferring():
            return self._forward(x, mode)
        if not self.is_traced():
            self._trace = None
        before = _local.run
        run = _local.run = before or _ForwardRun(training)
        try:
            if self._trace is None:
                y = self._forward(x, mode)
            else:
                y = self._trace.forward(self, x, mode)
        except BaseException:
            self.release()
            raise
        finally:
            _local.run = before
        # Forget forwards of a run that didn't end: an interrupt may have stopped `release`, too.
        left = self._run is not run and not self._run.whole
        # The mode of the whole run counts, since layers within a frozen one are in evaluation.
        if left or (run.training and not self._pending_training):
            self._pending, self._pending_training = 0, False
        self._pending += 1
        self._pending_training |= run.training
        self._run = run
        run.whole = before is None
        return y

    def backward(self, dy: Any) -> Any:
        """Return dx for dy, add to the gradients of the parameters, and drop what forward kept.

        Raises
        ------
        ValueError
            If there was no forward, or more than one since the last backward, or dy doesn't fit.
        """
        kind = type(self).__name__
        if self._pending == 0:
            raise ValueError(f"{kind}.backward without a forward before it; run forward first")
        if self._pending > 1:
            raise ValueError(
                f"{kind}.backward after {self._pending} forwards: it could belong to any of them; "
                "run one forward before each backward, or release() before the one that is meant"
            )
        self._run.whole = False
        try:
            dx = self._backward(dy)
        except Exception:
            self._run.whole = True  # dy may have been wrong; the caller may try another
            raise
        except BaseException:
            self.release()  # an interrupted backward can't be repeated
            raise
        if self._trace is not None:
            self._trace.record_backward(self, dy, dx)
        self._pending, self._pending_training = 0, False
        self._release()
        return dx

    def infer(self, x: Any) -> Any:
        """Compute y in evaluation mode, and keep nothing: there is no backward after it.

        Several threads may call `infer` at the same time.
        """
        with backend.own_cores():
            return backend.infer(self._forward, x, False)

    def release(self) -> None:
        """Drop what forward kept, here and in all layers within: no backward can follow."""
        for _, layer in self.named_layers():
            layer._pending, layer._pending_training = 0, False
            layer._trace = None
            layer._release()

    def _forward(self, x: Any, training: bool) -> Any:
        raise NotImplementedError

    def _backward(self, dy: Any) -> Any:
        raise NotImplementedError

    def _release(self) -> None:
        """Drop what this layer itself has kept."""

    def own_additions(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, int]:
        """Return how many additions the layer itself makes, without those in its child layers.

        For example, backward adds the two gradients of an input that two branches read.

        Parameters
        ----------
        x, y : tuple of int
            Shapes of the layer's input and output.

        Returns
        -------
        forward, backward : int
        """
        return 0, 0

    # Names

    def children(self) -> dict[str, "Layer"]:
        """Return the layers that this one is composed of, by name, in the order of forward."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Layer)}

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, "Layer"]]:
        """Yield this layer, as "", and all layers within, as "stage2.0.branch1.0"."""
        waiting = [(prefix, self)]
        while waiting:
            prefix, layer = waiting.pop()
            yield prefix, layer
            below = layer.children().items()
            start = f"{prefix}." if prefix else ""
            waiting += [(start + name, child) for name, child in reversed(below)]

    def _named(self, *kinds: type) -> Iterator[tuple[str, Any]]:
        """Yield each attribute of these types, here and in layers within, with its full name."""
        for prefix, layer in self.named_layers():
            for name, value in vars(layer).items():
                if isinstance(value, kinds):
                    yield f"{prefix}.{name}" if prefix else name, value

    # Parameters

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield every `Parameter`, the value and its gradient, by the names of `parameters`."""
        return self._named(Parameter)

    def parameters(self) -> dict[str, Array]:
        """Return every learned array by name. These are the live arrays: write into them to train.

        V2 has the names of torchvision; V1 has names of the same pattern.
        """
        return {name: parameter.value for name, parameter in self.named_parameters()}

    def gradients(self) -> dict[str, Array]:
        """Return the accumulated gradient of every parameter that isn't frozen, by name."""
        named = self.named_parameters()
        return {name: parameter.gradient for name, parameter in named if not parameter.frozen}

    def zero_gradients(self) -> None:
        """Drop the accumulated gradients; arrays that `gradients` has returned stay as they are."""
        for _, parameter in self.named_parameters():
            parameter.zero_gradient()

    def state_dict(self) -> dict[str, Array]:
        """Return a copy of every parameter and running statistic, by name."""
        return {name: stored.value.copy() for name, stored in self._named(Parameter, Buffer)}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy the arrays of a `state_dict`, converted to this model's dtype.

        Where `num_batches_tracked` is missing, as in older files of PyTorch, it becomes 0.

        Raises
        ------
        ValueError
            If an entry is missing, unknown, of another shape, or its numbers don't fit. Then
            nothing is changed.

        Warns
        -----
        NonFiniteWeightsWarning
            If weights are NaN or infinite. They are copied.
        """
        own = dict(self._named(Parameter, Buffer))
        counters = (name for name in own if name.endswith("num_batches_tracked"))
        state = {name: np.array(0) for name in counters} | dict(state)
        problems = [f"{name} is missing" for name in own if name not in state]
        problems += [f"{name} is unknown" for name in state if name not in own]
        converted = {}
        for name, stored in own.items():
            if name in state:
                converted[name], problem = _converted(state[name], stored.value)
                problems += [f"{name} {problem}"] if problem else []
        if problems:
            shown = "; ".join(problems[:5])
            more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise ValueError(f"state doesn't fit this {type(self).__name__}: {shown}{more}")
        for name, stored in own.items():
            stored.value[...] = converted[name]
        warn_unless_finite(converted)

    def astype(self: Self, dtype: Any) -> Self:
        """Return a new layer with parameters and statistics of dtype float32 or float64.

        The new layer has no gradients, and nothing kept for backward; this layer doesn't change.
        """
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype={dtype} is not one of float32, float64")
        new = copy.deepcopy(self)
        new.release()
        new.zero_gradients()
        for _, stored in new._named(Parameter, Buffer):
            if np.issubdtype(stored.value.dtype, np.floating):
                stored.value = stored.value.astype(dtype)
        return new

    # Study

    def trace(self, x: Array, *, training: bool = False) -> Trace:
        """Run forward and return every activation and time by name; `backward` adds gradients."""
        trace = Trace(self.named_layers())
        for _, layer in self.named_layers():
            layer._trace = trace
        trace.recording = True
        try:
            self.forward(x, training=training)
        finally:
            trace.recording = False
        return trace

    def is_traced(self) -> bool:
        """Whether this forward is part of a `trace`."""
        return self._trace is not None and self._trace.recording

    def activation_pattern(self) -> list[Array]:
        """Return the choices of every ReLU and every max pool in the last forward.

        For two inputs with the same pattern, the network's function is smooth between them: a
        finite difference crosses no kink.
        """
        return [pattern for _, layer in self.named_layers() for pattern in layer._pattern()]

    def _pattern(self) -> Iterator[Array]:
        yield from ()


def not_finite(arrays: Mapping[str, Array]) -> str:
    """Name the first three arrays that hold NaN or infinity; "" if no array does."""
    names = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def warn_unless_finite(arrays: Mapping[str, Array]) -> None:
    """Warn of weights that are NaN or infinite."""
    if names := not_finite(arrays):
        message = f"these weights hold NaN or infinity: {names}"
        warnings.warn(message, NonFiniteWeightsWarning, stacklevel=3)


def _converted(value: Any, like: Array) -> tuple[Any, str]:
    """Return value in the dtype of `like`, and what is wrong with value (or "")."""
    if np.shape(value) != like.shape:
        return None, f"has shape {np.shape(value)}, but {like.shape} is needed"
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        return None, f"has dtype {array.dtype}; numbers like {like.dtype} are needed"
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(like.dtype)
    if array.dtype.kind == "f" and not (np.isfinite(converted) | ~np.isfinite(array)).all():
        return None, f"holds {np.abs(array).max():.3g}, which is too large for {like.dtype}"
    return converted, ""
