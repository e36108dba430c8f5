"""Twelve differences between Nailgun 5.1.1, 6.0, 6.1, 7.0 and 8.0: each on the wire, and what our client makes of it.

Each row shows first that the masters differ (asked without our client), then that the client's users cannot tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from pumphouse.errors import NodeRefused
from pumphouse.lab.hardware.nailgun import RELEASES
from pumphouse.nodes.fuel import Fuel, FuelNode
from tests.nodes.fuelmaster import PASSWORD, USER, Master, master

WAIT_S = 20.0


@dataclass
class Bench:
    """A master, our client, and requests that do not go through it."""

    lab: Master
    number: tuple[int, int]
    fuel: Fuel
    names: Iterator[int] = field(default_factory=itertools.count)
    token: str = ""

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        """An answer as it is."""
        url = self.lab.server.url
        if not self.token:
            who = {"tenantName": "admin", "passwordCredentials": {"username": USER, "password": PASSWORD}}
            login = requests.post(f"{url}/keystone/v2.0/tokens", json={"auth": who}, timeout=10)
            self.token = login.json()["access"]["token"]["id"]
        return requests.request(method, f"{url}/api{path}", json=body, headers={"X-Auth-Token": self.token}, timeout=10)

    def environment(self, **values: Any) -> int:
        """A new one."""
        release = self.fuel.find_release("Ubuntu")
        assert release is not None
        return self.fuel.create_environment(f"env-{next(self.names)}", release.id, **values).id

    def node(self, name: str) -> FuelNode:
        """A discovered node that is in no environment."""
        self.lab.boot(name)
        return self.fuel.wait_discovered(self.lab.macs(name), timeout_s=WAIT_S)


@pytest.fixture(scope="module", params=RELEASES)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A master of each release."""
    with master(request.param, machines=len(ROWS)) as lab:
        fuel = lab.fuel()
        yield Bench(lab, fuel.version().number, fuel)
        fuel.close()


def error_bodies(bench: Bench) -> None:
    answer = bench.ask("GET", "/clusters/999/")
    assert answer.text.startswith("{") == (bench.number >= (6, 1))
    with pytest.raises(NodeRefused, match=r"Cluster not found \(HTTP 404\)") as refused:
        bench.fuel.get_environment(999)
    assert refused.value.status == 404


def bodies_of_an_assignment(bench: Bench) -> None:
    environment_id, node = bench.environment(), bench.node("m2")
    path, body = f"/clusters/{environment_id}/assignment/", [{"id": node.id, "roles": ["compute"]}]
    assert bench.ask("POST", path, body).text == ("null" if bench.number >= (7, 0) else "None")
    bench.fuel.unassign(environment_id, [node.id])
    [assigned] = bench.fuel.assign(environment_id, {node.id: ["compute"]})
    assert assigned.pending_roles == ("compute",)


def answers_to_networks(bench: Bench) -> None:
    environment_id = bench.environment()
    path = f"/clusters/{environment_id}/network_configuration/neutron"
    good = bench.ask("GET", path).json()
    answer = bench.ask("PUT", path, good)
    shape = (answer.status_code, "networks" in answer.json())
    assert shape == ((202, False) if bench.number < (6, 1) else (200, bench.number >= (8, 0)))
    now = bench.fuel.network_configuration(environment_id)
    assert bench.fuel.set_network_configuration(environment_id, now.edited({}, {})).networks == now.networks
    wrong = now.edited({"public": {"cidr": "300.1.2.0/24"}}, {})
    refused_at_once = bench.ask("PUT", path, wrong).status_code
    assert refused_at_once == (202 if bench.number < (6, 1) else 200 if bench.number < (8, 0) else 400)
    with pytest.raises(NodeRefused, match=r"300\.1\.2\.0/24"):
        bench.fuel.set_network_configuration(environment_id, wrong)


def answers_to_a_deletion(bench: Bench) -> None:
    node = bench.node("m4")
    answer = bench.ask("DELETE", f"/nodes/{node.id}/")
    assert (answer.status_code, bool(answer.text)) == ((204, False) if bench.number < (6, 1) else (200, True))
    again = bench.node("m4")
    assert again.id != node.id, "its agent reported anew"
    bench.lab.run(bench.lab.fleet.switch_off(bench.lab.machine("m4")))
    bench.fuel.delete_node(again.id, timeout_s=WAIT_S)
    assert bench.fuel.find_node(bench.lab.macs("m4")) is None


def first_status_of_a_task(bench: Bench) -> None:
    environment_id, node = bench.environment(), bench.node("m5")
    bench.fuel.assign(environment_id, {node.id: ["controller"]})
    with bench.lab.held():
        task_id = bench.fuel.deploy_changes(environment_id)
        status = bench.ask("GET", f"/tasks/{task_id}/").json()["status"]
        assert status == ("pending" if bench.number >= (8, 0) else "running")
        running = bench.fuel.running_task(environment_id)
        assert running is not None
        assert running.id == task_id
    bench.fuel.wait_task(task_id, node_ids=[node.id], timeout_s=WAIT_S)


