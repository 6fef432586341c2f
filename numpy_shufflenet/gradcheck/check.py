"""Check a vector-Jacobian product (vjp) against differences, along directions and by entry.

J is the Jacobian of y; vjp gives J^T dy for a cotangent dy. With a random dy, single numbers can
test it: the slope <dy, J v> along a random direction v, measured by differences, must equal
<J^T dy, v>. One direction tests all entries of an array at once, because no entry of v or dy is
near 0; with a tight tolerance it misses hardly any mistake. If the slope along a direction
disagrees, or the direction crosses a kink (a point without a derivative), the entries are compared
one by one. This shows where the mistake is, and which entries lie on kinks.

A plain sum as the loss (dy all ones) would hide mistakes: the dx of batch normalisation is then 0
for every scale, and the gradient of a shuffle is the same in any order.
"""

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ._arrays import Array, signed
from ._entries import check_arrays
from ._sides import Sides, writes
from ._subject import Subject
from ._trial import Trial, TrialError
from .report import KINK_LIMIT, ArrayReport, Status, place_of
from .settings import DEFAULTS, Settings
from .verdict import Verdict


def check(
    f: Callable[..., Any],
    vjp: Callable[..., Any],
    *arrays: Any,
    names: Sequence[str] | None = None,
    pattern: Callable[..., Sequence[Array]] | None = None,
    per_entry: bool = False,
    seed: int | np.random.Generator = 0,
    settings: Settings = DEFAULTS,
) -> Verdict:
    """Compare the gradients of any function of arrays with differences.

    Parameters
    ----------
    f : callable
        f(*arrays) -> y: an array of any shape, () included, or a tuple of arrays.
    vjp : callable
        vjp(dy, *arrays) -> the gradients of <dy, y> in the order of the arrays, None for an array
        that is not differentiated. dy is an array or a tuple, as y is.
    *arrays : array or None
        The point at which the gradients are compared. Integer arrays (labels, indices) and None are
        passed on as they are. f and vjp get copies, so they cannot change the arrays given here.
    names : sequence of str, optional
        Names of the arrays, for the report; from the signature of f if not given.
    pattern : callable, optional
        pattern(*arrays) -> the choices that f makes (masks, winners of a maximum), as arrays.
        It is called after f, with the same arrays. Kinks are found without it, too.
    per_entry : bool
        Whether every entry is compared even if all directions agree.
    seed : int or numpy.random.Generator
        Seed of the random cotangents and directions.

    Returns
    -------
    Verdict
        If the gradients are no valid gradients (wrong count, shape or dtype, NaN, or an exception
        in vjp), the status is "fail", and the reason says why.

    Raises
    ------
    ValueError
        If y is not finite or not floating-point, if no array is floating-point, if the names or the
        cotangent do not fit, or if the cotangent is the same everywhere, which makes the loss a
        plain sum.
    """
    start = time.perf_counter()
    dtype = _working_dtype(arrays, settings.dtype)
    named = positional_names(f, len(arrays)) if names is None else list(names)
    if isinstance(names, str) or len(named) != len(arrays):
        raise ValueError(f"names={names!r}, but there are {len(arrays)} arrays; one each is needed")
    trial = Trial(f, vjp, arrays, named, dtype, pattern)
    if not trial.differentiable:
        raise ValueError("no array is floating-point; there is nothing to differentiate")
    rng = np.random.default_rng(seed)
    dys = [_cotangent(trial, settings, rng) for _ in range(settings.directions)]
    subject = Subject(trial, dys, settings, rng)
    repeatable = None if isinstance(seed, np.random.Generator) else seed
    verdict = Verdict(seed=repeatable, trial=trial, dys=dys)
    try:
        verdict.status, verdict.reason = _compare(verdict, subject, per_entry=per_entry)
    except TrialError as error:
        verdict.status, verdict.reason, verdict.cause = error.status, str(error), error.__cause__
    finally:
        subject.hide_progress()
    if verdict.status in ("pass", "kink", "imprecise") and (problem := writes(trial, settings)):
        verdict.status, verdict.reason = "fail", problem
    if dtype == np.float32 and verdict.arrays:
        verdict.notes.append(
            f"in float32, differences have a precision of {verdict.precision:.0e} here and show no "
            "smaller errors; check in float64"
        )
    verdict.evaluations = trial.evaluations
    verdict.seconds = time.perf_counter() - start
    return verdict


