"""Moving pictures in a real browser: played, stepped through, hovered over, by mouse and keys."""

import html
import re

import numpy as np
import pytest
from browser import browser

from numpy_shufflenet import models, nn, ops, plots

SUM = "document.querySelector('.scene:not([hidden]) .sum').textContent"


def tenths(*shape, seed=0):
    return np.random.default_rng(seed).integers(-9, 10, shape) / 10


X, W, B = tenths(1, 2, 5, 4), tenths(2, 2, 3, 3, seed=1), tenths(2, seed=2)
SETTINGS = {"stride": 2, "padding": 1}


PICTURES = {  # functions, since collecting tests in each worker shall not draw pictures
    "conv2d": lambda: plots.step_through("conv2d", X, W, B, **SETTINGS),
    "group_conv2d": lambda: plots.step_through(
        "group_conv2d", tenths(1, 4, 3, 3), tenths(4, 2, 2, 2), groups=2, dilation=2
    ),
    "depthwise_conv2d": lambda: plots.step_through("depthwise_conv2d", X, tenths(2, 1, 3, 3)),
    "pointwise_conv2d": lambda: plots.step_through("pointwise_conv2d", X, tenths(3, 2, 1, 1)),
    "max_pool2d": lambda: plots.step_through("max_pool2d", X, kernel_size=3, stride=2, padding=1),
    "avg_pool2d": lambda: plots.step_through("avg_pool2d", X, kernel_size=2),
    "batch_norm": lambda: plots.step_through("batch_norm", X, np.ones(2), np.zeros(2)),
    "shuffle": lambda: plots.shuffle_wires(6, 2),
    "V1 unit": lambda: plots.unit(nn.ShuffleNetV1Unit(12, 12, groups=3, stride=1), (12, 6, 6)),
    "V2 unit": lambda: plots.unit(nn.ShuffleNetV2Unit(6, 12, stride=2), (6, 6, 6)),
    "channels": lambda: plots.unit_channels(nn.ShuffleNetV2Unit(8, 8, stride=1), 8),
    "network": lambda: plots.network(models.shufflenet_v2(stem="small"), (3, 32, 32)),
}


@pytest.fixture(scope="module")
def page():
    with browser() as page:
        page.look_like()
        yield page


@pytest.fixture
def shown(page, tmp_path):
    """Open a picture; its own file is all that the browser may ask for."""

    def show(picture, **look):
        page.look_like(**look)
        path = tmp_path / "picture.html"
        picture.save(path)
        page.open(path)
        page.wait_for("document.querySelectorAll('.nsn-moving:not(.live)').length === 0")
        return page

    yield show
    assert page.errors == []
    assert page.requests == [(tmp_path / "picture.html").as_uri()]


def element(picture, label, scene=0):
    number = picture.scenes[scene].labels.index(label)
    return f'.scene:nth-of-type({scene + 1}) [data-e="{number}"]'


def marked(page, picture, state, scene=0):
    """The labels of the elements in a state."""
    found = page.evaluate(
        f"[...document.querySelectorAll('.scene:nth-of-type({scene + 1}) .c.{state}')]"
        ".map((node) => +node.dataset.e)"
    )
    return {picture.scenes[scene].labels[e] for e in found}


def result(page):
    """The number at the end of the sum."""
    return float(page.evaluate(SUM).replace("−", "-").split("=")[-1])


def text_of(scene):
    """What a reader sees below a still, where scripts don't run."""
    sentence = re.search(r'<p class="sum"[^>]*>(.*)</p>', scene.html())[1]
    return html.unescape(re.sub("<[^>]*>", "", sentence))


def go_to(page, step):
    page.evaluate(
        f"(() => {{ const s = document.querySelector('.bar input'); s.value = {step};"
        "s.dispatchEvent(new Event('input')); })()"
    )


