"""Live exercises in Chromium, on a built site: pytest tests/course/live_pages.py

The environment variable LIVE_SITE names the folder of the site, which must have its own runtime,
since no other host may be asked. The tests share a tab, so they run in this order. They print the
seconds that a student waited.
"""

import os
import time
from pathlib import Path

import pytest
from browser import browser, served

SITE = Path(os.environ["LIVE_SITE"])
BACKWARDS, POOLING, SHUFFLE = (
    "03_convolution_backwards",
    "06_pooling_and_interpolation",
    "08_channel_shuffle",
)
DB = """def my_db(dy):
    return dy.{}(axis=(0, 2, 3))


exercises.check("conv2d_backward", my_db, wrt="b")
"""
POOL = """def my_avg_pool(x, kernel_size):
    n, c, h, w = x.shape
    k = kernel_size
    return x.reshape(n, c, h // k, k, w // k, k).mean(axis=(3, 5))"""


class Lesson:
    """The page of a lesson, as a student uses it. Exercises have numbers from 1."""

    def __init__(self, page, root):
        self.page, self.root, self.asked = page, root, []

    def open(self, name, **look):
        """Open a page, and wait for its editors."""
        self.asked += self.page.requests
        self.page.look_like(**look)
        self.page.open(f"{self.root}lessons/{name}.html")
        self.page.wait_for("document.querySelectorAll('.live-editor .cm-content').length === 3")
        self.page.evaluate(
            "document.querySelectorAll('div.cell.tag_exercise')"
            ".forEach((cell, i) => (cell.id = `ex${i + 1}`))"
        )

    def value(self, number, script):
        """Return the value of a script in which `cell` is the exercise."""
        return self.page.evaluate(f"((cell) => {script})(document.querySelector('#ex{number}'))")

    def write(self, number, text):
        """Replace the text in the editor."""
        self.value(number, "cell.querySelector('.cm-content').focus()")
        for kind, commands in (("keyDown", ["selectAll"]), ("keyUp", [])):
            self.page.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key="a",
                code="KeyA",
                modifiers=2,
                windowsVirtualKeyCode=65,
                commands=commands,
            )
        self.page.call("Input.insertText", text=text)

    def text(self, number):
        """Return the text in the editor."""
        lines = "[...cell.querySelectorAll('.cm-line')].map((line) => line.textContent)"
        return self.value(number, f"{lines}.join('\\n')")

    def wait(self, number, what):
        """Wait for the end of a run; return its state and what is said, and print the seconds."""
        begin = time.monotonic()
        state = f"document.querySelector('#ex{number}').dataset.state"
        self.page.wait_for(f"!['idle', 'loading', 'running'].includes({state})")
        print(f"{what}: {time.monotonic() - begin:.2f} s, load {os.getloadavg()[0]:.1f}")
        return self.value(number, "cell.dataset.state"), self.value(
            number, "cell.querySelector('[role=status]').textContent"
        )

    def run(self, number, what, text=None):
        """Write an answer, and click on Run."""
        if text is not None:
            self.write(number, text)
        self.press_button(number, "run")
        return self.wait(number, what)

    def press_button(self, number, name):
        """Click on a button, wherever on the page it is by now."""
        self.value(number, f"cell.querySelector('.live-{name}').click()")


@pytest.fixture(scope="module")
def lesson():
    with served(SITE) as root, browser() as page:
        page.follow_workers()
        lesson = Lesson(page, root)
        yield lesson
        assert page.errors == []
        asked = [*lesson.asked, *page.requests]
        assert any(url.endswith("/pyodide.asm.wasm") for url in asked)  # a worker's request
        assert [
            url for url in asked if not url.startswith((root, "data:", "blob:", "about:"))
        ] == []


def test_a_student_fails_and_succeeds(lesson):
    lesson.open(BACKWARDS, width=1280)
    state, said = lesson.run(1, "first verdict, nothing in the browser's cache")
    assert (state, said) == ("wrong", "Not yet. conv2d_backward, db: nothing is written yet")
    state, said = lesson.run(1, "wrong answer", DB.format("mean"))
    assert state == "wrong"
    assert "likely cause: db is too small by a factor" in said
    lesson.page.wait_for("document.querySelector('#ex1 iframe').offsetHeight > 100")
    state, said = lesson.run(1, "right answer", DB.format("sum"))
    assert state == "right"
    assert said.startswith("Right. conv2d_backward, db: right in all 50 cases")


