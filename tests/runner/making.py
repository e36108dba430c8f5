"""Tiny templates, sites and records for the tests of runner, records and lint."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from pumphouse.site import Site, load_site

TITLE = """# A tiny notebook

**Purpose:** a test. **Assumptions:** none. **Impact:** none. **Expected duration:** a second. **Back-out:** none."""
PARAMETERS = 'site: str = ""  # path of site.yaml\ncount: int = 1  # how many'

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def code(source: str, *tags: str) -> Any:
    return new_code_cell(source, metadata={"tags": list(tags)})


def prose(text: str) -> Any:
    return new_markdown_cell(text)


def notebook(*cells: Any) -> Any:
    """A notebook of exactly these cells, numbered ids."""
    copies = [copy.deepcopy(cell) for cell in cells]
    for number, cell in enumerate(copies, 1):
        cell["id"] = f"cell-{number}"
    return new_notebook(metadata={"kernelspec": dict(KERNEL)}, cells=copies)


def template_cells(*body: Any, parameters: str = PARAMETERS, title: str = TITLE) -> list[Any]:
    """A template's cells that follow the conventions, around ``body``."""
    return [
        prose(title),
        code(parameters, "parameters"),
        prose("## Bind"),
        code("bound = 1", "ph-bind"),
        *body,
        prose("## Report"),
        code("print('the end')", "ph-report"),
    ]


def write_template(path: Path, *body: Any, parameters: str = PARAMETERS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook(*template_cells(*body, parameters=parameters)), path)
    return path


def inventory(source: str, heading: str = "## Look") -> tuple[Any, Any]:
    """Prose and a read-only cell."""
    return prose(heading), code(source, "ph-inventory")


def make_site(folder: Path, *, password: str = "correct-horse-battery") -> Site:
    """A site of two clouds that nobody will talk to."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clouds.yaml").write_text(
        f"clouds:\n  old:\n    auth: {{username: admin, password: {password}}}\n  new:\n    auth: {{username: admin}}\n"
    )
    (folder / "secure.yaml").write_text("clouds:\n  new:\n    auth: {password: from-secure-yaml-77}\n")
    (folder / "site.yaml").write_text("schema: 1\nname: tiny\nsource: {cloud: old}\ndestination: {cloud: new}\n")
    return load_site(folder / "site.yaml")


def read_record(path: Path | None) -> Any:
    """A record, checked for being a valid notebook."""
    assert path is not None
    record = nbformat.read(path, as_version=4)
    nbformat.validate(record)
    return record


def statuses(record: Any) -> list[str]:
    """Status of every code cell, in order."""
    return [c["metadata"]["papermill"]["status"] for c in record["cells"] if c["cell_type"] == "code"]


def output_text(record: Any) -> str:
    """All text output of a record."""
    outputs = [output for cell in record["cells"] for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") + str(output.get("data", {}).get("text/plain", "")) for output in outputs)
