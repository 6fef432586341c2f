"""Check executed notebooks: the cells that fail are exactly those that wait for a student's answer.

Those are tagged `exercise` and `raises-exception`. usage: check_notebooks.py NOTEBOOK...
"""

import json
import sys
from pathlib import Path


def problems_of(path: Path) -> list[str]:
    """Return what is wrong with one notebook."""
    found = []
    cells = json.loads(path.read_text("utf-8"))["cells"]
    for number, cell in enumerate(cells):
        if cell["cell_type"] != "code":
            continue
        tags = set(cell["metadata"].get("tags", ()))
        waits = {"exercise", "raises-exception"} <= tags
        failed = any(output["output_type"] == "error" for output in cell["outputs"])
        if failed != waits:
            said = "fails" if failed else "does not fail, but is tagged raises-exception"
            found.append(f"{path.name}, cell {number}, tags {sorted(tags)}: {said}")
    return found


def main() -> int:
    """Check all notebooks that are named; return the exit status."""
    paths = [Path(name) for name in sys.argv[1:]]
    found = [problem for path in paths for problem in problems_of(path)]
    print("\n".join(found) or f"{len(paths)} notebooks: only exercises wait for an answer")
    return 1 if found or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
