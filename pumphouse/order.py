"""Which hosts or nodes, and in which order: chosen once, written down canonically, read by notebooks and runbooks.

Unlike a :class:`~pumphouse.selection.Selection` of servers its order is the operator's, and part of its digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pumphouse.errors import SelectionError
from pumphouse.fileio import write_named
from pumphouse.inventory import codec

SCHEMA_VERSION = 1
KIND = "pumphouse-order"
#: What can be put in order: compute hosts of the source by nova's names, nodes by those of ``site.yaml``.
THINGS = ("hosts", "nodes")


@dataclass(frozen=True)
class Order:
    """Hosts or nodes in the order in which they are taken: at least one, none twice.

    :raises SelectionError: it is empty, or names something twice, or what is no name.
    """

    things: str
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.things not in THINGS:
            raise SelectionError(f"An order is of {' or '.join(THINGS)}, not of {self.things!r}.", remedy="use those.")
        if not self.names:
            raise SelectionError(
                f"No {self.things[:-1]} is chosen.",
                remedy=f"name at least one; no {self.things} never means all {self.things}.",
            )
        for name in self.names:
            if not isinstance(name, str) or not name.strip():
                raise SelectionError(f"An order of {self.things} holds no name: {name!r}.", remedy="remove it.")
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise SelectionError(
                f"{', '.join(twice)} stands twice in the order of {self.things}.", remedy="keep one of the two."
            )

    @classmethod
    def of(cls, things: str, names: Iterable[str]) -> Order:
        """An order from any names."""
        return cls(things, tuple(names))

    def __len__(self) -> int:
        return len(self.names)

    def __str__(self) -> str:
        return ", ".join(self.names)

    @property
    def digest(self) -> str:
        """SHA-256 in hex over the canonical JSON of what they are and the names in their order."""
        canonical = json.dumps([self.things, *self.names], separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    def save(self, path: str | Path) -> Path:
        """Write the canonical file, atomically; the same order gives the same bytes.

        :raises SelectionError: the file cannot be written.
        """
        file = Path(path)
        document = {
            "kind": KIND,
            "schema": SCHEMA_VERSION,
            "things": self.things,
            "names": list(self.names),
            "digest": self.digest,
        }
        return write_named(file, codec.dump_json(document), "Order file", SelectionError)

    @classmethod
    def load(cls, path: str | Path) -> Order:
        """Read a file that :meth:`save` wrote.

        :raises SelectionError: the file is missing, malformed or edited by hand.
        """
        file = Path(path)
        try:
            document = codec.open_document(file.read_text(encoding="utf-8"), kind=KIND, schema=SCHEMA_VERSION)
            stored = codec.decode(_Stored, document, "file")
            order = cls(stored.things, stored.names)
        except OSError as error:
            raise SelectionError(
                f"Order file {file} cannot be read: {error.strerror}.",
                remedy="check the path; an order is kept by the picker of hosts or nodes (11-order-hosts.ipynb).",
            ) from error
        except (ValueError, SelectionError) as error:
            raise SelectionError(
                f"Order file {file} cannot be used: {getattr(error, 'message', error)}", remedy="choose and keep again."
            ) from error
        if order.digest != stored.digest:
            raise SelectionError(
                f"Order file {file}: its names do not match its digest, so it was changed after it was written.",
                remedy="choose and keep again; don't edit the file by hand, or give the names themselves.",
            )
        return order


@dataclass(frozen=True)
class _Stored:
    things: str
    names: tuple[str, ...]
    digest: str
