"""The notebook conventions, checked: what a template must look like to be run and to be read a year later.

A template that passes runs the same in JupyterLab and under papermill, cannot hide a failure, acts in cells that
say beforehand what they will do and are followed by a look at the cloud. Read only; nothing is executed.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from pumphouse.errors import RunbookError

MAX_LINES = 15
TAG_ORDER = ("parameters", "ph-bind", "ph-inventory", "ph-select", "ph-plan", "ph-check", "ph-gate", "ph-action")
"""Order of first appearance. ``ph-verify`` belongs to its action, ``ph-report`` comes last."""
REQUIRED_TAGS = ("parameters", "ph-bind", "ph-report")
ONCE_TAGS = ("parameters", "ph-bind", "ph-report")
SECTIONS = ("Purpose", "Assumptions", "Impact", "Expected duration", "Back-out")
SKIP_TAG = "skip-execution"

_PH_TAGS = {*TAG_ORDER, "ph-verify", "ph-report"}
_BANNED_TAGS = {
    "raises-exception": "let the error end the run: a swallowed error makes a false record",
    "injected-parameters": "this is an executed record, not a template: start again from the template",
    "ph-summary": "this is an executed record, not a template: start again from the template",
    "papermill-error-cell-tag": "this is an executed record, not a template: start again from the template",
    "remove-input": "an auditor wants to see what was run",
    "remove-output": "an auditor wants to see what came out",
    "remove-cell": "an auditor wants to see every cell",
}
_LEAVING = {"exit", "quit"}
_LEAVING_ATTRIBUTES = {("sys", "exit"), ("os", "_exit"), ("os", "abort"), ("os", "kill")}
_SHELL = {("os", "system"), ("os", "popen"), ("subprocess", "run"), ("subprocess", "Popen"), ("subprocess", "call")}
_KNOWN_TAGS = _PH_TAGS | _BANNED_TAGS.keys()
_HEADLESS = re.compile(r"headless|papermill|is_batch|in_batch|interactive", re.IGNORECASE)
_SECRET_NAME = re.compile(r"(password|passwd|secret|token|passphrase|private_key)$", re.IGNORECASE)
_PARAMETER = re.compile(
    r"^(?P<name>[A-Za-z_]\w*)\s*:\s*(?P<type>[^=#]+?)\s*=\s*(?P<value>[^=]+?)\s{2,}#\s(?P<help>\S.*)$"
)
TYPES = ("str", "int", "float", "bool", "list", "dict")


@dataclass(frozen=True)
class Problem:
    """One deviation from the conventions. ``cell`` counts from 1; 0 is the notebook as a whole."""

    file: str
    cell: int
    cell_id: str
    rule: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.file}: cell {self.cell} ({self.cell_id})" if self.cell else self.file
        return f"{where}: [{self.rule}] {self.message} Remedy: {self.remedy}."


@dataclass(frozen=True)
class _Cell:
    number: int
    id: str
    kind: str
    source: str
    tags: frozenset[str]
    raw: Any


def lint_paths(paths: Iterable[str | Path]) -> list[Problem]:
    """Check notebooks, and all notebooks in folders (records' and checkpoints' folders left out).

    :raises RunbookError: when a path does not exist or a folder holds no notebook.
    """
    problems: list[Problem] = []
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(file for file in path.rglob("*.ipynb") if ".ipynb_checkpoints" not in file.parts)
            if not files:
                raise RunbookError(f"Folder {path}: no notebook in it.", remedy="name the folder with the templates.")
        else:
            files = [path]
        for file in files:
            problems += lint_notebook(file)
    return problems


def lint_notebook(path: str | Path) -> list[Problem]:
    """Everything in a template that departs from the conventions, in the order of its cells.

    :raises RunbookError: when the file cannot be read at all.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunbookError(
            f"Notebook {file} cannot be read: {error}.", remedy="check the path; templates are *.ipynb files."
        ) from error
    return lint_text(text, str(file))


