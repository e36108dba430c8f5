"""The end of ``make demo``: all hardware of an old cloud goes over to a new one, by the runbook of that name."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml
from rich.console import Console
from rich.table import Table

from pumphouse.approval import approve
from pumphouse.clouds import connect
from pumphouse.fileio import write_atomic
from pumphouse.journal import Journal
from pumphouse.lab import process
from pumphouse.lab.process import LabInfo
from pumphouse.lab.server import LabOptions
from pumphouse.model import Server
from pumphouse.plan.model import Plan
from pumphouse.records.keys import new_key
from pumphouse.records.sheet import REFUSED
from pumphouse.runner import RunOutcome, run_runbook
from pumphouse.site import load_site

_ROOT = Path(__file__).resolve().parents[2]
_SPEED = 0.02
_TICKET = "DEMO-2"
KEY = "signing-key.pem"
#: Approvals that the runbook may want.
_MOST = 30


@dataclass(frozen=True)
class Before:
    """What the source was: servers by name, hosts that hold some, and what stays behind."""

    servers: dict[str, Server]
    hosts: tuple[str, ...]
    leave: tuple[str, ...]


def upgrade(console: Console, directory: Path) -> int:
    """Run it on a small site of its own; 0 only if all hardware is over, every server alive and no law was broken."""
    console.rule("[bold]rolling upgrade")
    console.print("The demo plays the reviewer as well: whoever approves a customer's plans is another person.")
    console.print("Starting a site whose hardware all serves the old cloud: no Fuel and no new cloud yet ...")
    options = LabOptions(destination="fuel", hardware=True, content="plain", scale=_SPEED, rate_limit="off")
    info = signed(process.up(directory, options))
    try:
        before = _look(info)
        outcome = _run(console, info, before)
        after = _after(info, before)
        violations = _control(info, "/violations")["violations"]
        machines = _control(info, "/hardware")["machines"]
    finally:
        process.down(directory)
    return _show(console, before, after, machines, violations) or (0 if outcome.ok else 1)


def signed(info: LabInfo) -> LabInfo:
    """Make a key for the demo's site, name it in its ``site.yaml``: its records are signed as a customer's would be."""
    new_key(info.directory / KEY, [load_site(info.site_file).records_dir])
    text = info.site_file.read_text(encoding="utf-8")
    write_atomic(info.site_file, f"{text}signing_key: {KEY}\n")
    return info


def _look(info: LabInfo) -> Before:
    with contextlib.closing(connect("old", side="source", clouds_yaml=info.directory / "clouds.yaml")) as old:
        servers = old.compute.list_servers()
        images = {image.id: image for image in old.images.list_images()}
        used = {server.image_id for server in servers}
        for image_id in list(used):
            found = images.get(str(image_id))
            used |= {found.properties.get(key) for key in ("kernel_id", "ramdisk_id")} if found else set()
        spare = [one.address for one in old.network.list_floating_ips() if one.project_id and not one.server_id]
        hosts = sorted({str(server.host) for server in servers})
    return Before(
        servers={server.name: server for server in servers},
        hosts=tuple(hosts),
        leave=(*(image.id for image in images.values() if image.id not in used and image.status == "active"), *spare),
    )


def _run(console: Console, info: LabInfo, before: Before) -> RunOutcome:
    """The runbook, again and again: each time a reviewer approves the plan for which it stopped."""
    public = ipaddress.ip_network(str(info.facts["floating_cidr"]))
    archive = info.directory.absolute() / "controllers.tar"
    given: dict[str, Any] = {
        "acquire": ["cmp-04", "cmp-05"],
        "master": "spare-01",
        "medium": "pxe",
        "controllers": ["spare-02"],
        "computes": ["cmp-04", "cmp-05"],
        "public": {"cidr": str(public), "gateway": str(public[1]), "hosts": 6, "floating": 8},
        "hosts": list(before.hosts),
        # the lab's controllers have no shell: its databases are files beside it
        "archive": ["tar", "-cf", str(archive), "-C", str(info.directory.absolute()), "databases"],
        "archive_file": str(archive),
        "retire": ["net-01", "ctl-01"],
        "leave": list(before.leave),
        "copy_disks": False,
        "change": _TICKET,
    }
    site = load_site(info.site_file)
    approvals = site.work_dir / "approvals"
    with contextlib.closing(Journal.open(site.journal_url)) as journal:
        for _ in range(_MOST):
            outcome = run_runbook(
                _ROOT / "runbooks" / "rolling-upgrade.yaml", given, site, journal=journal, go_on=True,
                step_reporter=lambda number, of, label, done: _tell(console, number, of, label, done),
            )  # fmt: skip
            waiting = journal.plan_documents(states=("proposed",))
            if outcome.result != REFUSED or not waiting:
                return outcome
            plan = Plan.from_document(waiting[-1])
            console.print(f"   the reviewer approves {plan.kind} plan {plan.hash[:12]} ({len(plan.steps)} steps)")
            approve(plan, approvals, by="demo reviewer", reason="demonstration", ticket=_TICKET)
    return outcome


def _tell(console: Console, number: int, of: int, label: str, done: RunOutcome | None) -> None:
    if done is not None and done.result != REFUSED:
        console.print(f"{number:2} of {of}  {label}: {done.result}{'' if done.ok else f' ({done.detail})'}")


def _after(info: LabInfo, before: Before) -> dict[str, tuple[Server | None, bool]]:
    """Each server by name: what the new cloud says of it, and whether its guest answers at the old address."""
    clouds = yaml.safe_load((info.directory / "clouds.yaml").read_text(encoding="utf-8"))["clouds"]
    found: dict[str, Server] = {}
    if "new" in clouds:
        with contextlib.closing(connect("new", side="destination", clouds_yaml=info.directory / "clouds.yaml")) as new:
            found = {server.name: server for server in new.compute.list_servers()}
    port = int(info.facts["guest_port"])
    return {
        name: (found.get(name), any(_answers(address, port) for address in _addresses(server)))
        for name, server in before.servers.items()
    }


def _addresses(server: Server) -> Iterator[str]:
    yield from (one.address for one in server.addresses if one.version == 4 and one.address not in server.floating_ips)


def _answers(address: str, port: int) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"http://{address}:{port}/", timeout=5).ok
    return False


def _show(
    console: Console,
    before: Before,
    after: dict[str, tuple[Server | None, bool]],
    machines: dict[str, Any],
    violations: list[dict[str, Any]],
) -> int:
    table = Table(title="Every server after the upgrade")
    for heading in ("server", "was on", "is on", "fixed IP", "state", "answers"):
        table.add_column(heading)
    lost = 0
    for name, was in sorted(before.servers.items()):
        now, answers = after[name]
        same = now is not None and now.status == was.status and set(_addresses(was)) <= set(_addresses(now))
        good = same and answers is (was.status == "ACTIVE")
        lost += not good
        state = f"[{'green' if good else 'red'}]{'●' if good else '✖'} {now.status if now else 'lost'}"
        where = str(now.host) if now else "–"
        told = "yes" if answers else ("no" if was.status == "ACTIVE" else "was off")
        table.add_row(name, str(was.host), where, ", ".join(_addresses(was)), state, told)
    console.print(table)
    left = [name for name, machine in machines.items() if machine["disk"] not in ("destination", "fuel")]
    over = len(machines) - len(left)
    console.print(f"{over} of {len(machines)} nodes belong to the new cloud or its Fuel master.")
    for violation in violations:
        console.print(f"[red]✖ {violation['kind']} {violation['address']}: {violation['detail']}")
    if not violations:
        console.print("[green]●[/green] No law of the site was broken on the way (its own monitor).")
    return 1 if lost or left or violations else 0


def _control(info: LabInfo, route: str) -> dict[str, Any]:
    token = (info.directory / "control.token").read_text(encoding="utf-8").strip()
    answer = requests.get(info.facts["control_url"] + route, headers={"X-Lab-Token": token}, timeout=10)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found
