"""A server's cutover, and what comes after it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import openstack

from pumphouse.model import MARKER
from pumphouse.plan.model import PlannedStep
from tests.raw import ask
from tests.steps.bench import Bench, Write, address_of, eventually
from tests.steps.case import Case, Made
from tests.steps.shared_cases import PortCase

FLAVOR = "1"


def of_server(bench: Bench, kind: str, server: dict[str, Any], key: str = "", **params: Any) -> PlannedStep:
    """A planned step of a kind for this source server (like that of acme's web1)."""
    known = {"server_id": server["id"]} if kind in ("stop", "floating-ip") else {"source_id": server["id"]}
    known |= {"address": address_of(server)} if kind in ("stop", "settle") else {}
    known |= {"name": server["name"]} if kind != "floating-ip" else {}
    known |= {"metadata": {"tier": "gold"}} if kind in ("boot", "settle") else {}
    known |= {"floating_ips": []} if kind == "settle" else {}
    pattern = next(s for s in bench.ground.steps if s.kind == kind and s.params.get("user_name") in (None, "acme-user"))
    # how servers are probed is left to the site here, which tests change
    like = {name: value for name, value in pattern.params.items() if name != "probe"}
    return replace(
        pattern,
        key=f"{kind}:{key or server['id']}",
        title=f"{kind} {server['name']}",
        params={**like, **known, **params},
        server_id=server["id"],
    )


def boot_step(bench: Bench, server: dict[str, Any]) -> PlannedStep:
    """The boot of a source server."""
    address = address_of(server)
    addresses = [{"address": address, "mac": mac_of(server)}]
    groups = [bench.pattern("security-group", name="web").params["source_id"]]
    nics: dict[str, Any] = {
        "port_ids": [f"{server['id']}/{address}"],
        "addresses": addresses,
        "security_group_ids": groups,
    }
    return of_server(bench, "boot", server, **nics)


def mac_of(server: dict[str, Any]) -> str:
    """The MAC of a source server."""
    return next(str(a["OS-EXT-IPS-MAC:mac_addr"]) for found in server["addresses"].values() for a in found)


def make_port(bench: Bench, server: dict[str, Any]) -> tuple[str, str, str]:
    """A port at the destination for a source server, by hand; its mapping."""
    groups = [bench.pattern("security-group", name="web").params["source_id"]]
    params = {
        "name": f"pumphouse {server['id']}",
        "address": address_of(server),
        "mac": mac_of(server),
        "security_group_ids": groups,
    }
    return "port", f"{server['id']}/{address_of(server)}", PortCase().add(bench, params)


def make_copy(bench: Bench, server: dict[str, Any], port_id: str, **metadata: str) -> str:
    """A copy of a source server at the destination, booted by hand as its owner; its id."""
    image = bench.there("image", bench.pattern("boot").params["image_id"])
    body = {
        "name": server["name"],
        "flavorRef": FLAVOR,
        "imageRef": image,
        "key_name": "acme-key",
        "metadata": {"tier": "gold", **metadata},
        "networks": [{"port": port_id}],
    }
    copy: str = ask(bench.owner_there.compute, "/servers", "POST", json={"server": body})["server"]["id"]
    eventually(lambda: (bench.destination_server(copy) or {}).get("status") == "ACTIVE", "copy ACTIVE")
    eventually(lambda: bench.answers(address_of(server)), "copy's guest")
    return copy


class StopCase(Case):
    kind = "stop"
    writes = (Write("POST", "/servers/.*/action", "source.*", "os-stop"),)
    undo_writes = (Write("POST", "/servers/.*/action", "source.*", "os-start"),)

    def make(self, bench: Bench, *, stopped: bool = False) -> Made:
        server = bench.boot_source()
        if stopped:
            bench.act_source(server["id"], "os-stop", "SHUTOFF")
        return Made(of_server(bench, "stop", server), servers=(bench.plan_server(server["id"]),))

    def make_in_place(self, bench: Bench) -> Made:
        return self.make(bench, stopped=True)

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        found = bench.source_server(step.params["server_id"])
        return found and found["status"], bool(bench.answers(step.params["address"]))

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return "SHUTOFF", False

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        bench.act_source(step.params["server_id"], "os-start", "ACTIVE")

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["server_id"], step.params["name"])


