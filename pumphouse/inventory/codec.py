"""Frozen dataclasses to JSON and strictly back.

The reading side trusts nothing: every key must be there, no key may be unknown, every value must have the
type that the dataclass declares. Problems are :class:`ValueError` with the path inside the document; the
callers turn them into errors that name the file. Values are never echoed, since a file may hold secrets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def encode(value: Any) -> Any:
    """A dataclass (or anything inside one) as JSON-ready lists, dicts and scalars; times as ISO 8601 in UTC."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: encode(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"time {value.isoformat()} has no zone")
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ValueError(f"a {type(value).__name__} cannot be written")


def decode(hint: Any, value: Any, where: str) -> Any:
    """The value of type ``hint`` that :func:`encode` wrote; ``where`` is its path, for messages.

    :raises ValueError: a key is missing or unknown, or a value has another type.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in args:
            return None
        (inner,) = (arg for arg in args if arg is not NoneType)
        return decode(inner, value, where)
    if origin is tuple:
        return _decode_tuple(args, value, where)
    if origin is Mapping:
        items = _expect(dict, value, where)
        return {key: decode(args[1], item, f"{where}.{key}") for key, item in items.items()}
    if is_dataclass(hint):
        return _decode_dataclass(hint, value, where)
    if hint is datetime:
        return _decode_time(value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _expect(hint, value, where)


def dump_json(document: Mapping[str, Any]) -> str:
    """A document as text: sorted keys, one line per item, pure ASCII, ending in a newline; always the same bytes."""
    return json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n"


def parse_json(text: str) -> dict[str, Any]:
    """A JSON object, refusing duplicate keys, NaN and infinities.

    :raises ValueError: the text is not a JSON object.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    checked: dict[str, Any] = _expect(dict, document, "top level")
    return checked


def open_document(text: str, *, kind: str, schema: int) -> dict[str, Any]:
    """The body of a document whose ``kind`` and ``schema`` are the expected ones.

    :raises ValueError: naming what it is instead.
    """
    document = parse_json(text)
    if document.pop("kind", None) != kind:
        raise ValueError(f"it is not a {kind} (its 'kind' says otherwise)")
    found = document.pop("schema", None)
    if found != schema or isinstance(found, bool):
        number = found if isinstance(found, int) else "missing or not a number"
        raise ValueError(f"its schema is {number}, and this version reads schema {schema} only")
    return document


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def _decode_dataclass(cls: Any, value: Any, where: str) -> Any:
    items, hints = _expect(dict, value, where), _hints(cls)
    names = [item.name for item in fields(cls)]
    if missing := [name for name in names if name not in items]:
        raise ValueError(f"{where}: key {', '.join(map(repr, missing))} is missing")
    if unknown := [name for name in items if name not in hints]:
        raise ValueError(f"{where}: key {', '.join(map(repr, unknown))} is unknown")
    return cls(**{name: decode(hints[name], items[name], f"{where}.{name}") for name in names})


def _decode_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = _expect(list, value, where)
    if args[-1] is Ellipsis:
        return tuple(decode(args[0], item, f"{where}[{number}]") for number, item in enumerate(items))
    if len(items) != len(args):
        raise ValueError(f"{where}: {len(args)} values expected, {len(items)} found")
    pairs = enumerate(zip(args, items, strict=True))
    return tuple(decode(arg, item, f"{where}[{number}]") for number, (arg, item) in pairs)


def _decode_time(value: Any, where: str) -> datetime:
    text = _expect(str, value, where)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{where}: not an ISO 8601 time") from error
    if time.tzinfo is None:
        raise ValueError(f"{where}: a time without zone")
    return time.astimezone(UTC)


def _expect(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where}: {kind.__name__} expected, {type(value).__name__} found")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return document


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
