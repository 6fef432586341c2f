"""The check of one array: directions first, then what they leave open."""

from typing import TYPE_CHECKING

import numpy as np

from ._arrays import Array, own_scales, signed
from ._ties import tied
from .differences import Line
from .report import ArrayReport, Entry

if TYPE_CHECKING:
    from ._judge import Judge, Tried

MARGIN = 2.5  # times what is allowed: an error of an entry that cannot be missed
LOCATED = 2000  # evaluations to look for the wrong entries of a gradient that is known to be wrong
UNSEEN = 0.05  # of an array's entries, at most, may not be seen in a pass
ZERO = 1e-6  # of y: a slope that is more precise than that proves another wrong
SMALL = 0.1  # of `limit` of what y does along directions: below that a slope of 0 is seen
ROUNDS = 6  # of directions among what is left


class Claims:
    """For each entry of an array, flat: the smallest error that would have been seen."""

    def __init__(self, size: int) -> None:
        self.absolute = np.full(size, np.inf)
        self.relative = np.full(size, np.inf)

    def take(self, allowed: float, direction: Array, gradient: Array) -> None:
        """Note what a measurement that agrees tells about the entries along its direction."""
        moved = np.flatnonzero(direction)
        with np.errstate(all="ignore"):
            error = MARGIN * allowed / np.abs(direction.ravel()[moved])
            relative = error / np.abs(gradient.ravel()[moved].astype(np.float64))
        relative[np.isnan(relative)] = np.inf
        self.absolute[moved] = np.minimum(self.absolute[moved], error)
        self.relative[moved] = np.minimum(self.relative[moved], relative)


