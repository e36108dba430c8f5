"""Each convention has a notebook that breaks it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from pumphouse.errors import RunbookError
from pumphouse.lint import Problem, lint_notebook, lint_paths
from tests.runner.making import TITLE, code, inventory, notebook, prose, template_cells


def lint(tmp_path: Path, book: Any) -> list[Problem]:
    file = tmp_path / "n.ipynb"
    file.write_text(nbformat.writes(book))
    return lint_notebook(file)


def rules(problems: list[Problem]) -> set[str]:
    return {problem.rule for problem in problems}


ACTION = (prose("## Move\nWe expect web1 to run."), code("run.move()", "ph-action"), code("run.check()", "ph-verify"))


def test_a_good_template_has_no_problem(tmp_path: Path) -> None:
    body = [
        *inventory("table = 1"),
        code("selection = 2", "ph-select"),
        code("selection", "skip-execution"),
        code("plan = 3", "ph-plan"),
        code("check()", "ph-check"),
        code("gate()", "ph-gate"),
        *ACTION,
        *ACTION,
    ]
    parameters = (
        'site: str = ""  # path\nnames: list[str] = []  # servers\n# a comment\nratio: float = 0.5  # share, 0 to 1'
    )
    assert lint(tmp_path, notebook(*template_cells(*body, parameters=parameters))) == []


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ([code("run.move()", "ph-action"), code("c()", "ph-verify")], "prose"),
        ([prose("## M"), code("run.move()", "ph-action")], "verify"),
        ([*ACTION[:2], *inventory("x = 1"), ACTION[2]], "verify"),
        ([code("c()", "ph-verify")], "verify"),
        ([*ACTION, code("check()", "ph-check")], "order"),
        ([code("plan()", "ph-plan"), code("pick()", "ph-select")], "order"),
        ([code("x = 1")], "tags"),
        ([code("x = 1", "ph-unknown")], "tags"),
        ([code("x = 1", "ph-plan", "ph-check")], "tags"),
        ([code("x = 1", "ph-bind")], "tags"),
        ([code("x: int = 1  # again", "parameters")], "tags"),
        ([code("check()", "ph-check", "skip-execution")], "skip"),
        ([code("\n".join(f"a{n} = 1" for n in range(16)), "ph-inventory")], "length"),
        ([code("def f():\n    return 1", "ph-inventory")], "definition"),
        ([code("class A:\n    x = 1", "ph-inventory")], "definition"),
        ([code("f = lambda x: x", "ph-inventory")], "definition"),
        ([code("!ls", "ph-inventory")], "magic"),
        ([code("%time x", "ph-inventory")], "magic"),
        ([code("%%capture\nx = 1", "ph-inventory")], "magic"),
        ([code("files = !ls", "ph-inventory")], "magic"),
        ([code("get_ipython().system('ls')", "ph-inventory")], "magic"),
        ([code("import os\nos.system('ls')", "ph-inventory")], "shell"),
        ([code("import sys\nsys.exit(0)", "ph-inventory")], "leaving"),
        ([code("exit()", "ph-inventory")], "leaving"),
        ([code("raise SystemExit(0)", "ph-inventory")], "leaving"),
        ([code("if headless:\n    x = 1", "ph-inventory")], "headless"),
        ([code("x = 1 if run.interactive else 2", "ph-inventory")], "headless"),
        ([code("try:\n    x = 1\nexcept Exception:\n    x = 2", "ph-inventory")], "swallowed"),
        ([code("with contextlib.suppress(ValueError):\n    x = 1", "ph-inventory")], "swallowed"),
        ([code("x = (", "ph-inventory")], "syntax"),
        ([code("x = 1", "ph-inventory", "raises-exception")], "banned-tag"),
        ([code("x = 1", "injected-parameters")], "banned-tag"),
        ([code("", "ph-inventory")], "empty"),
        ([prose("## P"), nbformat.v4.new_raw_cell("x")], "raw"),
    ],
)
def test_bad_body(tmp_path: Path, body: list[Any], rule: str) -> None:
    problems = lint(tmp_path, notebook(*template_cells(*body)))
    assert rule in rules(problems)
    for problem in problems:
        assert problem.remedy
        assert problem.file.endswith("n.ipynb")


@pytest.mark.parametrize(
    "line",
    [
        "x = 1  # no type",
        "x: int = 1",
        "x: int = two  # no literal",
        'x: str = "a=b"  # two signs',
        "x: int = 1  # help with = in it",
        "x: Path = 1  # strange type",
        'admin_password: str = ""  # never',
        "x: int  # no default",
        "x: int | None = None  # papermill misses it",
        'x: str = "a # b"  # papermill cuts it',
        "count: int = 1  # how many\ncount: int = 2  # how many",
        "x: list = [  # cut",
    ],
)
def test_bad_parameter_line(tmp_path: Path, line: str) -> None:
    problems = lint(tmp_path, notebook(*template_cells(parameters=line)))
    assert rules(problems) >= {"parameter"}


@pytest.mark.parametrize("section", ["Purpose", "Assumptions", "Impact", "Expected duration", "Back-out"])
def test_missing_section(tmp_path: Path, section: str) -> None:
    (problem,) = lint(tmp_path, notebook(*template_cells(title=TITLE.replace(section, "Nothing"))))
    assert problem.rule == "sections"
    assert section in problem.message


def test_missing_title_and_roles(tmp_path: Path) -> None:
    assert {"title", "tags"} <= rules(lint(tmp_path, notebook(code("x = 1", "ph-inventory"))))
    problems = lint(tmp_path, notebook(*template_cells()[:-1]))
    assert [p.message for p in problems] == ["no cell has the tag 'ph-report'."]


def test_code_before_parameters_and_after_report(tmp_path: Path) -> None:
    title, *rest = template_cells()
    assert rules(lint(tmp_path, notebook(title, code("x = 1", "ph-bind"), rest[0], *rest[3:]))) == {"order"}
    assert rules(lint(tmp_path, notebook(title, *rest, code("x = 1", "ph-inventory")))) == {"order"}


def test_saved_output_and_count(tmp_path: Path) -> None:
    cells = template_cells(*inventory("1"))
    cells[5]["execution_count"] = 3
    (problem,) = lint(tmp_path, notebook(*cells))
    assert (problem.rule, problem.cell, problem.cell_id) == ("saved-output", 6, "cell-6")
    assert str(problem).endswith(
        "n.ipynb: cell 6 (cell-6): [saved-output] has saved outputs or an execution count. "
        "Remedy: clear all outputs and save."
    )


def test_record_is_no_template(tmp_path: Path) -> None:
    book = notebook(*template_cells())
    book["metadata"]["papermill"] = {"start_time": "2030-01-01"}
    assert "record" in rules(lint(tmp_path, book))


def test_duplicate_ids_old_format_and_rubbish(tmp_path: Path) -> None:
    file = tmp_path / "n.ipynb"
    good = nbformat.writes(notebook(*template_cells()))
    file.write_text(good.replace('"cell-3"', '"cell-2"'))
    (problem,) = lint_notebook(file)
    assert (problem.rule, problem.cell, problem.cell_id) == ("cell-id", 3, "cell-2")
    file.write_text(good.replace('"id": "cell-3",', ""))
    assert [(p.rule, p.cell) for p in lint_notebook(file)] == [("cell-id", 3)]
    file.write_text(re.sub(r'"id": "cell-\d",', "", good).replace('"nbformat_minor": 5', '"nbformat_minor": 4'))
    assert rules(lint_notebook(file)) == {"format", "cell-id"}
    file.write_text("{}")
    assert rules(lint_notebook(file)) == {"format"}
    file.write_text("no json")
    assert rules(lint_notebook(file)) == {"format"}


def test_folders_and_missing_paths(tmp_path: Path) -> None:
    lint(tmp_path, notebook(*template_cells()))
    checkpoint = tmp_path / ".ipynb_checkpoints" / "n-checkpoint.ipynb"
    checkpoint.parent.mkdir()
    checkpoint.write_text("rubbish")
    assert lint_paths([tmp_path]) == []
    with pytest.raises(RunbookError, match="no notebook in it"):
        lint_paths([make_empty(tmp_path)])
    with pytest.raises(RunbookError, match="cannot be read"):
        lint_paths([tmp_path / "missing.ipynb"])


def make_empty(folder: Path) -> Path:
    empty = folder / "empty"
    empty.mkdir()
    return empty
