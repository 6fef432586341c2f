"""Arguments and habits that several commands share."""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet import models
from numpy_shufflenet._typing import Array

STEMS = ("imagenet", "small")
FILE_WIDTH = 200  # of tables that are not printed to a terminal


def add_model_arguments(parser: argparse.ArgumentParser, *, classes: int | None = 1000) -> None:
    """Add what describes a network: its name and the arguments of the function that builds it."""
    group = parser.add_argument_group("network")
    group.add_argument("--groups", type=int, help="groups of V1: 1, 2, 3, 4, 8")
    group.add_argument("--scale", type=float, help="factor of the widths: 0.25 (V1) 0.5, 1, 1.5, 2")
    group.add_argument(
        "--stem", choices=STEMS, help="first layers: for 224 pixels, or for 28 to 64"
    )
    group.add_argument("--layout", choices=models.LAYOUTS, help="first unit of stage 2 in V2")
    group.add_argument("--se", action="store_true", default=None, help="squeeze-and-excitation")
    group.add_argument(
        "--no-shuffle", dest="shuffle", action="store_false", default=None, help="V1's ablation"
    )
    group.add_argument("--dropout", type=float, help="rate before the classifier")
    if classes is not None:
        group.add_argument("--classes", dest="num_classes", type=int, default=classes)
        group.add_argument("--channels", dest="in_channels", type=int, default=3, help="of images")


MODEL_ARGUMENTS = (
    "groups",
    "scale",
    "stem",
    "layout",
    "se",
    "shuffle",
    "dropout",
    "num_classes",
    "in_channels",
    "seed",
)


def build_model(
    name: str, arguments: argparse.Namespace, **settings: Any
) -> models.ImageClassifier:
    """Build the network that the arguments describe; `settings` come first."""
    given = {key: getattr(arguments, key, None) for key in MODEL_ARGUMENTS} | settings
    given = {key: value for key, value in given.items() if value is not None}
    try:
        return models.build({"name": name, **given})
    except TypeError as error:  # an argument that this network doesn't have
        raise ValueError(f"{name} has no such setting: {error}") from None


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def make_folder(path: Path) -> Path:
    """Make a folder for results; its parents too."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"--out {path} is a file; a folder is needed")
    path.mkdir(parents=True, exist_ok=True)
    return path


def observers() -> list[Any]:
    """Return what shows a training's progress: a bar in a terminal, else a line an epoch."""
    from numpy_shufflenet.training import Observer, ProgressBar
    from numpy_shufflenet.training.progress import describe_epoch

    class EpochLines(Observer):
        """One line for each epoch."""

        def epoch(self, trainer: Any, record: Any) -> None:
            """Print it."""
            print(describe_epoch(record, trainer.epochs), flush=True)

    return [ProgressBar() if sys.stdout.isatty() else EpochLines()]


def show_table(title: str, header: list[str], rows: list[list[str]], *, left: int = 1) -> None:
    """Print a table, with rich where it is installed; the first `left` columns are text."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        print(title)
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            cells = [
                cell.ljust(width) if number < left else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            print("  ".join(cells).rstrip())
        return
    table = Table(box=box.SIMPLE_HEAD)
    for number, name in enumerate(header):
        table.add_column(Text(name), justify="left" if number < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # as they are: a name may have brackets, rich's markup
    # A file or a pipe has no width; nothing is cut there.
    console = Console() if sys.stdout.isatty() else Console(width=FILE_WIDTH)
    console.print(title, style="bold", highlight=False, markup=False)
    console.print(table, highlight=False)


def sample(images: Array, labels: Array, count: int) -> tuple[Array, Array]:
    """Return so many images, as evenly over the classes as can be, in the order of the set."""
    rounds = np.zeros(len(labels), int)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        rounds[of_class] = np.arange(len(of_class))
    chosen = np.sort(np.argsort(rounds, kind="stable")[:count])
    return images[chosen], labels[chosen]