def lint_text(text: str, name: str) -> list[Problem]:
    """As :func:`lint_notebook`, for the content of a file; ``name`` is used in messages."""
    try:
        raw, ids = _with_unique_ids(json.loads(text))
        notebook = nbformat.reads(json.dumps(raw), as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook)
        cells = [_cell(number, cell, ids[number - 1]) for number, cell in enumerate(notebook["cells"], 1)]
    except Exception as error:  # noqa: BLE001 (nbformat raises whatever its parser or schema raise)
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [Problem(name, 0, "", "format", f"not a valid notebook: {said}.", "save it again with JupyterLab")]
    found: list[Problem] = []
    for rule in (_whole, _title, _order, _actions, *_EACH):
        for cell, code, message, remedy in rule(notebook, cells):
            found.append(Problem(name, cell.number if cell else 0, cell.id if cell else "", code, message, remedy))
    return sorted(found, key=lambda problem: (problem.cell, problem.rule))


def _with_unique_ids(raw: Any) -> tuple[Any, list[str]]:
    """The notebook with an id for every cell, and the ids as they were: nbformat would mend them silently."""
    ids = [cell.get("id", "") for cell in raw["cells"]]
    if (raw["nbformat"], raw["nbformat_minor"]) >= (4, 5):
        for number, cell in enumerate(raw["cells"]):
            if not ids[number] or ids[number] in ids[:number]:
                cell["id"] = f"lint-{number}"
    return raw, ids


_Finding = tuple[_Cell | None, str, str, str]


def _cell(number: int, raw: Any, given_id: str) -> _Cell:
    tags = frozenset(raw["metadata"].get("tags", []))
    return _Cell(number, given_id, raw["cell_type"], raw["source"], tags, raw)


def _whole(notebook: Any, cells: list[_Cell]) -> Iterator[_Finding]:
    if (notebook["nbformat"], notebook["nbformat_minor"]) < (4, 5):
        yield None, "format", "older than nbformat 4.5, so its cells have no ids.", "save it again with JupyterLab"
    ids = [cell.id for cell in cells]
    for cell in cells:
        if not cell.id or cell.id in ids[: cell.number - 1]:
            wrong = "the id is used by an earlier cell, too" if cell.id else "has no id"
            yield cell, "cell-id", f"{wrong}.", "save it with JupyterLab, which gives it a new one"
    facts = notebook["metadata"]
    if "pumphouse" in facts or facts.get("papermill", {}).get("start_time"):
        yield None, "record", "this is an executed record, not a template.", "start again from the template"
    if facts.get("widgets"):
        yield None, "saved-output", "widget state is saved in it.", "clear all outputs and save"
    language = facts.get("kernelspec", {}).get("language", "python")
    if language != "python" or not facts.get("kernelspec", {}).get("name"):
        yield None, "kernel", "no Python kernel is named in its metadata.", "choose the Python 3 kernel and save"


def _title(_notebook: Any, cells: list[_Cell]) -> Iterator[_Finding]:
    first = cells[0] if cells else None
    if first is None or first.kind != "markdown" or not first.source.lstrip().startswith("# "):
        yield (
            first,
            "title",
            "the first cell is no markdown cell with a title.",
            "begin with '# Title' and the sections",
        )
        return
    prose = first.source
    for cell in cells[1:]:
        if cell.kind != "markdown":
            break
        prose += "\n" + cell.source
    missing = [section for section in SECTIONS if section.lower() not in prose.lower()]
    if missing:
        yield first, "sections", f"nothing is said about: {', '.join(missing)}.", "add a section for each"


