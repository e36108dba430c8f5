"""``pumphouse.begin`` in a kernel: one run however often its cell is run; what was begun is closed or taken up."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ipywidgets
import pytest

from pumphouse.errors import RunbookError
from pumphouse.inventory import Inventory
from pumphouse.notebook import opening
from pumphouse.notebook.panel import CellLines
from pumphouse.notebook.picker import Picker
from pumphouse.notebook.resume import Begun, begun_before
from pumphouse.selection import select_servers
from pumphouse.session.run import RUN_ID_VARIABLE
from pumphouse.session.takeup import resumed
from tests.core.making import chosen
from tests.factories import make_snapshot, uid
from tests.notebook.desk_of import desk_run, move_of


class Kernel:
    """As much of IPython's shell as opening a run needs."""

    def __init__(self) -> None:
        self.user_ns: dict[str, Any] = {}
        self.handlers = 0

    def set_custom_exc(self, _kinds: Any, _handler: Any) -> None:
        self.handlers += 1


class Opened:
    """Stands for a run: whether it was ended and closed."""

    def __init__(self, number: int, others: dict[str, Any]) -> None:
        self.id, self.others, self.ended, self.closed = f"run-{number}", others, False, False

    def end(self) -> str:
        self.ended = True
        return "succeeded"

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made, shell = [], Kernel()

    def begin(*_site: Any, **others: Any) -> Opened:
        made.append(Opened(len(made), others))
        return made[-1]

    monkeypatch.delenv(RUN_ID_VARIABLE, raising=False)
    for module in ("opening", "faults"):
        monkeypatch.setattr(f"pumphouse.notebook.{module}.get_ipython", lambda: shell)
    monkeypatch.setattr(opening, "session", SimpleNamespace(begin=begin))
    return shell


