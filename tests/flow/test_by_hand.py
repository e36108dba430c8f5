"""The same notebook in a person's kernel and headless: the same plan, the same journal, the same record."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from pumphouse.journal import Journal
from pumphouse.runner.execute import run_notebook
from pumphouse.selection import select_servers
from pumphouse.session.run import RUN_ID_VARIABLE
from pumphouse.session.story import tell_story
from pumphouse.site import SITE_VARIABLE, load_site
from tests.flow.desk import MOVED, Desk
from tests.labsite import SDK_WARNS_OF_ITSELF

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.slow]

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
#: What papermill adds to a record, beside the cells of the template.
ADDED = {"injected-parameters", "ph-summary", "ph-appendix"}


@pytest.fixture(scope="module")
def ids(fleet: Iterator[str]) -> list[str]:
    """Two servers of a kind."""
    return list(islice(fleet, 2))


@pytest.fixture
def journal(desk: Desk) -> Iterator[Journal]:
    book = Journal.open(load_site(desk.lab.site_file).journal_url)
    yield book
    book.close()


def by_hand(desk: Desk, name: str, server_ids: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run all cells in a plain kernel, as JupyterLab's Run All does, with the parameters typed into their cell."""
    book = nbformat.read(NOTEBOOKS / name, as_version=4)
    (cell,) = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", [])]
    cell.source = cell.source.replace("ids: list = []", f"ids: list = {server_ids!r}")
    monkeypatch.setenv(SITE_VARIABLE, str(desk.lab.site_file))
    monkeypatch.delenv(RUN_ID_VARIABLE, raising=False)
    # nbclient hands a copy of the environment to the kernel
    assert os.environ[SITE_VARIABLE]
    NotebookClient(book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    return book


def headless(desk: Desk, name: str, server_ids: list[str], journal: Journal) -> Any:
    """Run it through the runner; the record."""
    outcome = run_notebook(NOTEBOOKS / name, {"ids": server_ids}, load_site(desk.lab.site_file), journal=journal)
    assert outcome.result == "succeeded", outcome.detail
    assert outcome.record is not None
    return nbformat.read(outcome.record, as_version=4)


def approve_move(desk: Desk, server_ids: list[str]) -> None:
    """Somebody approves the plan that the notebook will make."""
    with desk.run() as planned:
        plan = planned.plan_move(select_servers(planned.inventory().servers, ids=server_ids))
        desk.approve(plan, planned)


def last_run(journal: Journal, name: str) -> str:
    """Id of the last run of a notebook."""
    return [run.id for run in journal.list_runs() if Path(run.notebook).stem == Path(name).stem][-1]


def sections(book: Any) -> list[tuple[str, list[str]]]:
    """Each cell of the template with the kinds of what it shows; streams of lines count once."""
    found = []
    for cell in book.cells:
        if ADDED & set(cell.metadata.get("tags", [])) or cell.cell_type != "code":
            continue
        kinds = []
        for output in cell.outputs:
            # a record keeps what can be read without a kernel, so no views of widgets
            kind = output.get("name") or ", ".join(sorted({*output.get("data", {})} - {WIDGET}))
            if kind not in kinds:
                kinds.append(kind)
        found.append((cell.id, kinds))
    return found


def steps(journal: Journal, run_id: str) -> Counter[tuple[str, str]]:
    """Kinds of steps and their events."""
    return Counter((event.step_key.partition(":")[0], event.event) for event in journal.events(run_id=run_id))


@pytest.mark.filterwarnings("default")
def test_a_check_gives_the_same_plan_and_the_same_findings(
    desk: Desk, ids: list[str], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = by_hand(desk, "02-check.ipynb", ids, monkeypatch)
    hand = tell_story(journal, last_run(journal, "02-check"))
    batch_record = headless(desk, "02-check.ipynb", ids, journal)
    batch = tell_story(journal, last_run(journal, "02-check"))
    assert [plan["hash"] for plan in hand["plans"]] == [plan["hash"] for plan in batch["plans"]] != []
    assert hand["findings"] == batch["findings"]
    assert hand["ledger"] == batch["ledger"]
    assert sections(mine) == sections(batch_record)


@pytest.mark.filterwarnings("default")
def test_a_move_leaves_the_same_journal_and_the_same_record(
    desk: Desk, ids: list[str], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve_move(desk, ids[:1])
    mine = by_hand(desk, "03-move-servers.ipynb", ids[:1], monkeypatch)
    hand = last_run(journal, "03-move-servers")
    approve_move(desk, ids[1:])
    batch_record = headless(desk, "03-move-servers.ipynb", ids[1:], journal)
    batch = last_run(journal, "03-move-servers")
    assert desk.places(ids) == [MOVED, MOVED]
    assert sections(mine) == sections(batch_record)
    told = [tell_story(journal, run_id) for run_id in (hand, batch)]
    assert told[0].keys() == told[1].keys()
    own = [{step["kind"]: step["result"] for step in one["steps"] if step["server"]} for one in told]
    assert own[0] == own[1] != {}
    events = [
        {key: count for key, count in steps(journal, run_id).items() if key[0] in own[0] or key[0].startswith("@")}
        for run_id in (hand, batch)
    ]
    assert events[0] == events[1]


@pytest.mark.filterwarnings("default")
def test_running_all_again_after_the_end_shows_the_move_and_does_nothing(
    desk: Desk, fleet: Iterator[str], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing in the parameters, as after a restart of a kernel whose servers were chosen in the picker."""
    server_id = next(fleet)
    approve_move(desk, [server_id])
    mine = by_hand(desk, "03-move-servers.ipynb", [server_id], monkeypatch)
    again = by_hand(desk, "03-move-servers.ipynb", [], monkeypatch)
    assert desk.places([server_id]) == [MOVED]
    # the lines of steps that are carried out are the only thing that does not come back
    shown = [
        [(cell, [kind for kind in kinds if kind != "stdout"]) for cell, kinds in sections(book)]
        for book in (mine, again)
    ]
    assert shown[0] == shown[1]
    last = last_run(journal, "03-move-servers")
    assert journal.get_run(last).result == "nothing-to-do"
    assert {event for _kind, event in steps(journal, last) if not _kind.startswith("@")} == {"skipped"}
