"""What the README says is true: its example runs, its figures hold, its paths exist."""

import re
import subprocess
from pathlib import Path

import pytest

from numpy_shufflenet import cost, models

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def marked(name: str) -> str:
    """The code between <!-- name --> and the next <!-- end -->, without its fences."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)\n```\n<!-- end -->", README, re.DOTALL)
    assert found, f"README.md has no block marked {name!r}"
    return found[1]


@pytest.mark.parametrize(
    ("name", "begins"), [("example", "Output(name='y'"), ("verification", "pass")]
)
def test_an_example_runs_and_is_short(name, begins, capsys):
    example = marked(name)
    statements = [line for line in example.splitlines() if line]
    assert len(statements) <= 15
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out.startswith(begins)


def test_the_example_with_a_file_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(marked("weights"), "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out == "(1, 1000)\n"


@pytest.mark.parametrize("name", ["demo command", "test command"])
def test_a_command_is_one_line_and_makes_its_own_environment(name):
    command = marked(name)
    assert "\n" not in command
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")


def test_ci_reads_the_test_command_from_here():
    """.ci/run cuts the command out with this very line, and must get the command alone."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    line = re.search(r"^test_command=\$\((.*)\)$", script, re.MULTILINE)
    assert line, ".ci/run no longer reads the test command from README.md"
    assert 'bash -euo pipefail -c "$test_command"' in script
    run = subprocess.run(["bash", "-c", line[1]], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == marked("test command")


def rows() -> list[tuple[str, ...]]:
    return re.findall(
        r"^\| `(shufflenet_v\d)\((\w+)=([\d.]+)\)` \| ([\d.]+) M \| .* M \| ([\d,]+) \|",
        README,
        re.MULTILINE,
    )


def test_the_table_has_all_networks_of_the_papers():
    assert len(rows()) == 9


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]}-{row[2]}")
def test_counts_are_those_of_the_networks(row):
    build, argument, value, multiply_adds, parameters = row
    number = float(value) if "." in value else int(value)
    model = getattr(models, build)(**{argument: number})
    summary = models.summary(model, (3, 224, 224))
    assert f"{summary.multiply_adds / 1e6:.2f}" == multiply_adds
    assert f"{summary.parameters:,}" == parameters


AUDITED = re.findall(
    r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\S+) \| (\S+ %\**) \|$", README, re.MULTILINE
)


def test_four_networks_are_audited():
    assert len(AUDITED) == 4


@pytest.mark.parametrize("row", AUDITED, ids=lambda row: row[0])
def test_the_audit_is_that_of_the_networks(row):
    name, *cells = row
    audit = cost.audit(models.MODELS[name]())
    for cell, (line, mean) in zip(cells, audit.means().items(), strict=True):
        shown = f"{100 * mean:.1f} %" if line == "G4" else f"{mean:.2f}"
        assert cell == (f"**{shown}**" if line in audit.departures() else shown)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_paths_that_are_named_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(
        r"`((?:\w+/)+(?:\w+\.py)?|\w+\.py)`", text.replace("NAME", "batch_norm")
    ):
        if path == "runs/demo/":  # written by the command
            continue
        assert (ROOT / "numpy_shufflenet" / path).exists() or (ROOT / path).exists(), path


def test_contributing_names_every_package():
    named = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Words")[0]
    for package in (ROOT / "numpy_shufflenet").glob("[a-z]*/__init__.py"):
        assert f"`{package.parent.name}/`" in named, package.parent.name
