"""The order of what is chosen: a list in which each can be moved up, moved down or dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


class Lineup(anywidget.AnyWidget):
    """Shows names in order; ``arranged`` is called with the whole new order when a person changes it."""

    _esm = _HERE / "lineup.js"
    _css = _HERE / "lineup.css"
    items = traitlets.List(traitlets.Dict()).tag(sync=True)

    def __init__(self, arranged: Callable[[tuple[str, ...]], None]) -> None:
        super().__init__()
        self._arranged = arranged
        self.on_msg(self._told)

    def show(self, names: Sequence[str], about: Mapping[str, str]) -> None:
        """Draw these names in this order, with words about each."""
        self.items = [{"id": name, "label": name, "about": about.get(name, "")} for name in names]

    def _told(self, _widget: Any, content: Mapping[str, Any], _buffers: Any) -> None:
        names, name = [item["id"] for item in self.items], str(content.get("id"))
        if name not in names:
            return
        place = names.index(name)
        names.remove(name)
        if content.get("kind") == "move":
            names.insert(max(0, place + int(content.get("by", 0))), name)
        elif content.get("kind") != "drop":
            return
        self._arranged(tuple(names))
