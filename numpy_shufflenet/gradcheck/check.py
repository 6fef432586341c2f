"""Check a vector-Jacobian product against differences: directions detect, entries localise.

With a random cotangent dy, J^T dy can be tested through single numbers: <dy, J v> along a random
direction v, by differences, must be <J^T dy, v>. One direction tests all entries of an array at
once, and at a tight tolerance hardly any mistake hides from it; no entry of v or dy is near 0, so
none is left out. When a direction disagrees, or meets a kink, the entries are tested one by one:
they tell where, and which of them lie on kinks.

A plain sum as the loss (dy all ones) would hide what sums hide: batch normalisation's dx is then
0 whatever its scale, and a shuffle's gradient looks the same in any order.
"""

import inspect
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.gradcheck._budget import Budget
from numpy_shufflenet.gradcheck._judge import DIFFERENCES, Judge, precision_of
from numpy_shufflenet.gradcheck._scales import signed
from numpy_shufflenet.gradcheck._sides import SIDE_CHECKS, Sides
from numpy_shufflenet.gradcheck._trial import ChangedShapeError, Trial, WrongGradientError
from numpy_shufflenet.gradcheck.report import ArrayReport
from numpy_shufflenet.gradcheck.verdict import Verdict

KINK_LIMIT = 0.05  # of the entries that were compared


