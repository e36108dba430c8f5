"""Runbooks: notebooks with parameters, in order, as YAML.

::

    schema: 1
    name: move-project
    description: Move one project and verify it.
    parameters:
      project: {type: str, help: name of the project}
      servers: {type: "list[str]", default: [], help: names of servers}
    steps:
      - notebook: ../notebooks/10-inventory.ipynb
      - notebook: ../notebooks/30-move.ipynb
        parameters: {project: "{{ project }}"}
        gate: approval
      - notebook: ../notebooks/40-check-server.ipynb
        for_each: servers
        as: server
        parameters: {server: "{{ server }}"}
      - for_each: servers
        as: server
        steps:
          - {notebook: ../notebooks/50-one.ipynb, parameters: {server: "{{ server }}"}}
          - {notebook: ../notebooks/60-other.ipynb, parameters: {servers: ["{{ server }}"]}}

The last step is a block: both notebooks for the first server, then both for the next. A parameter without ``default``
must be given; one with ``of: nodes`` or ``of: hosts`` holds names of nodes, or of nova hosts, that ``site.yaml``
describes, which is seen to before anything runs. ``"{{ name }}"`` alone keeps the value's type; inside other text it is
written into it.
``gate: approval`` makes sure, before anything runs, that the step's notebook has a ``ph-gate`` cell.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from pumphouse.errors import ParameterError, RunbookError
from pumphouse.nodes.spec import Hardware
from pumphouse.records.sheet import Template
from pumphouse.runner.needs import require_known, require_values
from pumphouse.runner.parameters import Parameter, accepts, check_parameters
from pumphouse.runner.template import LoadedTemplate, load_template
from pumphouse.schemas import jsonschema

SCHEMA_VERSION = 1
_IDENTIFIER = "^[A-Za-z_][A-Za-z0-9_]*$"
_LOOP: dict[str, Any] = {
    "for_each": {"type": "string", "pattern": _IDENTIFIER},
    "as": {"type": "string", "pattern": _IDENTIFIER},
}
_CALL: dict[str, Any] = {
    "notebook": {"type": "string", "pattern": r"\.ipynb$"},
    "parameters": {"type": "object", "propertyNames": {"pattern": _IDENTIFIER}},
    "gate": {"const": "approval"},
}
_BLOCK: dict[str, Any] = {
    "additionalProperties": False,
    "required": ["for_each", "steps"],
    "properties": {
        **_LOOP,
        "steps": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object", "additionalProperties": False, "required": ["notebook"], "properties": _CALL,
            },
        },
    },
}  # fmt: skip
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["schema", "name", "steps"],
    "properties": {
        "schema": {"const": SCHEMA_VERSION},
        "name": {"type": "string", "minLength": 1},
        "description": {"type": "string"},
        "parameters": {
            "type": "object",
            "propertyNames": {"pattern": _IDENTIFIER},
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["type", "help"],
                "properties": {
                    "type": {"type": "string"},
                    "default": {},
                    "help": {"type": "string", "minLength": 1},
                    "of": {"enum": ["nodes", "hosts"]},
                },
            },
        },
        "steps": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "if": {"type": "object", "required": ["steps"]},
                "then": _BLOCK,
                "else": {
                    "additionalProperties": False,
                    "required": ["notebook"],
                    "properties": {**_CALL, **_LOOP},
                    "dependentRequired": {"as": ["for_each"]},
                },
            },
        },
    },
}
_REFERENCE = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


@dataclass(frozen=True)
class StepSpec:
    """One notebook as written; ``template`` is loaded and checked.

    ``number`` is what messages call it (``2``, or ``2.1`` inside a block). Steps of one ``block`` go over the items of
    its list together: all of them for the first item, then all of them for the next.
    """

    template: LoadedTemplate
    parameters: Mapping[str, Any]
    for_each: str | None = None
    item_name: str = "item"
    number: str = "1"
    block: int = 1


@dataclass(frozen=True)
class Call:
    """One execution that a runbook comes to: a template with the parameters it will get."""

    template: LoadedTemplate
    parameters: Mapping[str, Any]
    label: str


@dataclass(frozen=True)
class Runbook:
    """A validated runbook. Every notebook it names exists and follows the conventions."""

    file: Path
    name: str
    description: str
    parameters: Mapping[str, Parameter]
    required: frozenset[str]
    steps: tuple[StepSpec, ...]
    facts: Template
    of: Mapping[str, str] = field(default_factory=dict)

    def require_known(self, values: Mapping[str, Any], hardware: Hardware) -> None:
        """Every node and host that is named is one of the site's, lest it be found out when its turn comes.

        :raises ParameterError: naming the first that is not.
        """
        require_known("Runbook", self.file.name, self.of, values, hardware)

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter of the runbook with its value.

        :raises ParameterError: unknown, of a wrong type, or missing.
        """
        checked = check_parameters(self.parameters, given, self.file.name, what="Runbook")
        missing = [(name,) for name in sorted(self.required - checked.keys())]
        require_values("Runbook", self.file.name, self.parameters, missing)
        return {name: checked.get(name, parameter.default) for name, parameter in self.parameters.items()}

    def calls(self, values: Mapping[str, Any], site_path: Path | None) -> list[Call]:
        """All executions in order, each with validated parameters; nothing has run yet.

        :raises ParameterError: naming runbook, step and parameter.
        """
        found: list[Call] = []
        for _, block in groupby(self.steps, key=lambda step: step.block):
            steps = list(block)
            scopes: list[tuple[str, dict[str, Any]]] = [("", dict(values))]
            if steps[0].for_each is not None:
                items = values[steps[0].for_each]
                self._require_once(steps[0], items)
                scopes = [(f" {item}", {**values, steps[0].item_name: item}) for item in items]
            found += [self._call(step, suffix, scope, site_path) for suffix, scope in scopes for step in steps]
        return found

    def _require_once(self, step: StepSpec, items: list[Any]) -> None:
        """At its second turn, maybe days later, there would be nothing left to do with it, and no way on."""
        twice = next((item for item in items if items.count(item) > 1), None)
        if twice is not None:
            raise ParameterError(
                f"Runbook {self.file.name}: step {step.number}: {step.for_each} names {twice!r} twice.",
                remedy="name each once, in the order in which they are taken.",
            )

    def _call(self, step: StepSpec, suffix: str, scope: Mapping[str, Any], site_path: Path | None) -> Call:
        given = {key: _fill(value, scope) for key, value in step.parameters.items()}
        try:
            step.template.require_enough(step.template.check(given, site_path))
        except ParameterError as error:
            raise ParameterError(
                f"Runbook {self.file.name}: step {step.number}: {error.message}", remedy=error.remedy
            ) from error
        return Call(step.template, given, f"{step.template.file.stem}{suffix}")


