"""How quickly servers can be chosen out of thousands, beside what the grid alone and plain JSON would take.

    python -m tests.benchmarks.picker [--servers 5000] [--rounds 5] [--browser]

*show*: making the picker, over itables' grid of the same rows alone. *narrow*: typing a word that one in a hundred has;
*widen*: clearing it again, when all rows go to the browser; *all*: choosing all that match. Those three are over the
least that moving all rows could take: encoding them as JSON. Seconds are the processor's. With ``--browser``
JupyterLab is opened in Chromium, and what a person waits for is measured: from opening the notebook to a picker with
rows, beside the same notebook with the grid alone; from a key to the rows that it leaves; and the tree by project, all
servers in one group of it. Nothing fails for being slow; medians and their ratios are printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ipywidgets
import nbformat
from itables.widget import ITable
from playwright.sync_api import Locator, Page, expect, sync_playwright

from pumphouse.inventory import Inventory
from pumphouse.notebook import Picker, select
from pumphouse.notebook.desk import lay_out
from tests.browser.chromium import launch
from tests.browser.jupyterlab import JupyterLab, jupyterlab
from tests.factories import make_server, make_snapshot

WORD = "s00"
SHOW = "from pumphouse.inventory import Inventory, Snapshot\nfrom pumphouse.notebook import select\n"
PICKER = SHOW + "picker = select(Inventory(Snapshot.load({file!r})))\npicker"
GRID = (
    SHOW
    + "from itables.widget import ITable\nITable(select(Inventory(Snapshot.load({file!r}))).view.shown, maxBytes=0)"
)


@dataclass(frozen=True)
class Ratios:
    """Each over its peer, as the module's docstring says; ``seconds`` are those that they are made of."""

    show: float
    narrow: float
    widen: float
    choose: float
    seconds: dict[str, float]


def inventory_of(servers: int) -> Inventory:
    """A source with so many servers; the names of one in a hundred begin with :data:`WORD`."""
    return Inventory(make_snapshot(servers=[make_server(f"s{n % 1000:03}-{n:05}") for n in range(servers)]))


def measure(servers: int, rounds: int = 3) -> Ratios:
    """The ratios in this process, medians of some rounds."""
    inventory = inventory_of(servers).servers
    took: dict[str, list[float]] = {}

    def clock(name: str, work: Callable[[], object]) -> object:
        begun = time.process_time()
        found = work()
        took.setdefault(name, []).append(max(time.process_time() - begun, 1e-6))
        return found

    for _ in range(rounds):
        picker = clock("picker", lambda: select(inventory))
        assert isinstance(picker, Picker)
        rows = picker.view.shown
        clock("grid", lambda rows=rows: ITable(rows, maxBytes=0))
        every = rows.astype(object).where(rows.notna(), None).to_numpy().tolist()
        clock("json", lambda every=every: json.dumps(every))
        clock("narrow", lambda picker=picker: setattr(picker.view.text_filter, "value", WORD))
        clock("widen", lambda picker=picker: setattr(picker.view.text_filter, "value", ""))
        clock("choose", picker.view.add_button.click)
        ipywidgets.Widget.close_all()
    mid = {name: statistics.median(found) for name, found in took.items()}
    return Ratios(
        show=mid["picker"] / mid["grid"],
        narrow=mid["narrow"] / mid["json"],
        widen=mid["widen"] / mid["json"],
        choose=mid["choose"] / mid["json"],
        seconds=mid,
    )


