"""The forward and the backward of a training step: by a compiled program, or layer by layer."""

from typing import Any

from numpy_shufflenet import backend
from numpy_shufflenet._typing import Array
from numpy_shufflenet.models import ImageClassifier
from numpy_shufflenet.nn import Layer

SHAPES = 4  # of batches, for which programs are kept: two sizes of parts, and those of a last batch


class Passes:
    """Runs the forward and the backward of a model in training.

    It builds a `TrainingProgram` for each shape of a batch. It runs layer by layer what a program
    can't run, and models with layers that aren't of this package: such a layer may do something
    else in each step, and a program always does the same.

    Attributes
    ----------
    reason : str or None
        Why the last forward ran layer by layer; None if a program ran it.
    """

    def __init__(self, model: Layer):
        self.model = model
        self.reason: str | None = None
        self.release()

    def release(self) -> None:
        """Drop all programs and their memory."""
        self._programs: dict[tuple[int, ...], Any] = {}
        self._refused: tuple[Any, str] | None = None
        self._memory: Any = None
        self._running: Any = None

    def forward(self, x: Array) -> Array:
        """Return the logits of images x (n, c, h, w); running statistics are updated."""
        self._running, self.reason = self._program(x)
        logits: Array
        if self._running is not None:
            logits = self._running.forward(x)
        elif isinstance(self.model, ImageClassifier):
            logits = self.model.forward(x, training=True, input_gradient=False)
        else:
            logits = self.model.forward(x, training=True)
        return logits

    def backward(self, dlogits: Array) -> None:
        """Add to the gradients of the parameters; skip the gradient of the images if possible."""
        if self._running is not None:
            self._running.backward(dlogits)
        elif isinstance(self.model, ImageClassifier):
            self.model.backward(dlogits, input_gradient=False)
        else:
            self.model.backward(dlogits)

    def _program(self, x: Array) -> tuple[Any, str | None]:
        """Return the program for these images, or None and the reason why there is none."""
        if backend.current() != "numba":
            return None, 'only the backend "numba" has compiled programs'
        from numpy_shufflenet.engine import ProgramMemory, TrainingProgram, Unsupported, state_of

        state = state_of(self.model)
        if self._refused is not None and self._refused[0] == (x.shape, state):
            return None, self._refused[1]
        program = self._programs.get(x.shape)
        if program is None or program.state != state:
            if self._memory is None:
                self._memory = ProgramMemory()
            self._programs.pop(x.shape, None)
            try:
                _check_layers(self.model)
                program = TrainingProgram(self.model, x.shape, self._memory)
            except Unsupported as error:
                self._refused = (x.shape, state), str(error)
                return None, str(error)
            while len(self._programs) >= SHAPES:
                self._programs.pop(next(iter(self._programs)))
            self._programs[x.shape] = program
        return program, None


def _check_layers(model: Layer) -> None:
    from numpy_shufflenet.engine import Unsupported

    for name, layer in model.named_layers():
        kind = type(layer)
        if not kind.__module__.startswith("numpy_shufflenet."):
            raise Unsupported(f"{name or 'the model'} is a {kind.__name__}, a layer of your own")
        if layer.is_traced():
            raise Unsupported(f"{name or 'the model'} is traced")