def press_button(page, text):
    names = page.evaluate("[...document.querySelectorAll('.bar > button')].map(b => b.textContent)")
    page.click(f".bar > button:nth-of-type({names.index(text) + 1})")


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("dark", [False, True])
def test_every_kind_works_on_a_phone_and_a_desktop(shown, name, dark):
    picture = PICTURES[name]()
    page = shown(picture, width=390 if dark else 1100, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for number, scene in enumerate(picture.scenes):
        if len(picture.scenes) > 1:
            page.click(f"[role=tab]:nth-of-type({number + 1})")
        assert page.evaluate("document.querySelectorAll('.scene:not([hidden])').length") == 1
        assert page.evaluate(SUM) == text_of(scene)  # the script says what the still said
        go_to(page, 0)
        for step in scene.steps[:3]:
            assert page.evaluate(SUM).startswith(scene.labels[step.output])
            press_button(page, "Next ▶")


def test_an_output_tells_what_it_was_made_of(shown):
    picture = plots.step_through("conv2d", X, W, B, **SETTINGS)
    y, _ = ops.conv2d_forward(X, W, B, **SETTINGS)
    page = shown(picture)
    for index in ((0, 0, 0, 0), (0, 1, 2, 1), (0, 0, 1, 1)):
        label = f"y[{','.join(map(str, index))}]"
        page.hover(element(picture, label))
        assert page.evaluate(SUM).startswith(label)
        assert result(page) == pytest.approx(y[index], abs=0.0051)
        assert marked(page, picture, "out") == {label}
    rows, columns = (1, 2, 3), (1, 2, 3)  # of the last one
    pixels = {f"x[0,{c},{r},{s}]" for c in (0, 1) for r in rows for s in columns}
    kernel = {f"w[0,{c},{i},{j}]" for c in (0, 1) for i in range(3) for j in range(3)}
    assert marked(page, picture, "read") == pixels | kernel | {"b[0]"}


def test_backward_shows_what_flows_into_inputs_and_weights(shown):
    dy = tenths(1, 2, 3, 2, seed=5)
    picture = plots.step_through("conv2d", X, W, B, dy=dy, **SETTINGS)
    gradients = ops.conv2d_backward(dy, ops.conv2d_forward(X, W, B, **SETTINGS)[1])
    page = shown(picture)
    page.click("[role=tab]:nth-of-type(2)")
    for name, gradient, index in (
        ("x", gradients[0], (0, 1, 3, 2)),
        ("w", gradients[1], (1, 0, 2, 1)),
        ("b", gradients[2], (1,)),
    ):
        place = f"[{','.join(map(str, index))}]"
        for label in (name + place, f"d{name}{place}"):  # over the value, and over its gradient
            page.hover(element(picture, label, 1))
            assert page.evaluate(SUM).startswith(f"d{name}{place}")
            assert result(page) == pytest.approx(gradient[index], abs=0.0051)
            assert marked(page, picture, "out", 1) == {f"d{name}{place}"}
            assert marked(page, picture, "also", 1) == {name + place}
    assert marked(page, picture, "read", 1) == {
        f"dy[0,1,{p},{q}]" for p in range(3) for q in (0, 1)
    }


def test_a_dy_tells_where_it_flows(shown):
    x = np.array([[0.1, 0.9, 0.3], [0.4, 0.2, 0.5]]).reshape(1, 1, 2, 3)
    picture = plots.step_through("max_pool2d", x, kernel_size=2, stride=1)
    page = shown(picture)
    page.click("[role=tab]:nth-of-type(2)")
    page.hover(element(picture, "dy[0,0,0,1]", 1))
    assert page.evaluate(SUM) == "dy[0,0,0,1] flows into one entry: dx[0,0,0,1]"
    assert marked(page, picture, "out", 1) == {"dx[0,0,0,1]"}


def test_stepping_hides_what_is_not_yet_computed(shown):
    picture = plots.step_through("avg_pool2d", X, kernel_size=2)
    page = shown(picture)
    outputs = [picture.scenes[0].labels[step.output] for step in picture.scenes[0].steps]
    assert marked(page, picture, "later") == set()
    go_to(page, 1)
    assert marked(page, picture, "out") == {outputs[1]}
    assert marked(page, picture, "later") == set(outputs[2:])
    press_button(page, "Next ▶")
    assert marked(page, picture, "out") == {outputs[2]}
    for _ in range(3):  # once too often
        press_button(page, "◀ Back")
    assert marked(page, picture, "out") == {outputs[0]}
    assert page.evaluate("document.querySelector('.bar output').textContent") == (
        f"step 1 of {len(outputs)}"
    )


def test_playing_goes_through_to_the_end(shown):
    picture = plots.shuffle_wires(4, 2)
    page = shown(picture)
    press_button(page, "▶ Play")
    page.wait_for("document.querySelector('.bar output').textContent === 'step 2 of 4'")
    page.wait_for("document.querySelector('.bar output').textContent === 'step 4 of 4'")
    page.wait_for("document.querySelector('.bar > button:nth-of-type(2)').textContent === '▶ Play'")
    assert marked(page, picture, "out") == {"y[3]"}


def test_arrow_keys_walk_over_the_cells(shown):
    picture = plots.step_through("conv2d", X, W, B, **SETTINGS)
    y, _ = ops.conv2d_forward(X, W, B, **SETTINGS)
    page = shown(picture)
    page.evaluate("document.querySelector('svg[aria-label^=\"y, channel 1\"]').focus()")
    for key, code in (("ArrowDown", 40), ("ArrowRight", 39), ("ArrowDown", 40)):
        page.press(key, code)
    assert page.evaluate(SUM).startswith("y[0,1,2,1]")
    assert result(page) == pytest.approx(y[0, 1, 2, 1], abs=0.0051)


def test_the_tab_key_reaches_all_controls(shown):
    page = shown(plots.step_through("avg_pool2d", X, kernel_size=2))
    page.evaluate("document.querySelector('[role=tab]').focus()")
    reached = []
    for _ in range(6):
        focus = "document.activeElement"
        reached.append(page.evaluate(f"{focus}.textContent || {focus}.type || {focus}.tagName"))
        page.press("Tab", 9)
    assert reached[:4] == ["Forward", "Backward", "◀ Back", "▶ Play"]
    assert reached[4:] == ["Next ▶", "range"]
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "x, channel 0"
    )


def test_a_channel_lights_up_all_that_it_depends_on(shown):
    picture = plots.unit_channels(nn.ShuffleNetV2Unit(8, 8, stride=1), 8)
    page = shown(picture)
    page.hover(element(picture, "channel shuffle, 2 groups [4]"))  # a channel that just passed
    assert marked(page, picture, "on") == {"input [2]", "channel split [2]", "concat [2]"}


def test_two_pictures_and_one_twice_share_a_page(page, tmp_path):
    one, other = plots.shuffle_wires(4, 2), plots.shuffle_wires(6, 2)
    path = tmp_path / "page.html"
    path.write_text(
        f"<!DOCTYPE html><meta charset=utf-8>{one.html()}{other.html()}{one.html()}", "utf-8"
    )
    page.open(path)
    assert page.evaluate("document.querySelectorAll('.nsn-moving.live').length") == 3
    assert page.evaluate("document.querySelectorAll('.bar').length") == 3
    assert page.errors == []
