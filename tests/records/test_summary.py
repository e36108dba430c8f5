"""The summary on a record's first screen: what an auditor asks, whatever became of the run."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter

from pumphouse.errors import RunbookError
from pumphouse.journal import Journal
from pumphouse.journal.store import SCOPE_KEY
from pumphouse.plan.model import Plan
from pumphouse.records import read_manifest, verify_manifest
from pumphouse.records.archive import FolderArchive
from pumphouse.records.compare import summary_of
from pumphouse.records.hold import take_hold
from pumphouse.records.html import record_page
from pumphouse.records.pages import render_archive
from pumphouse.records.sheet import Sheet, Template
from pumphouse.records.store import LONG_OUTPUT_CHARS, default_policy
from pumphouse.records.summary import _approval, state_words
from pumphouse.runner import run_notebook
from pumphouse.session.byhand import RunByHand
from pumphouse.session.closing import Closing
from pumphouse.session.recover import recover_lost_runs
from pumphouse.session.report import make_report
from pumphouse.session.story import tell_story
from pumphouse.site import Site
from pumphouse.stopping import StopKind, ask_to_stop
from tests.core.making import keep_plan, make_plan, make_step, plan_server
from tests.runner.making import inventory, make_site, read_record, write_template

CLOUDS = [
    {"cloud": "old", "auth_url": "http://old:5000/v2.0", "release": "icehouse", "region": "one"},
    {"cloud": "new", "auth_url": "http://new:5000/v3", "release": None, "region": "two"},
]
EVIDENCE = {
    "project": {"id": "p-2"},
    "stop": {"status": "SHUTOFF"},
    "snapshot": {"id": "image-1"},
    "boot": {"id": "made-1", "host": "new-7", "addresses": {"10.10.0.11": "fa:16"}},
    "settle": {"status": "ACTIVE", "host": "new-7", "downtime_s": 2.5},
}


def move(*ways: str) -> Plan:
    web = plan_server("web1")
    steps = [
        make_step(
            f"{kind}:{web.id}",
            phase="cutover",
            server_id=web.id,
            title=f"{kind} web1",
            undo="taken back",
            params={"project_id": "p-1"},
        )
        for kind in ("stop", *ways, "boot", "settle")
    ]
    place = make_step(
        "project:p-1", params={"source_id": "p-1", "name": "acme-old"}, title="project acme", undo="deleted"
    )
    return make_plan(place, *steps, servers=(web,))


def journalled(journal: Journal, run_id: str, plan: Plan, *, until: str = "settle", fails_once: bool = True) -> None:
    """A run that moved a server, as far as it came."""
    journal.save_plan(plan.hash, kind=plan.kind, selection_digest=plan.selection_digest, document=plan.document)
    journal.set_plan_state(plan.hash, "started")
    now = datetime.now(UTC)
    facts = {"approved_by": "rita", "approved_at": (now - timedelta(hours=1)).isoformat(), "reason": "window"}
    journal.write(run_id, "", "@bind", "bound", {"change": "CHG-1042", "operator": "ada", "clouds": CLOUDS})
    journal.write(run_id, plan.hash, "@check", "checked", {"counts": {"warn": 2}, "accepted": ["root-disk"]})
    approval = facts | {"ticket": "CHG-1042", "operator": "ada", "same_person": False}
    journal.write(run_id, plan.hash, "@approval", "approved", approval)
    for step in plan.steps:
        journal.write(run_id, plan.hash, step.key, "intent", {"absent": True})
        if fails_once and step.kind == "boot":
            journal.write(run_id, plan.hash, step.key, "failed", {"error": "503 from nova", "type": "ApiError"})
            journal.write(run_id, plan.hash, step.key, "intent", {"absent": True})
        if step.kind == until != "settle":
            return
        done = {"id": "made-1", "requests": [f"compute POST req-{step.kind}"], "downtime_s": 2.5, "answers": True}
        journal.write(run_id, plan.hash, step.key, "done", done)
        journal.write(run_id, plan.hash, step.key, "verified", {"evidence": EVIDENCE[step.kind]})


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


def begin_run(journal: Journal, record: str | None = None) -> str:
    return journal.start_run(
        notebook="notebooks/03.ipynb", template_digest="ab" * 32, parameters={"projects": ["acme"]}, operator="ada",
        record=record,
    )  # fmt: skip


def closed(site: Site, *, result: str = "succeeded", until: str = "settle", signer: Any = None) -> Any:
    """A run by the runner that came so far, closed; its record."""
    journal = Journal.open(site.journal_url)
    run_id = begin_run(journal, "r.ipynb")
    journalled(journal, run_id, move(), until=until)
    sheet = Sheet(run_id, Template("notebooks/03.ipynb", "ab" * 32, "cd" * 20, dirty=True), "ada", datetime.now(UTC))
    site.records_dir.mkdir(parents=True, exist_ok=True)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("moved = 1", id="act")])
    nbformat.write(book, site.records_dir / "r.ipynb")
    _, problem = Closing(journal, site, default_policy(site), signer, stem="r").close(sheet.ended(result))
    journal.close()
    assert problem == ""
    assert verify_manifest(site.records_dir) == []
    return read_record(site.records_dir / "r.ipynb")


def facts_of(record: Any) -> dict[str, str]:
    return dict(record["metadata"]["pumphouse"]["facts"])


def test_an_auditors_questions_are_answered_on_the_first_screen(site: Site) -> None:
    record = closed(site)
    facts = facts_of(record)
    assert facts["Request"] == "change CHG-1042"
    assert facts["Run by"] == "ada"
    assert facts["Approval"].startswith("rita at ")
    assert "(before the start, not the operator), ticket CHG-1042: window" in facts["Approval"]
    assert f"4 of 4 steps verified, started; hash {move().hash}" in facts["Plan"]
    assert facts["Clouds"] == "old at http://old:5000/v2.0 (icehouse, one) → new at http://new:5000/v3 (two)"
    assert (
        facts["Template"]
        == "notebooks/03.ipynb, SHA-256 abababababababab…, commit cdcdcdcdcdcd, its repository with uncommitted changes"
    )
    assert facts["Servers"] == "1 moved"
    assert facts["Downtime"] == "1 measured: median 2.5 s, longest 2.5 s"
    assert facts["Findings"] == "2 warn; accepted: root-disk"
    assert "4 of 4 steps in effect can be undone. Run 05-roll-back-move.ipynb with selection dddd" in facts["Back-out"]
    assert facts["Seal"] == "chained in the manifest, not signed"
    top, bottom = record["cells"][0]["source"], record["cells"][-1]["source"]
    assert "- boot web1: failed first (503 from nova), then done." in top
    assert "- Findings accepted by the operator: root-disk." in top
    assert "- The template's repository had changes that are in no commit." in top
    row = [
        "web1",
        "acme → acme-old",
        "moved",
        "rebuilt from its image",
        "ACTIVE, node-1, 10.10.0.11",
        "ACTIVE, new-7, source SHUTOFF, 10.10.0.11",
        "host",
    ]
    assert f"| {' | '.join(row)} | 2.5 | yes |" in top
    assert bottom.startswith("## Steps of this run (4)")
    assert "compute POST req-settle" in bottom


@pytest.mark.parametrize(("result", "until"), [("failed", "boot"), ("aborted", "boot"), ("interrupted", "stop")])
def test_a_run_that_broke_off_is_told_as_far_as_it_came(site: Site, result: str, until: str) -> None:
    record = closed(site, result=result, until=until)
    assert record["cells"][0]["source"].startswith(f"# Result: {result}\n")
    facts = facts_of(record)
    assert "rita" in facts["Approval"]
    assert "begun, outcome unknown" in facts["Steps"]
    assert "web1" in record["cells"][0]["source"]
    assert f"| {until} web1 | begun, outcome unknown" in record["cells"][-1]["source"]


def test_a_server_whose_stop_or_boot_may_have_happened_is_not_called_prepared(site: Site) -> None:
    plan = move()
    key = {step.kind: step.key for step in plan.steps}
    with closing(Journal.open(site.journal_url)) as journal:
        run_id = begin_run(journal)
        said = []
        for kind, event in (("stop", "intent"), ("stop", "verified"), ("boot", "intent"), ("boot", "done")):
            journal.write(run_id, plan.hash, key[kind], event, {})
            said.append(make_report(journal, plan).servers[0].result)
    assert said == ["stop begun, outcome unknown", "stopped at the source", *["boot begun, outcome unknown"] * 2]


@pytest.mark.parametrize(("kind", "said"), [("move", "ACTIVE"), ("rollback", "before the move: ACTIVE")])
def test_a_state_before_the_move_is_not_taken_for_one_before_the_roll_back(site: Site, kind: str, said: str) -> None:
    web = plan_server("web1")
    plan = make_plan(make_step(f"undo:boot:{web.id}", server_id=web.id), servers=(web,), kind=kind)
    with closing(Journal.open(site.journal_url)) as journal:
        run_id = begin_run(journal)
        journal.save_plan(plan.hash, kind=kind, selection_digest=plan.selection_digest, document=plan.document)
        journal.write(run_id, plan.hash, "@plan", "planned", {})
        (row,) = tell_story(journal, run_id)["servers"]
    assert state_words(row["before"]).startswith(said)


@pytest.mark.parametrize("begun", [False, True])
def test_a_roll_back_that_never_began_left_its_servers_untouched(site: Site, begun: bool) -> None:
    web = plan_server("web1")
    plan = make_plan(make_step(f"undo:boot:{web.id}", server_id=web.id), servers=(web,), kind="rollback")
    with closing(Journal.open(site.journal_url)) as journal:
        run_id = begin_run(journal)
        if begun:
            journal.write(run_id, plan.hash, plan.steps[0].key, "intent", {})
        assert make_report(journal, plan).servers[0].result == ("not complete" if begun else "untouched")


@pytest.mark.parametrize(
    ("ways", "said"), [((), "rebuilt from its image"), (("snapshot",), "by a snapshot of its disk")]
)
def test_how_a_server_was_carried_is_told(site: Site, ways: tuple[str, ...], said: str) -> None:
    with closing(Journal.open(site.journal_url)) as journal:
        run_id = begin_run(journal)
        journalled(journal, run_id, move(*ways))
        (server,) = tell_story(journal, run_id)["servers"]
    assert (server["project"], server["destination_project"], server["carried"]) == ("acme", "acme-old", said)


def test_other_tools_show_it_too(site: Site) -> None:
    """As nbviewer does: nbconvert's own template, nothing of ours."""
    page, _ = HTMLExporter().from_notebook_node(closed(site))
    assert "Result: succeeded" in page
    assert "CHG-1042" in page


