"""How much a check may cost, and a line that tells how far it is."""

import sys
import time

from ._trial import Trial
from .settings import Settings

PATIENCE = 5.0  # seconds until the line appears


class Budget:
    """Evaluations and seconds of one check; `left` shows the progress, too."""

    def __init__(self, trial: Trial, settings: Settings) -> None:
        self._trial = trial
        self._evaluations, self._seconds = settings.max_evaluations, settings.max_seconds
        self._start = self._shown = time.perf_counter()
        self._line = ""

    def left(self) -> bool:
        """Whether something is left."""
        now = time.perf_counter()
        spent = now - self._start
        if spent > PATIENCE and now - self._shown > 0.5 and sys.stderr.isatty():
            self._shown = now
            self._line = (
                f"gradient check: {self._trial.evaluations} of at most {self._evaluations} "
                f"evaluations, {spent:.0f} of at most {self._seconds:.0f} s"
            )
            print(f"\r{self._line}", end="", file=sys.stderr, flush=True)
        return self._trial.evaluations < self._evaluations and spent < self._seconds

    def close(self) -> None:
        """Wipe the line out."""
        if self._line:
            print(f"\r{' ' * len(self._line)}\r", end="", file=sys.stderr, flush=True)
