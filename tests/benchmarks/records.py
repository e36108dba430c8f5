"""How large a record gets, and how long sealing, showing and verifying it take, for a move of many servers.

    python -m tests.benchmarks.records [SERVERS ...]        (default: 10 500 5000)

The journal and the snapshots are made up, as large as a move of so many servers makes them: 7 steps a server with the
evidence and the request ids of a real one. The record holds what `show_plan`, `show_evidence` and `show_report` show of
it. Everything is then closed, sealed and verified as at the end of a run. Seconds are the processor's, so that a busy
machine changes little.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from pumphouse.journal import Journal
from pumphouse.notebook import runs as notebook
from pumphouse.plan.model import Plan, PlannedStep, PlanServer
from pumphouse.records.archive import FolderArchive
from pumphouse.records.html import record_page
from pumphouse.records.keys import new_key
from pumphouse.records.pages import render_archive
from pumphouse.records.sheet import Sheet, Template, write_sheet
from pumphouse.records.store import RecordHandler, default_policy, open_record
from pumphouse.records.verify import verify_archive
from pumphouse.session import make_report
from pumphouse.session.closing import Closing
from pumphouse.site import Site, load_site

KINDS = ("port", "stop", "boot", "floating-ip", "settle", "group", "keypair")
KIB = 1024
TITLE = ("servers", "record KiB", "side files KiB", "close s", "page s", "page KiB", "archive pages s", "verify s")


@dataclass(frozen=True)
class Measured:
    """Figures of one size; ``record`` lies in ``folder``."""

    servers: int
    folder: Path
    record: Path
    record_bytes: int
    side_bytes: int
    close_s: float
    page_s: float
    page_bytes: int
    pages_s: float
    verify_s: float

    def row(self) -> tuple[str, ...]:
        """As printed."""
        sizes = (self.record_bytes / KIB, self.side_bytes / KIB)
        times = (self.close_s, self.page_s)
        return (
            f"{self.servers:,}",
            *(f"{size:,.0f}" for size in sizes),
            *(f"{seconds:.2f}" for seconds in times),
            f"{self.page_bytes / KIB:,.0f}",
            f"{self.pages_s:.2f}",
            f"{self.verify_s:.2f}",
        )


def make_plan(count: int) -> Plan:
    """A move plan of so many servers, seven steps each."""
    servers, steps = [], []
    for number in range(count):
        server_id = f"{number:08x}-0000-4000-8000-{number:012x}"
        name, address = f"app-{number:04}", f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        servers.append(
            PlanServer(
                server_id, name, f"project-{number // 50}", f"node-{number % 40}", "ACTIVE", (address,),
                (f"192.0.{number // 256}.{number % 256}",), f"{number:012x}", "m1.small", "ubuntu-14.04",
            )
        )  # fmt: skip
        for kind in KINDS:
            phase = "cutover" if kind in ("stop", "boot", "floating-ip", "settle") else "prepare"
            params = {"source_id": server_id, "name": name, "address": address, "metadata": {"role": "web"}}
            steps.append(
                PlannedStep(
                    f"{kind}:{server_id}", kind, phase, f"{kind} of {name}", "destination", (), params,
                    undo="taken back", server_id=server_id,
                )
            )  # fmt: skip
    return Plan("move", "old", "new", "5e1ec7ed" * 8, tuple(servers), tuple(steps))


def journal_all(journal: Journal, run_id: str, plan: Plan) -> None:
    """Every step intended, done and verified, with outcomes as large as real ones."""
    journal.save_plan(plan.hash, kind=plan.kind, selection_digest=plan.selection_digest, document=plan.document)
    journal.set_plan_state(plan.hash, "finished")
    with bulk(journal):
        for number, step in enumerate(plan.steps):
            request = f"compute POST req-{number:08x}-1111-4222-8333-444455556666"
            done = {"id": f"{number:08x}-aaaa-4bbb-8ccc-ddddeeeeffff", "requests": [request], "downtime_s": 2.5}
            done |= {"stop_s": 1.0, "boot_s": 1.4, "answers": True}
            evidence = {
                "id": done["id"],
                "status": "ACTIVE",
                "host": f"new-{number % 30}",
                "addresses": {"10.0.0.1": "fa:16"},
            }
            for event, data in (("intent", {"absent": True}), ("done", done), ("verified", {"evidence": evidence})):
                journal.write(run_id, plan.hash, step.key, event, data)


@contextmanager
def bulk(journal: Journal) -> Iterator[None]:
    """Commit once: the time of the journal is not what is measured here."""
    with journal._engine.begin() as db, patch.object(journal, "_write", lambda work, **_: work(db, False)):
        yield


def shown(plan: Plan, journal: Journal) -> list[Any]:
    """Cells as an executed move notebook holds them."""
    rows = [
        {"step": step.kind, "what": step.title, "evidence": {"id": step.key, "status": "ACTIVE"}} for step in plan.steps
    ]
    displays = [
        notebook.show_plan(plan),
        notebook.show_evidence(rows),
        notebook.show_report(make_report(journal, plan)),
    ]
    cells = []
    for number, display in enumerate(displays):
        bundle = {"text/plain": repr(display), "text/html": display._repr_html_()}
        cells.append(new_code_cell(f"show_{number}()", outputs=[new_output("display_data", data=bundle)]))
    said = "".join(f"done     {step.title} (1.2 s)\n" for step in plan.steps)
    cells.append(new_code_cell("act()", outputs=[new_output("stream", name="stdout", text=said)]))
    return cells


def make_site(folder: Path) -> Site:
    """A site of two clouds that nobody talks to."""
    (folder / "clouds.yaml").write_text("clouds: {old: {auth: {password: of-the-old-one}}, new: {auth: {}}}\n")
    (folder / "site.yaml").write_text("schema: 1\nname: bench\nsource: {cloud: old}\ndestination: {cloud: new}\n")
    return load_site(folder / "site.yaml")


def measure(count: int, folder: Path) -> Measured:
    """Make, close, show and verify the record of a move of so many servers."""
    site = make_site(folder)
    signer = new_key(folder / "key.pem")
    journal = Journal.open(site.journal_url)
    run_id = journal.start_run(
        notebook="move.ipynb", template_digest="", parameters={}, operator="ada", record="record.ipynb"
    )
    plan = make_plan(count)
    journal_all(journal, run_id, plan)
    snapshot = {"servers": [server.__dict__ for server in plan.servers]}
    for side in ("source", "destination"):
        file = site.work_dir / "snapshots" / f"{run_id}-{side}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(snapshot, default=list))
    policy = default_policy(site)
    sheet = Sheet(run_id, Template("move.ipynb", "0" * 64), "ada", datetime.now(UTC), {"projects": []}, site.name)
    book = new_notebook(
        cells=shown(plan, journal), metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )
    write_sheet(book, sheet)
    record = site.records_dir / "record.ipynb"
    with open_record(record, policy):
        RecordHandler.write(nbformat.writes(book), str(record))
    begun = time.process_time()
    _, problem = Closing(journal, site, policy, signer, stem="record").close(sheet.ended("succeeded"))
    close_s = time.process_time() - begun
    journal.close()
    assert not problem, problem
    begun = time.process_time()
    page = record_page(record.name, record.read_bytes())
    page_s = time.process_time() - begun
    archive = FolderArchive(site.records_dir)
    begun = time.process_time()
    render_archive(archive, folder / "www")
    pages_s = time.process_time() - begun
    begun = time.process_time()
    verdict = verify_archive(archive, [signer.key.public_key()])
    verify_s = time.process_time() - begun
    assert verdict.ok, verdict.problems
    side = sum(file.stat().st_size for file in (site.records_dir / "record.files").iterdir())
    return Measured(
        count, folder, record, record.stat().st_size, side, close_s, page_s, len(page.encode()), pages_s, verify_s
    )


def main() -> None:
    """Print a row per size."""
    counts = [int(text) for text in sys.argv[1:]] or [10, 500, 5000]
    print("  ".join(f"{word:>15}" for word in TITLE))
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            print("  ".join(f"{word:>15}" for word in measure(count, Path(folder)).row()), flush=True)


if __name__ == "__main__":
    main()
