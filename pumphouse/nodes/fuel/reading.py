"""Reading Nailgun's JSON: every value is asked for by name and type; anything else is a :class:`NodeGarbled`."""

from __future__ import annotations

import math
import re
from typing import Any

from pumphouse.errors import NodeGarbled

_WHOLE = re.compile(r"\s*-?[0-9]{1,18}\s*")
_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    type(None): "nothing",
}


def garbled(where: str, problem: str) -> NodeGarbled:
    """The error for an answer that no Nailgun gives."""
    return NodeGarbled(
        f"{where} answered with {problem}.",
        remedy="check that `fuel.url` in site.yaml is a Fuel master of release 5.1 to 8.0, reached without a proxy.",
    )


class Doc:
    """One JSON object of an answer.

    :param where: what to name in messages.
    :raises NodeGarbled: when ``raw`` is not an object.
    """

    __slots__ = ("raw", "where")

    def __init__(self, raw: Any, where: str) -> None:
        if not isinstance(raw, dict):
            raise garbled(where, f"{_KINDS.get(type(raw), 'something')} where a JSON object belongs")
        self.raw: dict[str, Any] = raw
        self.where = where

    def text(self, key: str) -> str:
        """A text that has to be there."""
        value = self.raw.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, value, "a text")
        return value

    def maybe_text(self, key: str) -> str:
        """A text; empty where it is null or absent."""
        return "" if self.raw.get(key) is None else self.text(key)

    def whole(self, key: str) -> int:
        """A whole number that has to be there; one written as text counts."""
        value = self.maybe_whole(key)
        if value is None:
            raise self._wrong(key, None, "a whole number")
        return value

    def maybe_whole(self, key: str) -> int | None:
        """A whole number, or None."""
        value = self.raw.get(key)
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            return int(value)
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self._wrong(key, value, "a whole number")

    def about(self, key: str) -> int:
        """A number that decides nothing, such as progress; 0 where there is none."""
        value = self.raw.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return 0
        return int(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false; ``default`` where it is null or absent."""
        value = self.raw.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def doc(self, key: str) -> Doc:
        """An object inside this one; an empty one where it is null or absent."""
        value = self.raw.get(key)
        return Doc({} if value is None else value, f"{self.where}, {key}")

    def docs(self, key: str) -> list[Doc]:
        """A list of objects; an empty one where it is null or absent."""
        value = self.raw.get(key)
        return docs([] if value is None else value, f"{self.where}, {key}")

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; an empty one where it is null or absent."""
        value = self.raw.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, value, "a list of texts")
        return tuple(value)

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """A list of pairs of texts, such as first and last addresses; an empty one where it is null or absent."""
        value = self.raw.get(key)
        if value is None:
            return ()
        two = [tuple(item) for item in value if isinstance(item, list)] if isinstance(value, list) else []
        found = [(one[0], one[1]) for one in two if len(one) == 2 and all(isinstance(word, str) for word in one)]
        if not isinstance(value, list) or len(found) != len(value):
            raise self._wrong(key, value, "a list of pairs of texts")
        return tuple(found)

    def _wrong(self, key: str, value: Any, wanted: str) -> NodeGarbled:
        return garbled(self.where, f"{_KINDS.get(type(value), 'something')} as '{key}', where {wanted} belongs")


def docs(raw: Any, where: str) -> list[Doc]:
    """A list of objects.

    :raises NodeGarbled: when it is something else.
    """
    if not isinstance(raw, list):
        raise garbled(where, f"{_KINDS.get(type(raw), 'something')} where a list belongs")
    return [Doc(item, where) for item in raw]
