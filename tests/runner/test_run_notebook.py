"""One notebook, really executed: whatever happens to it, the record, the journal and the manifest tell the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import JournalError, RunbookError
from pumphouse.journal import Journal
from pumphouse.records import Entry, read_manifest, verify_manifest
from pumphouse.runner import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_STOPPED,
    RunOutcome,
    StopSwitch,
    recover_lost_runs,
    run_notebook,
)
from pumphouse.site import Site
from tests.runner.making import code, inventory, make_site, output_text, prose, read_record, statuses, write_template


@dataclass
class Ran:
    """A run seen from its four sides."""

    outcome: RunOutcome
    record: Any
    text: str
    site: Site

    @property
    def entry(self) -> Entry:
        return read_manifest(self.site.records_dir)[-1]

    def agree_on(self, result: str) -> None:
        """Outcome, record's metadata, record's first cell, journal and manifest name the same result."""
        assert self.outcome.result == result
        assert self.record["metadata"]["pumphouse"]["result"] == result
        assert self.record["cells"][0]["source"].startswith(f"# Result: {result}\n")
        assert self.entry.result == result
        assert self.entry.run_id == self.outcome.run_id == self.record["metadata"]["pumphouse"]["run_id"]
        journal = Journal.open(self.site.journal_url)
        try:
            row = journal.get_run(self.outcome.run_id)
        finally:
            journal.close()
        assert (row.result, row.state) == (result, "ended")
        assert row.record == self.entry.record
        assert verify_manifest(self.site.records_dir) == []
        broken = self.record["metadata"]["papermill"]["exception"]
        assert broken is (None if statuses(self.record)[-1] == "completed" else True)


def run(folder: Path, *body: Any, **options: Any) -> Ran:
    site = make_site(folder / "site")
    template = write_template(folder / "templates" / "tiny.ipynb", *body)
    return seen(run_notebook(template, options.pop("parameters", {}), site, **options), site)


def seen(outcome: RunOutcome, site: Site) -> Ran:
    assert outcome.record is not None
    return Ran(outcome, read_record(outcome.record), outcome.record.read_text(), site)


@pytest.fixture(scope="module")
def happy(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("happy")
    handover = folder / "site" / "work" / "handover-secrets.yaml"
    source = "\n".join(
        [
            "import os, pathlib",
            "print('run', os.environ['PUMPHOUSE_RUN_ID'], 'count', count, 'in', os.getcwd())",
            "print('site is a file:', pathlib.Path(site).is_absolute() and os.path.exists(site), site)",
            "print('correct-horse', end='', flush=True); print('-battery', flush=True)",
            f"pathlib.Path(r'{handover}').parent.mkdir(exist_ok=True)",
            f"pathlib.Path(r'{handover}').write_text('anna: {{password: grown-while-running}}')",
            "print({'user': 'anna', 'note': 'grown-while-running'})",
            "print('project 0123456789abcdef0123456789abcdef')",
        ]
    )
    events: list[Any] = []
    ran = run(folder, *inventory(source), parameters={"count": 3}, operator="Ada", reporter=events.append)
    ran.record["events"] = events
    return ran


def test_a_notebook_that_reaches_its_last_cell_succeeds(happy: Ran) -> None:
    happy.agree_on("succeeded")
    assert happy.outcome.exit_code == EXIT_OK
    assert set(statuses(happy.record)) == {"completed"}
    assert happy.record["metadata"]["papermill"]["exception"] is None


def test_kernel_knows_run_parameters_and_site(happy: Ran) -> None:
    text = output_text(happy.record)
    assert f"run {happy.outcome.run_id} count 3" in text
    assert "site is a file: True" in text


def test_record_holds_resolved_parameters_and_provenance(happy: Ran) -> None:
    facts = happy.record["metadata"]["pumphouse"]
    assert facts["parameters"] == {"site": "site.yaml", "count": 3}
    assert facts["operator"] == happy.entry.operator == "Ada"
    assert facts["template"]["path"] == "tiny.ipynb"
    assert len(facts["template"]["sha256"]) == 64
    assert set(facts["versions"]) == {"python", "pumphouse", "openstacksdk", "papermill"}
    assert facts["started_at"] <= facts["ended_at"]
    top = happy.record["cells"][0]["source"]
    for shown in ("succeeded", "Ada", "tiny.ipynb", facts["template"]["sha256"][:16], "| `count` | 3 |", "old to new"):
        assert shown in top


def test_secrets_never_reach_the_record(happy: Ran) -> None:
    for secret in ("correct-horse-battery", "grown-while-running", "from-secure-yaml-77"):
        assert secret not in happy.text
    assert output_text(happy.record).count("***") == 2
    assert "0123456789abcdef0123456789abcdef" in happy.text


def test_record_names_no_path_of_this_machine(happy: Ran) -> None:
    for folder in (str(happy.site.path.parent), str(Path.home()), sys.prefix, str(Path.cwd())):
        assert folder + "/" not in happy.text
    assert happy.record["metadata"]["papermill"]["input_path"] == "tiny.ipynb"
    assert happy.outcome.record is not None
    assert happy.record["metadata"]["papermill"]["output_path"] == happy.outcome.record.name


def test_reporter_hears_of_every_code_cell(happy: Ran) -> None:
    ended = [event for event in happy.record["events"] if event.seconds is not None]
    assert [event.status for event in ended] == ["completed"] * 5
    assert [event.heading for event in ended][-2:] == ["Look", "Report"]
    assert ended[-1].cell == ended[-1].cells == 5


def test_nothing_but_records_is_left_in_the_folder(happy: Ran) -> None:
    names = {file.name for file in happy.site.records_dir.iterdir()}
    assert happy.outcome.record is not None
    stem = happy.outcome.record.stem
    own = {f"{stem}.ipynb", f"{stem}.files", f"{stem}.dsse.json"}
    assert names == own | {"MANIFEST.jsonl", ".manifest.lock", ".runs"}
    side = {file.name for file in (happy.site.records_dir / f"{stem}.files").iterdir()}
    assert side == {"journal.jsonl", "summary.json"}
    assert list((happy.site.records_dir / ".runs").iterdir()) == []


def test_failing_cell(tmp_path: Path) -> None:
    ran = run(tmp_path, *inventory("raise ValueError('it holds correct-horse-battery')"))
    ran.agree_on("failed")
    assert ran.outcome.exit_code == EXIT_FAILED
    assert statuses(ran.record) == ["completed", "completed", "completed", "failed", "pending"]
    assert ran.outcome.detail.startswith("Cell 6 (Look): ValueError: it holds ***")
    assert "correct-horse" not in ran.text + ran.entry.detail


def test_killed_kernel(tmp_path: Path) -> None:
    ran = run(tmp_path, *inventory("import signal\nsignal.raise_signal(signal.SIGKILL)"))
    ran.agree_on("interrupted")
    assert ran.outcome.exit_code == EXIT_STOPPED
    assert "the kernel died" in ran.outcome.detail
    assert statuses(ran.record) == ["completed", "completed", "completed", "failed", "pending"]


def test_cell_timeout_interrupts_the_cell(tmp_path: Path) -> None:
    source = "import time\ntry:\n    time.sleep(60)\nfinally:\n    print('cleaned up')"
    ran = run(tmp_path, *inventory(source), cell_timeout_s=1)
    ran.agree_on("interrupted")
    assert "longer than the limit of 1 s" in ran.outcome.detail
    assert "cleaned up" in output_text(ran.record)
    assert statuses(ran.record)[-2:] == ["failed", "pending"]


def test_a_cell_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    source = "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        pass"
    ran = run(tmp_path, *inventory(source), cell_timeout_s=1, switch=StopSwitch(grace_s=0.5))
    ran.agree_on("interrupted")
    assert "did not react and was killed" in ran.outcome.detail


def test_failed_check_is_a_refusal(tmp_path: Path) -> None:
    source = "from pumphouse.errors import ChecksFailed\nraise ChecksFailed('2 findings block.', remedy='mend them.')"
    ran = run(tmp_path, prose("## Check"), code(source, "ph-check"))
    ran.agree_on("refused")
    assert ran.outcome.exit_code == EXIT_REFUSED
    assert "2 findings block." in ran.outcome.detail


@pytest.mark.parametrize(
    ("events", "result", "said"),
    [
        (["intent", "failed"], "failed", "a step that failed"),
        (["intent", "done"], "failed", "without a verified outcome"),
        (["intent", "done", "verified"], "succeeded", "is verified"),
    ],
)
def test_the_journal_has_the_last_word(tmp_path: Path, events: list[str], result: str, said: str) -> None:
    source = "\n".join(
        [
            "import os, pumphouse.site",
            "from pumphouse.journal import Journal",
            "journal = Journal.open(pumphouse.site.load_site(site).journal_url)",
            f"for event in {events!r}:",
            "    journal.write(os.environ['PUMPHOUSE_RUN_ID'], 'plan', 'step', event)",
        ]
    )
    ran = run(tmp_path, *inventory(source))
    ran.agree_on(result)
    assert said in ran.outcome.detail


def test_signal_between_cells_stops_before_the_next(tmp_path: Path) -> None:
    switch = StopSwitch()

    def reporter(progress: Any) -> None:
        if progress.heading == "Look" and progress.seconds is not None:
            switch.throw("SIGTERM")

    ran = run(tmp_path, *inventory("looked = 1"), reporter=reporter, switch=switch)
    ran.agree_on("aborted")
    assert statuses(ran.record)[-2:] == ["completed", "pending"]


RUNNER = """
import sys
from pumphouse.runner import run_notebook
from pumphouse.site import load_site
print(run_notebook(sys.argv[1], {}, load_site(sys.argv[2])).exit_code)
"""


def start_runner(folder: Path, source: str) -> tuple[subprocess.Popen[str], Site]:
    """A process that runs a notebook; returns when the cell with ``source`` has touched the file ``begun``."""
    site = make_site(folder / "site")
    begun = folder / "begun"
    touch = f"import pathlib, time\npathlib.Path(r'{begun}').touch()\n"
    template = write_template(folder / "tiny.ipynb", *inventory(touch + source))
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(template), str(site.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    limit = time.monotonic() + 60
    while not begun.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit, "the cell never began"
        time.sleep(0.02)
    return process, site


def only_record(site: Site) -> Path:
    (record,) = site.records_dir.glob("*.ipynb")
    return record


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_runner_aborts(tmp_path: Path, number: signal.Signals) -> None:
    process, site = start_runner(tmp_path, "try:\n    time.sleep(60)\nfinally:\n    print('cleaned up')")
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert said.strip() == str(EXIT_STOPPED)
    record = read_record(only_record(site))
    assert record["metadata"]["pumphouse"]["result"] == "aborted"
    assert f"stopped by {number.name}" in record["metadata"]["pumphouse"]["detail"]
    assert "cleaned up" in output_text(record)
    assert statuses(record)[-2:] == ["failed", "pending"]
    assert [entry.result for entry in read_manifest(site.records_dir)] == ["aborted"]
    assert verify_manifest(site.records_dir) == []


def test_run_of_a_vanished_process_is_closed_by_the_next(tmp_path: Path) -> None:
    process, site = start_runner(tmp_path, "import os\nprint('pid', os.getpid(), flush=True)\ntime.sleep(60)")
    process.kill()
    process.communicate(timeout=30)
    assert read_record(only_record(site))["metadata"]["pumphouse"]["result"] == "running"
    journal = Journal.open(site.journal_url)
    try:
        (run_id,) = recover_lost_runs(journal, site)
        assert recover_lost_runs(journal, site) == []
        row = journal.get_run(run_id)
    finally:
        journal.close()
    record = read_record(only_record(site))
    assert row.result == record["metadata"]["pumphouse"]["result"] == "interrupted"
    assert statuses(record)[-2:] == ["failed", "pending"]
    assert record["metadata"]["papermill"]["exception"] is True
    assert [entry.result for entry in read_manifest(site.records_dir)] == ["interrupted"]
    assert verify_manifest(site.records_dir) == []


def test_run_that_cannot_be_closed_did_not_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> str:
        raise RunbookError("Manifest cannot be written: disk full.", remedy="make room.")

    site = make_site(tmp_path / "site")
    template = write_template(tmp_path / "tiny.ipynb")
    with monkeypatch.context() as patched:
        patched.setattr("pumphouse.session.closing.seal_run", full)
        outcome = run_notebook(template, {}, site)
    assert (outcome.result, outcome.exit_code) == ("failed", EXIT_FAILED)
    assert "was succeeded but could not be closed: Manifest cannot be written" in outcome.detail
    assert read_manifest(site.records_dir) == []
    journal = Journal.open(site.journal_url)
    assert recover_lost_runs(journal, site) == [outcome.run_id]
    journal.close()
    assert [entry.result for entry in read_manifest(site.records_dir)] == ["succeeded"]
    assert verify_manifest(site.records_dir) == []


def test_unreadable_journal_at_the_end_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> str:
        raise JournalError("Journal cannot be read: locked.", remedy="look at the database.")

    monkeypatch.setattr(Journal, "run_result", broken)
    ran = run(tmp_path)
    ran.agree_on("interrupted")
    assert "Journal cannot be read" in ran.outcome.detail


def test_records_folder_that_cannot_be_written(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    site.records_dir.write_text("a file in the way")
    with pytest.raises(RunbookError, match=r"Records folder .* cannot be written"):
        run_notebook(write_template(tmp_path / "tiny.ipynb"), {}, site)
    journal = Journal.open(site.journal_url)
    assert journal.list_runs() == []
    journal.close()


def test_runs_of_several_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    journal = Journal.open(site.journal_url)
    outcomes: dict[int, RunOutcome] = {}

    def go(number: int) -> None:
        template = write_template(tmp_path / f"{number}.ipynb", *inventory("print('count', count)"))
        outcomes[number] = run_notebook(template, {"count": number}, site, journal=journal)

    threads = [threading.Thread(target=go, args=(number,)) for number in (11, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=90)
    journal.close()
    assert {number: outcome.result for number, outcome in outcomes.items()} == {11: "succeeded", 12: "succeeded"}
    for number, outcome in outcomes.items():
        assert f"count {number}\n" in output_text(read_record(outcome.record))
    assert verify_manifest(site.records_dir) == []


def test_outcome_as_json(happy: Ran) -> None:
    facts = json.loads(json.dumps(happy.outcome.to_json()))
    assert facts["result"] == "succeeded"
    assert facts["exit_code"] == 0
    assert "/" not in facts["record"]
