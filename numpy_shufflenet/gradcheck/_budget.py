"""How much a check may cost, and a line that tells how far it is."""

import sys
import time

from numpy_shufflenet.gradcheck._trial import Trial

PATIENCE = 5.0  # seconds until the line appears


class Budget:
    """Evaluations and seconds of one check; what is asked for `left` shows the progress, too.

    Parameters
    ----------
    trial : Trial
    evaluations : int
        Of f.
    seconds : float
    """

    def __init__(self, trial: Trial, evaluations: int = 20_000, seconds: float = 60.0) -> None:
        self._trial = trial
        self.evaluations, self.seconds = evaluations, seconds
        self._start = self._shown = time.perf_counter()
        self._line = ""
        self.exceeded = False

    def left(self) -> bool:
        """Whether something is left."""
        now = time.perf_counter()
        spent = now - self._start
        if spent > PATIENCE and now - self._shown > 0.5 and sys.stderr.isatty():
            self._shown = now
            self._line = (
                f"gradient check: {self._trial.evaluations} of at most {self.evaluations} "
                f"evaluations, {spent:.0f} of at most {self.seconds:.0f} s"
            )
            print(f"\r{self._line}", end="", file=sys.stderr, flush=True)
        enough = self._trial.evaluations < self.evaluations and spent < self.seconds
        self.exceeded |= not enough
        return enough

    def close(self) -> None:
        """Wipe the line out."""
        if self._line:
            print(f"\r{' ' * len(self._line)}\r", end="", file=sys.stderr, flush=True)
