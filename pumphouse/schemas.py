"""JSON schema for what people write: the ``jsonschema`` library, without its optional check of IRIs.

That check's grammar is compiled whenever the library is imported, if the package for it is installed, as it is beside
JupyterLab: a second for every notebook and every command, for something that no file of ours holds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

_OPTIONAL = "rfc3987_syntax"


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """As if a package were not installed, unless somebody imported it before."""
    if name in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]


if TYPE_CHECKING:
    import jsonschema
else:
    with _absent(_OPTIONAL):
        import jsonschema

__all__ = ["jsonschema"]
