"""The command `numpy-shufflenet`: its parser and its exit status. See `commands/`."""

import argparse
import contextlib
import importlib
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from numpy_shufflenet import __version__
from numpy_shufflenet._room import free_memory, size_text
from numpy_shufflenet._text import shown

COMMANDS = (  # modules in `commands`, in the order of the help
    *("demo", "course", "train", "evaluate", "predict", "convert", "compare", "summary", "check"),
    *("zoo", "cost", "guidelines", "audit", "bench"),
)


DEFAULT_HANDLERS = (signal.SIG_DFL, signal.default_int_handler)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the examples, and shows defaults."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        no_default = action.default is None or action.default is False or action.nargs == 0
        return action.help if no_default else super()._get_help_string(action)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="numpy-shufflenet",
        description="ShuffleNet V1 and V2 in NumPy: train them, look inside, check every gradient.",
        epilog="numpy-shufflenet COMMAND --help explains a command. Begin with: "
        "numpy-shufflenet demo",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = importlib.import_module(f"numpy_shufflenet.commands.{name}")
        description, _, examples = (command.__doc__ or "").partition("\n\n")
        subparser = subparsers.add_parser(
            name,
            help=description.rstrip("."),
            description=description,
            epilog=examples,
            formatter_class=HelpFormatter,
        )
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    It is 0 on success, 1 if a check failed, 2 for bad input, and 128 + N after signal N: 130 after
    Ctrl-C.
    """
    try:
        arguments = build_parser().parse_args(argv)
        with _signals_interrupt():
            return int(arguments.run(arguments))
    except KeyboardInterrupt as interrupt:
        name = getattr(interrupt, "signal", signal.SIGINT)  # a bare one is somebody else's
        how = "interrupted" if name == signal.SIGINT else f"ended by {name.name}"
        with contextlib.suppress(OSError):  # after SIGHUP there may be no terminal
            print(f"\nnumpy-shufflenet: {how}", file=sys.stderr)
        return 128 + name
    except BrokenPipeError:  # the program that reads our output has closed the pipe
        sys.stderr.close()
        return 0
    except MemoryError as error:
        there = free_memory()
        text = str(error) or "there is not enough memory"
        if there is not None and "is free" not in text:
            text += f"; {size_text(there)} is free"
        print(f"numpy-shufflenet: error: {text}", file=sys.stderr)
        return 2
    except (ValueError, OSError, ImportError) as error:
        print(f"numpy-shufflenet: error: {shown(str(error), lines=True)}", file=sys.stderr)
        return 2


class _Ended(KeyboardInterrupt):
    """A signal ends the program."""

    def __init__(self, number: int):
        super().__init__()
        self.signal = signal.Signals(number)


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C (SIGINT) does.

    A signal that is ignored, as SIGHUP is by nohup, stays so. Only a main thread can set signals.
    After a signal, an error is one of somebody's cleanup, and the signal is what ended the command.
    """
    received = []

    def end(number: int, frame: Any) -> None:
        received.append(number)
        raise _Ended(number)

    changed = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in DEFAULT_HANDLERS:
            with contextlib.suppress(ValueError):
                changed[number] = signal.signal(number, end)
    try:
        yield
    except BaseException as error:
        if received and not isinstance(error, KeyboardInterrupt):
            raise _Ended(received[0]) from error
        raise
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)
