"""The last look before a record is sealed: does any of its files hold a secret?

It is another net than :mod:`.redact`, on purpose. It knows more spellings (hex, every base64 alphabet), reads what a
redactor leaves alone (pictures, ids, tags, compressed files), and looks at the bytes that will lie in the archive.
What it finds keeps the record out of the archive.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pumphouse.records.redact import MIN_SECRET_LENGTH, Redactor, spellings

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_WHOLE_WORD_BELOW = 8


class Scanner:
    """Looks for known secrets, in every spelling, and for what :class:`Redactor` would still take out.

    :param redactor: knows the secrets, and which of them are names as well.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        redactor.refresh()
        forms = {form for secret in redactor.known for form in _all_spellings(secret)}
        long = sorted((form for form in forms if len(form) >= _WHOLE_WORD_BELOW), key=len, reverse=True)
        short = sorted((form for form in forms if len(form) < _WHOLE_WORD_BELOW), key=len, reverse=True)
        parts = [re.escape(form) for form in long]
        parts += [rf"(?<![^\W_]){re.escape(form)}(?![^\W_])" for form in short]
        self._pattern = re.compile("|".join(parts)) if parts else None

    def scan(self, files: Iterable[tuple[str, bytes]]) -> list[str]:
        """What was found, one sentence a file, naming the place and never the secret."""
        return [f"{name}: {found}" for name, data in files if (found := self._file(name, data))]

    def _file(self, name: str, data: bytes) -> str:
        if name.endswith(".gz"):
            data = gzip.decompress(data)
            name = name.removesuffix(".gz")
        text = data.decode("utf-8", "replace")
        if self._known(name) or self._known(text) or ("\x1b" in text and self._known(_ANSI.sub("", text))):
            return "a secret of this site"
        if name.endswith((".json", ".ipynb")):
            return self._tree(json.loads(text), "")
        if name.endswith(".jsonl"):
            return next(filter(None, (self._tree(json.loads(line), "") for line in text.splitlines())), "")
        return "" if self._redactor.is_clean(text) else "what has the shape of a secret"

    def _tree(self, node: Any, where: str) -> str:
        for path, text, kind in _texts(node, where):
            if self._known(text):
                return f"a secret of this site at {path}"
            if kind == "picture":
                with_text = _decoded(text)
                if with_text and self._known(with_text):
                    return f"a secret of this site inside {path}"
            elif kind == "text" and not self._redactor.is_clean(text):
                return f"what has the shape of a secret at {path}"
        return ""

    def _known(self, text: str) -> bool:
        return self._pattern is not None and self._pattern.search(text) is not None


def read_files(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files."""
    for name in names:
        yield name, (folder / name).read_bytes()


def _texts(node: Any, where: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(node, str):
        yield where, node, "text"
    elif isinstance(node, dict):
        for key, value in node.items():
            yield where, key, "key"
            place = f"{where}.{key}" if where else key
            if key.startswith(("image/", "audio/", "video/")):
                yield place, "".join(value) if isinstance(value, list) else str(value), "picture"
            elif key == "source":
                # a program may name a variable `password`; its values were redacted as a program's
                yield place, "".join(value) if isinstance(value, list) else str(value), "program"
            else:
                yield from _texts(value, place)
    elif isinstance(node, list):
        if node and all(isinstance(item, str) for item in node):
            # nbformat stores a text as its lines: a secret may span them
            yield where, "".join(node), "text"
        else:
            for number, item in enumerate(node):
                yield from _texts(item, f"{where}[{number}]")


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode("latin-1")
    except (binascii.Error, ValueError):
        return ""


def _all_spellings(secret: str) -> set[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {*spellings(secret), raw.decode("latin-1")}
    if len(raw) >= _WHOLE_WORD_BELOW:
        forms |= {raw.hex(), raw.hex().upper()}
        forms |= {form.replace("+", "-").replace("/", "_") for form in list(forms) if "+" in form or "/" in form}
    return {form for form in forms if len(form) >= MIN_SECRET_LENGTH}
