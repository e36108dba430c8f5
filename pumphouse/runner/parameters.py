"""Parameters of a template: which it has, what it takes, and whether given values fit.

papermill only warns of an unknown name, never records defaults and turns a tuple into a string; so names, types and
JSON form are checked here before anything runs.
"""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import papermill

from pumphouse.errors import ParameterError
from pumphouse.near import did_you_mean
from pumphouse.order import Order

MAX_VALUE_BYTES = 32_768
"""Larger values belong in a file (a selection file and its digest): papermill writes them twice at every cell."""

_PLAIN: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": list,
    "dict": dict,
}


class CommandLineText(str):
    """A value as typed on a command line: JSON, ``a,b`` or ``@FILE`` (an order of hosts or nodes) for a list, or the
    text itself, as its type wants.
    """

    __slots__ = ()


@dataclass(frozen=True)
class Parameter:
    """One line of the ``parameters`` cell; ``type`` is the annotation's text."""

    name: str
    type: str
    default: Any
    help: str

    def __str__(self) -> str:
        return f"{self.name}: {self.type} = {json.dumps(self.default, ensure_ascii=False)}  ({self.help})"


def read_parameters(notebook: Any, name: str) -> dict[str, Parameter]:
    """The parameters of a template in memory, in its order (as papermill sees them).

    :raises ParameterError: when a default is no literal (``pumphouse lint`` explains the form).
    """
    papermill_log = logging.getLogger("papermill")
    disabled, papermill_log.disabled = papermill_log.disabled, True
    try:
        seen = papermill.inspect_notebook(notebook)
    finally:
        papermill_log.disabled = disabled
    found: dict[str, Parameter] = {}
    for key, facts in seen.items():
        try:
            default = ast.literal_eval(facts["default"])
        except (ValueError, SyntaxError) as error:
            raise ParameterError(
                f"Notebook {name}: the default of parameter '{key}' is not a literal: {facts['default']}.",
                remedy="write `name: type = literal  # help` and check with `pumphouse lint`.",
            ) from error
        found[key] = Parameter(key, facts["inferred_type_name"], _as_json(default), facts["help"])
    return found


def check_parameters(
    known: Mapping[str, Parameter], given: Mapping[str, Any], name: str, *, what: str = "Notebook"
) -> dict[str, Any]:
    """The given values, fit for the template: names known, types right, in JSON's own types.

    :param what: a notebook or a runbook, in messages.
    :raises ParameterError: naming every value that does not fit, and what the template knows.
    """
    problems: list[str] = []
    checked: dict[str, Any] = {}
    for key, value in given.items():
        parameter = known.get(key)
        if parameter is None:
            problems.append(f"unknown parameter '{key}'{did_you_mean(key, known)}")
            continue
        try:
            checked[key] = _fit(parameter, value)
        except (TypeError, ValueError) as error:
            problems.append(f"parameter '{key}': {error}")
    if problems:
        listing = "; ".join(map(str, known.values())) or "none"
        raise ParameterError(
            f"{what} {name}: {'; '.join(problems)}.",
            remedy=f"the {'template' if what == 'Notebook' else what.lower()} knows these parameters: {listing}.",
        )
    return checked


def resolve_parameters(known: Mapping[str, Parameter], checked: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the template with the value it will have, defaults too, in the template's order."""
    return {key: checked.get(key, parameter.default) for key, parameter in known.items()}


def accepts(annotation: str, value: Any) -> bool:
    """Whether a JSON value has the type of an annotation such as ``list[str] | None``."""
    try:
        return _accepts(ast.parse(annotation, mode="eval").body, value)
    except SyntaxError:
        return True


def _fit(parameter: Parameter, value: Any) -> Any:
    if isinstance(value, CommandLineText):
        return _from_text(parameter, str(value))
    normal = _as_json(value)
    if not accepts(parameter.type, normal):
        raise TypeError(f"must be {parameter.type}, not {type(value).__name__}")
    return normal


def _from_text(parameter: Parameter, text: str) -> Any:
    if text.startswith("@") and parameter.type.startswith("list"):
        return list(Order.load(text[1:]).names)
    if parameter.type != "str":
        try:
            value = _as_json(json.loads(text))
        except ValueError:
            pass
        else:
            if accepts(parameter.type, value):
                return value
    if accepts(parameter.type, text):
        return _as_json(text)
    words = [word.strip() for word in text.split(",") if word.strip()]
    if text[:1] not in ("[", "{") and accepts(parameter.type, words):
        return _as_json(words)
    raise TypeError(f"must be {parameter.type}; {text[:60]!r} is not (write it as JSON)")


def _as_json(value: Any) -> Any:
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"a value of type {type(value).__name__} cannot be written as JSON ({error})") from error
    if len(text) > MAX_VALUE_BYTES:
        raise ValueError(f"{len(text)} bytes are too many (at most {MAX_VALUE_BYTES}); pass the name of a file")
    return json.loads(text)


def _accepts(node: ast.expr, value: Any) -> bool:
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _accepts(left, value) or _accepts(right, value)
        case ast.Constant(value=None):
            return value is None
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return isinstance(value, list) and all(_accepts(item, element) for element in value)
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, item])):
            return isinstance(value, dict) and all(_accepts(item, element) for element in value.values())
        case ast.Name(id=plain) if plain in _PLAIN:
            if isinstance(value, bool):
                return plain == "bool"
            return isinstance(value, _PLAIN[plain])
    return True
