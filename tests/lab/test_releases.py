"""Each difference between Grizzly, Havana and Icehouse that was probed on real clouds, told apart in the lab."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pumphouse.lab.source.release import RELEASES
from pumphouse.lab.world import Timing
from tests.lab.recorded import PASSWORD, Recorded, Reply, running, send

ADMIN, ALICE, CAROL = ("admin", "admin"), ("alice", "alpha"), ("carol", "gamma")
GRIZZLY, HAVANA, ICEHOUSE = "grizzly", "havana", "icehouse"
MARKERS = {
    ICEHOUSE: {"os-server-external-events", "os-server-groups", "os-extended-hypervisors"},
    HAVANA: {"os-migrations", "os-shelve", "OS-EXT-IPS-MAC", "OS-SRV-USG", "os-extended-volumes"},
}
HTML, PLAIN = "text/html; charset=UTF-8", "text/plain"
SERVERS = "/v2/{project:admin}/servers"
MIG1 = SERVERS + "/{server:mig1}"
STOPPED = {"vm_state": "stopped", "power_state": 4}


@dataclass(frozen=True)
class Cloud:
    """A cloud that was recorded, in one of the releases."""

    site: Recorded

    async def ask(
        self, service: str, path: str, body: Any = None, *, method: str = "", by: tuple[str, str] | None = ADMIN
    ) -> Reply:
        """Send a request; by nobody when ``by`` is None."""
        fact = {"service": service, "method": method or ("GET" if body is None else "POST"), "path": path}
        path, _, query = path.partition("?")
        fact |= {"path": path, "accept": "*/*"}
        if query:
            fact["query"] = dict(part.split("=", 1) for part in query.split("&"))
        if body is not None:
            fact["request"] = body
        return await send(self.site, fact, token=self.site.token(*by) if by else "0" * 32)

    async def json(self, service: str, path: str, **options: Any) -> Any:
        """The JSON of an answer."""
        return (await self.ask(service, path, **options)).json()

    def server_is(self, **fields: Any) -> None:
        """Put mig1 into a state."""
        for key, value in fields.items():
            setattr(self.site.server("mig1"), key, value)

    async def act(self, body: Any) -> tuple[int, str]:
        """An action on mig1: status and the fault's message with the server's id left out."""
        return fault(await self.ask("compute", f"{MIG1}/action", body), self.site.server("mig1").id)


def fault(reply: Reply, *hidden: str) -> tuple[int, str]:
    """Status and message of a JSON fault (no message when it is none)."""
    message = ""
    if reply.status >= 400:
        message = next(iter(reply.json().values()))["message"]
    for text in hidden:
        message = message.replace(text, "ID")
    return reply.status, message


Probe = Callable[[Cloud], Awaitable[Any]]
PROBES: dict[str, tuple[Probe, dict[str, Any]]] = {}


def expecting(grizzly: Any, havana: Any, icehouse: Any) -> Callable[[Probe], Probe]:
    """Add a probe to the table with what it finds in each release."""

    def add(probe: Probe) -> Probe:
        PROBES[probe.__name__] = (probe, {GRIZZLY: grizzly, HAVANA: havana, ICEHOUSE: icehouse})
        return probe

    return add


# --- Keystone


@expecting("2013-03-06", "2013-03-06", "2014-04-17")
async def keystone_date(cloud: Cloud) -> Any:
    found = await cloud.json("identity", "/", by=None)
    return next(v["updated"][:10] for v in found["versions"]["values"] if v["id"] == "v2.0")


@expecting(404, 200, 200)
async def role_assignments(cloud: Cloud) -> Any:
    return (await cloud.ask("identity", "/v3/role_assignments")).status


@expecting(404, 404, 200)
async def regions(cloud: Cloud) -> Any:
    return (await cloud.ask("identity", "/v3/regions")).status


@expecting(
    {"OS-KSADM"},
    {"OS-KSADM", "OS-EC2", "OS-EP-FILTER", "s3tokens"},
    {"OS-KSADM", "OS-EC2", "OS-EP-FILTER", "s3tokens", "OS-FEDERATION", "OS-SIMPLE-CERT"},
)
async def keystone_extensions(cloud: Cloud) -> Any:
    found = await cloud.json("identity-admin", "/v2.0/extensions")
    return {e["alias"] for e in found["extensions"]["values"]}


@expecting("(1062, u", "(1062, u", "(IntegrityError) (1062, u")
async def duplicate_project(cloud: Cloud) -> Any:
    reply = await cloud.ask("identity-admin", "/v2.0/tenants", {"tenant": {"name": "alpha"}})
    assert reply.status == 409
    return reply.json()["error"]["message"].split(". ", 1)[1].split('"')[0]


@expecting("action: admin_required", "action, admin_required.", "action, admin_required.")
async def keystone_denial(cloud: Cloud) -> Any:
    status, message = fault(await cloud.ask("identity-admin", "/v2.0/tenants", by=ALICE))
    assert status == 403
    return message.split("requested ")[1]


# --- Glance


@expecting("v2.1", "v2.2", "v2.2")
async def glance_version(cloud: Cloud) -> Any:
    found = (await cloud.json("image", "/"))["versions"]
    return next(v["id"] for v in found if v["status"] == "CURRENT" and v["id"].startswith("v2"))


@expecting(set(), {"locations"}, {"locations", "owner", "virtual_size"})
async def image_schema(cloud: Cloud) -> Any:
    return {"locations", "owner", "virtual_size"} & set((await cloud.json("image", "/v2/schemas/image"))["properties"])


@expecting(False, False, True)
async def image_shows_owner(cloud: Cloud) -> Any:
    return "owner" in await cloud.json("image", "/v2/images/{image:alpha-private}")


@expecting(404, 404, 204)
async def queued_data(cloud: Cloud) -> Any:
    return (await cloud.ask("image", "/v2/images/{image:alpha-queued}/file")).status


@expecting("An object with", "An object with", "No image found")
async def missing_image(cloud: Cloud) -> Any:
    reply = await cloud.ask("image", "/v2/images/11111111-1111-1111-1111-111111111111")
    assert reply.status == 404
    return next(w for w in ("An object with", "No image found") if w in reply.body.decode())


@expecting(0, 0, 1)
async def shared_for_an_administrator(cloud: Cloud) -> Any:
    return len((await cloud.json("image", "/v2/images?visibility=shared"))["images"])


@expecting(1, 1, 1)
async def shared_for_its_member(cloud: Cloud) -> Any:
    path = "/v2/images?visibility=shared&member_status=all"
    return len((await cloud.json("image", path, by=CAROL))["images"])


@expecting("private", "private", "private")
async def shared_is_called(cloud: Cloud) -> Any:
    return (await cloud.json("image", "/v2/images/{image:beta-shared}"))["visibility"]


# --- Nova: what there is


@expecting((62, False, False, True), (77, True, False, True), (83, True, True, False))
async def nova_extensions(cloud: Cloud) -> Any:
    found = {e["alias"] for e in (await cloud.json("compute", "/v2/{project:admin}/extensions"))["extensions"]}
    return len(found), MARKERS[HAVANA] <= found, MARKERS[ICEHOUSE] <= found, "os-coverage" in found


@expecting((False, False), (True, True), (True, True))
async def server_record(cloud: Cloud) -> Any:
    server = (await cloud.json("compute", MIG1))["server"]
    extra = {"OS-SRV-USG:launched_at", "os-extended-volumes:volumes_attached"} <= set(server)
    return extra, "OS-EXT-IPS-MAC:mac_addr" in server["addresses"]["novanetwork"][0]


@expecting(False, True, True)
async def interface_tells_its_network(cloud: Cloud) -> Any:
    found = (await cloud.json("compute", f"{MIG1}/os-virtual-interfaces"))["virtual_interfaces"]
    return "OS-EXT-VIF-NET:net_id" in found[0]


@expecting(set(), {"disabled_reason"}, {"disabled_reason", "id"})
async def service_record(cloud: Cloud) -> Any:
    found = (await cloud.json("compute", "/v2/{project:admin}/os-services"))["services"]
    return {"disabled_reason", "id"} & set(found[0])


@expecting((404, "The resource could not be found."), (200, ""), (200, ""))
async def disabling_with_a_reason(cloud: Cloud) -> Any:
    body = {"binary": "nova-compute", "host": "compute3", "disabled_reason": "maintenance"}
    return fault(await cloud.ask("compute", "/v2/{project:admin}/os-services/disable-log-reason", body, method="PUT"))


@expecting("The resource could not be found.", "The resource could not be found.", "Unknown action")
async def forcing_down(cloud: Cloud) -> Any:
    body = {"binary": "nova-compute", "host": "compute3"}
    path = "/v2/{project:admin}/os-services/force-down"
    status, message = fault(await cloud.ask("compute", path, body, method="PUT"))
    assert status == 404
    return message


@expecting(200, 200, 501)
async def cells(cloud: Cloud) -> Any:
    return (await cloud.ask("compute", "/v2/{project:admin}/os-cells")).status


@expecting((404, HTML), (200, "application/json"), (200, "application/json"))
async def migrations(cloud: Cloud) -> Any:
    reply = await cloud.ask("compute", "/v2/{project:admin}/os-migrations")
    return reply.status, reply.headers["content-type"]


@expecting(404, 404, 200)
async def server_groups(cloud: Cloud) -> Any:
    return (await cloud.ask("compute", "/v2/{project:admin}/os-server-groups")).status


@expecting([], [], ["novanetwork"])
async def networks_of_a_user(cloud: Cloud) -> Any:
    found = (await cloud.json("compute", "/v2/{project:alpha}/os-networks", by=ALICE))["networks"]
    return [n["label"] for n in found if n["label"] == "novanetwork"]


@expecting(202, 202, 202)
async def booting_on_a_network_that_is_not_shown(cloud: Cloud) -> Any:
    given = {"name": "n", "flavorRef": "1", "imageRef": "{image:cirros-0.3.2-x86_64}"}
    given["networks"] = [{"uuid": "{network:novanetwork}", "fixed_ip": "10.10.0.200"}]
    return (await cloud.ask("compute", "/v2/{project:alpha}/servers", {"server": given}, by=ALICE)).status


@expecting((HTML, True), (PLAIN, False), (PLAIN, False))
async def nova_401(cloud: Cloud) -> Any:
    reply = await cloud.ask("compute", SERVERS, by=None)
    assert reply.status == 401
    assert b"Authentication required" in reply.body
    return reply.headers["content-type"], b"<html>" in reply.body


@expecting("1", "True", "True")
async def config_drive(cloud: Cloud) -> Any:
    cloud.server_is(config_drive=True)
    return (await cloud.json("compute", MIG1))["server"]["config_drive"]


@expecting("", "", "")
async def no_config_drive(cloud: Cloud) -> Any:
    return (await cloud.json("compute", MIG1))["server"]["config_drive"]


# --- Nova: what it refuses


@expecting(400, 400, 409)
async def stopping_a_stopped_server(cloud: Cloud) -> Any:
    cloud.server_is(**STOPPED)
    status, message = await cloud.act({"os-stop": None})
    assert message == "Instance ID in vm_state stopped. Cannot stop while the instance is in this state."
    return status


@expecting(
    (400, "Live migration of instance ID to host compute2 failed"),
    (400, "Live migration of instance ID to host compute2 failed"),
    (409, "Cannot 'os-migrateLive' while instance is in vm_state stopped"),
)
async def live_migrating_a_stopped_server(cloud: Cloud) -> Any:
    cloud.server_is(**STOPPED)
    body = {"host": "compute2", "block_migration": True, "disk_over_commit": False}
    return await cloud.act({"os-migrateLive": body})


@expecting((400, "There is no such action: shelve"), (202, ""), (202, ""))
async def shelving(cloud: Cloud) -> Any:
    return await cloud.act({"shelve": None})


@expecting("image_snapshot", "image_snapshot", "image_snapshot_pending")
async def second_snapshot(cloud: Cloud) -> Any:
    cloud.site.state.world.timing = Timing()
    await cloud.act({"createImage": {"name": "p1"}})
    status, message = await cloud.act({"createImage": {"name": "p2"}})
    assert status == 409
    return message.rsplit(" ", 1)[1]


@expecting(500, 500, 200)
async def filter_by_address(cloud: Cloud) -> Any:
    return (await cloud.ask("compute", f"{SERVERS}/detail?all_tenants=1&ip=10.10.0.50")).status


@expecting("Instance Type with name m1.tiny", "Instance Type with name m1.tiny", "Flavor with name m1.tiny")
async def duplicate_flavor(cloud: Cloud) -> Any:
    body = {"flavor": {"name": "m1.tiny", "ram": 64, "vcpus": 1, "disk": 1}}
    status, message = fault(await cloud.ask("compute", "/v2/{project:admin}/flavors", body))
    assert status == 409
    return message.removesuffix(" already exists.")


INVALID_KEY = "Keypair data is invalid: failed to generate fingerprint"


@expecting("Keypair data is invalid", INVALID_KEY, INVALID_KEY)
async def invalid_keypair(cloud: Cloud) -> Any:
    body = {"keypair": {"name": "x", "public_key": "ssh-rsa AAAA"}}
    status, message = fault(await cloud.ask("compute", "/v2/{project:admin}/os-keypairs", body))
    assert status == 400
    return message


@expecting(500, 400, 400)
async def networks_as_a_text(cloud: Cloud) -> Any:
    given = {"name": "n", "flavorRef": "1", "imageRef": "{image:cirros-0.3.2-x86_64}", "networks": "auto"}
    return (await cloud.ask("compute", SERVERS, {"server": given})).status


@expecting((413, "0", None), (413, "0", None), (413, "0", None))
async def quota_refusal(cloud: Cloud) -> Any:
    cloud.site.state.quotas[cloud.site.id("project", "admin")] = {"instances": 0}
    given = {"name": "n", "flavorRef": "1", "imageRef": "{image:cirros-0.3.2-x86_64}"}
    reply = await cloud.ask("compute", SERVERS, {"server": given})
    body = reply.json()["overLimit"]
    assert body["message"].startswith("Quota exceeded for instances")
    return reply.status, reply.headers["retry-after"], body.get("details")


# --- Nova: pages and limits


@expecting((3, False), (3, False), (3, True))
async def a_page_without_a_limit(cloud: Cloud) -> Any:
    found = await cloud.json("compute", f"{SERVERS}/detail?all_tenants=1")
    return len(found["servers"]), "servers_links" in found


@expecting((2, "/servers?"), (2, "/servers?"), (2, "/servers?"))
async def the_next_page_of_details_is_brief(cloud: Cloud) -> Any:
    found = await cloud.json("compute", f"{SERVERS}/detail?all_tenants=1&limit=2")
    (link,) = found["servers_links"]
    assert "/detail" not in link["href"]
    return len(found["servers"]), "/servers?" if "/servers?" in link["href"] else link["href"]


@expecting(3, 3, 3)
async def a_page_is_never_larger(cloud: Cloud) -> Any:
    return len((await cloud.json("compute", f"{SERVERS}/detail?all_tenants=1&limit=1000"))["servers"])


@expecting([("DELETE", 100), ("GET", 3), ("POST", 10), ("POST", 50), ("PUT", 10)], [], [])
async def limits_as_shipped(cloud: Cloud) -> Any:
    cloud.site.state.limiter.scale = 1.0
    found = (await cloud.json("compute", "/v2/{project:admin}/limits"))["limits"]["rate"]
    return sorted((limit["verb"], limit["value"]) for row in found for limit in row["limit"])


@expecting(10, None, None)
async def posts_before_the_first_refusal(cloud: Cloud) -> Any:
    cloud.site.state.limiter.scale = 1.0
    for number in range(12):
        reply = await cloud.ask("compute", "/v2/{project:admin}/os-nothing", {})
        if reply.status == 413:
            return number
    return None


LOOSE = [("DELETE", 120), ("GET", 120), ("POST", 120), ("POST", 120), ("PUT", 120)]


@expecting([("DELETE", 100), ("GET", 3), ("POST", 10), ("POST", 50), ("PUT", 10)], LOOSE, LOOSE)
async def limits_switched_on(cloud: Cloud) -> Any:
    cloud.site.state.limiter.scale, cloud.site.state.limiter.on = 1.0, True
    found = (await cloud.json("compute", "/v2/{project:admin}/limits"))["limits"]["rate"]
    return sorted((limit["verb"], limit["value"]) for row in found for limit in row["limit"])


# --- the table


@pytest.mark.parametrize("release", sorted(RELEASES))
@pytest.mark.parametrize("name", PROBES)
def test_a_difference(name: str, release: str, tmp_path: Path) -> None:
    probe, expected = PROBES[name]

    async def run() -> Any:
        pages = 3 if "page" in name else 1000
        async with running(tmp_path, release=release, osapi_max_limit=pages) as site:
            return await probe(Cloud(site))

    assert asyncio.run(run()) == expected[release]


def test_every_release_is_probed() -> None:
    assert set(RELEASES) == {GRIZZLY, HAVANA, ICEHOUSE}
    differing = [name for name, (_, found) in PROBES.items() if found[GRIZZLY] != found[ICEHOUSE]]
    assert len(differing) >= 35
    assert any(found[HAVANA] not in (found[GRIZZLY], found[ICEHOUSE]) for _, found in PROBES.values())


@pytest.mark.parametrize("release", sorted(RELEASES))
def test_a_default_project_is_where_the_release_keeps_it(release: str, tmp_path: Path) -> None:
    async def run() -> tuple[set[str], set[str]]:
        async with running(tmp_path, release=release) as site:
            cloud = Cloud(site)
            given = {"name": "made-by-v3", "password": PASSWORD, "default_project_id": "{project:alpha}"}
            await cloud.ask("identity", "/v3/users", {"user": given})
            keys = {"tenantId", "default_project_id"}
            users = {u["name"]: keys & set(u) for u in (await cloud.json("identity", "/v3/users"))["users"]}
            return users["alice"], users["made-by-v3"]

    by_v2, by_v3 = asyncio.run(run())
    assert by_v2 == ({"tenantId"} if release == GRIZZLY else {"default_project_id"})
    assert by_v3 == {"default_project_id"}