class BootCase(Case):
    kind = "boot"
    stays = False
    writes = (Write("POST", "/servers$"),)
    undo_writes = (Write("DELETE", "/servers/"),)

    def make(self, bench: Bench) -> Made:
        server = bench.boot_source()
        bench.act_source(server["id"], "os-stop", "SHUTOFF")
        step = boot_step(bench, server)
        return Made(step, servers=(bench.plan_server(server["id"]),), mappings=[make_port(bench, server)])

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        rows = []
        for copy in bench.copies(step.params["name"]):
            ports = ask(bench.new.network, f"/ports?device_id={copy['id']}")["ports"]
            rows.append(
                (
                    (copy["status"], copy["metadata"], copy["flavor"]["id"], copy["image"]["id"], copy["key_name"]),
                    (copy["user_id"], copy["tenant_id"]),
                    [(p["fixed_ips"][0]["ip_address"], p["mac_address"]) for p in ports],
                )
            )
        source = bench.source_server(step.params["source_id"])
        return rows, source and source["status"]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        params = step.params
        metadata = {"tier": "gold", MARKER: params["source_id"]}
        what = ("ACTIVE", metadata, FLAVOR, bench.there("image", params["image_id"]), "acme-key")
        ports = [(a["address"], a["mac"]) for a in params["addresses"]]
        return [(what, (bench.there("user", params["user_id"]), bench.acme), ports)], "SHUTOFF"

    def there(self, bench: Bench, step: PlannedStep) -> None:
        (port,) = ask(bench.new.network, f"/ports?name=pumphouse {step.params['source_id']}")["ports"]
        source = bench.source_server(step.params["source_id"])
        assert source is not None
        make_copy(bench, source, port["id"], **{MARKER: step.params["source_id"]})

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        (copy,) = bench.copies(step.params["name"])
        ask(bench.new.compute, f"/servers/{copy['id']}/metadata", "POST", json={"metadata": {"tier": "lead"}})

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"], step.params["source_id"], *(c["id"] for c in bench.copies(step.params["name"])))


class FloatingIpCase(Case):
    kind = "floating-ip"
    stays = False
    writes = (
        Write("POST", "/servers/.*/action", "source.*", "removeFloatingIp"),
        Write("POST", "/v2.0/floatingips"),
        Write("PUT", "/v2.0/floatingips/"),
    )
    undo_writes = (
        Write("PUT", "/v2.0/floatingips/"),
        Write("DELETE", "/v2.0/floatingips/"),
        Write("POST", "/servers/.*/action", "source.*", "addFloatingIp"),
    )

    def make(self, bench: Bench) -> Made:
        server = bench.boot_source()
        floating = ask(bench.owner.compute, "/os-floating-ips", "POST", json={"pool": "nova"})["floating_ip"]["ip"]
        path = f"/servers/{server['id']}/action"
        ask(bench.owner.compute, path, "POST", json={"addFloatingIp": {"address": floating}})
        bench.act_source(server["id"], "os-stop", "SHUTOFF")
        mapping = make_port(bench, server)
        params = {"address": floating, "fixed_address": address_of(server), "port_id": mapping[1]}
        step = of_server(bench, "floating-ip", server, floating, **params)
        return Made(step, servers=(bench.plan_server(server["id"]),), mappings=[mapping])

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        source = bench.source_server(step.params["server_id"])
        assert source is not None
        addresses = [a["addr"] for found in source["addresses"].values() for a in found]
        path = f"/floatingips?floating_ip_address={step.params['address']}"
        found = ask(bench.new.network, path)["floatingips"]
        return step.params["address"] in addresses, [(f["project_id"], f["fixed_ip_address"]) for f in found]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return False, [(bench.acme, step.params["fixed_address"])]

    def there(self, bench: Bench, step: PlannedStep) -> None:
        path = f"/servers/{step.params['server_id']}/action"
        body = {"removeFloatingIp": {"address": step.params["address"]}}
        ask(bench.old.compute, path, "POST", json=body)
        (port,) = ask(bench.new.network, f"/ports?name=pumphouse {step.params['server_id']}")["ports"]
        self.allocate(bench, step, bench.acme, port["id"])

    def allocate(self, bench: Bench, step: PlannedStep, project_id: str, port_id: str | None = None) -> str:
        """The same address at the destination, taken by hand."""
        body = {
            "floating_network_id": step.params["external_network_id"],
            "floating_ip_address": step.params["address"],
            "project_id": project_id,
            "port_id": port_id,
        }
        made = ask(bench.new.network, "/floatingips", "POST", json={"floatingip": body})["floatingip"]
        return str(made["id"])

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        path = f"/floatingips?floating_ip_address={step.params['address']}"
        (found,) = ask(bench.new.network, path)["floatingips"]
        ask(bench.new.network, f"/floatingips/{found['id']}", "PUT", json={"floatingip": {"port_id": None}})

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        path = f"/floatingips?floating_ip_address={step.params['address']}"
        return (step.params["address"], *(f["id"] for f in ask(bench.new.network, path)["floatingips"]))