def test_what_is_printed_is_text(lesson):
    attack = "<img src=x onerror=alert(1)>"
    state, said = lesson.run(2, "an error", f"print('{attack}')\nraise ValueError('{attack}')")
    assert (state, said.splitlines()[1]) == ("wrong", f"ValueError: {attack}")
    assert lesson.value(2, "cell.querySelector('.live-output').textContent") == f"{attack}\n"
    assert lesson.value(2, "cell.querySelectorAll('img').length") == 0


def test_an_endless_loop_ends_and_python_is_back(lesson):
    state, said = lesson.run(2, "an endless loop", "while True:\n    pass")
    assert state == "ended"
    assert "not done after 20 seconds: does a loop never end?" in said
    state, _ = lesson.run(1, "the next verdict")
    assert state == "right"


def test_answers_are_there_after_a_reload(lesson):
    lesson.open(BACKWARDS, width=1280)
    assert lesson.text(1) == DB.format("sum")
    assert lesson.text(2) == "while True:\n    pass"
    lesson.press_button(2, "reset")
    assert lesson.text(2).startswith("def my_dw(dy, x, w):\n    raise NotImplementedError")
    assert lesson.page.evaluate(
        "Object.keys(localStorage).filter((key) => key.includes('03_'))"
    ) == [f"numpy_shufflenet/{BACKWARDS}/1"]


def test_by_keyboard_alone_on_a_narrow_dark_page(lesson):
    lesson.open(POOLING, width=390, dark=True)
    page = lesson.page
    page.evaluate("document.querySelector('#ex1').previousElementSibling.scrollIntoView()")
    page.evaluate(
        "(() => { const link = document.createElement('a'); link.href = '#';"
        "document.querySelector('#ex1').before(link); link.focus(); link.remove(); })()"
    )
    page.press("Tab", 9)
    focus = "document.activeElement"
    assert page.evaluate(f"{focus}.getAttribute('role')") == "textbox"
    assert "your code" in page.evaluate(f"{focus}.getAttribute('aria-label')")
    help_text = f"document.getElementById({focus}.getAttribute('aria-describedby')).textContent"
    assert "press Esc, then Tab" in page.evaluate(help_text)
    lesson.write(1, POOL)
    page.press("Enter", 13)
    page.call("Input.insertText", text="# a remark")  # in the indented line
    page.press("Tab", 9)
    assert page.evaluate(f"{focus}.getAttribute('role')") == "textbox"
    page.press("Escape", 27)
    page.press("Tab", 9)
    assert page.evaluate(f"{focus}.className") == "live-run"
    page.call(
        "Input.dispatchKeyEvent",
        type="keyDown",
        key="Enter",
        code="Enter",
        text="\r",
        windowsVirtualKeyCode=13,
    )
    page.call(
        "Input.dispatchKeyEvent", type="keyUp", key="Enter", code="Enter", windowsVirtualKeyCode=13
    )
    state, said = lesson.wait(1, "first verdict of the next lesson")
    assert (state, said) == ("right", "Right.")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_whatever_ends_python_leaves_the_page_alone(lesson):
    lesson.open(SHUFFLE, width=1280)
    state, said = lesson.run(1, "os._exit, with loading", "import os\nos._exit(0)")
    assert state == "ended"
    assert "ended Python itself" in said
    state, said = lesson.run(2, "the next verdict, with loading again")
    assert state == "wrong"
    assert "move them back by the inverse permutation" in said
    many = "import numpy as np\nkept = []\nwhile True:\n    kept.append(np.ones((1 << 24,)))"
    state, said = lesson.run(1, "all memory", many)
    assert "MemoryError" in said or state == "ended"
    lesson.write(3, "while True:\n    pass")
    lesson.press_button(3, "run")
    lesson.page.wait_for("document.querySelector('#ex3').dataset.state === 'running'")
    lesson.press_button(3, "stop")
    assert lesson.wait(3, "Stop")[1].startswith(" You stopped the run.")


def test_answers_can_be_taken_out_as_a_notebook(lesson, tmp_path):
    lesson.page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    lesson.press_button(1, "take")
    end = time.monotonic() + 30
    while not (found := list(tmp_path.glob("*.ipynb"))):
        assert time.monotonic() < end
        time.sleep(0.05)
    notebook = found[0].read_text("utf-8")
    assert found[0].name == f"{SHUFFLE}.ipynb"
    assert "kept.append(np.ones((1 << 24,)))" in notebook