def _order(_notebook: Any, cells: list[_Cell]) -> Iterator[_Finding]:
    for tag in REQUIRED_TAGS:
        if not any(tag in cell.tags for cell in cells):
            yield None, "tags", f"no cell has the tag '{tag}'.", f"add the '{tag}' cell"
    for tag in ONCE_TAGS:
        for cell in [cell for cell in cells if tag in cell.tags][1:]:
            yield cell, "tags", f"a second cell has the tag '{tag}'.", "keep one"
    seen = -1
    last_tag = ""
    for cell in cells:
        ours = sorted(cell.tags & _PH_TAGS)
        for unknown in sorted(
            tag for tag in cell.tags if tag.startswith("ph-") and tag not in _PH_TAGS | {"ph-summary"}
        ):
            yield cell, "tags", f"unknown tag '{unknown}'.", f"use one of {', '.join(sorted(_PH_TAGS))}"
        if len(ours) > 1:
            yield cell, "tags", f"has several roles: {', '.join(ours)}.", "give every cell one role"
        if ours and cell.kind != "code":
            yield cell, "tags", f"'{ours[0]}' is on a {cell.kind} cell.", "tag the code cell"
        if cell.kind == "code" and not ours and SKIP_TAG not in cell.tags:
            yield cell, "tags", "has no role.", f"tag it with one of {', '.join(sorted(_PH_TAGS))}, or '{SKIP_TAG}'"
        if last_tag == "ph-report" and cell.kind == "code":
            yield cell, "order", "comes after 'ph-report'.", "the report is the last code cell"
        for tag in ours:
            last_tag = tag
            if tag in TAG_ORDER:
                rank = TAG_ORDER.index(tag)
                if rank < seen:
                    yield cell, "order", f"'{tag}' comes after '{TAG_ORDER[seen]}'.", f"order: {', '.join(TAG_ORDER)}"
                seen = max(seen, rank)
    first_code = next((cell for cell in cells if cell.kind == "code"), None)
    if first_code is not None and "parameters" not in first_code.tags:
        yield first_code, "order", "code runs before the parameters.", "make 'parameters' the first code cell"


def _actions(_notebook: Any, cells: list[_Cell]) -> Iterator[_Finding]:
    for position, cell in enumerate(cells):
        if "ph-action" in cell.tags:
            before = cells[position - 1] if position else None
            if before is None or before.kind != "markdown" or not before.source.strip():
                yield cell, "prose", "no prose comes right before this action.", "say there what is expected to happen"
            after = next((later for later in cells[position + 1 :] if later.kind == "code"), None)
            if after is None or "ph-verify" not in after.tags:
                yield cell, "verify", "no 'ph-verify' cell follows this action.", "read the cloud again and assert"
        if "ph-verify" in cell.tags:
            earlier = [c for c in cells[:position] if c.kind == "code"]
            if not earlier or not earlier[-1].tags & {"ph-action", "ph-verify"}:
                yield cell, "verify", "no action comes before this 'ph-verify' cell.", "put it after its action"


def _each_shape(_notebook: Any, cells: list[_Cell]) -> Iterator[_Finding]:
    for cell in cells:
        for tag in sorted(cell.tags & _BANNED_TAGS.keys()):
            yield cell, "banned-tag", f"tag '{tag}'.", _BANNED_TAGS[tag]
        if SKIP_TAG in cell.tags and cell.tags & _PH_TAGS:
            role = sorted(cell.tags & _PH_TAGS)[0]
            yield cell, "skip", f"'{SKIP_TAG}' on a '{role}' cell.", "only cells that display something may be skipped"
        if cell.kind == "raw":
            yield cell, "raw", "is a raw cell.", "use markdown"
        if cell.kind != "code":
            continue
        if cell.raw.get("outputs") or cell.raw.get("execution_count") is not None:
            yield cell, "saved-output", "has saved outputs or an execution count.", "clear all outputs and save"
        lines = [line for line in cell.source.splitlines() if line.strip()]
        if len(lines) > MAX_LINES and "parameters" not in cell.tags:
            yield cell, "length", f"has {len(lines)} lines (at most {MAX_LINES}).", "move the logic into the library"
        if not lines:
            yield cell, "empty", "is empty.", "delete it"