def check(
    f: Callable[..., Any],
    vjp: Callable[..., Any],
    *arrays: Any,
    method: str = "auto",
    names: Sequence[str] | None = None,
    directions: int = 2,
    per_entry: bool = False,
    pattern: Callable[..., Sequence[Array]] | None = None,
    keeps_dtype: bool = False,
    skip: Collection[str] = (),
    cotangent: Any = None,
    dtype: Any = np.float64,
    tolerance: float | None = None,
    seed: int = 0,
    rng: np.random.Generator | None = None,
    max_evaluations: int = 20_000,
    max_seconds: float = 60.0,
) -> Verdict:
    """Compare the gradients of any function of arrays with differences.

    Parameters
    ----------
    f : callable
        f(*arrays) gives y: an array, a 0-d one included, or a tuple of arrays.
    vjp : callable
        vjp(dy, *arrays) gives the gradients of <dy, y> in the order of the arrays, None for one
        that is not differentiated; dy has the form of y.
    *arrays : array or None
        The point. Integer arrays (labels, indices) and None are passed on as they are. f and vjp
        get copies, so nothing is ever written to these.
    method : str
        How slopes are measured.
        "auto": the adjoint identity where y is linear in an array; else differences, five points
        at the step that suits y; entries one by one by the complex step, where f proves
        holomorphic.
        "central", "five-point", "richardson": such differences only.
        "complex": the complex step, or differences and a note where f is not holomorphic.
        "adjoint": the adjoint identity, or differences and a note where y is not linear.
    names : sequence of str, optional
        Of the arrays, for the report; from the signature of f if not given.
    directions : int
        Random directions, and cotangents, for each array.
    per_entry : bool
        Whether every entry is compared even if all directions agree.
    pattern : callable, optional
        pattern(*arrays) gives the choices that f makes there (masks, winners) as a sequence of
        arrays. It is called after f, with the same arrays. Kinks are found without it, too.
    keeps_dtype : bool
        Whether f must give the dtype that its arrays have, as an operation of a network must.
    skip : collection of str
        Side checks to leave out, of "writes", "repeats", "linear", "dtype", "batch", "layout" and
        "float32".
    cotangent : array or tuple of arrays, optional
        Of the shape of y, instead of random ones.
    dtype : dtype or None
        Floating-point arrays are converted to it; None keeps theirs, and judges by what can be
        seen in it (about 1e-2 in float32, which is little).
    tolerance : float, optional
        Relative difference that is allowed on top of the estimated error of the differences;
        1e-9 in float64, 1e-4 in float32.
    seed : int
        Of cotangents and directions.
    rng : numpy.random.Generator, optional
        Used instead of `seed`.
    max_evaluations : int
        Of f: no further entries are looked at above it. The verdict says which were not.
    max_seconds : float
        Likewise. After five seconds a terminal shows how far the check is.

    Returns
    -------
    Verdict
        Wrong gradients of any kind (count, shape, dtype, NaN, an exception in vjp) are a "fail"
        that says so.

    Raises
    ------
    ValueError
        If y is not finite or not floating-point, there is nothing to differentiate, the
        cotangent does not fit or is the same everywhere, which makes the loss a plain sum, or
        method or skip is none of those above.
    """
    start = time.perf_counter()
    if directions < 1:
        raise ValueError(f"directions={directions!r} is not a whole number of at least 1")
    if method not in DIFFERENCES:
        raise ValueError(f"method={method!r} is not one of {', '.join(DIFFERENCES)}")
    if unknown := [name for name in skip if name not in SIDE_CHECKS]:
        raise ValueError(f"skip has {unknown[0]!r}, which is not one of {', '.join(SIDE_CHECKS)}")
    kind = _working_dtype(arrays, dtype)
    named = positional_names(f, len(arrays)) if names is None else list(names)
    if isinstance(names, str) or len(named) != len(arrays):
        raise ValueError(f"names={names!r}, but there are {len(arrays)} arrays; one each is needed")
    trial = Trial(f, vjp, arrays, named, kind, pattern)
    if not trial.differentiable:
        raise ValueError("no array is floating-point; there is nothing to differentiate")
    verdict = Verdict(seed=None if rng is not None else seed)
    generator = np.random.default_rng(seed) if rng is None else rng
    given = None if cotangent is None else _checked_cotangent(cotangent, trial)
    dys = [_cotangent(trial, generator) if given is None else given for _ in range(directions)]
    verdict.trial, verdict.dys = trial, dys
    sides = Sides(trial, dys, precision_of(kind, tolerance), skip, keeps_dtype=keeps_dtype)
    budget = Budget(trial, max_evaluations, max_seconds)
    judge = Judge(trial, dys, sides.gradients, sides.precision, generator, method, budget)
    try:
        _judge_all(judge, sides, verdict, per_entry)
    except WrongGradientError as error:
        verdict.status, verdict.reason, verdict.cause = "fail", str(error), error.__cause__
    except ChangedShapeError as error:
        verdict.status, verdict.reason = "nondeterministic", str(error)
    finally:
        budget.close()
    if sides.writes() and verdict.status in ("pass", "kink", "imprecise"):
        verdict.status, verdict.reason = "fail", sides.writes()
    if kind == np.float32 and verdict.arrays:
        verdict.notes.append(
            f"in float32 differences are good to {verdict.precision:.0e} here; no error below that "
            "is seen: check in float64"
        )
    verdict.evaluations = trial.evaluations
    verdict.seconds = time.perf_counter() - start
    return verdict


def _judge_all(judge: Judge, sides: Sides, verdict: Verdict, per_entry: bool) -> None:
    """Fill in the verdict: side checks, then each array."""
    trial = judge.trial
    sides.pull_back()
    if problem := sides.repeats():
        verdict.status, verdict.reason = "nondeterministic", problem
        return
    chosen = []
    for i in trial.differentiable:
        name = trial.names[i]
        if sides.gradients[0][i] is None:
            verdict.notes.append(f"{name} is not differentiated: vjp gives None for it")
        elif trial.arrays[i].size == 0:
            verdict.notes.append(f"{name} is empty: there is nothing to compare")
        else:
            chosen.append(i)
    for report in judge.arrays(chosen, per_entry):
        verdict.arrays.append(report)
        verdict.notes += _notes(report, judge.method)
    _conclude(verdict)
    if verdict.status == "pass" and not sides.writes() and (problem := sides.problem()):
        verdict.status, verdict.reason = "fail", problem
    verdict.notes += sides.notes
    # Last, because a function that counts its calls may start well.
    if problem := sides.repeats():
        verdict.status, verdict.reason = "nondeterministic", problem


