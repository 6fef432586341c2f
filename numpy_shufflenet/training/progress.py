"""A progress bar in the terminal with loss, accuracy, images per second and the time left."""

import time
from typing import Any

from numpy_shufflenet._optional import need
from numpy_shufflenet.training.history import EpochRecord, StepReport
from numpy_shufflenet.training.loop import Observer, Trainer

SMOOTHING = 0.9  # weight of the earlier steps in the displayed loss and accuracy


class ProgressBar(Observer):
    """Shows one bar for the whole training, and a line for each finished epoch.

    If the output isn't a terminal, the bar isn't shown. `console` is a rich.console.Console; the
    default writes to the standard output. Raises ImportError if rich isn't installed.
    """

    def __init__(self, console: Any = None):
        rich = need("rich.console", "the progress bar")
        self.console = console or rich.Console()
        self._bar: Any = None

    def begin(self, trainer: Trainer) -> None:
        """Show the bar at the current step."""
        if not self.console.is_terminal:
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self.console,
            speed_estimate_period=120,  # seconds; an evaluation is much shorter
        )
        self._task = self._bar.add_task(
            "",
            total=trainer.epochs * trainer.steps_per_epoch,
            completed=trainer.step,
            epoch=min(trainer.epoch + 1, trainer.epochs),
            epochs=trainer.epochs,
            state="",
        )
        self._loss = self._accuracy = self._weight = 0.0
        self._images, self._start = 0, time.perf_counter()
        self._bar.start()

    def step(self, trainer: Trainer, report: StepReport) -> None:
        """Advance the bar, and show means over the last steps."""
        if self._bar is None:
            return
        self._loss = SMOOTHING * self._loss + (1 - SMOOTHING) * report.loss
        accuracy = report.correct / report.images
        self._accuracy = SMOOTHING * self._accuracy + (1 - SMOOTHING) * accuracy
        self._weight = SMOOTHING * self._weight + (1 - SMOOTHING)  # total weight so far, below 1
        self._images += report.images
        speed = self._images / (time.perf_counter() - self._start)
        self._bar.update(
            self._task,
            completed=report.step,
            epoch=trainer.epoch + 1,
            state=f"loss {self._loss / self._weight:.3f}  "
            f"accuracy {self._accuracy / self._weight:.1%}  {speed:,.0f} images/s",
        )

    def epoch(self, trainer: Trainer, record: EpochRecord) -> None:
        """Print a line above the bar."""
        self._images, self._start = 0, time.perf_counter()
        if self._bar is not None:
            line = describe_epoch(record, trainer.epochs)
            self._bar.console.print(line, highlight=False, soft_wrap=True)

    def end(self, trainer: Trainer) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def describe_epoch(record: EpochRecord, epochs: int) -> str:
    """Describe an epoch in one line, with the time left if it is a minute or more."""
    line = (
        f"epoch {record.epoch:>{len(str(epochs))}}/{epochs}: "
        f"loss {record.train_loss:.3f}, accuracy {record.train_accuracy:.1%}"
    )
    if record.test_loss is not None and record.test_accuracy is not None:
        line += f"; test loss {record.test_loss:.3f}, accuracy {record.test_accuracy:.1%}"
    left = record.seconds * (epochs - record.epoch) / 60
    return f"{line}; {record.seconds:.1f} s" + (f", about {left:.0f} min left" if left >= 1 else "")
