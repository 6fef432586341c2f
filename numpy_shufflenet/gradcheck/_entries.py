"""Check each array: first along directions, then by entry where directions are not enough.

A direction changes many entries of an array at once. Each measurement that agrees with the gradient
gives a claim for each entry that it changes: the smallest error of the entry that the measurement
would have shown. For small entries beside large ones, the claim is too weak. The check measures
these entries again, first together without the large ones, then one by one. Entries whose claim is
still too weak are "not seen". The check counts and names them. If their share of an array is above
UNSEEN, the array is imprecise.

A kink is a point where y has no derivative. Entries on kinks are counted, but not judged alone.

A gradient of exactly 0 (or one that is only rounding) has no size to compare an error with. Its
entry counts as seen if the noise of y is small beside the slopes of y along directions, and if the
measured slope of the entry is not above the noise.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ._arrays import Array, index_of, own_scales, signed
from ._measure import MARGIN, Answer, Comparer, Movement, Question
from ._noise import Grain
from ._subject import Subject
from .differences import Line
from .report import ArrayReport, Entry

LOCATED = 2000  # evaluations for finding the wrong entries of gradients that are known to be wrong
UNSEEN = 0.05  # the largest share of an array's entries that may be unseen in a pass
SMALL = 0.1  # a slope of 0 is seen if its error is below SMALL * limit * (slope along directions)
ROUNDS = 6  # the small entries are measured together at most this many times


def check_arrays(
    subject: Subject, positions: Sequence[int], *, per_entry: bool
) -> list[ArrayReport]:
    """Check arrays: first all arrays along directions, then entries of each array."""
    moved = Movement(np.zeros(subject.trial.y.size, bool))
    checks = []
    for position in positions:
        checks.append(_ArrayCheck(subject, position, moved))
        moved = checks[-1].comparer.moved
    room = float(LOCATED)
    for check in checks:
        room -= check.compare(moved, room, per_entry=per_entry)
    return [check.report for check in checks]


class _Claims:
    """The smallest error of each entry that would have been seen; the entries are flat."""

    def __init__(self, size: int) -> None:
        self.absolute = np.full(size, np.inf)
        self.relative = np.full(size, np.inf)  # divided by the gradient of the entry

    def take(self, tried: Answer, direction: Array, gradient: Array) -> None:
        """Update the claims of the entries that a direction changes, if its answer agrees."""
        if tried.outcome != "agrees":
            return
        moved = np.flatnonzero(direction)
        with np.errstate(all="ignore"):
            error = MARGIN * tried.allowed / np.abs(direction.ravel()[moved])
            relative = error / np.abs(gradient.ravel()[moved].astype(np.float64))
        relative[np.isnan(relative)] = np.inf
        self.absolute[moved] = np.minimum(self.absolute[moved], error)
        self.relative[moved] = np.minimum(self.relative[moved], relative)


class _ArrayCheck:
    """The check of one array: the constructor measures directions, `compare` measures entries."""

    def __init__(self, subject: Subject, position: int, moved: Movement) -> None:
        self.subject, self.trial = subject, subject.trial
        self.limit = subject.precision.limit
        self.array = self.trial.arrays[position]
        self.gradient = np.asarray(subject.gradient(position), np.float64)
        self.usual = self.trial.scales(position)
        self.own = own_scales(self.array, self.usual)
        self.signs = signed(np.random.default_rng(position), self.array.shape)
        self.claims = _Claims(self.array.size)
        grain = Grain(self.trial.y, subject.precision.eps)
        self.found, self.last, self.comparer = self._along_directions(
            Comparer(subject, position, moved, grain)
        )
        self.report = ArrayReport(
            self.trial.names[position],
            self.array.shape,
            status="fail" if any(tried.clearly_wrong for tried in self.found) else "pass",
            directions=len(self.found),
            difference=max(0.0, *map(self._relative, self.found)),
            method=self.found[-1].slope.method,
        )

    def _along_directions(self, comparer: Comparer) -> tuple[list[Answer], Question, Comparer]:
        """Measure along one random direction of all entries for each cotangent.

        Return the answers, the last question, and a comparer that knows what the answers showed.
        """
        found, usual, own = [], self.usual, self.own
        shrink = own / usual
        for number in range(len(comparer.subject.dys)):
            signs = signed(comparer.subject.rng, usual.shape)
            direction = usual * signs
            tried, last, comparer = comparer.along(number, direction, direction * shrink)
            unclear = tried.outcome != "agrees" and not tried.clearly_wrong
            if unclear and (own != usual).any():
                # With steps of their own size, small entries do not cross a kink or a pole.
                direction = own * signs
                second, last, comparer = comparer.along(number, direction, direction * shrink)
                tried = second if second.outcome == "agrees" else tried
            self.claims.take(tried, direction, comparer.subject.gradient(comparer.position, number))
            found.append(tried)
        return found, last, comparer if comparer.complex else comparer.coarser()

    def compare(self, moved: Movement, room: float, *, per_entry: bool) -> int:
        """Compare all entries if directions disagree or `per_entry` is true; else the small ones.

        `moved` says how y moved along the directions of all arrays. Return the number of
        evaluations that were used to find the wrong entries of a gradient that is known to be
        wrong. This number is at most about `room`.
        """
        self.comparer = replace(self.comparer, moved=moved)
        report, located = self.report, 0
        outcomes = {tried.outcome for tried in self.found}
        kinks: list[_Compared] = []
        if per_entry or outcomes != {"agrees"}:
            smooth = not any(tried.slope.detectors for tried in self.found)
            if self.subject.settings.method == "auto" and smooth and self.comparer.complex is None:
                last = self.last
                self.comparer = self.comparer.probed(last.number, last.direction, last.line)
            start = self.trial.evaluations
            if per_entry or report.status != "fail":
                kinks = self._compare_entries(range(self.array.size), np.inf)
            elif room > 0:
                kinks = self._compare_entries(self._wrong_first(room), start + room)
                located = self.trial.evaluations - start
            if report.status == "pass":
                self._check_ties(kinks)
            # The difference of each entry may be allowed, but not the difference of the sum.
            if report.status == "pass" and "wrong" in outcomes and not kinks:
                report.status = "fail"
        on_kinks = np.zeros(self.array.size, bool)
        on_kinks[[kink.flat for kink in kinks]] = True
        zeros = np.zeros(self.array.size, bool)
        hidden = (self.claims.relative > self.limit) & ~on_kinks
        if report.status == "pass" and hidden.any():
            zero = hidden & self.comparer.rounding_only()
            self._look_at_small(np.flatnonzero(hidden & ~zero))
            if report.status == "pass" and zero.any():
                zeros = self._seen_as_zero(np.flatnonzero(zero))
        self._conclude(on_kinks, zeros)
        return located

    # Measurements

    def _measure(
        self, flat: Array | int, steps: Array | float, *, patient: bool, weakest: float = 0.0
    ) -> tuple[Answer, Question]:
        """Measure along a direction of some entries."""
        direction = np.zeros(self.array.size)
        direction[flat] = steps
        direction = direction.reshape(self.array.shape)
        question = self.comparer.question(0, direction, weakest=weakest)
        return self.comparer.compare(question, patient=patient), question

    def _group(self, flat: Array, weakest: float = 0.0) -> tuple[Answer, Line]:
        steps = (self.own * self.signs).ravel()[flat]
        tried, question = self._measure(flat, steps, patient=True, weakest=weakest)
        if not tried.slope.detectors:
            self.claims.take(tried, question.direction, self.gradient)
        return tried, question.line

    def _one(self, flat: int, scale: float) -> "_Compared":
        index = index_of(flat, self.array.shape)
        analytic = float(self.gradient[index])
        tried, question = self._measure(flat, scale, patient=False, weakest=abs(analytic) * scale)
        self.claims.take(tried, question.direction, self.gradient)
        slope = tried.slope
        detectors = slope.detectors if tried.outcome == "kink" else ()
        numeric, error = slope.value / scale, slope.error / scale
        return _Compared(
            flat, tried, Entry(self.report.name, index, analytic, numeric, error, detectors)
        )

    def _relative(self, tried: Answer) -> float:
        """Return the difference of an answer, relative to the size of the compared slopes."""
        natural = 1e-6 * self.subject.natural()
        size = max(abs(tried.analytic), abs(tried.slope.value), tried.size, natural)
        return tried.difference / (size or 1.0)

    # Every entry

    def _wrong_first(self, room: float) -> list[int]:
        """Return all entries; if `room` is too small for all, a wrong entry comes first."""
        size = self.array.size
        if size * (1 if self.comparer.complex is not None else 8) <= room:
            return list(range(size))
        first = self._bisect(np.arange(size))
        return [first, *(i for i in range(size) if i != first)]

    def _bisect(self, left: Array) -> int:
        """Return a wrong entry, found by bisection: measure half of the remaining entries."""
        while len(left) > 1 and self.subject.within_budget():
            half = left[: len(left) // 2]
            tried, _ = self._group(half)
            left = half if tried.outcome == "wrong" else left[len(left) // 2 :]
        return int(left[0])

    def _compare_entries(self, order: Sequence[int], most: float) -> list["_Compared"]:
        """Judge each entry alone, within `most` evaluations; return the entries on kinks."""
        report = self.report
        found: list[_Compared] = []
        for flat in order:
            if not self.subject.within_budget() or self.trial.evaluations > most:
                break
            found.append(self._entry(flat))
        report.entries, report.skipped = len(found), len(order) - len(found)
        report.analytic = self.gradient
        report.numeric, report.error = (np.full(self.array.shape, np.nan) for _ in range(2))
        for _, _, entry in found:
            report.numeric[entry.index], report.error[entry.index] = entry.numeric, entry.error
        kinks = [compared for compared in found if compared.tried.outcome == "kink"]
        others = [compared for compared in found if compared.tried.outcome != "kink"]
        report.kinks = [kink.entry for kink in kinks]
        report.difference = max([0.0, *(self._relative(compared.tried) for compared in others)])
        if found:
            report.method = found[-1].tried.slope.method
        if any(compared.tried.outcome == "wrong" for compared in others):
            report.status = "fail"
        if others:
            report.worst = max(others, key=_Compared.rank).entry
        return kinks

    def _entry(self, flat: int) -> "_Compared":
        usual, own = float(self.usual.ravel()[flat]), float(self.own.ravel()[flat])
        first = self._one(flat, usual)
        unclear = first.tried.outcome != "agrees" or self.claims.relative[flat] > self.limit
        if own == usual or not unclear:
            return first
        # With steps of its own size, a small entry does not cross a kink or a pole.
        second = self._one(flat, own)
        return first if second.tried.outcome == "imprecise" else second

    def _check_ties(self, kinks: Sequence["_Compared"]) -> None:
        """Judge entries on kinks together: each entry may look right while their sum is wrong.

        If the maximum has two equal entries, (1, 0) and (1/2, 1/2) are subgradients, but (1, 1) is
        not a subgradient.
        """
        report, own = self.report, self.own.ravel()
        flat, jumping = [kink.flat for kink in kinks], [kink.tried.slope.outputs for kink in kinks]
        for group in _tied(flat, jumping, self.array):
            if not self.subject.within_budget():
                return
            tried, _ = self._measure(np.array(group), own[group].min(), patient=True)
            if tried.outcome == "wrong":
                largest = group[int(np.abs(self.gradient.ravel()[group]).argmax())]
                report.status = "fail"
                report.worst = kinks[flat.index(largest)].entry
                report.note = (
                    f"{len(group)} entries of {report.name} lie on kinks; moved together, they "
                    f"have the slope {tried.slope.value:.6g}, but the gradient says "
                    f"{tried.analytic:.6g}: it is no subgradient"
                )
                return

    # Small entries, whose errors larger entries would hide

    def _look_at_small(self, left: Array) -> None:
        """Measure small entries together, then one by one."""
        parts = np.abs(self.gradient * self.own).ravel()
        for _ in range(ROUNDS):
            if not len(left) or not self.subject.within_budget():
                return
            tried, _ = self._group(left, float(parts[left].min()))
            if tried.clearly_wrong:
                self.report.status = "fail"
                alone = self._is_wrong_alone(self._bisect(left))
                if not alone and self.report.worst is None:
                    name = self.report.name
                    self.report.note = f"{len(left)} small entries of {name} disagree together"
                return
            before, left = len(left), left[self.claims.relative[left] > self.limit]
            if tried.outcome != "agrees" or len(left) == before:
                break
        if self.trial.y.size == 1 and len(left):
            # With one output, the noise is the same for all entries: skip those that it hides.
            left = left[parts[left] * self.limit > self.comparer.least_error()]
        for flat in left.tolist():
            if not self.subject.within_budget() or self._is_wrong_alone(flat):
                return

    def _is_wrong_alone(self, flat: int) -> bool:
        """Measure one entry; if it is wrong, the report fails and names the entry."""
        found = self._one(flat, float(self.own.ravel()[flat]))
        if found.tried.outcome != "wrong":
            return False
        self.report.status, self.report.worst = "fail", found.entry
        self.report.difference = max(0.0, self._relative(found.tried))
        return True

    def _seen_as_zero(self, left: Array) -> Array:
        """Check gradients of 0, first all at once; return which flat entries were seen to be 0."""
        comparer, precision = self.comparer, self.subject.precision
        seen = np.zeros(self.array.size, bool)
        whole = self._group(left)
        if not comparer.all_live(whole[1]):
            return seen
        # If the gradient contains rounding, terms cancel in it, and y gives their size. Otherwise
        # y must have moved along a direction. Numbers near the dtype's smallest tell nothing.
        cancels = len(left) == self.array.size and self.gradient.any()
        usual = max(comparer.subject.natural() if cancels else 0.0, comparer.moved.slope)
        enough = max(SMALL * precision.limit * usual, 1e8 * precision.least)
        parts = [left]
        while parts and self.subject.within_budget():
            flat = parts.pop()
            tried, line = whole if flat is left else self._group(flat)
            still = tried.slope.method == "complex step" or line.still
            # At a slope of 0, noise looks like a jump; a jump far below the slopes of y is allowed.
            agrees = tried.outcome == "agrees" or (
                tried.difference <= tried.bound and MARGIN * tried.allowed <= enough
            )
            own, known = self.own.ravel()[flat], self.claims.absolute[flat]
            if agrees:
                known = np.minimum(known, MARGIN * tried.allowed / own)
            if agrees and still and (known * own <= enough).all():
                self.claims.absolute[flat] = known
                seen[flat] = True
            elif len(flat) > 1:
                parts += [flat[: len(flat) // 2], flat[len(flat) // 2 :]]
            elif tried.outcome == "wrong" and self._is_wrong_alone(int(flat[0])):
                break
        return seen

    def _conclude(self, on_kinks: Array, zeros: Array) -> None:
        """Say in the report which entries were seen, and how precisely."""
        report, relative = self.report, self.claims.relative.copy()
        seen = relative <= self.limit
        if report.status == "pass":
            seen |= zeros
        seen[on_kinks] = False
        zero = seen & (relative > self.limit)
        own, usual = self.own.ravel(), self.comparer.moved.slope or 1.0
        relative[zero] = self.claims.absolute[zero] * own[zero] / usual
        report.seen, report.visible = seen.reshape(report.shape), relative.reshape(report.shape)
        report.precision = float(relative[seen].max(initial=0.0))
        report.reachable = float(np.quantile(relative, 1 - UNSEEN, method="higher"))
        if report.status == "pass" and (~seen & ~on_kinks).sum() > UNSEEN * seen.size:
            report.status = "imprecise"


class _Compared(NamedTuple):
    """One entry, measured on its own."""

    flat: int
    tried: Answer
    entry: Entry

    def rank(self) -> tuple[bool, float]:
        """How wrong the entry is: an entry that disagrees ranks above all entries that agree."""
        difference = self.entry.difference
        return self.tried.outcome != "agrees", np.inf if np.isnan(difference) else difference


def _tied(
    entries: Sequence[int], outputs: Sequence[Sequence[int]], values: Array
) -> list[list[int]]:
    """Return groups of two or more flat entries that make the same outputs jump.

    `outputs` has for each entry the outputs that jump when the entry moves. `values` is the whole
    array. Equal entries of a group (a tie of a maximum) form another group.
    """
    together: list[set[int]] = []  # outputs that entries with common outputs make jump
    for jumping in filter(None, outputs):
        touching = [part for part in together if not part.isdisjoint(jumping)]
        together = [part for part in together if part not in touching]
        together.append(set(jumping).union(*touching))
    groups: dict[object, list[int]] = defaultdict(list)
    for entry, jumping in zip(entries, outputs, strict=True):
        if jumping:
            whole = next(i for i, part in enumerate(together) if jumping[0] in part)
            groups[whole].append(entry)
            groups[whole, float(values.ravel()[entry])].append(entry)
    unique = {tuple(group) for group in groups.values() if len(group) > 1}
    return [list(group) for group in sorted(unique, key=len)]
