"""Nodes of a lab, over IPMI, SSH and Fuel's HTTP: notebooks, staged faults, and the way back.

Each test has nodes of its own, so that their order does not matter.
"""

from __future__ import annotations

import pytest
import yaml

from pumphouse.errors import PumphouseError, StepError
from tests.hardware.hall import LabHall
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.steps.bench import eventually

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.slow]


@pytest.fixture(scope="module")
def hall(hardware_lab: LabHall) -> LabHall:
    hardware_lab.ground()
    return hardware_lab


@pytest.mark.timeout(400)
def test_one_node_goes_over_by_its_notebooks_and_every_server_is_alive(hall: LabHall) -> None:
    """compute2 holds running servers, which migrate live; then nothing is left that the transfer would wait for."""
    before = hall.servers()
    hall.approve("acquire", "cmp-02")
    code, outcome = hall.headless("notebooks/06-acquire-nodes.ipynb", node="cmp-02")
    assert (code, outcome["result"]) == (0, "succeeded"), outcome
    asked = {"discovery_s": 60.0}
    hall.approve("transfer", "cmp-02", **asked)
    code, outcome = hall.headless("notebooks/08-transfer-node.ipynb", node="compute2", **asked)
    assert (code, outcome["result"]) == (0, "succeeded"), outcome
    machine = hall.machine("cmp-02")
    assert (machine["runs"], machine["disk"], hall.vlan("cmp-02")) == ("destination", "destination", 100)
    assert hall.compute_host("compute2") is None
    after = hall.servers()
    assert {name: status for name, (_, status) in after.items()} == {n: s for n, (_, s) in before.items()}
    assert all(host != "compute2" for host, _ in after.values())
    assert hall.canaries() == []
    hall.conscience()


@pytest.mark.parametrize("switch", ["sw1", "sw1-snmp"])
def test_two_ports_that_site_yaml_mixes_up_block_a_plan_of_either_node(hall: LabHall, switch: str) -> None:
    """Both are in the VLAN that site.yaml says, and a machine runs at each: only the switch tells them apart."""
    site = yaml.safe_load(hall.lab.site_file.read_text(encoding="utf-8"))
    ports = {name: site["nodes"][name]["ports"][0] for name in ("cmp-01", "ctl-01")}
    for name, other in (("cmp-01", "ctl-01"), ("ctl-01", "cmp-01")):
        site["nodes"][name]["ports"][0] = {**ports[name], "port": ports[other]["port"], "switch": switch}
    mixed_up = hall.lab.site_file.with_name(f"mixed-up-{switch}.yaml")
    mixed_up.write_text(yaml.safe_dump(site), encoding="utf-8")
    with hall.run(mixed_up) as run:
        found = {one.code: one for one in run.check(run.hardware.plan_acquire("cmp-01"))}
    foreign = site["nodes"]["ctl-01"]["macs"][0]
    assert found["port-of-another"].severity == "block"
    assert f"MAC {foreign} is heard there, which site.yaml gives to node ctl-01" in found["port-of-another"].message
    with hall.run() as run:
        plan = run.hardware.plan_acquire("cmp-01")
        assert not [one for one in run.check(plan) if one.code.startswith("port-")]
        assert any("its own MAC" in note.text for note in plan.notes)


@pytest.mark.parametrize(
    ("fault", "said", "runs"),
    [
        ("foreign-serial", "this is not the machine that was meant", None),
        ("stuck-power", "power", None),
        ("deaf-port", "VLAN", None),
        ("wrong-image", "did not discover", "wrong-image"),
    ],
)
def test_a_staged_fault_is_a_clear_stop_and_the_node_goes_back_where_it_was(
    hall: LabHall, fault: str, said: str, runs: str | None
) -> None:
    with hall.staged("spare-01", fault), hall.run() as run:
        plan = run.hardware.plan_transfer("spare-01", discovery_s=2.0, copy_disks=False)
        with pytest.raises(PumphouseError, match=said):
            hall.carry_out(run, plan)
    assert (hall.machine("spare-01")["runs"], hall.machine("spare-01")["disk"]) == (runs, "blank")
    if fault != "foreign-serial":  # which was refused before anything was begun
        hall.give_back("spare-01")
    assert (hall.machine("spare-01")["power"], hall.vlan("spare-01")) == ("off", 999)
    hall.conscience()


def test_a_deployment_that_fails_is_begun_again_by_the_same_notebook(hall: LabHall) -> None:
    with hall.run() as run:
        plan = run.hardware.plan_transfer("spare-02", discovery_s=60.0, copy_disks=False)
        with hall.staged("spare-02", "deploy-error"), pytest.raises(StepError, match="ended in error"):
            hall.carry_out(run, plan)
    with hall.run() as run:
        assert run.hardware.plan_transfer("spare-02", discovery_s=60.0, copy_disks=False).hash == plan.hash
        hall.carry_out(run, plan)
        rows = run.verify(plan, "prove")
    assert {row["step"] for row in rows} == {"host-up", "canary"}
    assert hall.machine("spare-02")["runs"] == "destination"
    assert hall.canaries() == []


def test_a_host_that_does_not_let_a_server_go_is_enabled_again_if_the_plan_says_so(hall: LabHall) -> None:
    with hall.run() as run:
        plan = run.hardware.plan_acquire("cmp-03", stuck="enable")
        refused = {"service": "source.compute", "method": "POST", "path": "/action$", "body": "os-migrateLive"}
        with hall.lab.fault(**refused, status=500, times=9), pytest.raises(StepError, match="leaves compute3"):
            hall.carry_out(run, plan)
    there = hall.compute_host("compute3")
    assert there is not None
    assert (there["status"], hall.machine("cmp-03")["power"]) == ("enabled", "on")
    with hall.run() as run:  # what did move is not asked to move again; the rest goes now
        again = run.hardware.plan_acquire("cmp-03", stuck="enable")
        assert again.hash != plan.hash
        hall.carry_out(run, again, "evacuate")
        assert {step.params["name"] for step in again.steps if step.kind == "leave-host"} == {"erp", "db"}
    assert [name for name, (host, _) in hall.servers().items() if host == "compute3"] == []
    hall.conscience()


def test_servers_of_a_dead_host_are_built_anew_after_its_node_lost_power(hall: LabHall) -> None:
    """The guests of a host whose nova-compute died may be alive: without the fence each would live twice."""
    servers = {name for name, (host, _) in hall.servers().items() if host == "compute1"}
    assert servers
    with hall.run() as run:
        plan = run.hardware.plan_acquire("cmp-01", method="rebuild")
        assert [step.kind for step in plan.steps][:3] == ["node-port", "host-disable", "node-fence"]
        hall.carry_out(run, plan, accepted="disk-lost")
    after = hall.servers()
    assert all(after[name][1] == "ACTIVE" and after[name][0] != "compute1" for name in servers)
    assert (hall.machine("cmp-01")["power"], hall.vlan("cmp-01")) == ("off", 100)
    hall.conscience()
    hall.give_back("cmp-01")
    eventually(lambda: (hall.compute_host("compute1") or {}).get("state") == "up", "compute1 up")
    there = hall.compute_host("compute1")
    assert there is not None
    assert (there["status"], hall.vlan("cmp-01")) == ("enabled", 200)
    hall.conscience()