def _notes(report: ArrayReport, method: str) -> list[str]:
    """Say where the method that was asked for could not be used, or entries were left out."""
    notes = []
    if method == "complex" and report.method != "complex step":
        notes.append(f"y is not holomorphic in {report.name} here: differences were used")
    if method == "adjoint" and report.method != "adjoint identity":
        notes.append(f"y is not linear in {report.name}: differences were used")
    if report.note:
        notes.append(report.note)
    if report.status == "fail" and not report.entries and report.worst is None:
        notes.append(f"entries of {report.name} were not compared one by one, as others were")
    if report.skipped:
        notes.append(
            f"{report.skipped} of {report.seen.size if report.seen is not None else 0} entries of "
            f"{report.name} were not looked at one by one: the budget was spent"
        )
    if report.status == "pass" and (unseen := report.unseen):
        named = ", ".join(f"{report.name}[{', '.join(map(str, i))}]" for i in unseen[:5])
        more = f" and {len(unseen) - 5} more" if len(unseen) > 5 else ""
        notes.append(f"not seen, as the noise of y or larger entries hide them: {named}{more}")
    return notes


def _conclude(verdict: Verdict) -> None:
    """Set status and reason from the reports of the arrays."""
    found = [report.status for report in verdict.arrays]
    kinks, entries = len(verdict.kinks), verdict.entries
    if "fail" in found:
        verdict.status = "fail"
        names = [report.name for report in verdict.arrays if report.status == "fail"]
        verdict.reason = f"the gradient of {', '.join(names)} disagrees"
    elif kinks > KINK_LIMIT * entries:
        verdict.status = "kink"
        verdict.reason = f"{kinks} of {entries} entries lie on kinks; at most 5 % may"
    elif "imprecise" in found:
        verdict.status = "imprecise"
        verdict.reason = "; ".join(
            _imprecise(report) for report in verdict.arrays if report.status == "imprecise"
        )
    elif not verdict.arrays or (verdict.trial is not None and verdict.trial.y.size == 0):
        verdict.status, verdict.reason = "imprecise", "nothing to check: y or every array is empty"


def _imprecise(report: ArrayReport) -> str:
    assert report.seen is not None
    unseen, reach = len(report.unseen), report.reachable
    reachable = f"only errors above {reach:.0e} of an entry" if reach < 1 else "no errors"
    return (
        f"{unseen} of {report.seen.size} entries of {report.name} are not seen: beside the noise "
        f"of y, {reachable} would be. Subtract a constant offset from y, compute it in float64, "
        "rescale the arrays so that their gradients are alike, check the outputs one by one, or "
        "move away from where y is saturated"
    )


def _working_dtype(arrays: Sequence[Any], dtype: Any) -> np.dtype[Any]:
    if dtype is not None:
        return np.dtype(dtype)
    found = [np.asarray(a).dtype for a in arrays if a is not None]
    floating = [d for d in found if np.issubdtype(d, np.floating)]
    return np.result_type(*floating) if floating else np.dtype(np.float64)


def positional_names(f: Callable[..., Any], count: int) -> list[str]:
    """Return the names of f's positional parameters; "arrays[0]" and so on for *arrays."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    names += [f"array {i}" for i in range(len(names), count)]
    return names[:count]


def _cotangent(trial: Trial, rng: np.random.Generator) -> Array:
    return signed(rng, (trial.y.size,)).astype(trial.dtype).astype(np.float64)


def _checked_cotangent(cotangent: Any, trial: Trial) -> Array:
    parts = cotangent if isinstance(cotangent, tuple | list) else (cotangent,)
    shapes = [np.shape(part) for part in parts]
    expected = [part.shape for part in trial.outputs]
    if shapes != expected:
        raise ValueError(f"cotangent has shapes {shapes}, but y has {expected}")
    flat = np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in parts])
    if flat.size > 1 and (flat == flat[0]).all():
        raise ValueError(
            f"cotangent is {flat[0]} everywhere, which makes the loss a plain sum: it cannot see "
            "a permuted gradient, nor anything of batch normalisation's dx; give random numbers"
        )
    return flat
