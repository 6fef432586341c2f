"""Finds the mistake in a wrong answer: the mistake that gives the student's numbers in every case.

The mistakes are those of the catalogue (`zoo.mistakes_in`), and those that are possible in every
exercise (`zoo.general`). If no mistake alone explains an answer, two together are tried. Without an
explanation there is no guess; `so_far` says what is right and what is wrong.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet import zoo
from numpy_shufflenet.exercises.attempt import Tried
from numpy_shufflenet.exercises.exercise import NEUTRAL, Case, Exercise
from numpy_shufflenet.exercises.judge import NUMBERS, differs, equal
from numpy_shufflenet.exercises.table import find
from numpy_shufflenet.locale import _
from numpy_shufflenet.zoo import general
from numpy_shufflenet.zoo.sizes import axes_of

MOST_CASES = 24
Results = tuple[Any, ...]


class Candidate(NamedTuple):
    """What a student may have done."""

    hints: tuple[str, ...]
    #: Takes a case and the index of a result; only this result matters, unless `whole`.
    run: Callable[[Case, int], Results]
    whole: bool = False


def cause_of(exercise: Exercise, tried: Sequence[Tried]) -> str:
    """Return the mistake that gives the results of all cases, in a sentence, or ""."""
    cases = _telling(tried)
    if exercise.returns[0].startswith("*"):  # results without names are compared together
        together = [one._replace(targets=(one.targets,), results=(one.results,)) for one in cases]
        cases = [a if a.error else b for a, b in zip(cases, together, strict=True)]
    wrong = [i for i in range(len(exercise.returns)) if any(_is_wrong(one, i) for one in cases)]
    if not cases or not wrong:
        return ""
    base = find(exercise.name.partition(",")[0])
    positions = list(range(len(exercise.returns)))
    if base.returns != exercise.returns:
        positions = [base.returns.index(exercise.returns[0])]
    search = _Search(base, cases, positions)
    named = ["" for _ in wrong]
    for candidates in (search.single, *([] if cases[0].error else [search.pairs])):
        missing = [i for i, hint in zip(wrong, named, strict=True) if not hint]
        found = search.explain(candidates, missing)
        for number, i in enumerate(wrong):
            named[number] = named[number] or found.get(i, "")
        if all(named):
            break
    return _("; ").join(dict.fromkeys(filter(None, named)))


def _telling(tried: Sequence[Tried]) -> list[Tried]:
    """Return the cases to compare: the largest that failed first, then others."""
    usable = [one for one in tried if one.results is not None or one.error]
    failed = sorted((t for t in usable if t.problem), key=lambda t: size_of(t.case), reverse=True)
    passed = sorted(
        (t for t in usable if not t.problem), key=lambda t: size_of(t.case), reverse=True
    )
    few = MOST_CASES // 3
    chosen = [*failed[: MOST_CASES - few], *failed[MOST_CASES - few :][-2:], *passed[:few]]
    return [one._replace(case=_read_only(one.case)) for one in chosen]


def _read_only(case: Case) -> Case:
    """Return a copy of a case that no mistake can change."""
    arrays, settings = copy.deepcopy(case)
    for value in arrays.values():
        for array in value if isinstance(value, tuple) else (value,):
            if isinstance(array, np.ndarray):
                array.setflags(write=False)
    return arrays, settings


def size_of(case: Case) -> int:
    """Return the size of a case: 10 for each entry, 1 for each setting not at default."""
    arrays, settings = case
    parts = [p for a in arrays.values() for p in (a if isinstance(a, tuple) else (a,))]
    entries = sum(int(np.size(part)) for part in parts if part is not None)
    unusual = sum(1 for name, value in settings.items() if _unusual(name, value))
    return 10 * entries + unusual


def _unusual(name: str, value: Any) -> bool:
    return not isinstance(value, dict) and bool(value != NEUTRAL.get(name, value))


def _is_wrong(one: Tried, index: int) -> bool:
    return one.results is None or (
        one.targets[index] is not None and not equal(one.results[index], one.targets[index])
    )


class _Search:
    """Looks among candidates for one that gives a student's results in all cases."""

    def __init__(self, base: Exercise, cases: list[Tried], positions: list[int]):
        self.base, self.cases, self.positions = base, cases, positions
        self.case = cases[0].case
        self.right = self._target(self.case, 0)
        self.mistakes = zoo.mistakes_in(base.name)
        self.changes_before = list(general.before(self.case, NEUTRAL))

    def _target(self, case: Case, index: int) -> Results:
        return self.base.target(case)

    def explain(
        self, candidates: Callable[[int], Iterator[Candidate]], wrong: list[int]
    ) -> dict[int, str]:
        """Return a hint for each wrong result that some candidate explains.

        A candidate that explains all wrong results is preferred.
        """
        found: dict[int, str] = {}
        for i in wrong:
            for candidate in candidates(i):
                also = [j for j in wrong if j == i or j not in found]
                explained = self._explained(candidate, i, also)
                if i in explained:
                    hint = _("; and ").join(map(_, candidate.hints))
                    if explained == set(also):
                        return found | dict.fromkeys(also, hint)
                    found.setdefault(i, hint)
        return found

    def _explained(self, candidate: Candidate, first: int, wrong: list[int]) -> set[int]:
        """Return the wrong results that a candidate gives in all cases.

        Where both raise different errors, a case says nothing, if another case says more. Nor does
        it where the candidate raises an error and the student's results have no entries.
        """
        left, shown = set(range(len(self.positions)) if candidate.whole else wrong), set[int]()
        for one in self.cases:
            outcome = self._outcome(candidate, one.case, first)
            if isinstance(outcome, zoo.DoesNotApplyError):
                continue
            if (
                isinstance(outcome, Exception)
                and one.results
                and not any(map(np.size, one.results))
            ):
                continue
            for i in list(left):
                if one.error and isinstance(outcome, Exception):
                    same = one.error == f"{type(outcome).__name__}: {outcome}"
                    shown |= {i} if same and "broadcast" in one.error else set()
                    continue
                if one.error or isinstance(outcome, Exception):
                    left.discard(i)
                    continue
                assert one.results is not None
                position = self.positions[i]
                given = outcome[position] if position < len(outcome) else None
                if one.targets[i] is not None and not equal(one.results[i], given):
                    left.discard(i)
                elif _is_wrong(one, i):
                    shown.add(i)
            if first not in left or (candidate.whole and len(left) < len(self.positions)):
                return set()
        return left & shown

    def _outcome(self, candidate: Candidate, case: Case, index: int) -> Results | Exception:
        """Return the results of a candidate, or the error that it raises."""
        with np.errstate(all="ignore"):
            try:
                results = candidate.run(case, self.positions[index])
            except Exception as error:
                return error
        together = self.base.returns[0].startswith("*") or not isinstance(results, tuple)
        return (results,) if together else results

    # The candidates. Each method takes the index of a wrong result.

    def single(self, index: int) -> Iterator[Candidate]:
        """Yield the candidates with one mistake, the most specific first."""
        for i, j in itertools.combinations(range(len(self.base.returns)), 2):

            def swapped(case: Case, index: int, i: int = i, j: int = j) -> Results:
                results = list(self._target(case, 0))
                results[i], results[j] = results[j], results[i]
                return tuple(results)

            said = _("{one} and {other} are swapped")
            said = said.format(one=self.base.returns[i], other=self.base.returns[j])
            yield Candidate((said,), swapped, whole=True)
        for mistake in self.mistakes:
            yield Candidate((mistake.hint,), _answer(mistake.answer))
        rest = []
        for change in self.changes_before:
            candidate = Candidate((change.hint,), _changed(change, self._target))
            if change.common:
                yield candidate
            else:
                rest.append(candidate)
        yield from self._after((), self._target, index)
        yield from rest

    def pairs(self, index: int) -> Iterator[Candidate]:
        """Yield the candidates with two mistakes."""
        for a, b in itertools.combinations(self.mistakes, 2):
            if function := zoo.both(a, b):
                yield Candidate((a.hint, b.hint), _answer(function))
        common = [change for change in self.changes_before if change.common]
        for change in common:
            for mistake in self.mistakes:
                run = _changed(change, _answer(mistake.answer))
                yield Candidate((mistake.hint, change.hint), run)
        for mistake in self.mistakes:
            yield from self._after((mistake.hint,), _answer(mistake.answer), index, common=True)
        for one, other in itertools.combinations(common, 2):
            if one.argument != other.argument:
                run = _changed(one, _changed(other, self._target))
                yield Candidate((one.hint, other.hint), run)
        for change in common:
            run = _changed(change, self._target)
            yield from self._after((change.hint,), run, index, common=True)

    def _after(
        self,
        hints: tuple[str, ...],
        run: Callable[[Case, int], Results],
        index: int,
        *,
        common: bool = False,
    ) -> Iterator[Candidate]:
        """Yield the changes of a result that `run` computes; it is computed once for each case."""
        position, known = self.positions[index], {}

        def results(case: Case, i: int) -> Results:
            if id(case) not in known:
                found = run(case, i)
                known[id(case)] = found if isinstance(found, tuple) else (found,)
            return known[id(case)]

        first = self._outcome(Candidate((), results), self.case, index)
        if isinstance(first, Exception) or position >= len(first):
            return
        if first[position] is None or isinstance(first[position], tuple):
            return
        for change in general.after(self.case, self.base.returns, first, position):
            if common and not change.common:
                continue

            def changed(case: Case, i: int, change: general.After = change) -> Results:
                given = list(results(case, i))
                if given[i] is not None:  # no bias, so no db
                    given[i] = change.apply(case, tuple(given), i)
                return tuple(given)

            yield Candidate((*hints, change.hint), changed)


