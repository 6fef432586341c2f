"""Names of files and classes may hold anything: markup, quotes, formulas, marks and line ends."""

import html
import io
import os
import sys

import numpy as np
import pytest
import rich.console
from PIL import Image

from numpy_shufflenet import cli, plots
from numpy_shufflenet._text import plain_label, shown
from numpy_shufflenet.commands import _common
from numpy_shufflenet.commands._report import HtmlReport
from numpy_shufflenet.data import Dataset
from numpy_shufflenet.models import shufflenet_v2
from numpy_shufflenet.training import SGD, Trainer

NAMES = {
    "[-y].png": "[-y].png",
    "[/y].png": "[/y].png",
    "[bold]loud[/bold]": "[bold]loud[/bold]",
    "\"quoted\" 'twice' `and` \\back": "\"quoted\" 'twice' `and` \\back",
    "<b>&amp;<script>": "<b>&amp;<script>",
    "two\nlines\tand a tab": r"two\nlines\tand a tab",
    "photo\u202egnp.exe": r"photo\u202egnp.exe",
    "$x^2$ costs $5": "$x^2$ costs $5",
    "$\\frac{": "$\\frac{",
    "\x1b[31mred\x07": r"\x1b[31mred\x07",
    "\udcff": r"\udcff",
    "zażółć 👩‍🔬 می‌خواهم": "zażółć 👩‍🔬 می‌خواهم",
    ":smile: {braces} %s %(a)s": ":smile: {braces} %s %(a)s",
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are_or_escaped(name):
    assert shown(name) == NAMES[name]
    assert shown(name).isprintable() or "\u200c" in name or "\u200d" in name


@pytest.mark.parametrize("terminal", [True, False])
def test_tables_and_progress_show_every_name(terminal, monkeypatch):
    output = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    for name in NAMES:
        _common.show_table(name, ["name", "number"], [[name, "1"]])
        with _common.progress(1, lines=True) as update:
            update(name)
    plain = rich.console.Console(file=io.StringIO(), width=200)
    for name in NAMES:
        plain.print(rich.text.Text.from_ansi(output.getvalue()))
        assert plain.file.getvalue().count(NAMES[name]) >= 2 + (not terminal), name


def test_tables_without_rich_show_every_name(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rich", None)
    _common.show_table("names", ["name", "number"], [[name, "1"] for name in NAMES])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line[:-1].rstrip() for line in lines] == list(NAMES.values())


def test_a_report_shows_every_name():
    report = HtmlReport("".join(NAMES))
    report.settings(NAMES)
    for name in NAMES:
        report.paragraph(name)
        report.picture(name, b"")
        report.text(name, name)
    page = report.html()
    page.encode()
    text = html.unescape(page)
    for name in NAMES:
        assert shown(name, lines=True) in text
    for danger in ("<b>", "<script>", "\u202e", "\x1b", "\udcff"):
        assert danger not in page
    assert 'alt="&quot;quoted&quot; &#x27;twice&#x27;' in page


@pytest.mark.filterwarnings("ignore:Glyph")  # a font without emoji
def test_figures_show_every_name():
    names = list(NAMES)
    counts = np.eye(len(names), dtype=int) + 1
    figures = [
        plots.confusion_matrix(counts, names),
        plots.accuracy_by_class(dict.fromkeys(names[7:9], counts), names),
        plots.similarity(np.eye(len(names)), names),
        plots.predictions(
            np.zeros((len(names), 1, 4, 4), np.uint8),
            np.arange(len(names)),
            counts / counts.sum(),
            names,
            np.roll(np.arange(len(names)), 1),
        ),
        plots.occlusion(np.zeros((1, 4, 4)), {name: np.eye(4) for name in names[7:9]}),
    ]
    for figure in figures:
        figure.draw_without_rendering()  # of all texts
    shown_in = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert shown_in == [plain_label(name) for name in names]


@pytest.mark.skipif(os.name == "nt", reason="names that Windows doesn't allow")
def test_predict_shows_every_name(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(_common, "FILE_WIDTH", 400)
    classes = tuple(list(NAMES)[:4])
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 16, 16), np.uint8)
    model = shufflenet_v2(scale=0.5, in_channels=1, num_classes=4, stem="small", seed=0)
    data = Dataset(pixels, np.arange(8) % 4, classes)
    checkpoint = tmp_path / "[red]\n.safetensors"
    optimiser = SGD(model, learning_rate=0.1)
    Trainer(model, optimiser, data, epochs=1, batch_size=8, checkpoint=checkpoint).run()
    paths = []
    for name in NAMES:
        if "/" not in name:
            paths.append(tmp_path / name)
            Image.fromarray(pixels[0, 0]).save(paths[-1], format="png")
    capsys.readouterr()
    command = ["predict", *map(str, paths), "--checkpoint", str(checkpoint), "--top", "4"]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert all(out.count(shown(name)) >= len(paths) for name in classes)
    for path in paths:
        assert shown(path) in out
    assert cli.main(["predict", str(tmp_path / "\x1b[31m"), "--checkpoint", str(checkpoint)]) == 2
    assert r"\x1b[31m" in capsys.readouterr().err
