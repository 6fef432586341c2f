"""Run the gradient checker on a collection of wrong gradients, and print how many it catches.

examples:
  numpy-shufflenet zoo --list
  numpy-shufflenet zoo batch_norm/gamma_dropped
  numpy-shufflenet zoo --seeds 5
  numpy-shufflenet zoo --seeds 50 --right-seeds 200
  numpy-shufflenet zoo --compare

exit status: 0 if the checker catches every bug and passes every right gradient, else 1
"""

import argparse
import time

from numpy_shufflenet.commands._common import positive_int, show_table
from numpy_shufflenet.zoo import BUGS, Bug, find, score
from numpy_shufflenet.zoo.score import Tally


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("name", nargs="?", metavar="BUG", help="show one bug, the verdict on it, and its cause")
    add("--list", action="store_true", help="list all bugs, and where they were found")
    add("--compare", action="store_true", help="compare with the checkers of other packages")
    add("--seeds", type=positive_int, default=5, help="number of examples of each bug")
    add("--right-seeds", type=positive_int, default=20, help="number of right examples")
    add("--style-seeds", type=positive_int, default=2, help="examples for weaker checks")


def run(arguments: argparse.Namespace) -> int:
    """Print the list, one bug, the comparison or the score, and return 0 or 1."""
    if arguments.list:
        return _list()
    if arguments.name is not None:
        return _show(find(arguments.name))
    if arguments.compare:
        return _compare(arguments.seeds)
    start = time.perf_counter()
    caught = _score_wrong(arguments.seeds, arguments.style_seeds)
    passed = _score_right(arguments.right_seeds, arguments.style_seeds)
    print(f"{time.perf_counter() - start:.0f} s")
    return 0 if caught and passed else 1


def _list() -> int:
    for bug in BUGS.values():
        print(f"{bug.name} (part {bug.part}; {bug.cause})\n    {bug.summary}\n    {bug.found_in}")
    print(f"{len(BUGS)} bugs")
    return 0


def _show(bug: Bug) -> int:
    verdict = score.check(bug, 0)
    print(f"{bug.summary}\nFound in: {bug.found_in}\n\n{verdict}\n\n{verdict.explain()}")
    return 0


def _score_wrong(seeds: int, style_seeds: int) -> bool:
    """Print how many wrong gradients are caught, and return whether all are."""
    styles = score.weaker_styles()
    header = ["bug", "ours", "cause named", *(style.name for style in styles)]
    totals = [Tally() for _ in header[1:]]
    held_out, rows = Tally(), []
    for bug in score.part("a", "held out", "c"):
        tallies = [score.catches(bug, seeds), score.names_cause(bug, 1)]
        if _for_styles(bug) and bug.part != "c":
            tallies += [score.style_catches(style, bug, style_seeds) for style in styles]
        totals[: len(tallies)] = [a + b for a, b in zip(totals, tallies, strict=False)]
        if bug.part == "held out":
            held_out += tallies[1]
        rows.append([bug.name, *map(str, tallies), *[""] * (len(totals) - len(tallies))])
    rows.append(["all", *(total.percent for total in totals)])
    show_table("Wrong gradients: how many are caught", header, rows)
    print(f"caught: {totals[0]}, {totals[0].percent}")
    print(f"cause named: {totals[1]}, {totals[1].percent}")
    print(f"cause named, of bugs newer than explain(): {held_out}, {held_out.percent}\n")
    return totals[0].all_good


def _score_right(seeds: int, style_seeds: int) -> bool:
    """Print how many right gradients pass, and return whether all do."""
    styles = score.weaker_styles()
    total, rows = Tally(), []
    for right in score.rights():
        tally = score.passes(right, seeds)
        total += tally
        row = [right.name, str(tally), *[""] * len(styles)]
        if _for_styles(right):
            seen = [score.style_catches(s, right, style_seeds, right=True) for s in styles]
            row[2:] = map(str, seen)
        rows.append(row)
    header = ["what", "ours", *(style.name for style in styles)]
    show_table("Right gradients: how many pass", header, rows)
    print(f"passed: {total}, {total.percent}")
    return total.all_good


def _for_styles(bug: Bug) -> bool:
    """Return whether weaker checks run too; on units, trying every entry would take too long."""
    return not bug.operation.startswith("unit")


def _compare(seeds: int) -> int:
    from numpy_shufflenet.zoo import peers

    rows = peers.compare(seeds)
    header = ["checker", "caught", "false alarms", "entry named", "kinks seen", "ms a check"]
    show_table("Gradient checkers side by side", header, [row.cells() for row in rows])
    return 0 if rows[0].first_or_equal(rows[1:]) else 1