def _answer(function: Callable[..., Any]) -> Callable[[Case, int], Any]:
    def run(case: Case, index: int) -> Any:
        arrays, settings = case
        return function(*arrays.values(), **settings)

    return run


def _changed(
    change: general.Before, run: Callable[[Case, int], Results]
) -> Callable[[Case, int], Results]:
    return lambda case, index: run(change.apply(case), index)


# Without a cause


def so_far(exercise: Exercise, tried: Sequence[Tried], shown: Tried) -> str:
    """Say what is right and what is wrong, as far as it holds in all cases; "" if nothing does."""
    usable = [one for one in tried if one.results is not None]
    failed = [one for one in usable if one.problem]
    if not failed or shown.results is None:
        return ""
    right = [
        name
        for i, name in enumerate(exercise.returns)
        if not name.startswith("*") and not any(_is_wrong(one, i) for one in usable)
    ]
    said = []
    if right:
        one = _("{names} is right") if len(right) == 1 else _("{names} are right")
        said.append(one.format(names=_(" and ").join(right)))
    said += _conditions(usable)
    index = next((i for i in range(len(shown.targets)) if _is_wrong(shown, i)), 0)
    pairs = [(_array(t.results[index]), _array(t.targets[index])) for t in failed if t.results]
    pairs = [(a, b) for a, b in pairs if a is not None and b is not None]
    name = exercise.returns[min(index, len(exercise.returns) - 1)].lstrip("*")
    if pairs and all(a.shape == b.shape for a, b in pairs):
        said += [_("the shape of {name} is right").format(name=name), *_entries(name, pairs)]
    return _("; ").join(said)