def _compare(verdict: Verdict, subject: Subject, *, per_entry: bool) -> tuple[Status, str]:
    """Do all comparisons; return status and reason.

    Reports and notes go into the verdict at once, so that they are kept if an error follows.
    """
    trial, settings, sides = subject.trial, subject.settings, Sides(subject)
    if problem := sides.repeats():
        return "nondeterministic", problem
    chosen = []
    for i in trial.differentiable:
        name = trial.names[i]
        if subject.gradients[0][i] is None:
            verdict.notes.append(f"{name} is not differentiated: vjp gives None for it")
        elif trial.arrays[i].size == 0:
            verdict.notes.append(f"{name} is empty: there is nothing to compare")
        else:
            chosen.append(i)
    verdict.arrays = check_arrays(subject, chosen, per_entry=per_entry)
    for report in verdict.arrays:
        verdict.notes += _notes(report, settings.method)
    status, reason = _conclusion(verdict.arrays, trial)
    if status == "pass" and not writes(trial, settings):
        for is_problem, found in sides.findings():
            if is_problem:
                status, reason = "fail", found
                break
            verdict.notes.append(found)
    # Check this again, because a function may change after some calls.
    problem = sides.repeats()
    return ("nondeterministic", problem) if problem else (status, reason)


def _notes(report: ArrayReport, method: str) -> Iterator[str]:
    """Yield notes on a method that could not be used, and on entries that were not compared."""
    name = report.name
    if method == "complex" and report.method != "complex step":
        yield f"y is not holomorphic in {name} here: differences were used"
    if method == "adjoint" and report.method != "adjoint identity":
        yield f"y is not linear in {name}: differences were used"
    if report.note:
        yield report.note
    if report.status == "fail" and not report.entries and report.worst is None:
        yield f"entries of {name} were not compared one by one; other arrays used the evaluations"
    if report.skipped:
        left_out = f"{report.skipped} of {int(np.prod(report.shape))} entries of {name}"
        yield f"{left_out} were not looked at one by one: the budget was spent"
    if report.status == "pass" and (unseen := report.unseen):
        named = ", ".join(place_of(name, index) for index in unseen[:5])
        more = f" and {len(unseen) - 5} more" if len(unseen) > 5 else ""
        yield f"not seen, because the noise of y or larger entries hide them: {named}{more}"


def _conclusion(reports: Sequence[ArrayReport], trial: Trial) -> tuple[Status, str]:
    """Return status and reason from the reports of the arrays."""
    failed = [report.name for report in reports if report.status == "fail"]
    imprecise = [_imprecise(report) for report in reports if report.status == "imprecise"]
    kinks = sum(len(report.kinks) for report in reports)
    entries = sum(report.entries for report in reports)
    if failed:
        return "fail", f"the gradient of {', '.join(failed)} disagrees"
    if kinks > KINK_LIMIT * entries:
        return "kink", f"{kinks} of {entries} entries lie on kinks; at most 5 % may"
    if imprecise:
        return "imprecise", "; ".join(imprecise)
    if not reports or trial.y.size == 0:
        return "imprecise", "nothing to check: y or every array is empty"
    return "pass", ""


def _imprecise(report: ArrayReport) -> str:
    assert report.seen is not None
    unseen, reach = len(report.unseen), report.reachable
    reachable = f"only errors above {reach:.0e} of an entry" if reach < 1 else "no errors"
    return (
        f"{unseen} of {report.seen.size} entries of {report.name} are not seen: with this noise of "
        f"y, {reachable} would be seen. Subtract a constant offset from y, compute y in float64, "
        "rescale the arrays so that their gradients have similar sizes, check the outputs one by "
        "one, or choose a point where y is not saturated"
    )


def _working_dtype(arrays: Sequence[Any], dtype: Any) -> np.dtype[Any]:
    if dtype is not None:
        return np.dtype(dtype)
    found = [np.asarray(a).dtype for a in arrays if a is not None]
    floating = [d for d in found if np.issubdtype(d, np.floating)]
    return np.result_type(*floating) if floating else np.dtype(np.float64)


def positional_names(f: Callable[..., Any], count: int) -> list[str]:
    """Return the names of f's positional parameters; "arrays[0]" and so on for *arrays."""
    names: list[str] = []
    for parameter in parameters_of(f):
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    names += [f"array {i}" for i in range(len(names), count)]
    return names[:count]


def parameters_of(f: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of f; an empty list if Python does not know them."""
    try:
        return list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return []


def _cotangent(trial: Trial, settings: Settings, rng: np.random.Generator) -> Array:
    """Return a random cotangent, or the given one, as one vector."""
    given = settings.cotangent
    if given is None:
        return signed(rng, (trial.y.size,)).astype(trial.dtype).astype(np.float64)
    parts = given if isinstance(given, tuple | list) else (given,)
    shapes, expected = [np.shape(part) for part in parts], [part.shape for part in trial.outputs]
    if shapes != expected:
        raise ValueError(f"cotangent has shapes {shapes}, but y has {expected}")
    flat = np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in parts])
    if flat.size > 1 and (flat == flat[0]).all():
        raise ValueError(
            f"cotangent is {flat[0]} everywhere, which makes the loss a plain sum: a plain sum "
            "hides a permuted gradient and every error in batch normalisation's dx; give random "
            "numbers"
        )
    return flat
