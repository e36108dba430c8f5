"""Small things that our widgets share: their static twins, captions, and how labels and colours are done."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as widgets

from pumphouse.notebook.html import WARN, Display, clean


@dataclass(frozen=True, repr=False)
class Twin:
    """A widget where a kernel lives, and the same as HTML and text in a record."""

    widget: Any
    static: Display

    def __repr__(self) -> str:
        return self.static.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = dict(self.widget._repr_mimebundle_(include=include, exclude=exclude))
        return {**bundle, "text/html": self.static.html, "text/plain": self.static.text}


def caption(text: str) -> str:
    """A line of prose above or below a widget, which a screen reader tells when it changes."""
    return f'<div role="status" style="line-height:1.5">{escape(clean(text))}</div>'


def attention(text: str) -> str:
    """A line that asks for attention: a symbol beside the colour."""
    mark = f'<span style="color:{WARN.colour}">{WARN.symbol}</span>'
    return f'<div role="status" style="line-height:1.5">{mark} {escape(clean(text))}</div>'


def words_button(label: str, tooltip: str, *, style: str = "") -> widgets.Button:
    """A button wide enough for its words."""
    return widgets.Button(
        description=label, tooltip=tooltip, button_style=style, layout=widgets.Layout(width="auto", padding="0 1em")
    )


def heard_at_once(button: widgets.Button) -> widgets.Button:
    """The same button, whose clicks are handled while a cell runs, and not only when it has ended.

    JupyterLab sends them to a subshell of the kernel. Since 7.4 ipykernel sends them back to where the widget was made,
    which is the cell that is busy; without that detour, JupyterLab's own choice counts.
    """
    if button.comm is not None:
        button.comm._reply_subshell_for = None
    return button
