"""An exercise can be run again later: no cell below it gives a name that it uses another value."""

import ast
import symtable

import pytest

from numpy_shufflenet.course import editions, lessons, tasks

# Functions that cells define again with the same text.
SAME = {"best_milliseconds"}


def names_used(code):
    """Return the global names that code reads, without those that it defines itself."""

    def read(table):
        for symbol in table.get_symbols():
            local = symbol.is_assigned() or symbol.is_imported()
            if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
                yield from () if local else (symbol.get_name(),)
        for child in table.get_children():
            yield from read(child)

    table = symtable.symtable(code, "lesson", "exec")
    defined = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    return set(read(table)) - defined


def names_set(code):
    table = symtable.symtable(code, "lesson", "exec")
    return {s.get_name() for s in table.get_symbols() if s.is_assigned()}


def broken(lesson):
    """Yield (exercise, name, index of a cell) where a cell sets a name that the exercise uses."""
    cells = lesson.read().cells
    code = [cell.source if cell.cell_type == "code" else "" for cell in cells]
    for task in tasks.tasks(lesson):
        used = names_used("\n".join((task.blank, task.solution, *task.checks)))
        bodies = {
            node.name: ast.unparse(node)
            for source in code[: task.cell]
            for node in ast.parse(source).body
            if isinstance(node, ast.FunctionDef)
        }
        # What the functions of cells above use, such as weights in check_unit, counts, too.
        for name in used & set(bodies):
            used = used | names_used(bodies[name])
        for index in range(task.cell + 1, len(cells)):
            if not {"exercise", "solution"} & editions.tags(cells[index]):
                yield from ((task.name, name, index) for name in used & names_set(code[index]))


@pytest.mark.parametrize("lesson", lessons.lessons(), ids=lambda lesson: lesson.name)
def test_no_cell_breaks_an_exercise_above_it(lesson):
    assert [found for found in broken(lesson) if found[1] not in SAME] == []


def test_a_name_that_is_overwritten_is_seen():
    assert names_used("def f(a):\n    b = a + c\n    return np.sum(b)\ncheck(f, d)") == {
        "c",
        "np",
        "check",
        "d",
    }
    assert names_set("import x\ny = 3\ndef f():\n    z = 4") == {"y", "f"}
