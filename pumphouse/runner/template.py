"""Loading a template for execution: read once, so that what is hashed is what runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from pumphouse.errors import ParameterError, RunbookError
from pumphouse.lint import lint_text
from pumphouse.nodes.spec import Hardware
from pumphouse.records.sheet import Template
from pumphouse.runner.needs import Needs, require_known, require_values
from pumphouse.runner.parameters import Parameter, check_parameters, read_parameters, resolve_parameters

SITE_PARAMETER = "site"
OPERATOR_PARAMETER = "operator"
_SHOWN = 5


@dataclass(frozen=True)
class LoadedTemplate:
    """A template that follows the conventions, with its parameters. ``notebook`` is a private copy."""

    file: Path
    facts: Template
    notebook: Any
    parameters: Mapping[str, Parameter]
    needs: Needs = field(default_factory=Needs)

    def check(self, given: Mapping[str, Any], site_path: Path | None = None) -> dict[str, Any]:
        """Given values, validated; the site's path is added if the template wants one and nobody gave it."""
        checked = self.needs.placed(given, check_parameters(self.parameters, given, self.file.name))
        if SITE_PARAMETER in self.parameters and site_path is not None:
            asked = checked.get(SITE_PARAMETER)
            if asked and Path(asked).expanduser().resolve() != site_path.resolve():
                # the journal and the records of one site must not tell of work on another
                raise ParameterError(
                    f"Notebook {self.file.name}: parameter '{SITE_PARAMETER}' names another site than the run's.",
                    remedy="leave the parameter out and choose the site with --site.",
                )
            checked[SITE_PARAMETER] = str(site_path)
        return checked

    def require_enough(self, checked: Mapping[str, Any]) -> None:
        """Whatever a person would choose in the notebook has to be given where nobody is there to choose.

        :raises ParameterError: naming what is missing.
        """
        values = resolve_parameters(self.parameters, checked)
        require_values("Notebook", self.file.name, self.parameters, self.needs.missing(values))

    def require_known(self, checked: Mapping[str, Any], hardware: Hardware) -> None:
        """Every node that is named is one of the site's.

        :raises ParameterError: naming the first that is not.
        """
        require_known("Notebook", self.file.name, self.needs.of, checked, hardware)

    def has_tag(self, tag: str) -> bool:
        """Whether a cell carries that tag."""
        return any(tag in cell["metadata"].get("tags", []) for cell in self.notebook["cells"])


def load_template(path: str | Path) -> LoadedTemplate:
    """Read and check a template (read only; nothing is executed).

    :raises RunbookError: when it is missing, is an executed record or departs from the conventions.
    """
    file = Path(path).expanduser().resolve()
    try:
        content = file.read_bytes()
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunbookError(
            f"Notebook {path} cannot be read: {error}.", remedy="name a template (*.ipynb) or a runbook (*.yaml)."
        ) from error
    problems = lint_text(text, str(path))
    record = next((problem for problem in problems if problem.rule in ("record", "banned-tag")), None)
    if record is not None and "executed record" in record.message + record.remedy:
        raise RunbookError(
            f"Notebook {path} is an executed record; running it again would silently reuse its parameters.",
            remedy="run the template it was made from (metadata.pumphouse.template names it).",
        )
    if problems:
        shown = " ".join(str(problem) for problem in problems[:_SHOWN])
        more = f" ({len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise RunbookError(
            f"Notebook {path} departs from the conventions: {shown}{more}",
            remedy=f"mend the template; `pumphouse lint {path}` lists everything.",
        )
    notebook = nbformat.reads(text, as_version=4)
    parameters = read_parameters(notebook, file.name)
    needs = Needs.read(notebook, parameters, file.name)
    return LoadedTemplate(file, Template.of(file, content), notebook, parameters, needs)