def test_side_files_tell_the_same_to_machines(site: Site) -> None:
    closed(site)
    folder = site.records_dir / "r.files"
    assert {file.name for file in folder.iterdir()} == {
        "journal.jsonl",
        "summary.json",
        f"plan-{move().hash[:16]}.json",
    }
    rows = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert rows[0]["run"]["operator"] == "ada"
    assert [row["event"] for row in rows[1:4]] == ["bound", "checked", "approved"]
    plan = json.loads((folder / f"plan-{move().hash[:16]}.json").read_text())
    assert Plan.from_document({key: value for key, value in plan.items() if key != "hash"}).hash == plan["hash"]
    (entry,) = read_manifest(site.records_dir)
    told = summary_of(FolderArchive(site.records_dir), entry)
    assert told["story"]["servers"][0]["after"]["host"] == "new-7"
    assert (entry.change, entry.projects, entry.plans) == ("CHG-1042", ("acme",), (move().hash,))


def test_who_approves_his_own_plan_is_named(site: Site) -> None:
    journal = Journal.open(site.journal_url)
    run_id = begin_run(journal)
    plan = move()
    journal.save_plan(plan.hash, kind="move", selection_digest=plan.selection_digest, document=plan.document)
    late = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    facts = {"approved_by": "ada", "approved_at": late, "reason": "x", "ticket": "", "same_person": True}
    journal.write(run_id, plan.hash, "@approval", "approved", facts)
    told = tell_story(journal, run_id)
    journal.close()
    assert told["deviations"][0] == "ada approved the plan and ran it: nobody else looked at it."
    assert "one of two clocks is wrong" in told["deviations"][1]
    assert told["approvals"][0]["before_change"] is False


