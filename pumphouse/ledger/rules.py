"""What a rule of the fidelity ledger says, how the fields of a JSON record are named, and how the two meet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pumphouse.ledger.cases import Case

#: A field of a JSON record: its keys from the outside in; ``[]`` stands for every item of a list.
FieldPath = tuple[str, ...]
LIST = "[]"
NOT_SHOWN = "(not shown)"
_SECRET_NAME = re.compile(r"(?i)pass(word|wd|phrase)?$|secret|token|private_?key|credential")


class Treatment(StrEnum):
    """What becomes of a field of the source.

    ``copied``: the destination has the same value. ``mapped``: it has another value that says the same there.
    ``derived``: it follows at the destination from what is carried. ``dropped``: it stays behind, for the reason given.
    """

    COPIED = "copied"
    MAPPED = "mapped"
    DERIVED = "derived"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one field of one object. ``field`` is set where it is narrower than the rule's."""

    treatment: Treatment
    source: str | None = None
    destination: str | None = None
    reason: str = ""
    field: str = ""


Decider = Callable[["Case"], "Verdict | Sequence[Verdict]"]


@dataclass(frozen=True)
class Rule:
    """How one field (or all fields that fit a pattern) of a type is treated.

    :param field: keys joined by dots, as the API writes them; ``*`` stands for any one key, ``**`` for all that is
        below, ``x[]`` for the items of a list. A field that only the source's database has begins with ``db:``.
    :param reason: a sentence for whoever reads the ledger; used unless ``decide`` gives another.
    :param to: where the destination shows it, as a field of its own record; empty: under the same name.
    :param decide: computes treatment and values from the plan; without it the rule holds for every object alike.
    :param kinds: JSON types that the pattern covers; empty: all.
    """

    field: str
    treatment: Treatment
    reason: str
    to: str = ""
    decide: Decider | None = None
    kinds: tuple[str, ...] = ()

    @cached_property
    def path(self) -> FieldPath:
        """The pattern, in parts."""
        return split(self.field)

    def covers(self, path: FieldPath, kind: str = "") -> bool:
        """Whether it speaks about that field; ``kind`` is its JSON type."""
        if self.kinds and kind and kind not in self.kinds:
            return False
        pattern = self.path
        if pattern[-1] == "**":
            fits, path = len(path) >= len(pattern) - 1, path[: len(pattern) - 1]
            pattern = pattern[:-1]
        else:
            fits = len(path) == len(pattern)
        return fits and all(want in ("*", have) for want, have in zip(pattern, path, strict=True))


@dataclass(frozen=True)
class RuleBook:
    """The rules of all types. A rule that names its field goes before one with a pattern."""

    types: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)

    def of(self, kind: str) -> tuple[Rule, ...]:
        """The rules of one type; none for a type that nobody has thought of."""
        return self.types.get(kind, ())

    def find(self, kind: str, path: FieldPath, json_type: str = "") -> Rule | None:
        """The rule for a field, or None: then the ledger does not account for it."""
        found = [rule for rule in self.of(kind) if rule.covers(path, json_type)]
        return min(found, key=lambda rule: sum(part in ("*", "**") for part in rule.path), default=None)

    def unaccounted(self, kind: str, fields: Iterable[tuple[FieldPath, str]]) -> list[str]:
        """Fields of a record (:func:`leaves`) for which there is no rule."""
        return [join(path) for path, json_type in fields if self.find(kind, path, json_type) is None]


def split(name: str) -> FieldPath:
    """``a.b[].c`` as parts. Keys with dots in them cannot be named, only be met by a pattern."""
    parts: list[str] = []
    for part in name.split("."):
        plain = part.removesuffix(LIST)
        parts += [plain, LIST] if plain != part else [part]
    return tuple(parts)


def join(path: FieldPath) -> str:
    """The parts of a field as one name."""
    text = ""
    for part in path:
        text += part if part == LIST or not text else f".{part}"
    return text


def leaves(value: Any, path: FieldPath = ()) -> Iterator[tuple[FieldPath, str]]:
    """Every field of a JSON value that holds no further fields, with its JSON type; empty containers count."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        for item in value:
            yield from leaves(item, (*path, LIST))
    else:
        yield path, json_type(value)


def json_type(value: Any) -> str:
    """The name of a JSON value's type."""
    names = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null", dict: "object", list: "list"}
    return names[type(value)]


def values_at(document: Any, path: FieldPath) -> list[Any]:
    """All values of a document at a path, in which ``*`` and ``[]`` may stand for several."""
    if not path:
        return [document]
    head, rest = path[0], path[1:]
    if head == LIST:
        items: Iterable[Any] = document if isinstance(document, list) else ()
    elif head == "*":
        items = document.values() if isinstance(document, dict) else ()
    else:
        items = [document[head]] if isinstance(document, dict) and head in document else ()
    return [found for item in items for found in values_at(item, rest)]


def shown(value: Any) -> str | None:
    """A value as the ledger writes it; None where there is none."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, tuple | list | set | frozenset):
        return ", ".join(str(shown(item)) for item in value)
    return str(value)


def shown_under(name: str, value: Any) -> str | None:
    """The value of something that has a name of its own, unless that name is a secret's."""
    return NOT_SHOWN if value is not None and _SECRET_NAME.search(name) else shown(value)


def same(field_name: str, reason: str, *, to: str = "", decide: Decider | None = None) -> Rule:
    """A rule for what is copied."""
    return Rule(field_name, Treatment.COPIED, reason, to, decide)


def turned(field_name: str, reason: str, *, to: str = "", decide: Decider | None = None) -> Rule:
    """A rule for what is mapped."""
    return Rule(field_name, Treatment.MAPPED, reason, to, decide)


def follows(field_name: str, reason: str, *, to: str = "", decide: Decider | None = None) -> Rule:
    """A rule for what is derived."""
    return Rule(field_name, Treatment.DERIVED, reason, to, decide)


def stays(field_name: str, reason: str, *, to: str = "", decide: Decider | None = None) -> Rule:
    """A rule for what is dropped."""
    return Rule(field_name, Treatment.DROPPED, reason, to, decide)
