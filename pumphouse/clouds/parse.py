"""Reading foreign JSON: every value is asked for by name and type, and garbage is a CloudError, never a traceback."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from pumphouse.errors import CloudError

_REMEDY = "no API reference promises that; check that the endpoint in the catalog is the service itself."


def malformed(where: str, problem: str, request_id: str | None = None) -> CloudError:
    """The error for an answer that is not what the API documents."""
    return CloudError(f"{where} answered with {problem}.", remedy=_REMEDY, request_id=request_id)


class Doc:
    """One JSON object of an answer.

    :param raw: the decoded JSON, of any type.
    :param where: what to name in messages, e.g. ``Cloud 'old' (compute), server``.
    :param request_id: under which the service logged the request, for messages.
    :raises CloudError: when ``raw`` is not an object.
    """

    __slots__ = ("_raw", "request_id", "where")

    def __init__(self, raw: Any, where: str, request_id: str | None = None) -> None:
        if not isinstance(raw, dict):
            raise malformed(where, f"{_kind(raw)} where a JSON object belongs", request_id)
        self._raw: dict[str, Any] = raw
        self.where = where
        self.request_id = request_id

    def __contains__(self, key: str) -> bool:
        return self._raw.get(key) is not None

    def has_list(self, key: str) -> bool:
        """Whether that value is a list."""
        return isinstance(self._raw.get(key), list)

    def keys(self) -> Iterator[str]:
        """The names of all values."""
        return iter(self._raw)

    def plain(self) -> dict[str, Any]:
        """The object as it was decoded, for what has no fixed shape."""
        return dict(self._raw)

    def text(self, *keys: str) -> str:
        """The first of these values that is set, as text; whole numbers (old Nova's ids) count as text."""
        value = self.maybe_text(*keys)
        if value is None:
            raise self._wrong(f"no '{keys[0]}'")
        return value

    def maybe_text(self, *keys: str) -> str | None:
        """Like :meth:`text`, but None where nothing is set."""
        for key in keys:
            value = self._raw.get(key)
            if isinstance(value, str):
                return value
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
            if value is not None:
                raise self._wrong(f"{_kind(value)} as '{key}', where text belongs")
        return None

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number, also when written as text; an empty text counts as absent."""
        value = self.maybe_whole(key)
        if value is not None:
            return value
        if default is None:
            raise self._wrong(f"no '{key}'")
        return default

    def maybe_whole(self, key: str) -> int | None:
        """Like :meth:`whole`, but None where nothing is set."""
        value = self._raw.get(key)
        if value is None or value == "":
            return None
        number = None if isinstance(value, bool) else _number(value)
        if number is None or number != int(number):
            raise self._wrong(f"{_kind(value)} as '{key}', where a whole number belongs")
        return int(number)

    def real(self, key: str, default: float) -> float:
        """A number, also when written as text."""
        value = self._raw.get(key)
        if value is None or value == "":
            return default
        number = None if isinstance(value, bool) else _number(value)
        if number is None:
            raise self._wrong(f"{_kind(value)} as '{key}', where a number belongs")
        return float(number)

    def flag(self, key: str, default: bool) -> bool:
        """True or False; old services write ``"True"``, ``"1"`` or ``""``."""
        value = self._raw.get(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if isinstance(value, int) and value in (0, 1):
            return bool(value)
        if isinstance(value, str) and value.strip().lower() in ("", "false", "0", "no", "none"):
            return False
        if isinstance(value, str) and value.strip().lower() in ("true", "1", "yes"):
            return True
        raise self._wrong(f"{_kind(value)} as '{key}', where true or false belongs")

    def _wrong(self, problem: str) -> CloudError:
        return malformed(self.where, problem, self.request_id)

    def doc(self, key: str) -> Doc:
        """An object inside this one."""
        if self._raw.get(key) is None:
            raise self._wrong(f"no '{key}'")
        return Doc(self._raw[key], f"{self.where}, {key}", self.request_id)

    def maybe_doc(self, key: str) -> Doc:
        """An object inside this one; an empty one where it is not set (Nova writes ``""`` for "no image")."""
        value = self._raw.get(key)
        return Doc({} if value is None or value == "" else value, f"{self.where}, {key}", self.request_id)

    def docs(self, key: str) -> list[Doc]:
        """A list of objects that has to be there."""
        if key not in self._raw:
            raise self._wrong(f"no '{key}'")
        return self.maybe_docs(key)

    def maybe_docs(self, key: str) -> list[Doc]:
        """A list of objects; empty where it is not set."""
        value = self._raw.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(f"{_kind(value)} as '{key}', where a list belongs")
        return [Doc(item, f"{self.where}, {key}", self.request_id) for item in value]

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where it is not set."""
        value = self._raw.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(f"{_kind(value)} as '{key}', where a list of texts belongs")
        return tuple(value)

    def mapping(self, key: str) -> dict[str, str]:
        """An object of texts (metadata, extra specs); numbers become texts, empty where it is not set."""
        return self.maybe_doc(key).as_mapping()

    def as_mapping(self) -> dict[str, str]:
        """This object as a flat mapping of texts; values that are not set are left out."""
        return {key: self.text(key) for key in self._raw if self._raw[key] is not None}

    def stamp(self, key: str) -> datetime | None:
        """An ISO 8601 time as aware UTC; None where it is not set."""
        value = self.maybe_text(key)
        if not value:
            return None
        try:
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise self._wrong(f"text as '{key}', where an ISO 8601 time belongs") from error


def decode(body: bytes, where: str, request_id: str | None = None) -> Doc:
    """The JSON object in a body; an empty body is an empty object."""
    if not body.strip():
        return Doc({}, where, request_id)
    try:
        return Doc(json.loads(body), where, request_id)
    except (ValueError, RecursionError) as error:
        raise malformed(where, "something that is not JSON", request_id) from error


def path(*parts: str) -> str:
    """A URL path of quoted parts: names and ids may hold any character, and must never add a level."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def root_of(url: str) -> str:
    """The service's root: its URL without ``/v2.1`` and what follows (``http://h/compute/v2.1/abc`` -> ``http://h/compute``)."""
    parts = urlsplit(url)
    kept: list[str] = []
    for segment in parts.path.strip("/").split("/"):
        if _is_version(segment):
            break
        if segment:
            kept.append(segment)
    return urlunsplit((parts.scheme, parts.netloc, "/".join(["", *kept]), "", "")).rstrip("/")


def _is_version(segment: str) -> bool:
    return segment[:1] == "v" and segment[1:2].isdigit() and segment[1:].replace(".", "").isdigit()


def _number(value: Any) -> float | int | None:
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else None


def _kind(value: Any) -> str:
    # the value itself is never echoed: an answer may carry a secret
    names = {dict: "an object", list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