def test_the_same_cell_twice_is_one_run_and_says_so(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    first: Any = opening.begin("site.yaml", notebook="03")
    assert opening.begin("site.yaml", notebook="03") is first
    assert capsys.readouterr().out == "This cell was run before: run run-0 goes on. Nothing was begun anew.\n"
    assert not first.ended
    assert kernel.handlers == 2


def test_other_parameters_close_the_run_before(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    first: Any = opening.begin("site.yaml", change="CHG-1")
    second: Any = opening.begin("site.yaml", change="CHG-2")
    assert (first.ended, first.closed, second.id) == (True, True, "run-1")
    assert "Run run-0, which this cell began before, is closed (succeeded)." in capsys.readouterr().out


def test_after_the_report_another_run_begins(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    first: Any = opening.begin("site.yaml")
    first.ended = True
    second: Any = opening.begin("site.yaml")
    assert (first.closed, second.id) == (True, "run-1")
    assert capsys.readouterr().out == ""


def test_a_run_that_cannot_be_closed_keeps_nobody(kernel: Kernel, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    first: Any = opening.begin("a.yaml")

    def refuse() -> str:
        raise RunbookError("The disk is full.")

    monkeypatch.setattr(first, "end", refuse)
    assert opening.begin("b.yaml").id == "run-1"
    assert "could not be closed: The disk is full." in capsys.readouterr().out


def test_under_the_runner_nothing_is_taken_up(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-of-the-runner")
    assert opening.begin("a.yaml") is not opening.begin("a.yaml")


def test_progress_is_shown_unless_somebody_gives_their_own(kernel: Kernel) -> None:
    lines: list[str] = []
    mine: Any = opening.begin("a.yaml", report=lines.append)
    assert mine.others["report"] == lines.append
    assert callable(mine.others["watch"])


def test_outside_a_kernel_it_is_the_librarys_own(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("opening", "faults"):
        monkeypatch.setattr(f"pumphouse.notebook.{module}.get_ipython", lambda: None)
    plain: Any = opening.begin("a.yaml")
    assert plain.others == {"change": "", "operator": "", "notebook": ""}


def test_lines_of_other_threads_are_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run, lines = desk_run(tmp_path), CellLines()
    plan = run.keep(move_of("web"), "started")
    with lines.watching(run, plan, "cutover"):  # type: ignore[arg-type]
        threads = [threading.Thread(target=lines, args=(f"line {n}",)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(line for line in capsys.readouterr().out.splitlines() if line.startswith("line")) == [
        "line 0",
        "line 1",
        "line 2",
    ]
    ipywidgets.Widget.close_all()
    run.journal.close()


# --- going on after a restart ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "by_hand", "notebook", "operator", "found"),
    [
        ("started", True, "03-move-servers", "olga", True),
        ("proposed", True, "03-move-servers", "olga", False),
        ("started", False, "03-move-servers", "olga", False),
        ("started", True, "05-roll-back-move", "olga", False),
        ("started", True, "03-move-servers", "otto", False),
    ],
)
def test_only_ones_own_unfinished_work_is_chosen_again(
    tmp_path: Path, state: str, by_hand: bool, notebook: str, operator: str, found: bool
) -> None:
    run: Any = desk_run(tmp_path, by_hand=by_hand)
    digest = chosen(uid("acme-web1")).digest
    plan = run.keep(move_of("acme-web1", selection_digest=digest), state)
    run.set_out(run.begin(notebook, operator), plan, "prepare")
    begun = begun_before(run, Inventory(make_snapshot()).servers)
    assert (begun is not None) == found
    if begun is not None:
        assert begun.selection.digest == digest
        assert plan.hash[:12] in begun.words
    run.journal.close()


@pytest.mark.parametrize("afterwards", ["nothing", "undone", "one taken back", "another plan", "finalised"])
def test_finished_work_is_chosen_again_as_long_as_it_stands(tmp_path: Path, afterwards: str) -> None:
    """Else running everything again would wipe what the move told out of its notebook."""
    run: Any = desk_run(tmp_path)
    digest = chosen(uid("acme-web1")).digest
    plan = run.keep(move_of("acme-web1", selection_digest=digest), "finished")
    first = run.begin("03-move-servers")
    run.set_out(first, plan)
    run.tell(first, plan, *((step.key, "verified") for step in plan.steps))
    snapshot = make_snapshot()
    match afterwards:
        case "undone":
            run.journal.set_plan_state(plan.hash, "undone")
        case "one taken back":
            run.tell(first, plan, (plan.steps[-1].key, "undone"))
        case "another plan":
            run.journal.write(run.begin("03-move-servers"), "f" * 64, "@plan", "planned", {"kind": "move"})
        case "finalised":
            kept = tuple(server for server in snapshot.servers if server.name != "acme-web1")
            snapshot = replace(snapshot, servers=kept)
    begun = begun_before(run, Inventory(snapshot).servers)
    assert (begun is not None) == (afterwards == "nothing")
    said = resumed(run.journal, plan).message
    assert said.startswith("was finished at 2") != (afterwards == "undone")
    if begun is not None:
        assert (begun.finished, begun.selection.digest) == (True, digest)
        assert re.search(rf"Plan {plan.hash[:12]} .* was finished at 2.* UTC: nothing is left to do", begun.words)
    run.journal.close()


def test_a_roll_back_is_over_only_until_its_servers_move_again(tmp_path: Path) -> None:
    run: Any = desk_run(tmp_path, notebook="05-roll-back-move")
    digest = chosen(uid("acme-web1")).digest
    back = run.keep(move_of("acme-web1", selection_digest=digest, kind="rollback"), "finished")
    run.set_out(run.begin("05-roll-back-move"), back)
    servers = Inventory(make_snapshot()).servers
    assert begun_before(run, servers) is not None
    move = run.keep(move_of("acme-web1", selection_digest=digest), "started")
    run.tell(run.begin("03-move-servers"), move, (move.steps[1].key, "intent"))
    assert begun_before(run, servers) is None
    run.journal.close()


def test_another_choice_drops_what_is_finished(tmp_path: Path) -> None:
    finished = select_servers(Inventory(make_snapshot()).servers, names=["acme-web1", "acme-db1"])
    picker = Picker(
        Inventory(make_snapshot()).servers, None, begun=Begun(finished, "Plan p was finished.", finished=True)
    )
    assert picker.value == finished
    assert "Plan p was finished." in picker.view.summary.value
    grid, listed = picker.view.grid, picker.view.listed
    other = next(n for n, one in enumerate(listed) if one not in finished.server_ids)
    grid.selected_rows = [*grid.selected_rows, other]
    assert picker.value.server_ids == (listed[other],)
    assert list(grid.selected_rows) == [other]
    assert "Plan p was finished." not in picker.view.summary.value
    grid.selected_rows = [n for n, one in enumerate(listed) if one in finished.server_ids][:1]
    picker.reset()
    assert picker.chosen.empty
    ipywidgets.Widget.close_all()