@pytest.mark.parametrize(
    ("approved_s", "flags", "late"),
    [
        (-60, "before the start, not the operator", False),
        (5, "before the first change, not the operator", False),
        (15, "NOT BEFORE THE FIRST CHANGE, not the operator", True),
    ],
)
def test_an_approval_is_in_time_if_it_came_before_the_first_change(
    site: Site, approved_s: float, flags: str, late: bool
) -> None:
    """A person makes the plan, has it approved in the form and carries it out, all in one run."""
    began = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    with closing(Journal.open(site.journal_url)) as journal:
        journal._now = lambda: began
        run_id, plan = begin_run(journal), move()
        journal.save_plan(plan.hash, kind="move", selection_digest=plan.selection_digest, document=plan.document)
        approved_at = (began + timedelta(seconds=approved_s)).isoformat()
        facts = {"approved_by": "rita", "approved_at": approved_at, "reason": "window", "ticket": ""}
        journal._now = lambda: began + timedelta(seconds=20)
        journal.write(run_id, plan.hash, "@approval", "approved", facts)
        journal._now = lambda: began + timedelta(seconds=10)
        journal.write(run_id, plan.hash, plan.steps[0].key, "intent", {})
        told = tell_story(journal, run_id)
    assert f"({flags})" in _approval(told["approvals"][0])
    assert any("its first step began at 2026-11-23T10:00:10" in line for line in told["deviations"]) is late