class SettleCase(Case):
    kind = "settle"
    writes: tuple[Write, ...] = (Write("DELETE", "/servers/.*/metadata/"),)
    undoes = False
    tells = False
    arrives = "ACTIVE"

    def make(self, bench: Bench) -> Made:
        server = bench.boot_source()
        if self.arrives == "SHUTOFF":
            bench.act_source(server["id"], "os-stop", "SHUTOFF")
        before = (of_server(bench, "stop", server), boot_step(bench, server))
        settle = of_server(bench, "settle", server, arrives=self.arrives)
        servers = (bench.plan_server(server["id"]),)
        return Made(settle, before=before, servers=servers, mappings=[make_port(bench, server)])

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        source = bench.source_server(step.params["source_id"])
        copies = [(copy["status"], copy["metadata"]) for copy in bench.copies(step.params["name"])]
        return copies, bool(bench.answers(step.params["address"])), source and source["status"]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return [(self.arrives, {"tier": "gold"})], self.arrives == "ACTIVE", "SHUTOFF"

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        (copy,) = bench.copies(step.params["name"])
        action, status = ("os-stop", "SHUTOFF") if self.arrives == "ACTIVE" else ("os-start", "ACTIVE")
        bench.act_destination(copy["id"], action, status)

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"], *(copy["id"] for copy in bench.copies(step.params["name"])))


class SettleStoppedCase(SettleCase):
    arrives = "SHUTOFF"
    writes = (*SettleCase.writes, Write("POST", "/servers/.*/action", "destination.*", "os-stop"))

    def __repr__(self) -> str:
        return "settle-stopped"


class ReserveFixedIpCase(Case):
    kind = "reserve-fixed-ip"
    writes = (Write("POST", "/os-fixed-ips/.*/action", "source.*", '"reserve"'),)
    undo_writes = (Write("POST", "/os-fixed-ips/.*/action", "source.*", '"unreserve"'),)
    tells = False

    def make(self, bench: Bench) -> Made:
        address = bench.address()
        step = PlannedStep(
            key=f"{self.kind}:{address}",
            kind=self.kind,
            phase="finalise",
            title=f"reserve {address}",
            changes="source",
            params={"address": address},
            undo="unreserved",
            server_id=f"server of {address}",
        )
        return Made(step)

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        """Icehouse does not tell: whether a server that asks for the address gets it."""
        network = {"uuid": bench.network, "fixed_ip": step.params["address"]}

        def boot() -> dict[str, Any] | None:
            try:
                return bench.boot_source(networks=[network])
            except openstack.exceptions.HttpException as error:
                if error.status_code != 500:  # the address of a deleted server is held for a while
                    raise
                return None

        made = eventually(boot, "a boot on the address")
        status = bench.wait_source(made["id"])["status"]
        ask(bench.old.compute, f"/servers/{made['id']}", "DELETE")
        return "reserved" if status == "ERROR" else "free"

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return "reserved"

    def there(self, bench: Bench, step: PlannedStep) -> None:
        self.act(bench, step, "reserve")

    def act(self, bench: Bench, step: PlannedStep, action: str) -> None:
        """Reserve or unreserve by hand."""
        path = f"/os-fixed-ips/{step.params['address']}/action"
        ask(bench.old.compute, path, "POST", json={action: None})

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["address"],)


class DeleteSourceCase(Case):
    kind = "delete-source"
    writes = (Write("DELETE", "/servers/", "source.*"),)
    undoes = False

    def make(self, bench: Bench) -> Made:
        server = bench.boot_source()
        bench.act_source(server["id"], "os-stop", "SHUTOFF")
        mapping = make_port(bench, server)
        copy = make_copy(bench, server, mapping[2])
        step = PlannedStep(
            key=f"{self.kind}:{server['id']}",
            kind=self.kind,
            phase="finalise",
            title=f"delete {server['name']} at the source",
            changes="source",
            params={
                "source_id": server["id"],
                "destination_id": copy,
                "name": server["name"],
                "rests": ["SHUTOFF"],
                "arrives": "ACTIVE",
                "address": address_of(server),
                "answered": True,
            },
            server_id=server["id"],
            cost="the source's root disk is gone for ever",
        )
        return Made(step, servers=(bench.plan_server(server["id"]),))

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        source = bench.source_server(step.params["source_id"])
        copies = [(copy["id"], copy["status"]) for copy in bench.copies(step.params["name"])]
        return source and source["status"], copies, bool(bench.answers(step.params["address"]))

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return None, [(step.params["destination_id"], "ACTIVE")], True

    def there(self, bench: Bench, step: PlannedStep) -> None:
        ask(bench.old.compute, f"/servers/{step.params['source_id']}", "DELETE")
        eventually(lambda: bench.source_server(step.params["source_id"]) is None, "deletion")

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        bench.act_destination(step.params["destination_id"], "os-stop", "SHUTOFF")

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"], step.params["source_id"])


SERVER: tuple[Case, ...] = (
    StopCase(),
    BootCase(),
    FloatingIpCase(),
    SettleCase(),
    SettleStoppedCase(),
    ReserveFixedIpCase(),
    DeleteSourceCase(),
)
