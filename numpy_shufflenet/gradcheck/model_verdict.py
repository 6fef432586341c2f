"""What the check of a whole network found: one row per tensor."""

from dataclasses import dataclass, field

import numpy as np

from .report import BaseVerdict, Entry, Status

KINK_LIMIT = 0.05  # of all entries


def ratio(difference: float, allowed: float) -> float:
    """Return how much of what is allowed a difference is; NaN is more than anything."""
    return np.inf if np.isnan(difference) else difference / (allowed or 1.0)


@dataclass(frozen=True)
class TensorRow:
    """The check of one parameter tensor.

    Attributes
    ----------
    name : str
    shape : tuple of int
    status : str
        "pass", "fail", "kink" (no entry could be compared), or "imprecise".
    entries : int
        Tried; `kinks` of them lie on kinks and were left out.
    kinks : int
    worst : Entry or None
        The entry nearest to, or furthest beyond, what is allowed.
    allowed : float
        What its difference may be: tolerance x largest_gradient + floor.
    largest_gradient : float
        Largest |gradient| of all entries of the tensor.
    reason : str
        Why it is not "pass".
    """

    name: str
    shape: tuple[int, ...]
    status: Status = "pass"
    entries: int = 0
    kinks: int = 0
    worst: Entry | None = None
    allowed: float = 0.0
    largest_gradient: float = 0.0
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the status is "pass"."""
        return self.status == "pass"

    @property
    def difference(self) -> float:
        """|analytic - numeric| of the worst entry."""
        return self.worst.difference if self.worst else 0.0

    @property
    def floor(self) -> float:
        """The part of `allowed` that is rounding."""
        return self.worst.error if self.worst else 0.0


@dataclass
class ModelVerdict(BaseVerdict):
    """The outcome of `check_model`; `str` is a table.

    Like `Verdict` it has no truth value: ask for `passed` or `status`.

    Attributes
    ----------
    loss : float
        At the point of the check.
    tolerance : float
    training : bool
    rows : list of TensorRow
    evaluations : int
        Forwards of the network.
    seconds : float
    deterministic : bool
        Whether the same forward gave the same loss twice.
    """

    loss: float
    tolerance: float
    training: bool
    rows: list[TensorRow] = field(default_factory=list)
    evaluations: int = 0
    seconds: float = 0.0
    deterministic: bool = True

    @property
    def status(self) -> Status:
        """One of "pass", "fail", "kink", "imprecise" and "nondeterministic".

        "fail" and "imprecise" if any row is; "kink" if a row has nothing but kinks, or more than
        5 % of all entries lie on kinks.
        """
        if not self.deterministic:
            return "nondeterministic"
        found = {row.status for row in self.rows}
        if "fail" in found:
            return "fail"
        if "kink" in found or self.kinks > KINK_LIMIT * self.entries:
            return "kink"
        return "imprecise" if "imprecise" in found else "pass"

    @property
    def entries(self) -> int:
        """Entries tried in all tensors."""
        return sum(row.entries for row in self.rows)

    @property
    def kinks(self) -> int:
        """Of these, entries on kinks, left out."""
        return sum(row.kinks for row in self.rows)

    @property
    def difference(self) -> float:
        """The largest |analytic - numeric|, relative to the tensor's largest gradient.

        Tensors whose gradients are nothing but rounding, as of a shift before a batch
        normalisation, are left out.
        """
        seen = [row for row in self.rows if row.largest_gradient > row.floor]
        return max((row.difference / row.largest_gradient for row in seen), default=0.0)

    @property
    def worst(self) -> TensorRow | None:
        """The row nearest to, or furthest beyond, what is allowed."""
        compared = [row for row in self.rows if row.worst is not None]
        failed = [row for row in self.rows if row.status == "fail"]
        return max(
            failed or compared, key=lambda row: ratio(row.difference, row.allowed), default=None
        )

    def __str__(self) -> str:
        width = max([len(row.name) for row in self.rows], default=0)
        wide = max([len(str(row.shape)) for row in self.rows], default=0)
        lines = [
            f"{'tensor':{width}}  {'shape':{wide}}  entries  kinks  difference   allowed"
            "  largest gradient"
        ]
        lines += [
            f"{row.name:{width}}  {row.shape!s:{wide}}  {row.entries:7}  {row.kinks:5}"
            f"  {row.difference:10.1e}  {row.allowed:8.1e}  {row.largest_gradient:16.1e}"
            f"  {row.status}{': ' if row.reason else ''}{row.reason}"
            for row in self.rows
        ]
        lines.append(
            f"{self.status}: {len(self.rows)} tensors, {self.entries} entries, "
            f"{self.kinks} on kinks; loss {self.loss:.6g}, "
            f"{self.evaluations} forwards in {self.seconds:.1f} s"
        )
        return "\n".join(lines)
