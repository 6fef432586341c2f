"""What an operation costs, in numbers that have no unit but "how many"."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Counts:
    """What one run of an operation, a layer or a network does; counts add with +.

    Attributes
    ----------
    multiply_adds : int
        Products with a weight, or with its partner in the sum that is a weight's gradient: what
        the papers call FLOPs. Taps that fall on padding count, as in every published count.
    multiplications : int
        All products, those of multiply-adds included; a division counts as one.
    additions : int
        All additions and subtractions, those of multiply-adds included.
    comparisons : int
    functions : int
        Square roots, exponentials and logarithms.
    read, written : int
        Distinct elements of arrays. Padding is not read: it is nowhere in memory.
    """

    multiply_adds: int = 0
    multiplications: int = 0
    additions: int = 0
    comparisons: int = 0
    functions: int = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def memory_access(self) -> int:
        """Elements read and written: the memory access cost (MAC) of ShuffleNet V2, section 2."""
        return self.read + self.written

    @property
    def arithmetic(self) -> int:
        """Every multiplication, addition, comparison and function, each counted as one."""
        return self.multiplications + self.additions + self.comparisons + self.functions


@dataclass(frozen=True)
class Cost:
    """Forward and backward of one operation.

    Attributes
    ----------
    forward, backward : Counts
    parameters : int
        Learned numbers.
    kept_bytes : int
        Memory that the cache of the `ops` floor keeps for backward, without parameters.
    """

    forward: Counts
    backward: Counts
    parameters: int
    kept_bytes: int


CONVENTIONS = {
    "papers": "multiply-adds of convolutions and matrix products, classifier included",
    "papers, no classifier": "the same without the classifier, as in V1's table 1",
    "two a multiply-add": "2 FLOPs a multiply-add, of convolutions and matrix products only",
    "all arithmetic": "every +, -, x, /, comparison and function, with BN, ReLU and pooling",
}
"""What "FLOPs" may mean; one network has a different number under each."""
