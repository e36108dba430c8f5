"""What pickers are told of hosts and nodes: the same that planners say, from one listing of each kind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pumphouse.clouds.api import Cloud
from pumphouse.errors import CloudUnreachable, PlanError
from pumphouse.journal import Journal
from pumphouse.model import Server
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.spec import Hardware
from pumphouse.session.hosts import KINDS, ChoosingWork, read_hosts
from tests.core.making import make_site
from tests.factories import make_flavor
from tests.hardware.making import ADMIN_VLAN, make_hypervisor, make_node, make_service, on_host


class FakeSource:
    """A cloud that counts what it is asked; ``silent``: it answers nobody."""

    name = "old"

    def __init__(self, servers: list[Server], services: list[Any], *, silent: bool = False) -> None:
        self.asked: list[str] = []
        answers = {
            "list_services": services,
            "list_servers": servers,
            "list_flavors": [make_flavor("m1.small")],
            "list_hypervisors": [make_hypervisor("host-n1", 8192, 2048), make_hypervisor("host-n2", 8192, 512)],
            "list_networks": [SimpleNamespace(multi_host=False)],
        }

        def verb(name: str) -> Any:
            def answer(*_: Any) -> Any:
                self.asked.append(name)
                if silent:
                    raise CloudUnreachable("Cloud 'old' does not answer.", remedy="bring it back.")
                return answers[name]

            return answer

        self.compute = SimpleNamespace(**{name: verb(name) for name in answers if name != "list_networks"})
        self.network = SimpleNamespace(list_networks=verb("list_networks"))
        self.hosts = SimpleNamespace(list_unconfirmed=self._unconfirmed)

    def _unconfirmed(self, host: str, servers: Iterable[Server] | None = None) -> list[Server]:
        self.asked.append("list_unconfirmed")
        known = self.compute.list_servers() if servers is None else servers
        return [one for one in known if one.status == "VERIFY_RESIZE" and one.host != host]


class Choosing(ChoosingWork):
    """The verbs on their own."""

    def __init__(self, folder: Path, source: FakeSource, *nodes: Any) -> None:
        hardware = Hardware(nodes={node.name: node for node in nodes}, admin_vlan=ADMIN_VLAN)
        self._site = make_site(folder, hardware=hardware)
        self._source = cast(Cloud, source)
        self._journal = Journal.open(f"sqlite:///{folder / 'journal.db'}")
        self.nodes = Nodes(self._site)


SERVICES = [
    make_service("host-n1"),
    make_service("host-n2"),
    make_service("host-n4", status="disabled"),
    make_service("host-n3", "nova-scheduler"),
]
NODES = (
    make_node("n1"),
    make_node("n2", bmc=None),
    make_node("n3", role="controller"),
    make_node("n5", role="fuel", host=""),
    make_node("n6", role="spare", host="", ports=()),
)
CODES = {
    "acquire": {"n1": set(), "n2": {"no-bmc"}, "n3": {"no-plan"}, "n5": {"fuel-master"}, "n6": {"no-plan"}},
    "transfer": {
        "n1": {"host-not-empty"}, "n2": {"no-bmc"}, "n3": {"host-serves-more"}, "n5": {"fuel-master"},
        "n6": {"no-admin-port"},
    },
    "fuel-master": {
        "n1": {"node-in-use"}, "n2": {"node-in-use", "no-bmc"}, "n3": {"host-serves-more"}, "n5": {"fuel-master"},
        "n6": {"no-admin-port"},
    },
    "decommission": {
        "n1": {"no-controller"}, "n2": {"no-controller"}, "n3": set(), "n5": {"fuel-master"}, "n6": {"no-controller"},
    },
    "give-back": {name: {"nothing-taken"} for name in ("n1", "n2", "n3", "n5", "n6")},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_node_says_what_keeps_it_from_a_kind_of_plan(kind: str, tmp_path: Path) -> None:
    source = FakeSource([on_host("web1"), on_host("web2")], SERVICES)
    found = Choosing(tmp_path, source, *NODES).obstacles(kind)
    assert {name: {one.code for one in told} for name, told in found.items()} == CODES[kind]
    assert len(source.asked) == len(set(source.asked))  # one listing of each kind, however many nodes there are


def test_hosts_say_how_full_they_are_and_what_keeps_them(tmp_path: Path) -> None:
    servers = [on_host("web1"), on_host("web2", status="SHUTOFF"), on_host("web3", host=None)]
    first, second, nameless = Choosing(tmp_path, FakeSource(servers, SERVICES), *NODES).hosts()
    assert (first.host, first.node, first.status, first.state) == ("host-n1", "n1", "enabled", "up")
    assert (first.servers, first.running, first.ram_mib, first.ram_used_mib) == (2, 1, 8192, 2048)
    assert first.obstacles == ()
    assert [one.code for one in second.obstacles] == ["no-bmc"]
    assert (nameless.host, nameless.node, nameless.status) == ("host-n4", "", "disabled")
    assert [one.code for one in nameless.obstacles] == ["no-node"]


def test_the_way_out_that_is_asked_for_counts(tmp_path: Path) -> None:
    work = Choosing(tmp_path, FakeSource([on_host("web1")], SERVICES), *NODES)
    assert work.hosts(method="block")[0].obstacles == ()
    assert [one.code for one in work.hosts(methods={"web1": "rebuild"})[0].obstacles] == ["disk-lost"]
    with pytest.raises(PlanError, match="No way for a server"):
        work.hosts(method="by-hand")


def test_who_waits_for_a_confirmation_is_asked_for_only_where_somebody_waits(tmp_path: Path) -> None:
    source = FakeSource([on_host("web1")], SERVICES)
    read_hosts(cast(Cloud, source))
    assert "list_unconfirmed" not in source.asked
    source = FakeSource([on_host("web1", host="host-n2", status="VERIFY_RESIZE")], SERVICES)
    work = Choosing(tmp_path, source, make_node("n1"))
    assert [one.code for one in work.obstacles("transfer")["n1"]] == ["resize-unconfirmed"]


def test_a_source_that_is_silent_blocks_nothing_and_is_told(tmp_path: Path) -> None:
    work = Choosing(tmp_path, FakeSource([], [], silent=True), *NODES)
    for kind in ("transfer", "fuel-master"):
        told = {(one.severity, one.code) for found in work.obstacles(kind).values() for one in found}
        assert told == {("warn", "source-silent")}
    assert work.obstacles("decommission")["n3"] == ()  # nobody but site.yaml is asked
