"""Arguments and functions that several commands share."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet import models
from numpy_shufflenet._optional import need
from numpy_shufflenet._room import check_room
from numpy_shufflenet._text import shown
from numpy_shufflenet._typing import Array

STEMS = ("imagenet", "small")
FILE_WIDTH = 200  # width of tables in a file or pipe, in characters
MODEL_ARGUMENTS = (
    *("groups", "scale", "stem", "layout", "se", "shuffle", "dropout"),
    *("num_classes", "in_channels", "seed"),
)


def add_name(parser: argparse.ArgumentParser, metavar: str, names: Iterable[str]) -> None:
    """Add an optional positional argument `name`, which must be one of `names`."""
    names = list(names)
    help_text = f"one of {', '.join(names)}"
    parser.add_argument("name", nargs="?", metavar=metavar, choices=[*names, None], help=help_text)


def add_model_arguments(parser: argparse.ArgumentParser, *, classes: int | None = 1000) -> None:
    """Add the arguments of a network; if `classes` is None, omit --classes and --channels."""
    add = parser.add_argument_group("network").add_argument
    add("--groups", type=int, help="number of groups in V1: 1, 2, 3, 4 or 8")
    add("--scale", type=float, help="factor on the widths: 0.25 (only V1), 0.5, 1, 1.5 or 2")
    add("--stem", choices=STEMS, help="first layers: for 224 pixels, or for 28-64")
    add("--layout", choices=models.LAYOUTS, help="layout of the first unit of stage 2 in V2")
    add("--se", action="store_true", default=None, help="add squeeze-and-excitation")
    shuffle_help = "leave out the shuffle of V1"
    add("--no-shuffle", dest="shuffle", action="store_false", default=None, help=shuffle_help)
    add("--dropout", type=float, help="dropout rate before the classifier")
    if classes is not None:
        add("--classes", dest="num_classes", type=int, default=classes, help="number of classes")
        add("--channels", dest="in_channels", type=int, default=3, help="channels of the images")


def build_model(
    name: str, arguments: argparse.Namespace, **settings: Any
) -> models.ImageClassifier:
    """Build the network that the arguments describe; `settings` override the arguments."""
    given = {key: getattr(arguments, key, None) for key in MODEL_ARGUMENTS} | settings
    given = {key: value for key, value in given.items() if value is not None}
    for key in ("num_classes", "in_channels"):
        check_room(4 * (given.get(key) or 0), f"a network with {key}={given.get(key)}")
    try:
        return models.build({"name": name, **given})
    except TypeError as error:  # the network's function has no such argument
        raise ValueError(f"{name} has no such setting: {error}") from None


def check_memory(model: Any, size: int, images: int = 1, *, training: bool = False) -> None:
    """Raise MemoryError if a batch of so many images of size x size cannot fit into memory."""
    table = models.summary(model, (model.in_channels, size, size))
    what = f"a batch of {images:,} images of {size} x {size} pixels"
    check_room(table.memory(images, training=training), what)


def networks_of_the_papers() -> dict[str, models.ImageClassifier]:
    """Return the networks that the papers compare, with default settings, in a dict by name."""
    v1, v2 = models.shufflenet_v1(), models.shufflenet_v2()
    networks = (v1, v2, models.mobilenet_v1(), models.resnet_50())
    return {model.config["name"]: model for model in networks}


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
    """Create a folder for results and its parents."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"--out {path} is a file; a folder is needed")
    path.mkdir(parents=True, exist_ok=True)
    return path


def observers() -> list[Any]:
    """Return an observer that shows a bar in a terminal, and elsewhere prints a line per epoch."""
    from numpy_shufflenet.training import Observer, ProgressBar
    from numpy_shufflenet.training.progress import describe_epoch

    class EpochLines(Observer):
        """Prints one line for each epoch."""

        def epoch(self, trainer: Any, record: Any) -> None:
            """Called by the trainer."""
            print(describe_epoch(record, trainer.epochs), flush=True)

    return [ProgressBar() if _bars_are_shown() else EpochLines()]


def _bars_are_shown() -> bool:
    """Whether the output is a terminal; rich's environment variables may say that it isn't."""
    if not sys.stdout.isatty():
        return False
    rich = need("rich.console", "the progress bar")
    return bool(rich.Console().is_terminal)


@contextmanager
def progress(
    total: int, description: str = "", *, lines: bool = False
) -> Iterator[Callable[..., None]]:
    """Show a progress bar in a terminal.

    Yields a function `update(text="", advance=1)`, which advances the bar and shows the text.
    Outside a terminal there is no bar: `update` prints the text if `lines` is set.
    """
    if not _bars_are_shown():
        yield lambda text="", advance=1: print(shown(text), flush=True) if lines else None
        return
    rich = need("rich.progress", "the progress bar")
    column = rich.TextColumn("{task.description}", markup=False)
    columns = column, rich.BarColumn(), rich.TimeElapsedColumn()
    with rich.Progress(*columns, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda text="", advance=1: bar.update(
            task, advance=advance, description=shown(text) or description
        )


def show_table(title: str, header: list[str], rows: list[list[str]], *, left: int = 1) -> None:
    """Print a table, with rich if it is installed; the first `left` columns hold text."""
    title, rows = shown(title), [list(map(shown, row)) for row in rows]
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
        table.add_row(*map(Text, row))  # Text, because rich reads brackets in a str as markup
    # A file or pipe has no width. By default rich assumes 80 characters and truncates long cells.
    console = Console() if sys.stdout.isatty() else Console(width=FILE_WIDTH)
    console.print(title, style="bold", highlight=False, markup=False)
    console.print(table, highlight=False)


def with_commas(*values: int) -> list[str]:
    """Return table cells with thousands separators."""
    return [f"{value:,}" for value in values]


def sample(images: Array, labels: Array, count: int) -> tuple[Array, Array]:
    """Return `count` images and labels in order, with about the same number of each class."""
    rounds = np.zeros(len(labels), int)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        rounds[of_class] = np.arange(len(of_class))
    chosen = np.sort(np.argsort(rounds, kind="stable")[:count])
    return images[chosen], labels[chosen]
