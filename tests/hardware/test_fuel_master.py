"""From a site whose hardware all serves the old cloud to a new cloud beside it: master, environment, credentials."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator

import pytest
import yaml

from pumphouse.errors import ChecksFailed, PlanError
from tests.hardware.hall import LabHall
from tests.labsite import SDK_WARNS_OF_ITSELF, start_lab
from tests.raw import ask

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.slow]


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHall]:
    lab = start_lab(tmp_path_factory, name="fuel", scale=0.02, destination="fuel", content="plain")
    found = LabHall(lab)
    found.hurry()
    yield found
    lab.stop()


def wishes(hall: LabHall, **changed: object) -> dict[str, object]:
    public = ipaddress.ip_network(str(hall.lab.facts["floating_cidr"]))
    return {
        "controllers": ["cmp-04"],
        "computes": ["cmp-05"],
        "public": {"cidr": str(public), "gateway": str(public[1]), "hosts": 6, "floating": 8},
        "master": "spare-01",
        "medium": "pxe",
        "discovery_s": 60.0,
        "api_timeout_s": 60.0,
    } | changed


def test_a_new_cloud_stands_beside_the_old_one(hall: LabHall) -> None:
    for node in ("cmp-04", "cmp-05"):
        with hall.run() as run, pytest.raises(ChecksFailed, match="acquire it first"):
            run.require_clean(run.check(run.hardware.plan_fuel_master(**wishes(hall))))  # type: ignore[arg-type]
        with hall.run() as run:
            hall.carry_out(run, run.hardware.plan_acquire(node))
    before = hall.servers()
    with hall.run() as run:
        made = run.hardware.plan_fuel_master(**wishes(hall))  # type: ignore[arg-type]
        assert made.kind == "fuel-master"
        networks = next(step for step in made.steps if step.kind == "fuel-networks")
        hall.carry_out(run, made)
    # the slices hold nothing that the source has
    taken = {ipaddress.IPv4Address(a) for a in floating(hall)}
    for name in ("ip_range", "floating_range"):
        first, last = map(ipaddress.IPv4Address, networks.params[name])
        assert not [a for a in taken if first <= a <= last]
    clouds = yaml.safe_load((hall.lab.directory / "clouds.yaml").read_text())["clouds"]
    secure = hall.lab.directory / "secure.yaml"
    assert stat.S_IMODE(secure.stat().st_mode) == 0o600
    assert {"old", "new"} <= clouds.keys()
    assert "password" not in clouds["new"]["auth"]
    assert yaml.safe_load(secure.read_text())["clouds"]["new"]["auth"]["password"]
    machine = hall.machine("spare-01")
    assert (machine["runs"], hall.machine("cmp-04")["runs"], hall.machine("cmp-05")["runs"]) == (
        "fuel",
        "destination",
        "destination",
    )
    assert hall.servers() == before
    assert hall.lab.violations() == []
    with hall.run() as run:  # the same choice again is the same plan, and all of it is in place
        again = run.hardware.plan_fuel_master(**wishes(hall))  # type: ignore[arg-type]
        assert again.hash == made.hash
        hall.carry_out(run, again)
        adopted = run.hardware.plan_fuel_master(**wishes(hall, master="", discovery_s=61.0))  # type: ignore[arg-type]
        assert not [step for step in adopted.steps if step.kind == "node-medium"]


def floating(hall: LabHall) -> set[str]:
    with hall.lab.connect("old") as old:
        return {one["address"] for one in ask(old.compute, "/os-floating-ips-bulk")["floating_ip_info"]}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"public": {"cidr": "10.0.0.0/24"}}, "in the parameter public both cidr and gateway"),
        ({"medium": "floppy"}, "No medium"),
        ({"public": {"cidr": "10.0.0.0/24", "gateway": "10.1.0.1"}}, "is not in the Public network"),
        ({"public": {"cidr": "10.0.0.0/29", "gateway": "10.0.0.1", "hosts": 9}}, "no 32 addresses in a row"),
    ],
)
def test_what_cannot_be_is_said_before_anything(hall: LabHall, changed: dict[str, object], said: str) -> None:
    with hall.run() as run, pytest.raises(PlanError) as caught:
        run.hardware.plan_fuel_master(**wishes(hall, **changed))  # type: ignore[arg-type]
    assert said in str(caught.value)