def write_notebook(path: Path, source: str) -> None:
    """A notebook of one cell."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


def in_browser(servers: int, rounds: int) -> dict[str, float]:
    """Seconds that a person waits, medians."""
    took: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = inventory_of(servers).source.save(folder / "old.json")
        templates = folder / "templates"
        templates.mkdir()
        for title, source in (("picker", PICKER), ("grid", GRID)):
            write_notebook(templates / f"{title}.ipynb", source.format(file=str(file)))
        work, environment = lay_out(folder / "desk", templates, folder / "site.yaml")
        with jupyterlab(work, environment, folder) as lab, sync_playwright() as playwright:
            browser = launch(playwright)
            for _ in range(rounds):
                for title in ("grid", "picker"):
                    page = browser.new_page(viewport={"width": 1400, "height": 1000})
                    took.setdefault(f"open {title}", []).append(_open(lab, page, title))
                    if title == "picker":
                        for key, seconds in (*_type(page, servers).items(), *_climb(page, servers).items()):
                            took.setdefault(key, []).append(seconds)
                    page.close()
            browser.close()
    return {key: statistics.median(found) for key, found in took.items()}


def _open(lab: JupyterLab, page: Page, title: str) -> float:
    """From opening a notebook, over its kernel's start and Run, to rows that can be clicked."""
    begun = time.monotonic()
    (notebook,) = lab.open(**{title: page})
    notebook.begin(notebook.code.first)
    expect(page.locator(".jp-OutputArea table tbody tr").nth(5)).to_be_visible(timeout=60_000)
    return time.monotonic() - begun


def _type(page: Page, servers: int) -> dict[str, float]:
    """From a key to the rows that it leaves."""
    field = page.get_by_label("Find", exact=True)
    status = page.get_by_text("rows 1 to")
    found = {}
    for name, text, rows in (("narrow", WORD, f"of {servers // 100}"), ("widen", "", f"of {servers:,}")):
        field.focus()
        begun = time.monotonic()
        field.fill(text)
        expect(status).to_contain_text(rows, timeout=30_000)
        found[name] = time.monotonic() - begun
    return found


def _climb(page: Page, servers: int) -> dict[str, float]:
    """The tree by project: from its tab to its groups, from opening the one with all servers to the last of them, and
    from choosing one of them, and then all, to the totals that say so.
    """
    tree = page.locator(".ph-tree")
    group = tree.locator("summary").first
    begun = time.monotonic()
    page.get_by_role("tab", name="By project").click()
    group.wait_for()
    found = {"tree": time.monotonic() - begun}
    found["open group"] = clicked(page, group, f".ph-tree-member:nth-child({servers + 1})")
    one = tree.locator(".ph-tree-member input").first
    found["choose in tree"] = clicked(page, one, "[role=status]", "1 server ·")
    found["choose group"] = clicked(page, group.locator("input"), "[role=status]", f"{servers:,} servers ·")
    return found


def clicked(page: Page, what: Locator, seen: str, text: str = "") -> float:
    """Seconds from a click until something with a text is drawn; asked inside the page: Playwright's own looking at
    thousands of elements would be what is measured.
    """
    seconds: float = page.evaluate(
        """([what, seen, text]) => new Promise((done, failed) => {
            setTimeout(() => failed(new Error(`no ${text || seen} within a minute`)), 60000);
            const begun = performance.now();
            const look = () => {
                const found = [...document.querySelectorAll(seen)].some((one) => one.textContent.includes(text));
                if (found) requestAnimationFrame(() => done((performance.now() - begun) / 1000));
                else setTimeout(look, 5);
            };
            what.click();
            look();
        })""",
        [what.element_handle(), seen, text],
    )
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--servers", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--browser", action="store_true")
    wanted = parser.parse_args()
    found = measure(wanted.servers, wanted.rounds)
    print(f"{wanted.servers:,} servers: show {found.show:.1f} × the grid alone; over encoding all rows as JSON:")
    print(f"  narrow {found.narrow:.2f}, widen {found.widen:.1f}, choose all {found.choose:.2f}")
    print("  seconds of a processor: " + ", ".join(f"{name} {value:.4f}" for name, value in found.seconds.items()))
    if wanted.browser:
        waited = in_browser(wanted.servers, wanted.rounds)
        print(f"in JupyterLab: open {waited['open picker'] / waited['open grid']:.2f} × the grid alone")
        print("  seconds: " + ", ".join(f"{name} {value:.2f}" for name, value in waited.items()))


if __name__ == "__main__":
    main()
