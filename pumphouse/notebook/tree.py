"""A tree of groups with checkboxes: projects or hosts, and the servers in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Group:
    """One group: what is shown of it, and its members as (id, label)."""

    key: str
    label: str
    sizes: str
    members: tuple[tuple[str, str], ...]


class OwnKeys(anywidget.AnyWidget):
    """Shows nothing: put into a VBox, it keeps JupyterLab's shortcuts out of it, and Escape leads to the cell.

    :param pressed: makes the box a form: told what stands in its text fields, from top to bottom, when its button is
        pressed in the browser. The button's own handlers do not hear of that press.
    :param table: what screen readers call the grid in the box; DataTables drops its caption at every update.
    """

    _esm = _HERE / "keys.js"
    table = traitlets.Unicode("").tag(sync=True)
    form = traitlets.Bool(False).tag(sync=True)

    def __init__(self, *, table: str = "", pressed: Callable[[Sequence[str]], None] | None = None) -> None:
        super().__init__(table=table, form=pressed is not None)
        self._pressed = pressed
        self.on_msg(self._told)

    def _told(self, _widget: Any, content: Mapping[str, Any], _buffers: Any) -> None:
        if self._pressed is not None and content.get("kind") == "pressed":
            self._pressed([str(typed) for typed in content.get("typed", ())])


class Tree(anywidget.AnyWidget):
    """Shows groups; tells ``toggled`` which ids were checked or unchecked. Members travel when a group is opened."""

    _esm = _HERE / "tree.js"
    _css = _HERE / "tree.css"
    groups = traitlets.List(traitlets.Dict()).tag(sync=True)
    members = traitlets.Dict().tag(sync=True)

    def __init__(self, groups: Sequence[Group], toggled: Callable[[frozenset[str], bool], None]) -> None:
        super().__init__()
        self._all: Mapping[str, Group] = {group.key: group for group in groups}
        self._toggled = toggled
        self._open: tuple[str, ...] = ()
        self._chosen: frozenset[str] = frozenset()
        self.on_msg(self._told)
        self.show(frozenset())

    def show(self, chosen: Collection[str]) -> None:
        """Draw it with these ids checked."""
        self._chosen = frozenset(chosen)
        groups = [
            {
                "key": group.key,
                "label": group.label,
                "sizes": group.sizes,
                "total": len(group.members),
                "chosen": sum(member in self._chosen for member, _label in group.members),
            }
            for group in self._all.values()
        ]
        with self.hold_sync():
            self.members = {
                key: [{"id": one, "label": label, "chosen": one in self._chosen} for one, label in group.members]
                for key in self._open
                if (group := self._all.get(key)) is not None
            }
            self.groups = groups

    def _told(self, _widget: Any, content: Mapping[str, Any], _buffers: Any) -> None:
        if content.get("kind") == "open":
            self._open = tuple(str(key) for key in content.get("keys", ()))
            self.show(self._chosen)
        elif content.get("kind") == "toggle" and (group := self._all.get(str(content.get("key")))) is not None:
            known = frozenset(member for member, _label in group.members)
            asked = content.get("member")
            self._toggled(known if asked is None else known & {str(asked)}, bool(content.get("on")))
