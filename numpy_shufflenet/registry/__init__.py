"""The table of operations: every operation once, with what there is to know about it.

Each file in `ops` registers the operations that it implements. Tests, gradient checks, costs,
pictures and exercises walk the table, so a new operation is in all of them. `operations` loads
`ops` and gives the whole table.
"""

from numpy_shufflenet.registry.draw import Case, Draw, Example
from numpy_shufflenet.registry.formula import Cost, Counts, Formula, Terms
from numpy_shufflenet.registry.operation import IMPLEMENTATIONS, OPERATIONS, Operation, register

__all__ = [
    "IMPLEMENTATIONS",
    "OPERATIONS",
    "Case",
    "Cost",
    "Counts",
    "Draw",
    "Example",
    "Formula",
    "Operation",
    "Terms",
    "register",
]
