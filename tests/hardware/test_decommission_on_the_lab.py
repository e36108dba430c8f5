"""The end of a source on the lab: archived, dark, its controllers in the destination; interrupted, taken up again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import ChecksFailed, StepError
from tests.hardware.hall import LabHall
from tests.labsite import SDK_WARNS_OF_ITSELF, start_lab
from tests.raw import ask

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.slow]

HOSTS = [f"compute{number}" for number in range(1, 6)]
KNOWN = b"databases and configuration"


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHall]:
    """A lab of its own: this is its source's last day."""
    lab = start_lab(tmp_path_factory, name="ending", scale=0.02, hardware=True, content="plain", rate_limit="off")
    hall = LabHall(lab)
    hall.hurry()
    hall.ground()
    yield hall
    lab.stop()


def held(hall: LabHall) -> tuple[list[str], list[str], list[str]]:
    """Names of the source's servers and images, and its projects' floating addresses, as the source itself says."""
    with hall.lab.connect("old") as old:
        found = ask(old.image, "/images?limit=100")["images"]
        images = [image["id"] for image in found if image["status"] == "active"]
        bulk = ask(old.compute, "/os-floating-ips-bulk")["floating_ip_info"]
    return list(hall.servers()), images, [one["address"] for one in bulk if one["project_id"]]


def empty(hall: LabHall) -> None:
    """Whoever owned the source's servers deletes them."""
    with hall.lab.connect("old") as old:
        for server in ask(old.compute, "/servers?all_tenants=1")["servers"]:
            old.compute.delete(f"/servers/{server['id']}")
    assert not hall.servers()


@pytest.mark.timeout(400)
def test_the_source_ends_only_when_nothing_is_left_and_goes_on_when_it_is_dark(ending: LabHall, tmp_path: Path) -> None:
    archive = tmp_path / "controllers.tar"
    write = f"import pathlib; pathlib.Path({str(archive)!r}).write_bytes({KNOWN!r})"
    words = [sys.executable, "-c", write]
    servers, images, addresses = held(ending)
    asked: dict[str, Any] = {
        "copy_disks": False, "discovery_s": 60.0, "controllers": ["net-01", "ctl-01"],
        "become": {"net-01": ["controller"]},
    }  # fmt: skip
    with ending.run() as run:
        plan = run.hardware.plan_decommission(words, str(archive), **asked)
        with pytest.raises(ChecksFailed) as refused:
            run.require_clean(run.check(plan))
    told = {(finding.code, finding.object) for finding in refused.value.findings}
    assert {name for code, name in told if code == "server-left"} == {f"server {name}" for name in servers}
    said = " ".join(finding.message for finding in refused.value.findings if finding.code == "image-left")
    assert all(image_id in said for image_id in images)
    assert {name for code, name in told if code == "host-left"} == {f"host {name}" for name in HOSTS}
    empty(ending)
    asked |= {"leave": [*images, *addresses, *HOSTS]}
    with ending.run() as run, ending.staged("ctl-01", "deploy-error"):
        plan = run.hardware.plan_decommission(words, str(archive), **asked)
        with pytest.raises(StepError, match="ended in error"):
            ending.carry_out(run, plan)
    assert archive.read_bytes() == KNOWN
    assert ending.machine("net-01")["runs"] == "destination"
    given = {"archive": words, "archive_file": str(archive), **asked}
    code, outcome = ending.headless("notebooks/09-decommission.ipynb", **given)
    assert (code, outcome["result"]) == (0, "succeeded"), outcome
    for name in ("net-01", "ctl-01"):
        machine = ending.machine(name)
        assert (machine["runs"], machine["disk"], ending.vlan(name)) == ("destination", "destination", 100)
    assert (ending.machine("net-01")["roles"], ending.machine("ctl-01")["roles"]) == (["controller"], ["compute"])
    with ending.lab.connect("new") as new:
        services = ask(new.compute, "/os-services")["services"]
    control = [(one["host"], one["state"]) for one in services if one["binary"] == "nova-scheduler"]
    assert sorted(state for _, state in control) == ["up", "up"], "the new one beside the first"
    assert ending.machine("net-01")["hostname"] in {host for host, _ in control}
    with ending.run() as run:
        again = run.hardware.plan_decommission(words, str(archive), **asked)
        laid_out = {step.node: step.params["template"] for step in again.steps if step.kind == "node-assign"}
        shown = run.verify(again, "retire")
    assert laid_out["net-01"] != laid_out["ctl-01"] == "new-01", "a controller is laid out like a controller"
    assert {"controller-up", "host-up", "canary"} <= {row["step"] for row in shown}
    history = ending.lab.control("GET", "/hardware")["history"]
    off = [one["name"] for one in history if one["event"] == "power-off" and one["name"] in ("net-01", "ctl-01")]
    assert off.index("net-01") < off.index("ctl-01")
    assert ending.canaries() == []
    assert ending.lab.violations() == []
