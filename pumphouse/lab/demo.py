"""``make demo``: a project moves between two simulated clouds; then all hardware of another site goes over.

All of it headlessly, through the notebooks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from pumphouse.lab import process
from pumphouse.lab.process import LabInfo
from pumphouse.lab.upgrade import KEY, signed, upgrade

PROJECT = "acme"
TICKET = "DEMO-1"
WIDTH = 100
_ROOT = Path(__file__).resolve().parents[2]


def main(directory: Path = Path("demo")) -> int:
    """Run the demo in ``directory`` (made anew); exit code 0 only if every step was verified and no law broken."""
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    begun = time.monotonic()
    shutil.rmtree(directory, ignore_errors=True)
    console.rule("[bold]pumphouse demo")
    console.print("Starting a simulated site: an Icehouse cloud with nova-network and a current cloud with Neutron ...")
    info = signed(process.up(directory))
    try:
        code = _move(console, info)
        violations = _violations(info)
        report = _journal(info)
    finally:
        process.down(directory)
    _pumphouse(info, "records", "html")
    _show(console, report, violations)
    records = directory / "records"
    console.print(f"\nRecords     {records}/  (one executed notebook per run, chained in MANIFEST.jsonl)\n")
    ended = upgrade(console, directory / "upgrade")
    console.print(f"\nRecords     {records}/ and {directory}/upgrade/records/")
    console.print(f"To look at  {records}/index.html")
    console.print(f"To verify   .venv/bin/pumphouse records verify {records} --key {directory / KEY}.pub")
    console.print(f"Took        {time.monotonic() - begun:.0f} s; the simulated sites are stopped.")
    return code or ended or (1 if violations else 0)


def _move(console: Console, info: LabInfo) -> int:
    console.print(f"Planning the move of project [bold]{PROJECT}[/bold] ...")
    notebooks = _ROOT / "notebooks"
    code = _pumphouse(
        info, "run", "--quiet", str(notebooks / "02-check.ipynb"), "-p", f"projects={PROJECT}", "-p", f"change={TICKET}"
    )
    if code:
        return code
    plan = next(plan for plan in _journal(info)["plans"] if plan["kind"] == "move")
    console.print(f"Approving plan {plan['plan_hash'][:12]} ({plan['steps']} steps) ...")
    code = _pumphouse(
        info,
        *("approve", plan["plan_hash"], "--by", "demo reviewer", "--reason", "demonstration", "--ticket", TICKET),
    )
    if code:
        return code
    console.print("Running runbooks/move-project.yaml ...")
    runbook = _ROOT / "runbooks" / "move-project.yaml"
    return _pumphouse(info, "run", "--quiet", str(runbook), "-p", f"projects={PROJECT}", "-p", f"change={TICKET}")


def _pumphouse(info: LabInfo, *words: str) -> int:
    command = [sys.executable, "-m", "pumphouse", *words, "--site", str(info.site_file)]
    return subprocess.run(command, check=False, env=dict(os.environ), timeout=900).returncode


def _journal(info: LabInfo) -> dict[str, Any]:
    command = [sys.executable, "-m", "pumphouse", "journal", "--json", "--site", str(info.site_file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _violations(info: LabInfo) -> list[dict[str, Any]]:
    token = (info.directory / "control.token").read_text(encoding="utf-8").strip()
    answer = requests.get(f"{info.facts['control_url']}/violations", headers={"X-Lab-Token": token}, timeout=10)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()["violations"]
    return found


def _show(console: Console, journal: dict[str, Any], violations: list[dict[str, Any]]) -> None:
    plan = next((plan for plan in journal["plans"] if plan["kind"] == "move"), None)
    if plan is None:
        return
    table = Table(title=f"Project {PROJECT}: {plan['verified']} of {plan['steps']} steps done and verified")
    for heading in ("server", "result", "fixed IP", "floating IP"):
        table.add_column(heading)
    for heading in ("stop (s)", "boot (s)", "downtime (s)"):
        table.add_column(heading, justify="right")
    table.add_column("answers")
    for server in sorted(plan["servers"], key=lambda server: str(server["name"])):
        good = server["result"] == "moved"
        table.add_row(
            server["name"],
            f"[{'green' if good else 'red'}]{'● ' if good else '✖ '}{server['result']}",
            ", ".join(server["addresses"]),
            ", ".join(server["floating_ips"]) or "–",
            *(_seconds(server[key]) for key in ("stop_s", "boot_s", "downtime_s")),
            {True: "yes", False: "no", None: "was off"}[server["answers"]],
        )
    console.print()
    console.print(table)
    console.print(
        "stop and boot: the clouds' own times; downtime: last answer at the source to first at the destination."
    )
    if violations:
        for violation in violations:
            console.print(f"[red]✖ {violation['kind']} {violation['address']}: {violation['detail']}")
    else:
        console.print("[green]●[/green] At no moment did two live servers hold one address (the site's own monitor).")


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    sys.exit(main())
