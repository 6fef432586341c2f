"""Let the gradient checker loose on a zoo of wrong gradients, and print the score.

examples:
  numpy-shufflenet zoo --list
  numpy-shufflenet zoo batch_norm/gamma_dropped
  numpy-shufflenet zoo --seeds 5
  numpy-shufflenet zoo --seeds 50 --right-seeds 200
  numpy-shufflenet zoo --compare

exit status: 0 if every bug is caught and nothing right is blamed, else 1
"""

import argparse
import time

from numpy_shufflenet.commands._common import positive_int, show_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument(
        "name", nargs="?", metavar="BUG", help="show one bug, its verdict and cause"
    )
    parser.add_argument("--list", action="store_true", help="all bugs, and where they were found")
    parser.add_argument(
        "--compare", action="store_true", help="with the checkers of other packages"
    )
    parser.add_argument("--seeds", type=positive_int, default=5, help="examples of each bug")
    parser.add_argument(
        "--right-seeds", type=positive_int, default=20, help="examples of what is right"
    )
    parser.add_argument(
        "--style-seeds", type=positive_int, default=2, help="examples that weaker styles look at"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what was asked for, and return 0 or 1."""
    if arguments.list:
        return _list()
    if arguments.name is not None:
        return _show(arguments.name)
    if arguments.compare:
        return _compare(arguments.seeds)
    return _score(arguments)


def _list() -> int:
    from numpy_shufflenet.zoo import BUGS

    for bug in BUGS.values():
        print(f"{bug.name} (part {bug.part}; {bug.cause})\n    {bug.summary}\n    {bug.found_in}")
    print(f"{len(BUGS)} bugs")
    return 0


def _show(name: str) -> int:
    from numpy_shufflenet.zoo import find, score

    bug = find(name)
    verdict = score.check(bug, 0)
    print(f"{bug.summary}\nFound in: {bug.found_in}\n\n{verdict}\n\n{verdict.explain()}")
    return 0


def _score(arguments: argparse.Namespace) -> int:
    from numpy_shufflenet.zoo import score

    start = time.perf_counter()
    styles = score.weaker_styles()
    header = ["bug", "ours", "cause named", *(style.name for style in styles)]
    rows, totals = [], [score.Tally() for _ in header[1:]]
    held_out, good = score.Tally(), True
    for bug in score.part("a", "held out", "c"):
        caught, named = score.catches(bug, arguments.seeds), score.names_cause(bug, 1)
        good &= caught.all_good
        tallies = [caught, named]
        if bug.part != "c" and not bug.operation.startswith("unit"):
            tallies += [score.style_catches(s, bug, arguments.style_seeds) for s in styles]
        rows.append([bug.name, *map(str, tallies), *[""] * (len(header) - 1 - len(tallies))])
        for total, tally in zip(totals, tallies, strict=False):
            total.tries, total.good = total.tries + tally.tries, total.good + tally.good
        if bug.part == "held out":
            held_out.tries, held_out.good = held_out.tries + 1, held_out.good + named.good
    rows.append(["all", *map(_percent, totals)])
    show_table("Wrong gradients: how many are caught", header, rows)

    right = list(score.rights())
    blamed = [score.passes(bug, arguments.right_seeds) for bug in right]
    right_rows = [
        [
            bug.name,
            str(tally),
            *(_seen_right(style, bug, arguments.style_seeds) for style in styles),
        ]
        for bug, tally in zip(right, blamed, strict=True)
    ]
    show_table(
        "Right gradients: how many pass",
        ["what", "ours", *(style.name for style in styles)],
        right_rows,
    )
    good &= all(tally.all_good for tally in blamed)
    total = score.Tally(sum(t.tries for t in blamed), sum(t.good for t in blamed))
    print(f"caught {_percent(totals[0])} of the bugs; passed {_percent(total)} of what is right")
    print(
        f"cause named: {_percent(totals[1])}; "
        f"of the bugs written after explain() was finished: {_percent(held_out)} ({held_out})"
    )
    print(f"{time.perf_counter() - start:.0f} s")
    return 0 if good else 1


def _seen_right(style: object, bug: object, seeds: int) -> str:
    from numpy_shufflenet.zoo import score

    if bug.operation.startswith("unit"):  # type: ignore[attr-defined]
        return ""
    return str(score.style_catches(style, bug, seeds, right=True))  # type: ignore[arg-type]


def _percent(tally: object) -> str:
    good, tries = tally.good, tally.tries  # type: ignore[attr-defined]
    return f"{100 * good / max(tries, 1):.1f} %" if tries else ""


def _compare(seeds: int) -> int:
    from numpy_shufflenet.zoo import peers

    rows = peers.compare(seeds)
    header = ["checker", "caught", "false alarms", "entry named", "kinks seen", "ms a check"]
    show_table("Gradient checkers side by side", header, [row.cells() for row in rows])
    return 0 if rows[0].first_or_equal(rows[1:]) else 1