def test_a_plan_that_another_run_began_is_a_deviation(site: Site) -> None:
    journal = Journal.open(site.journal_url)
    plan = move()
    first = begin_run(journal)
    journal._now = lambda: datetime.now(UTC) + timedelta(seconds=5)
    second = begin_run(journal)
    journalled(journal, first, plan, until="boot")
    journalled(journal, second, plan)
    told = tell_story(journal, second)
    journal.close()
    assert f"Plan {plan.hash[:12]} was begun by run {first} and taken up again." in told["deviations"]


def test_a_run_by_hand_leaves_a_record(site: Site) -> None:
    journal = Journal.open(site.journal_url)
    run = RunByHand.start(journal, site, notebook="03-move-servers", change="CHG-7", operator="ada")
    journalled(journal, run.id, move())
    assert recover_lost_runs(journal, site) == []  # it is alive
    run.end("succeeded")
    run.end("succeeded")
    (entry,) = read_manifest(site.records_dir)
    assert (entry.run_id, entry.result, entry.record) == (run.id, "succeeded", f"{run.id}.ipynb")
    record = read_record(site.records_dir / f"{run.id}.ipynb")
    assert "begun by hand" in record["cells"][1]["source"]
    assert facts_of(record)["Servers"] == "1 moved"
    assert (site.records_dir / f"{run.id}.files" / "journal.jsonl").exists()
    assert verify_manifest(site.records_dir) == []
    assert list((site.records_dir / ".runs").iterdir()) == []
    journal.close()


def test_the_line_of_a_run_by_hand_names_no_path_of_this_machine(site: Site) -> None:
    journal = Journal.open(site.journal_url)
    run = RunByHand.start(journal, site, notebook="check", change="", operator="ada")
    run.end("failed", f"{site.path.parent / 'clouds.yaml'} cannot be read.")
    (entry,) = read_manifest(site.records_dir)
    assert entry.detail == "clouds.yaml cannot be read."
    assert [f.name for f in site.records_dir.rglob("*") if f.is_file() and str(site.path.parent) in f.read_text()] == []
    journal.close()


def test_a_notebook_that_was_simply_closed_is_listed_by_the_next_start(site: Site) -> None:
    journal = Journal.open(site.journal_url)
    lost = RunByHand.start(journal, site, notebook="03-move-servers", change="CHG-7", operator="ada")
    run_id = lost.id
    journalled(journal, run_id, move(), until="boot")
    del lost
    after = RunByHand.start(journal, site, notebook="01-inventory", change="", operator="bert")
    after.end("succeeded")
    assert [(e.run_id, e.result) for e in read_manifest(site.records_dir)] == [
        (run_id, "interrupted"),
        (after.id, "succeeded"),
    ]
    assert journal.get_run(run_id).result == "interrupted"
    (last,) = (event.at for event in journal.events(run_id=run_id)[-1:])
    entry = read_manifest(site.records_dir)[0]
    assert datetime.fromisoformat(entry.ended_at) == last.replace(microsecond=0)  # not when it was found
    assert f"last heard of it at {last:%Y-%m-%d %H:%M:%S} UTC; that it had ended was found at" in entry.detail
    record = read_record(site.records_dir / f"{run_id}.ipynb")
    assert record["cells"][0]["source"].startswith("# Result: interrupted\n")
    assert "begun, outcome unknown" in facts_of(record)["Steps"]
    assert verify_manifest(site.records_dir) == []
    journal.close()


def test_a_run_of_another_journal_is_left_to_it(site: Site) -> None:
    """Two machines, each with a journal of its own, share a records folder."""
    with closing(Journal.open(site.journal_url)) as ours, closing(Journal.open("sqlite://")) as theirs:
        lost = RunByHand.start(ours, site, notebook="03-move-servers", change="", operator="ada")
        run_id = lost.id
        del lost
        assert recover_lost_runs(theirs, site) == []
        assert recover_lost_runs(ours, site) == [run_id]
    assert [entry.run_id for entry in read_manifest(site.records_dir)] == [run_id]
    assert list((site.records_dir / ".runs").iterdir()) == []


