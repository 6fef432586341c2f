"""What the check of a whole network found: one row per tensor."""

from dataclasses import dataclass, field

from .report import Entry, Status

KINK_LIMIT = 0.05  # of all entries
USEFUL = 1e-2  # a floor above this share of the largest gradient hides too much


@dataclass
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
    difference : float
        Its |analytic - numeric|.
    allowed : float
        What it was allowed: tolerance x largest_gradient + floor.
    floor : float
        The part of `allowed` that is rounding.
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
    difference: float = 0.0
    allowed: float = 0.0
    floor: float = 0.0
    largest_gradient: float = 0.0
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the status is "pass"."""
        return self.status == "pass"

    def add(
        self,
        index: tuple[int, ...],
        analytic: float,
        numeric: float,
        floor: float,
        tolerance: float,
    ) -> None:
        """Take in one compared entry; the worst is kept."""
        difference = abs(analytic - numeric)
        allowed = tolerance * self.largest_gradient + floor
        if not difference <= allowed:  # NaN counts as a failure
            self.status = "fail"
        if self.worst is None or not difference / allowed <= self.difference / self.allowed:
            self.worst = Entry(self.name, index, analytic, numeric, floor)
            self.difference, self.allowed, self.floor = difference, allowed, floor

    def conclude(self) -> None:
        """Set status and reason, once all entries are in."""
        if self.status == "fail":
            self.reason = f"{self.worst}"
        elif self.kinks == self.entries > 0:
            self.status, self.reason = "kink", "every entry tried lies on a kink"
        # A gradient of exactly 0 has no size to compare the floor with, and the floor is all of it.
        elif self.floor > USEFUL * self.largest_gradient > self.floor * USEFUL:
            self.status, self.reason = "imprecise", "rounding is too large beside the gradient"


@dataclass
class ModelVerdict:
    """The outcome of `check_model`; `str` is a table.

    Like `Verdict` it has no truth value: ask for `passed` or `status`.

    Attributes
    ----------
    rows : list of TensorRow
    loss : float
        At the point of the check.
    tolerance : float
    training : bool
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
    def passed(self) -> bool:
        """Whether the status is "pass"."""
        return self.status == "pass"

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
        """The largest |analytic - numeric|, beside the tensor's largest gradient.

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
            failed or compared, key=lambda row: row.difference / (row.allowed or 1.0), default=None
        )

    def raise_if_failed(self) -> None:
        """Raise AssertionError with the table as its text, unless the status is pass."""
        if not self.passed:
            raise AssertionError(str(self))

    def __bool__(self) -> bool:
        raise TypeError(
            "a ModelVerdict has no truth value; use verdict.passed, verdict.status "
            "or verdict.raise_if_failed()"
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
