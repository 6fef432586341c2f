"""Runs the solution and the blank of every exercise as a live page does, where there is no browser.

First, with the packages of the course:  python .ci/live_answers.py --write PACKAGES/answers.json
Then:  node .ci/wasm.mjs PYODIDE CHECKOUT PACKAGES .ci/live_answers.py /pure/answers.json
"""

import json
import sys
import time
from pathlib import Path


def write(path: str) -> None:
    """Write the cells above each exercise, its solution, and its blank."""
    from numpy_shufflenet.course import editions, tasks
    from numpy_shufflenet.course.lessons import lessons

    found = []
    for lesson in lessons():
        cells = editions.student(lesson).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        blanks = [cell for cell in code if "exercise" in editions.tags(cell)]
        helpers = ""  # a solution may use functions of the solutions before it
        for task, blank in zip(tasks.tasks(lesson), blanks, strict=True):
            above = [cell.source for cell in code[: code.index(blank)]]
            solution = "\n\n".join((helpers, task.solution, *task.checks))
            found.append([task.name, above, solution, blank.source])
            helpers += task.solution + "\n\n"
    Path(path).write_text(json.dumps(found), "utf-8")


def run(path: str) -> None:
    """Run all of them; SystemExit is raised if a solution is refused, or a blank accepted."""
    from numpy_shufflenet.course import live

    wrong: list[str] = []
    times: list[float] = []
    answers = json.loads(Path(path).read_text("utf-8"))
    for name, above, solution, blank in answers:
        for expected, answer in ((True, solution), (False, blank)):
            shown: list[tuple[str, str, str]] = []
            begin = time.monotonic()
            setup = live.setup_for(above, answer)
            right = live.run(setup, answer, lambda *output, to=shown: to.append(output))
            times.append(time.monotonic() - begin)
            if right is not expected:
                wrong.append(f"{name}: {shown}")
        print(f"{name:32} {times[-2]:6.2f} s, blank {times[-1]:6.2f} s")
    print(f"{len(answers) - len(wrong)} passed, {len(wrong)} failed", *wrong, sep="\n")
    raise SystemExit(len(wrong) > 0)


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        write(sys.argv[2])
    else:
        run(sys.argv[1])