def _array(value: Any) -> Any:
    """Return an array of real numbers, or None."""
    if not isinstance(value, NUMBERS) or np.asarray(value).dtype.kind not in "fiub":
        return None
    return np.asarray(value, float)


def _conditions(usable: Sequence[Tried]) -> Iterator[str]:
    """Yield the settings and sizes with which all cases are right."""

    def told(one: Tried) -> dict[str, Any]:
        arrays, settings = one.case
        plain = (int, float, bool)
        found = {f"{key}={v!r}": True for key, v in settings.items() if isinstance(v, plain)}
        for key, array in arrays.items():
            if key == "b":
                found[_("no bias")] = array is None
            elif isinstance(array, np.ndarray) and array.ndim == 4 and key == "x":
                found[_("one image")] = len(array) == 1
                found[_("one channel")] = array.shape[1] == 1
        return {key: value for key, value in found.items() if value}

    passed = [told(one) for one in usable if not one.problem]
    failed = [told(one) for one in usable if one.problem]
    for key in dict.fromkeys(key for one in passed for key in one):
        name, given, value = key.partition("=")
        if given and str(NEUTRAL.get(name)) != value:
            continue
        if not any(key in one for one in failed) and sum(key in one for one in passed) > 2:
            yield _("your function is right with {setting}").format(setting=key)


def _entries(name: str, pairs: list[tuple[Any, Any]]) -> Iterator[str]:
    """Yield what the entries of a wrong result have in common in all cases."""
    large = [(a, b) for a, b in pairs if b.size > 1] or pairs
    wrong: list[Any] = [differs(a, b) for a, b in large]
    if all(not a.any() for a, _ in large):
        yield _("every entry of {name} is 0").format(name=name)
        return
    ratios = [ratio for a, b in pairs if (ratio := _ratio(a, b)) is not None]
    if len(ratios) == len(pairs):
        same = np.ptp(ratios) < 1e-8 * max(abs(ratio) for ratio in ratios)
        said = (
            _("every entry of {name} is {ratio} times the right one")
            if same
            else _("all entries of {name} are wrong by one factor, which differs between cases")
        )
        yield said.format(name=name, ratio=f"{ratios[0]:.6g}")
    if all(not a[bad].any() for (a, _), bad in zip(large, wrong, strict=True)):
        yield _("the wrong entries of {name} are all 0").format(name=name)
    if all(not b[bad].any() for (_, b), bad in zip(large, wrong, strict=True)):
        yield _("the wrong entries of {name} should all be 0").format(name=name)
    if any(bad.ndim != 4 for bad in wrong):
        return
    for axis, word in enumerate(axes_of(name, 4)[:2]):
        several = [bad for bad in wrong if bad.shape[axis] > 1]
        lines = [bad.any(axis=tuple({0, 1, 2, 3} - {axis})) for bad in several]
        if lines and all(not line[0] and line[1:].any() for line in lines):
            said = _("the first {word} of {name} is right, and others are wrong")
            yield said.format(word=word, name=name)
    inside = [bad[:, :, 1:-1, 1:-1] for bad in wrong]
    if any(part.size for part in inside) and not any(part.any() for part in inside):
        yield _("only entries of {name} at the border are wrong").format(name=name)


def _ratio(yours: Any, target: Any) -> float | None:
    """Return the factor between a result and the target, or None."""
    largest = np.abs(target).max(initial=0.0)
    if not largest or not np.isfinite(yours).all():
        return None
    unit = target / largest
    factor = float((yours * unit).sum() / (target * unit).sum())
    return None if differs(yours, factor * target).any() else factor
