"""A picture of the site: which node belongs to whom, what it does there, and in which VLAN it boots."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from pumphouse.nodes.spec import Hardware
from pumphouse.notebook.html import STYLE, Display, clean, joined, one_line
from pumphouse.notebook.html import heading as header
from pumphouse.notebook.runs import show_nodes
from pumphouse.session.rack import NodeState

_WIDTH, _HEIGHT, _DOWN, _EDGE, _HEAD, _ACROSS = 236, 62, 10, 12, 30, 26
#: Who owns a node: heading, colour, dash of the frame (for those who see no colour).
_OWNERS: dict[str, tuple[str, str, str]] = {
    "source": ("Source", "#a06000", "5 3"),
    "fuel": ("Fuel", "#3b6ea5", "2 2"),
    "": ("Nobody", "#767676", "1 4"),
    "destination": ("Destination", "#00785a", ""),
}
_POWER = {"on": "● on", "off": "○ off"}


def show_site(nodes: Iterable[NodeState], hardware: Hardware, *, title: str = "The site") -> Display:
    """A picture of nodes under the cloud that owns them, and the table of what their devices said (asks nobody).

    :param nodes: what :meth:`pumphouse.session.hardware.HardwareWork.look` told.
    :param hardware: ``run.site.hardware``: the VLANs' names, and which nodes were not asked about.
    """
    known = {one.node: one for one in nodes}
    groups = {owner: [one for one in known.values() if one.owner == owner] for owner in _OWNERS}
    silent = len(hardware.nodes.keys() - known.keys())
    heading = one_line(title) + f": {len(known)} node{'' if len(known) == 1 else 's'}"
    note = (
        "Dashed frame: the source's. Solid: the destination's. Dotted: Fuel's, not deployed. Dots: nobody's. The VLAN "
        "is that of the port of the NIC that boots by PXE."
    )
    if not hardware.nodes:
        note = (
            "site.yaml describes no node, so there is none to acquire, transfer or take over: "
            "its key nodes does, with BMCs and switch ports (doc/hardware.md)."
        )
        return header(heading, note)
    unasked = sum(not one.asked for one in known.values())
    if unasked:
        note += f" The BMCs of {unasked} were not asked: their power is not known."
    if silent:
        note += f" {silent} more of site.yaml are not in this picture."
    html = (
        f'{STYLE}<div class="ph"><p class="ph-title">{escape(heading)}</p>'
        f'<div class="ph-s">{_picture(groups, hardware)}</div><p class="ph-note">{note}</p></div>'
    )
    return joined(Display(html, "\n".join([heading, *_lines(groups, hardware)])), show_nodes(known.values()))


def _lines(groups: dict[str, list[NodeState]], hardware: Hardware) -> list[str]:
    return [
        one_line(f"{_OWNERS[owner][0]}: {one.node}: {' · '.join(_words(one, hardware))}")
        for owner, group in groups.items()
        for one in group
    ]


def _words(one: NodeState, hardware: Hardware) -> tuple[str, str]:
    """What a node is there, and how it is."""
    name = one.fuel_name if one.owner == "destination" else one.host
    does = ", ".join(one.roles) if one.owner == "destination" else one.role
    servers = "" if one.servers is None else f"{one.servers} server{'' if one.servers == 1 else 's'}"
    discovered = one.fuel if one.owner == "fuel" else ""
    what = " · ".join(part for part in (does, name, servers, discovered) if part)
    how = " · ".join(part for part in (_vlan(one.vlan, hardware), _state(one)) if part)
    return what, how


def _vlan(vlan: int | None, hardware: Hardware) -> str:
    if vlan is None:
        return ""
    names = {hardware.admin_vlan: "Admin", hardware.private_vlan: "Private", hardware.public_vlan: "Public"}
    return f"VLAN {vlan} {names.get(vlan, '')}".strip()


def _state(one: NodeState) -> str:
    power = _POWER.get(one.power, "")
    return f"{power} ✖ no answer".strip() if one.problems else power


def _picture(groups: dict[str, list[NodeState]], hardware: Hardware) -> str:
    shown = {owner: group for owner, group in groups.items() if group or owner in ("source", "destination")}
    rows = max([1, *map(len, shown.values())])
    width = 2 * _EDGE + len(shown) * (_WIDTH + _ACROSS) - _ACROSS
    height = 2 * _EDGE + _HEAD + rows * (_HEIGHT + _DOWN) - _DOWN
    label = "; ".join(f"{_OWNERS[owner][0]}: {len(group)}" for owner, group in shown.items())
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="Nodes by owner. {label}" font-family="sans-serif" font-size="12">'
    )
    parts = [head]
    for column, (owner, group) in enumerate(shown.items()):
        x = _EDGE + column * (_WIDTH + _ACROSS)
        heading, colour, _ = _OWNERS[owner]
        parts.append(
            f'<text x="{x}" y="{_EDGE + 14}" fill="currentColor" font-weight="600">{heading} ({len(group)})</text>'
            f'<path d="M{x},{_EDGE + 21} H{x + _WIDTH}" stroke="{colour}" stroke-width="2"/>'
        )
        parts += [_box(x, _EDGE + _HEAD + row * (_HEIGHT + _DOWN), one, hardware) for row, one in enumerate(group)]
    return "".join([*parts, "</svg>"])


def _box(x: int, y: int, one: NodeState, hardware: Hardware) -> str:
    _, colour, dash = _OWNERS[one.owner]
    what, how = _words(one, hardware)
    frame = f'fill="none" stroke="{colour}" stroke-width="1.5" rx="5"' + (f' stroke-dasharray="{dash}"' if dash else "")
    tip = "; ".join(part for part in (one.node, what, how, one.serial, *one.problems) if part)
    texts = "".join(
        f'<text x="{x + 10}" y="{y + 18 + 18 * row}" fill="currentColor"{style}>{escape(_cut(text))}</text>'
        for row, (text, style) in enumerate(((one.node, ' font-weight="600"'), (what, ""), (how, "")))
    )
    return (
        f"<g><title>{escape(clean(tip))}</title>"
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" {frame}/>{texts}</g>'
    )


def _cut(text: str) -> str:
    """As much as fits into a frame; the whole of it is in the tip."""
    text, most = one_line(text), 36
    return text if len(text) <= most else f"{text[: most - 1]}…"
