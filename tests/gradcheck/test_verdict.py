"""What a verdict shows: its words, its picture, its curve, and its guess at the cause."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from numpy_shufflenet import gradcheck, ops
from numpy_shufflenet.gradcheck import FAMILIES, _patterns, check, check_operation, check_pair


def sine(x):
    return np.sin(x)


def wrong_at(index, factor=1.5):
    def vjp(dy, x):
        dx = dy * np.cos(x)
        dx[index] *= factor
        return dx

    return vjp


X = np.random.default_rng(0).uniform(0.5, 1.2, size=(2, 3, 4, 5))


def test_a_verdict_tells_all_in_words():
    verdict = check(sine, wrong_at((1, 2, 3, 4)), X)
    text = str(verdict)
    assert text.startswith("fail: the gradient of x disagrees")
    for part in ("x (2, 3, 4, 5)", "120 entries", "complex step", "x[1, 2, 3, 4]: analytic"):
        assert part in text
    assert re.search(r"\d+ evaluations in [\d.e-]+ s, seed 0", text)
    assert verdict.difference > 0.1


def rectangles(verdict):
    page = verdict._repr_html_()
    ElementTree.fromstring(page)  # well-formed
    svg = ElementTree.fromstring(re.search(r"<svg.*?</svg>", page, re.DOTALL).group())
    return page, svg.findall("rect")


def test_the_heat_map_shows_the_wrong_entry():
    page, found = rectangles(check(sine, wrong_at((1, 2, 3, 4)), X))
    assert len(found) == X.size
    colours = [rect.get("fill") for rect in found]
    odd = [n for n, colour in enumerate(colours) if colour != "#ffffff"]
    assert odd == [X.size - 1]
    assert "x[1, 2, 3, 4]: analytic" in found[-1].find("title").text
    assert "the gradient of x disagrees" in page
    assert "<script" not in page
    assert "http" not in page


def test_channels_are_tiles():
    """Entries of a channel lie side by side; the next channel begins after a gap."""
    _, found = rectangles(check(sine, wrong_at((0, 0, 0, 0)), X))
    places = np.array([[float(r.get("x")), float(r.get("y"))] for r in found]).reshape(*X.shape, 2)
    step = places[0, 0, 0, 1, 0] - places[0, 0, 0, 0, 0]
    assert (np.diff(places[..., 0], axis=3) == step).all()
    assert (np.diff(places[..., 0], axis=1) == 6 * step).all()
    assert (np.diff(places[..., 1], axis=2) == step).all()
    assert (np.diff(places[..., 1], axis=0) == 5 * step).all()


def test_kinks_have_a_colour_of_their_own():
    x = np.random.default_rng(0).normal(size=(5, 8))
    x[1, 2] = 0
    verdict = check_pair(ops.relu_forward, ops.relu_backward, x, per_entry=True)
    _, found = rectangles(verdict)
    blue = [rect for rect in found if rect.get("fill") == "#56B4E9"]
    assert len(blue) == 1
    assert blue[0].find("title").text.startswith("x[1, 2]")


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 3, 2, 2, 2)])
def test_any_shape_has_a_picture(shape):
    x = np.full(shape, 0.7)
    _, found = rectangles(check(sine, lambda dy, x: dy * np.cos(x), x, per_entry=True))
    assert len(found) == x.size


def test_large_arrays_are_shown_in_part():
    x = np.random.default_rng(0).normal(size=(100, 3, 2, 2))
    page, found = rectangles(check(sine, lambda dy, x: dy * np.cos(x), x, per_entry=True))
    assert len(found) == 21 * 12
    assert "21 of 100 rows" in page


def test_a_verdict_without_entries_has_a_table_and_no_map():
    page = check_operation("conv2d")._repr_html_()
    ElementTree.fromstring(page)
    assert "<svg" not in page
    assert "adjoint identity" in page


def test_names_are_escaped():
    page = check(sine, wrong_at((0, 0, 0, 0)), X, names=["<x> & y"])._repr_html_()
    ElementTree.fromstring(page)


# The error curve


def test_the_error_curve_has_a_valley_for_differences_and_none_for_the_complex_step():
    verdict = check_operation("batch_norm")
    curve = verdict.error_curve()
    assert curve.array == "x"
    best = {name: errors.min() for name, errors in curve.errors.items()}
    assert list(best) == ["forward", "central", "five-point", "richardson", "complex step"]
    assert best["forward"] > best["central"] > best["five-point"]
    assert best["central"] < 1e-9
    for name in ("forward", "central", "five-point", "richardson"):
        where = curve.errors[name].argmin()
        assert 0 < where < len(curve.steps) - 1
    tiny = curve.errors["complex step"][-5:]
    assert (tiny < 1e-13).all()
    # On the right flank an error falls with the power of the step that the method's order says.
    for name, order in (("forward", 1), ("central", 2), ("five-point", 4)):
        falls = curve.errors[name][3] / curve.errors[name][4]
        assert falls == pytest.approx(2**order, rel=0.35)


def test_of_a_wrong_gradient_every_curve_ends_on_a_plateau():
    verdict = check(sine, lambda dy, x: 1.01 * dy * np.cos(x), X)
    curve = verdict.error_curve("x")
    assert all(errors.min() > 1e-4 for errors in curve.errors.values())


def test_the_curve_can_be_drawn():
    from matplotlib import pyplot as plt

    verdict = check_operation("batch_norm")
    axes = verdict.plot_error_curve()
    assert len(axes.lines) == 5
    assert axes.get_xscale() == axes.get_yscale() == "log"
    _, mine = plt.subplots()
    assert verdict.plot_error_curve(mine, "gamma") is mine
    plt.close("all")
    with pytest.raises(ValueError, match="array='z' is not one of x, gamma, beta"):
        verdict.error_curve("z")


# The cause


@pytest.mark.parametrize(
    ("vjp", "family"),
    [
        (lambda dy, x: dy, "mask"),
        (lambda dy, x: -dy * (x > 0), "sign"),
        (lambda dy, x: 3 * dy * (x > 0), "factor"),
        (lambda dy, x: (dy * (x > 0))[::-1], "permutation"),
        (lambda dy, x: (x > 0).astype(float), "not linear"),
        (lambda dy, x: 0 * dy, "dropped"),
        (lambda dy, x: (dy * (x > 0)).ravel(), "not a gradient"),
        (lambda dy, x: dy[9], "not a gradient"),
    ],
)
def test_common_mistakes_are_named(vjp, family):
    x = np.random.default_rng(0).normal(size=(4, 5))
    verdict = check(lambda x: np.maximum(x, 0), vjp, x)
    assert verdict.status == "fail"
    explanation = verdict.explain()
    assert explanation.family == family
    assert family in FAMILIES
    assert FAMILIES[family] in str(explanation)


def test_the_families_stand_in_the_docstring():
    text = gradcheck.Verdict.explain.__doc__
    for family in FAMILIES:
        assert family in text


def test_what_is_right_needs_no_explanation():
    explanation = check_operation("relu").explain()
    assert explanation.family == ""
    assert "nothing to explain" in str(explanation)


@pytest.mark.parametrize("shape", [(1,), (3, 4), (2, 3, 4, 5)])
def test_gradients_that_agree_have_no_pattern(shape):
    x = np.random.default_rng(0).normal(size=shape)
    assert _patterns.of_maps(x, x.copy()) == ("", "")
    assert _patterns.of_maps(0 * x, 0 * x) == ("", "")
    assert _patterns.of_maps(-x, x)[0] == "sign"


def test_a_missing_factor_is_quantified():
    verdict = check(sine, lambda dy, x: 0.25 * dy * np.cos(x), X)
    assert "0.25 times what it should be" in str(verdict.explain())


def test_what_is_too_large_to_look_at_is_said_to_be():
    x = np.random.default_rng(0).normal(size=3000)
    verdict = check(np.cumsum, lambda dy, x: np.cumsum(dy), x)
    assert verdict.status == "fail"
    start = verdict.trial.evaluations
    verdict.arrays[0].numeric = None  # as where other arrays had been compared entry by entry
    assert "try a smaller example" in str(verdict.explain())
    assert verdict.trial.evaluations == start