class ArrayCheck:
    """One array at work: `begin` measures along directions, `finish` what they leave open."""

    def __init__(self, judge: "Judge", position: int) -> None:
        self.judge, self.position = judge, position
        self.array = judge.trial.arrays[position]
        self.scales = judge.trial.scales(position)
        self.own = own_scales(self.array, self.scales)
        gradient = judge.gradients[0][position]
        assert gradient is not None
        self.gradient = np.asarray(gradient, np.float64)
        self.report = ArrayReport(judge.trial.names[position], self.array.shape)
        self.claims = Claims(self.array.size)
        self.signs = signed(np.random.default_rng(position), self.array.shape)
        self.found: list[Tried] = []
        self._kinks: list[tuple[int, tuple[int, ...]]] = []  # entries, and outputs that jump
        self._rank = -1.0  # of the worst entry

    # Directions

    def begin(self) -> "ArrayCheck":
        """Measure along one random direction of all entries for each cotangent."""
        judge = self.judge
        judge.complex = None
        for number in range(len(judge.dys)):
            signs = signed(judge.rng, self.array.shape)
            tried = self._direction(number, self.scales * signs)
            certain = tried.outcome == "wrong" and not tried.slope.detectors
            if tried.outcome != "agrees" and not certain and (self.own != self.scales).any():
                # Steps of their own size keep small entries on their side of a kink or pole.
                second = self._direction(number, self.own * signs)
                tried = second if second.outcome == "agrees" else tried
            self.found.append(tried)
            report = self.report
            report.directions += 1
            report.method = tried.slope.method
            self._note(tried)
        self.complex = judge.complex
        if self.clearly_wrong:
            self.report.status = "fail"
        return self

    @property
    def clearly_wrong(self) -> bool:
        """Whether a direction without a kink disagrees."""
        return any(t.outcome == "wrong" and not t.slope.detectors for t in self.found)

    def _direction(self, number: int, direction: Array) -> "Tried":
        judge = self.judge
        quiet = direction * (self.own / self.scales)
        line = judge.new_line(self.position, number, direction, quiet)
        self._last = number, direction, line
        if judge.method == "complex" and judge.complex is None:
            judge.probe(self.position, number, direction, line)
        tried = judge.measure(self.position, number, direction, line)
        if judge.complex is None and judge.coarser(self.position):
            line = judge.new_line(self.position, number, direction, quiet)
            tried = judge.measure(self.position, number, direction, line)
        judge.note_moves(line, tried.slope)
        if tried.outcome == "agrees":
            gradient = judge.gradients[number][self.position]
            assert gradient is not None
            self.claims.take(tried.allowed, direction, gradient)
        return tried

    def _note(self, tried: "Tried") -> None:
        reference = max(abs(tried.analytic), abs(tried.slope.value), tried.size)
        reference = max(reference, self.judge.natural * 1e-6) or 1.0
        difference = abs(tried.analytic - tried.slope.value) / reference
        self.report.difference = max(self.report.difference, difference)

    # What they leave open

    def finish(self, per_entry: bool) -> ArrayReport:
        """Judge entries where directions object or it is asked for; the small ones in any case."""
        judge, report = self.judge, self.report
        judge.complex = self.complex
        if judge.complex is None:
            judge.coarser(self.position)  # the last directions may have shown it
        outcomes = {tried.outcome for tried in self.found}
        if per_entry or outcomes != {"agrees"}:
            smooth = not any(tried.slope.detectors for tried in self.found)
            if judge.method == "auto" and smooth and judge.complex is None:
                judge.probe(self.position, *self._last)
            self._entries(self.clearly_wrong and not per_entry)
            self._check_ties()
            # Each entry may be within its own error, and their sum not.
            if report.status == "pass" and "wrong" in outcomes and not report.kinks:
                report.status = "fail"
        if report.status == "pass":
            self._small_ones()
        self._conclude()
        return report

    def _entries(self, located: bool) -> None:
        """Judge every entry on its own, as far as the budget goes."""
        judge, report, shape = self.judge, self.report, self.array.shape
        size, start = self.array.size, judge.trial.evaluations
        room = LOCATED - judge.located if located else np.inf
        if located and room <= 0:
            return
        report.analytic = self.gradient
        report.numeric, report.error = np.full(shape, np.nan), np.full(shape, np.nan)
        report.difference = 0.0
        order = list(range(size))
        if located and size * (1 if judge.complex is not None else 8) > room:
            first = self._bisect(np.arange(size))
            order = [first, *(i for i in order if i != first)]
        for n, flat in enumerate(order):
            if not judge.budget.left() or judge.trial.evaluations - start > room:
                report.skipped = size - n
                break
            self._entry(flat)
        if located:
            judge.located += judge.trial.evaluations - start

    def _bisect(self, left: Array) -> int:
        """Return an entry that is wrong, by directions of half of what is left."""
        while len(left) > 1 and self.judge.budget.left():
            half = left[: len(left) // 2]
            tried, _ = self._group(half)
            left = half if tried.outcome == "wrong" else left[len(left) // 2 :]
        return int(left[0])

    def _group(self, flat: Array, weakest: float = 0.0) -> "tuple[Tried, Line]":
        """Measure along a direction of some entries, flat."""
        direction = np.zeros(self.array.size)
        direction[flat] = (self.own * self.signs).ravel()[flat]
        direction = direction.reshape(self.array.shape)
        line = self.judge.line(self.position, 0, direction)
        tried = self.judge.measure(self.position, 0, direction, line, weakest=weakest)
        if tried.outcome == "agrees" and not tried.slope.detectors:
            self.claims.take(tried.allowed, direction, self.gradient)
        return tried, line

    def _measured(self, flat: int, scale: float) -> "tuple[Tried, float]":
        direction = np.zeros(self.array.size)
        direction[flat] = scale
        direction = direction.reshape(self.array.shape)
        part = abs(float(self.gradient.ravel()[flat])) * scale
        tried = self.judge.measure(self.position, 0, direction, weakest=part)
        if tried.outcome == "agrees":
            self.claims.take(tried.allowed, direction, self.gradient)
        return tried, scale

    def _entry(self, flat: int) -> None:
        report, limit = self.report, self.judge.precision.limit
        index = tuple(int(i) for i in np.unravel_index(flat, self.array.shape))
        tried, scale = self._measured(flat, float(self.scales[index]))
        if self.own[index] != scale and (
            tried.outcome != "agrees" or self.claims.relative[flat] > limit
        ):
            # Small among large ones: steps of its own size stay on its side of a kink or pole.
            second = self._measured(flat, float(self.own[index]))
            tried, scale = (tried, scale) if second[0].outcome == "imprecise" else second
        found = Entry(
            report.name,
            index,
            float(self.gradient[index]),
            tried.slope.value / scale,
            tried.slope.error / scale,
            tried.slope.detectors if tried.outcome == "kink" else (),
        )
        report.method = tried.slope.method
        report.entries += 1
        assert report.numeric is not None
        assert report.error is not None
        report.numeric[index], report.error[index] = found.numeric, found.error
        if tried.outcome == "kink":
            report.kinks.append(found)
            self._kinks.append((flat, tried.slope.outputs))
            return
        self._note(tried)
        if tried.outcome == "wrong":
            report.status = "fail"
        # A wrong entry outranks one that is only further away within its own large error.
        rank = abs(found.analytic - found.numeric)
        rank = rank if tried.outcome == "agrees" else np.inf if np.isnan(rank) else 1e300 + rank
        if report.worst is None or rank > self._rank:
            report.worst, self._rank = found, rank

    def _check_ties(self) -> None:
        """Judge entries on kinks together, moved alike: each may be right, and their sum not.

        Of a maximum with a tie, (1, 0) and (1/2, 1/2) are subgradients, (1, 1) is none.
        """
        if self.report.status != "pass" or len(self._kinks) < 2:
            return
        entries, outputs = zip(*self._kinks, strict=True)
        for group in tied(entries, outputs, self.array):
            if not self.judge.budget.left():
                break
            direction = np.zeros(self.array.size)
            direction[group] = self.own.ravel()[group].min()
            direction = direction.reshape(self.array.shape)
            line = self.judge.line(self.position, 0, direction)
            tried = self.judge.measure(self.position, 0, direction, line)
            if tried.outcome == "wrong":
                self.report.status = "fail"
                self.report.worst = next(
                    kink
                    for kink, (flat, _) in zip(self.report.kinks, self._kinks, strict=True)
                    if flat == group[int(np.abs(self.gradient.ravel()[group]).argmax())]
                )
                self.report.note = (
                    f"entries of {self.report.name} that lie on kinks, {len(group)} of them, have "
                    f"the slope {tried.slope.value:.6g} when they move together, and the gradient "
                    f"says {tried.analytic:.6g}: it is no subgradient"
                )
                return

    def _small_ones(self) -> None:
        """Look at entries whose errors larger ones would hide."""
        on_kinks = np.zeros(self.array.size, bool)
        on_kinks[[flat for flat, _ in self._kinks]] = True
        hidden = (self.claims.relative > self.judge.precision.limit) & ~on_kinks
        self._seen_as_zero = np.zeros(self.array.size, bool)
        if not hidden.any():
            return
        zero = hidden & self.judge.rounding_only(self.position)
        self._nonzero(hidden & ~zero)
        if self.report.status == "pass" and zero.any():
            self._zeros(np.flatnonzero(zero))

    def _nonzero(self, hidden: Array) -> None:
        limit, judge = self.judge.precision.limit, self.judge
        left = np.flatnonzero(hidden)
        parts = np.abs(self.gradient * self.own).ravel()
        for _ in range(ROUNDS):
            if not len(left) or not judge.budget.left():
                return
            tried, _ = self._group(left, float(parts[left].min()))
            if tried.outcome == "wrong" and not tried.slope.detectors:
                self._locate(left)
                return
            if tried.outcome != "agrees":
                break
            before, left = len(left), left[self.claims.relative[left] > limit]
            if len(left) == before:
                break
        if judge.trial.y.size == 1 and len(left):
            # Of one output the noise is the same for all; those that it hides need no look.
            least = judge.least_error(self.position)
            left = left[parts[left] * limit > least]
        for flat in left:
            if not judge.budget.left():
                return
            if self._alone(int(flat)):
                return

    def _locate(self, wrong: Array) -> None:
        """Fail, and name an entry of a part that is wrong as a whole."""
        report = self.report
        report.status = "fail"
        self._alone(self._bisect(wrong))
        if report.worst is None:
            report.note = f"{len(wrong)} small entries of {report.name} disagree together"

    def _alone(self, flat: int) -> bool:
        """Measure one entry; return whether it is wrong."""
        scale = float(self.own.ravel()[flat])
        tried, _ = self._measured(flat, scale)
        if tried.outcome != "wrong":
            return False
        report = self.report
        index = tuple(int(i) for i in np.unravel_index(flat, self.array.shape))
        numeric, error = tried.slope.value / scale, tried.slope.error / scale
        report.status = "fail"
        report.worst = Entry(report.name, index, float(self.gradient[index]), numeric, error)
        report.difference = 0.0
        self._note(tried)
        return True

    def _zeros(self, left: Array) -> None:
        """Confirm gradients of 0, all at once; one by one where that fails."""
        whole = self._group(left)
        if not self.judge.all_live(whole[1]):
            return
        parts = [left]
        cancels = len(left) == self.array.size  # all of the gradient
        while parts:
            flat = parts.pop()
            if not self.judge.budget.left():
                return
            tried, line = whole if flat is left else self._group(flat)
            # A backward that leaves rounding of terms that cancel shows that there are terms; else
            # y must have shown that it can move. Below the smallest numbers nothing can be told.
            usual = self.judge.natural if self.gradient.any() else 0.0
            usual = max(usual * cancels, self.judge.moves)
            precision = self.judge.precision
            enough = max(SMALL * precision.limit * usual, 1e8 * precision.least)
            still = tried.slope.method == "complex step" or line.still
            # Beside a slope of 0, noise looks like a jump; it may be one if it is far below y's.
            agrees = tried.outcome == "agrees" or (
                abs(tried.analytic - tried.slope.value) <= tried.bound
                and MARGIN * tried.allowed <= enough
            )
            own, known = self.own.ravel()[flat], self.claims.absolute[flat]
            if agrees:
                known = np.minimum(known, MARGIN * tried.allowed / own)
            if agrees and still and (known * own <= enough).all():
                self.claims.absolute[flat] = known
                self._seen_as_zero[flat] = True
            elif len(flat) > 1:
                parts += [flat[: len(flat) // 2], flat[len(flat) // 2 :]]
            elif tried.outcome == "wrong" and self._alone(int(flat[0])):
                return

    # What it comes to

    def _conclude(self) -> None:
        report, claims, limit = self.report, self.claims, self.judge.precision.limit
        shape = self.array.shape
        relative = claims.relative.copy()
        seen = relative <= limit
        if report.status == "pass":
            seen |= self._seen_as_zero
        seen[[flat for flat, _ in self._kinks]] = False
        usual = self.judge.moves or 1.0
        zero = seen & (relative > limit)
        relative[zero] = claims.absolute[zero] * self.own.ravel()[zero] / usual
        report.seen, report.visible = seen.reshape(shape), relative.reshape(shape)
        report.precision = float(relative[seen].max(initial=0.0))
        report.reachable = float(np.quantile(relative, 1 - UNSEEN, method="higher"))
        unseen = int(seen.size - seen.sum() - len(self._kinks))
        if report.status == "pass" and unseen > UNSEEN * seen.size:
            report.status = "imprecise"