def _each_code(_notebook: Any, cells: list[_Cell]) -> Iterator[_Finding]:
    for cell in cells:
        if cell.kind != "code":
            continue
        magic = next((line for line in cell.source.splitlines() if re.match(r"\s*(%|!)|\s*\w+\s*=\s*[%!]", line)), None)
        if magic is not None:
            yield cell, "magic", f"shell or magic: {magic.strip()[:60]!r}.", "call a function of the library"
            continue
        try:
            tree = ast.parse(cell.source)
        except SyntaxError as error:
            yield cell, "syntax", f"is not Python: {error.msg} in line {error.lineno}.", "mend it"
            continue
        for node in ast.walk(tree):
            finding = _judge(node)
            if finding is not None:
                yield cell, *finding


def _judge(node: ast.AST) -> tuple[str, str, str] | None:
    line = getattr(node, "lineno", 0)
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return "definition", f"line {line} defines {node.name!r}.", "move it into the library"
        case ast.Assign(value=ast.Lambda()) | ast.AnnAssign(value=ast.Lambda()):
            return "definition", f"line {line} names a lambda.", "move it into the library"
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress")):
            return "swallowed", f"line {line} suppresses errors.", "let the error end the run"
        case ast.Call(func=ast.Name(id=name)) if name in _LEAVING:
            return (
                "leaving",
                f"line {line} calls {name}().",
                "raise an error instead",
            )
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=attr)):
            if (owner, attr) in _LEAVING_ATTRIBUTES:
                return "leaving", f"line {line} calls {owner}.{attr}().", "raise an error instead"
            if (owner, attr) in _SHELL:
                return "shell", f"line {line} calls {owner}.{attr}().", "call a function of the library"
        case ast.Call(func=ast.Name(id="get_ipython")):
            return "magic", f"line {line} calls get_ipython().", "call a function of the library"
        case ast.Raise(exc=ast.Name(id="SystemExit") | ast.Call(func=ast.Name(id="SystemExit"))):
            return "leaving", f"line {line} raises SystemExit.", "raise an error instead"
        case ast.If(test=test) | ast.IfExp(test=test) if _HEADLESS.search(ast.unparse(test)):
            return "headless", f"line {line} asks who is running it.", "do the same for a person and for papermill"
        case ast.ExceptHandler(type=None) | ast.ExceptHandler(type=ast.Name(id="Exception" | "BaseException")):
            return "swallowed", f"line {line} catches every error.", "let the error end the run"
    return None


def _each_parameter(_notebook: Any, cells: list[_Cell]) -> Iterator[_Finding]:
    names: set[str] = set()
    for cell in cells:
        if "parameters" not in cell.tags or cell.kind != "code":
            continue
        for line in cell.source.splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            problem, remedy = _judge_parameter(line)
            match = _PARAMETER.match(line)
            if problem:
                yield cell, "parameter", f"{line.strip()[:70]!r}: {problem}.", remedy
            elif match is not None:
                if match["name"] in names:
                    yield cell, "parameter", f"{match['name']!r} stands there twice.", "keep one"
                names.add(match["name"])


def _judge_parameter(line: str) -> tuple[str, str]:
    form = "write `name: type = literal  # help`"
    if line.count("=") != 1:
        return f"{line.count('=')} '=' in the line, so papermill cannot read it", f"{form}, with one '='"
    match = _PARAMETER.match(line)
    if match is None:
        return "not of the form that papermill and people read", form
    if _SECRET_NAME.search(match["name"]):
        return "a secret must not be a parameter", "refer to it by clouds.yaml/secure.yaml or the environment"
    if "#" in match["value"]:
        return "a '#' in the default, which papermill takes for the help", form
    try:
        ast.literal_eval(match["value"].strip())
    except (ValueError, SyntaxError):
        return "the default is not a literal", form
    if not re.fullmatch(r"[\w\[\], ]+", match["type"]):
        return f"papermill cannot read the type '{match['type']}'", "use a plain type and a value that stands for none"
    for part in re.findall(r"[A-Za-z_]\w*", match["type"]):
        if part not in TYPES:
            return f"type '{part}' is not known", f"use {', '.join(TYPES)} (also `list[str]`)"
    return "", ""


_EACH = (_each_shape, _each_code, _each_parameter)
