"""The table of operations: one entry for each operation, with its facts.

Each file in `ops` registers the operations that it implements. Tests, gradient checks, costs,
pictures and exercises loop over the table, so all of them include a new operation. The
module `operations` loads `ops` and so fills the whole table.
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