def test_a_run_that_cannot_be_recorded_was_never_begun(site: Site) -> None:
    site.records_dir.write_text("in the way")
    with closing(Journal.open(site.journal_url)) as journal:
        with pytest.raises(RunbookError, match="cannot be written"):
            RunByHand.start(journal, site, notebook="03-move-servers", change="", operator="ada")
        assert journal.list_runs() == []


def test_a_runbook_that_was_lost_is_listed_too(site: Site) -> None:
    journal = Journal.open(site.journal_url)
    run_id = begin_run(journal)
    hold = take_hold(site.records_dir, run_id)
    hold.keep = True
    hold.let_go()
    assert recover_lost_runs(journal, site) == [run_id]
    assert [(e.run_id, e.result, e.record) for e in read_manifest(site.records_dir)] == [(run_id, "interrupted", None)]
    journal.close()


def test_a_lost_run_that_somebody_had_asked_to_stop_was_aborted(site: Site) -> None:
    journal = Journal.open(site.journal_url)
    run_id, plan = begin_run(journal), make_plan(make_step("project:1"))
    keep_plan(journal, plan)
    journal.write(run_id, plan.hash, SCOPE_KEY, "scope", {"steps": ["project:1"]})
    ask_to_stop(journal, run_id, plan.hash, StopKind.NOW, by="olga")
    hold = take_hold(site.records_dir, run_id)
    hold.keep = True
    hold.let_go()
    assert recover_lost_runs(journal, site) == [run_id]
    run = journal.get_run(run_id)
    assert (run.result, "olga asked it to stop" in run.detail) == ("aborted", True)
    journal.close()


def test_a_story_that_cannot_be_told_does_not_keep_the_run_from_being_sealed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("host")

    monkeypatch.setattr("pumphouse.session.closing.tell_story", broken)
    outcome = run_notebook(write_template(site.path.parent / "t.ipynb"), {}, site)
    assert outcome.result == "succeeded"
    assert "could not be told from the journal: KeyError" in read_record(outcome.record)["cells"][0]["source"]
    assert verify_manifest(site.records_dir) == []


def test_long_outputs_go_to_side_files(site: Site) -> None:
    lines = LONG_OUTPUT_CHARS // 10
    source = "\n".join(
        [
            "from IPython.display import display",
            f"print('\\n'.join(f'line {{n:06}}' for n in range({lines})))",
            "rows = ''.join(f'<tr><td>cell {n:06}</td></tr>' for n in range(4000))",
            "html = f'<table><thead><tr><th>a</th></tr></thead><tbody>{rows}</tbody></table>'",
            "text = '\\n'.join(f'row {n:06} of text' for n in range(4000))",
            "display({'text/plain': text, 'text/html': html}, raw=True)",
        ]
    )
    outcome = run_notebook(write_template(site.path.parent / "t.ipynb", *inventory(source)), {}, site)
    assert outcome.result == "succeeded", outcome.detail
    assert outcome.record is not None
    record = read_record(outcome.record)
    said, table = (output for cell in record["cells"] for output in cell.get("outputs", []) if len(str(output)) > 5000)
    assert said["text"].startswith("line 000000\n")
    assert said["text"].endswith(f"line {lines - 1:06}\n")
    assert f"{lines:,} lines" in said["text"]
    assert table["data"]["text/html"].count("<tr>") == 1 + 100 + 1
    assert "and 3,900 more rows" in table["data"]["text/html"]
    folder = site.records_dir / f"{outcome.record.stem}.files"
    whole = sorted(file for file in folder.iterdir() if file.name.startswith("output-"))
    assert [file.read_text().count("\n") for file in whole] == [lines, 3999]
    assert outcome.record.stat().st_size < 60_000
    assert verify_manifest(site.records_dir) == []
    page = render_archive(FolderArchive(site.records_dir), site.path.parent / "www")
    assert "3,900 more rows" in (page.parent / f"{outcome.record.stem}.html").read_text()


def test_links_among_templates_are_words_in_a_page() -> None:
    source = "Then [finalise](04-finalise-move.ipynb), see [the docs](https://example.com/a.ipynb)."
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source)])
    page = record_page("x.ipynb", nbformat.writes(notebook).encode())
    assert "04-finalise-move.ipynb" not in page
    assert "finalise" in page
    assert 'href="https://example.com/a.ipynb"' in page