def load_runbook(path: str | Path) -> Runbook:
    """Read and check a runbook and every notebook it names (read only; nothing is executed).

    :raises RunbookError: naming file, step and key.
    """
    file = Path(path).expanduser().absolute()
    try:
        content = file.read_bytes()
        raw = yaml.safe_load(content.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunbookError(f"Runbook {path} cannot be read: {error}.", remedy="check the path.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise RunbookError(
            f"Runbook {path} is not YAML{where}: {getattr(error, 'problem', None) or type(error).__name__}.",
            remedy="mend the syntax there; a value that begins with '{{' needs quotes.",
        ) from error
    problems = [_explain(e) for e in jsonschema.Draft202012Validator(_SCHEMA).iter_errors(raw)]
    if not problems:
        problems = list(_contradictions(raw))
    if problems:
        raise RunbookError(
            f"Runbook {path}: {'; '.join(problems)}.", remedy="see `pumphouse run --help` for the form of a runbook."
        )
    parameters, required = _parameters(raw)
    return Runbook(
        file=file,
        name=raw["name"],
        description=raw.get("description", ""),
        parameters=parameters,
        required=required,
        steps=tuple(_step(file, number, block, step) for number, block, step in _flat(raw["steps"])),
        facts=Template.of(file, content),
        of={name: spec["of"] for name, spec in (raw.get("parameters") or {}).items() if "of" in spec},
    )


def runbook_digest(runbook: Runbook) -> str:
    """SHA-256 over the runbook and every notebook it names, in order."""
    parts = [runbook.facts.sha256, *(step.template.facts.sha256 for step in runbook.steps)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _parameters(raw: Mapping[str, Any]) -> tuple[dict[str, Parameter], frozenset[str]]:
    given = raw.get("parameters") or {}
    found = {
        name: Parameter(name, spec["type"], spec.get("default"), spec["help"].rstrip("."))
        for name, spec in given.items()
    }
    return found, frozenset(name for name, spec in given.items() if "default" not in spec)


def _flat(steps: list[Mapping[str, Any]]) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """(number for messages, block, step) of every notebook; those of a block inherit its loop."""
    for block, step in enumerate(steps, 1):
        if "steps" not in step:
            yield str(block), block, step
            continue
        loop = {key: step[key] for key in _LOOP if key in step}
        for number, inner in enumerate(step["steps"], 1):
            yield f"{block}.{number}", block, {**inner, **loop}


def _step(file: Path, number: str, block: int, raw: Mapping[str, Any]) -> StepSpec:
    try:
        template = load_template(file.parent / raw["notebook"])
    except RunbookError as error:
        raise RunbookError(
            f"Runbook {file.name}: step {number}, key notebook: {error.message}", remedy=error.remedy
        ) from error
    if raw.get("gate") == "approval" and not template.has_tag("ph-gate"):
        raise RunbookError(
            f"Runbook {file.name}: step {number}, key gate: {template.file.name} has no 'ph-gate' cell, "
            "so nothing would ask for an approval.",
            remedy="add the cell that calls run.require_approval(plan), or leave out the gate if nothing is changed.",
        )
    given = raw.get("parameters") or {}
    return StepSpec(template, given, raw.get("for_each"), raw.get("as", "item"), number, block)


def _contradictions(raw: Mapping[str, Any]) -> Iterator[str]:
    parameters: Mapping[str, Any] = raw.get("parameters") or {}
    for name, spec in parameters.items():
        if spec.get("default") is not None and not accepts(spec["type"], spec["default"]):
            yield f"parameters.{name}: the default is not of type {spec['type']}"
    for number, _, step in _flat(raw["steps"]):
        known = set(parameters)
        if "for_each" in step:
            over = step["for_each"]
            if over not in parameters:
                listing = ", ".join(sorted(known)) or "none"
                yield f"step {number}, key for_each: no parameter '{over}' (known: {listing})"
            elif not parameters[over]["type"].startswith("list"):
                yield f"step {number}, key for_each: parameter '{over}' is no list but {parameters[over]['type']}"
            known.add(step.get("as", "item"))
        for key, value in (step.get("parameters") or {}).items():
            for name in sorted(_references(value) - known):
                yield (
                    f"step {number}, key parameters.{key}: no parameter '{name}' "
                    f"(known: {', '.join(sorted(known)) or 'none'})"
                )


def _references(value: Any) -> set[str]:
    return set(_REFERENCE.findall(json.dumps(value, default=str)))


def _fill(value: Any, scope: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        whole = _REFERENCE.fullmatch(value.strip())
        if whole is not None:
            return scope[whole[1]]
        return _REFERENCE.sub(lambda match: _as_text(scope[match[1]]), value)
    if isinstance(value, dict):
        return {key: _fill(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, scope) for item in value]
    return value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _explain(problem: jsonschema.ValidationError) -> str:
    path = list(problem.absolute_path)
    where = ".".join(str(part) for part in path) or "top level"
    if len(path) >= 2 and path[0] == "steps" and isinstance(path[1], int):
        keys = ".".join(str(part) for part in path[2:])
        where = f"step {path[1] + 1}" + (f", key {keys}" if keys else "")
    rule: Any = problem.validator_value
    schema: Any = problem.schema
    instance: Any = problem.instance
    match problem.validator:
        case "required":
            return f"{where}: required key {', '.join(repr(key) for key in rule if key not in instance)} is missing"
        case "additionalProperties" if isinstance(instance, dict):
            known = schema.get("properties", {})
            extra = ", ".join(repr(key) for key in instance if key not in known)
            return f"{where}: unknown key {extra} (known: {', '.join(sorted(known))})"
        case "dependentRequired":
            return f"{where}: key 'as' needs key 'for_each'"
        case "type":
            return f"{where}: must be of type {rule}"
        case "const":
            return f"{where}: must be {rule}"
        case "minItems" | "minLength":
            return f"{where}: must not be empty"
        case _:
            return f"{where}: {problem.message}"
