"""The dependency graph of a plan as a picture: what has to be there before what, from left to right."""

from __future__ import annotations

from collections import defaultdict
from html import escape

from pumphouse.notebook.html import STYLE, Display, clean
from pumphouse.plan.model import Plan, PlannedStep

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 168, 40, 52, 14, 10
#: Who is changed: colour, dash of the frame (for those who see no colour), word.
_LOOKS = {
    "source": ("#a06000", "5 3", "changes the source"),
    "destination": ("#00785a", "", "changes the destination"),
    "both": ("#3b6ea5", "2 2", "changes both"),
}


def show_graph(plan: Plan) -> Display:
    """A plan's steps by kind with their number, and an arrow from each kind to those that need it (read only)."""
    kinds, needs = _by_kind(plan)
    columns = _columns(plan, kinds)
    lines = [
        f"{len(kinds[kind])} × {kind} ← {', '.join(sorted(needs[kind])) or 'nothing'}"
        for group in columns
        for kind in group
    ]
    text = "\n".join(["What needs what", *lines])
    title = f"What needs what: {len(plan.steps)} steps of {len(kinds)} kinds"
    picture = _picture(kinds, needs, columns)
    html = (
        f'{STYLE}<div class="ph"><p class="ph-title">{title}</p><div class="ph-s">{picture}</div>'
        f'<p class="ph-note">A solid frame changes the destination, a dashed one the source, a dotted one both; '
        f"a double frame cannot be undone.</p></div>"
    )
    return Display(html, text)


def _by_kind(plan: Plan) -> tuple[dict[str, list[PlannedStep]], dict[str, set[str]]]:
    kinds: dict[str, list[PlannedStep]] = defaultdict(list)
    needs: dict[str, set[str]] = defaultdict(set)
    kind_of = {step.key: step.kind for step in plan.steps}
    for step in plan.steps:
        kinds[step.kind].append(step)
        needs[step.kind] |= {kind_of[need] for need in step.needs} - {step.kind}
    return kinds, needs


def _columns(plan: Plan, kinds: dict[str, list[PlannedStep]]) -> list[list[str]]:
    """Kinds by how many steps have to be done one after the other before the last of them can."""
    depth: dict[str, int] = {}
    for step in plan.steps:  # in order: needs come first
        depth[step.key] = 1 + max((depth[need] for need in step.needs), default=-1)
    level = {kind: max(depth[step.key] for step in steps) for kind, steps in kinds.items()}
    return [sorted(kind for kind in kinds if level[kind] == one) for one in sorted(set(level.values()))]


def _picture(kinds: dict[str, list[PlannedStep]], needs: dict[str, set[str]], columns: list[list[str]]) -> str:
    place = {
        kind: (_EDGE + x * (_WIDTH + _ACROSS), _EDGE + y * (_HEIGHT + _DOWN))
        for x, group in enumerate(columns)
        for y, kind in enumerate(group)
    }
    column = {kind: x for x, group in enumerate(columns) for kind in group}
    width = 2 * _EDGE + len(columns) * (_WIDTH + _ACROSS) - _ACROSS
    height = 2 * _EDGE + max(map(len, columns), default=1) * (_HEIGHT + _DOWN) - _DOWN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="Steps by kind, what needs what" font-family="sans-serif" font-size="12">'
    )
    arrows = [
        _arrow(place[need], place[kind])
        for kind, wanted in needs.items()
        for need in sorted(wanted)
        if column[need] < column[kind] and not _through(need, kind, needs, column)
    ]
    boxes = [_box(place[kind], kind, steps) for kind, steps in kinds.items()]
    return "".join([head, *arrows, *boxes, "</svg>"])


def _through(need: str, kind: str, needs: dict[str, set[str]], column: dict[str, int]) -> bool:
    """Whether ``need`` also comes before ``kind`` by way of another kind: that arrow says it already."""
    return any(
        need in _ahead(other, needs, column) for other in needs[kind] if other != need and column[other] < column[kind]
    )


def _ahead(kind: str, needs: dict[str, set[str]], column: dict[str, int]) -> set[str]:
    found, todo = set(), [kind]
    while todo:
        one = todo.pop()
        for need in needs[one]:
            if column[need] < column[one] and need not in found:
                found.add(need)
                todo.append(need)
    return found


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0] - 6, end[1] + _HEIGHT // 2
    bend = (x1 + x2) // 2
    return (
        f'<path d="M{x1},{y1} C{bend},{y1} {bend},{y2} {x2},{y2}" fill="none" stroke="#808080" stroke-width="1.2"/>'
        f'<path d="M{x2},{y2 - 4} L{x2 + 6},{y2} L{x2},{y2 + 4} Z" fill="#808080"/>'
    )


def _box(at: tuple[int, int], kind: str, steps: list[PlannedStep]) -> str:
    changes = {step.changes for step in steps}
    colour, dash, words = _LOOKS.get(changes.pop() if len(changes) == 1 else "both", _LOOKS["both"])
    final = any(step.undo is None for step in steps)
    titles = "; ".join(step.title for step in steps[:8]) + (" …" if len(steps) > 8 else "")
    tip = f"{words}{', cannot be undone' if final else ''}: {titles}"
    x, y = at
    frame = f'fill="none" stroke="{colour}" stroke-width="1.5" rx="5"' + (f' stroke-dasharray="{dash}"' if dash else "")
    inner = f'<rect x="{x + 3}" y="{y + 3}" width="{_WIDTH - 6}" height="{_HEIGHT - 6}" {frame}/>' if final else ""
    middle, right = y + _HEIGHT // 2 + 4, x + _WIDTH - 10
    return (
        f"<g><title>{escape(clean(tip))}</title>"
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" {frame}/>{inner}'
        f'<text x="{x + 10}" y="{middle}" fill="currentColor">{escape(clean(kind))}</text>'
        f'<text x="{right}" y="{middle}" text-anchor="end" fill="currentColor" font-weight="600">{len(steps)}</text>'
        "</g>"
    )