def modes_and_providers(bench: Bench) -> None:
    for values, made_until in (({"mode": "multinode"}, (6, 0)), ({"net_provider": "nova_network"}, (7, 0))):
        before = bench.lab.requests("POST", "/clusters")
        if bench.number <= made_until:
            assert bench.environment(**values)
            continue
        with pytest.raises(NodeRefused, match="has no"):
            bench.environment(**values)
        assert bench.lab.requests("POST", "/clusters") == before, "it is never asked for"


def roles_of_a_release(bench: Bench) -> None:
    told = bench.ask("GET", "/releases/").json()
    assert all(("roles" in one) == (bench.number < (7, 0)) for one in told)
    found = bench.fuel.find_release("Ubuntu")
    assert found is not None
    assert {"controller", "compute"} <= set(found.roles)


def host_names(bench: Bench) -> None:
    node = bench.node("m8")
    told = bench.ask("GET", f"/nodes/{node.id}/").json()
    assert {"hostname", "labels"} <= told.keys() if bench.number >= (7, 0) else not {"hostname", "labels"} & told.keys()
    if bench.number >= (7, 0):
        assert bench.fuel.set_hostname(node.id, "cmp-8").hostname == "cmp-8"
    else:
        assert node.hostname == ""
        with pytest.raises(NodeRefused, match=f"expect node-{node.id}"):
            bench.fuel.set_hostname(node.id, "cmp-8")


def a_deployment_before_the_provisioning(bench: Bench) -> None:
    environment_id, node = bench.environment(), bench.node("m9")
    bench.fuel.assign(environment_id, {node.id: ["controller"]})
    before = bench.lab.requests("PUT", "/deploy")
    with pytest.raises(NodeRefused, match="not provisioned"):
        bench.fuel.deploy_nodes(environment_id, [node.id])
    assert bench.lab.requests("PUT", "/deploy") == before
    begun = bench.ask("PUT", f"/clusters/{environment_id}/deploy/?nodes={node.id}").status_code
    assert begun == (400 if (6, 1) <= bench.number <= (7, 0) else 202)
    bench.lab.run(bench.lab.server.work.idle())


def virtual_addresses(bench: Bench) -> None:
    environment_id, node = bench.environment(), bench.node("m10")
    path = f"/clusters/{environment_id}/network_configuration/neutron"
    fresh = bench.ask("GET", path).json()
    assert ("public_vip" in fresh, "vips" in fresh) == (bench.number < (8, 0), bench.number >= (7, 0))
    with pytest.raises(NodeRefused, match="not operational"):
        bench.fuel.endpoint(environment_id)
    bench.fuel.assign(environment_id, {node.id: ["controller"]})
    bench.fuel.wait_task(bench.fuel.deploy_changes(environment_id), node_ids=[node.id], timeout_s=WAIT_S)
    endpoint, told = bench.fuel.endpoint(environment_id), bench.ask("GET", path).json()
    assert endpoint.public_vip in {told.get("public_vip"), told.get("vips", {}).get("public", {}).get("ipaddr")}
    assert endpoint.management_vip


def logging_in(bench: Bench) -> None:
    state = bench.lab.server.state
    assert bench.ask("GET", "/version/").json()["auth_required"] is True, "since 5.1"
    state.auth_required = False
    try:
        before = bench.lab.requests("POST", "/tokens")
        anybody = bench.lab.fuel("no matter")
        assert anybody.list_releases()
        assert bench.lab.requests("POST", "/tokens") == before, "before 5.1 there is nobody to ask for a token"
    finally:
        state.auth_required = True


def mistakes_that_are_500(bench: Bench) -> None:
    release = bench.fuel.find_release("Ubuntu")
    assert release is not None
    wrong = {"name": "wrong", "release": release.id, "mode": "solo", "net_provider": "neutron"}
    code = 500 if bench.number < (6, 1) else 400
    assert bench.ask("POST", "/clusters/", wrong).status_code == code
    environment_id, node = bench.environment(), bench.node("m12")
    path = f"/clusters/{environment_id}/assignment/"
    assert bench.ask("POST", path, [{"id": node.id}]).status_code == code
    asked = bench.lab.requests("POST", "/clusters"), bench.lab.requests("POST", "/assignment")
    with pytest.raises(NodeRefused, match="mode solo"):
        bench.environment(mode="solo")
    with pytest.raises(NodeRefused, match="without a role"):
        bench.fuel.assign(environment_id, {node.id: []})
    assert (bench.lab.requests("POST", "/clusters"), bench.lab.requests("POST", "/assignment")) == asked


ROWS: tuple[Callable[[Bench], None], ...] = (
    error_bodies,
    bodies_of_an_assignment,
    answers_to_networks,
    answers_to_a_deletion,
    first_status_of_a_task,
    modes_and_providers,
    roles_of_a_release,
    host_names,
    a_deployment_before_the_provisioning,
    virtual_addresses,
    logging_in,
    mistakes_that_are_500,
)


@pytest.mark.parametrize("row", ROWS, ids=[f"{number}-{row.__name__}" for number, row in enumerate(ROWS, start=1)])
def test_what_releases_do_differently_is_one_to_whoever_uses_the_client(
    bench: Bench, row: Callable[[Bench], None]
) -> None:
    row(bench)
