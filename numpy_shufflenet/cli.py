"""The command `numpy-shufflenet`: its parser and its exit status. See `commands/`."""

import argparse
import sys
from collections.abc import Sequence

from numpy_shufflenet import __version__
from numpy_shufflenet.commands import (
    audit,
    bench,
    check,
    compare,
    convert,
    cost,
    course,
    demo,
    evaluate,
    guidelines,
    predict,
    summary,
    train,
    zoo,
)

COMMANDS = (
    *(demo, course, train, evaluate, predict, convert, compare, summary, check, zoo),
    *(cost, guidelines, audit, bench),
)


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
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
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

    It is 0 on success, 1 if a check failed, 2 for bad input, and 130 after an interrupt.
    """
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("\nnumpy-shufflenet: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program that reads our output has closed the pipe
        sys.stderr.close()
        return 0
    except (ValueError, OSError, ImportError) as error:
        print(f"numpy-shufflenet: error: {error}", file=sys.stderr)
        return 2
