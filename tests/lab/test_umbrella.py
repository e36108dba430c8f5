"""The dirty part of the site that a lab is born with, in each release."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pumphouse.lab import populate, source, umbrella
from pumphouse.lab.source.hashes import verifies
from pumphouse.lab.source.nova_views import status_of, zone_of_host
from pumphouse.lab.source.release import RELEASES
from pumphouse.lab.source.state import MEMBER_ROLE_ID, Server, State
from pumphouse.lab.world import Layer2, Timing, World
from tests.lab.conftest import Connection
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite

pytestmark = SDK_WARNS_OF_ITSELF

STATUSES = {
    *("ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED", "RESCUE", "VERIFY_RESIZE", "ERROR", "BUILD"),
    *("SHELVED", "SHELVED_OFFLOADED"),
}


@pytest.fixture(scope="module", params=sorted(RELEASES))
def state(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> State:
    """A filled old cloud that nobody talks to; guests do not listen."""

    async def fill() -> State:
        folder = str(tmp_path_factory.mktemp("umbrella"))
        world = World(Timing(), Layer2(1, socket_cap=0), "10.10.0.0/24", "172.24.4.0/24", folder)
        cloud = await source.start(world, release=request.param)
        await populate.Filler(cloud.state, lambda name: f"password of {name}").fill()
        await cloud.stop()
        return cloud.state

    return asyncio.run(fill())


def servers(state: State) -> dict[str, Server]:
    """Umbrella's and wonka's servers by name (of twins the later)."""
    own = {p.id for p in state.projects.values() if p.name in umbrella.PROJECTS}
    return {s.name: s for s in state.live_servers() if s.project_id in own}


def test_every_state_that_a_server_can_be_left_in(state: State) -> None:
    found = {status_of(s) for s in servers(state).values()}
    shelved = {"SHELVED", "SHELVED_OFFLOADED"}
    assert found == (STATUSES if state.release.has_shelve else STATUSES - shelved)


def test_what_a_survey_should_find(state: State) -> None:
    own = servers(state)
    alive = {s.host: s.alive for s in state.services if s.binary == "nova-compute"}
    assert [n for n, s in own.items() if s.host and not alive[s.host]] == ["u-dead"]
    assert own["u-stuck"].task_state == "image_uploading"
    assert own["u-erased"].image_id not in state.images
    assert own["u-orphan"].user_id not in state.users
    assert any(user_id == own["u-orphan"].user_id for user_id, _ in state.keypairs)
    assert (own["u-nokey"].user_id, own["u-nokey"].key_name) not in state.keypairs
    assert len(own["u-two"].addresses) == 2
    names = Counter(s.name for s in state.live_servers())
    assert names["twin"] == 2
    floating = [f for f in state.floating_ips.values() if f.project_id == own["u-active"].project_id]
    assert sorted(f.server_id is None for f in floating) == [False, False, True, True]
    assert len(floating) > state.quota(own["u-active"].project_id)["floating_ips"]
    assert set(state.quotas) - set(state.projects)
    assert [f.hostname for f in state.fixed_ips.values() if f.server_id is None] == ["forgotten"]


def test_images_in_every_state(state: State) -> None:
    images = {i.name: i for i in state.images.values()}
    assert {i.status for i in images.values()} == {"active", "queued", "killed", "saving"}
    assert not state.image_path(images["umbrella-no-file"].id).exists()
    base = images["umbrella-base"]
    assert base.protected
    assert (base.min_disk, base.min_ram) == (2, 256)
    assert sorted(m.status for m in base.members.values()) == ["accepted", "rejected"]
    ami = images["umbrella-ami"]
    parts = [state.images[ami.properties[key]].disk_format for key in ("kernel_id", "ramdisk_id")]
    assert parts == ["aki", "ari"]
    snapshot = images["umbrella-by-admin"]
    assert snapshot.owner != snapshot.properties["owner_id"]


def test_groups_that_name_each_other(state: State) -> None:
    project_id = servers(state)["u-active"].project_id
    groups = {g.name: g for g in state.groups.values() if g.project_id == project_id}
    assert set(groups) == set(umbrella.GROUPS)
    named = {
        (name, state.groups[r.group_id].name) for name, g in groups.items() for r in g.rules if r.group_id is not None
    }
    assert {("front", "back"), ("back", "front"), ("back", "back"), ("default", "default")} <= named
    assert {(r.from_port, r.to_port) for r in groups["ping"].rules} == {(8, 0), (3, -1)}


def test_people(state: State) -> None:
    users = {u.name: u for u in state.users.values()}
    assert umbrella.LOST_USER not in users
    roles = {
        name: {r for (_, u), held in state.grants.items() if u == user.id for r in held} for name, user in users.items()
    }
    assert roles["umbrella-auditor"] == {MEMBER_ROLE_ID}
    assert not roles["drifter"]
    assert MEMBER_ROLE_ID not in roles["umbrella-guest"]
    assert not users["umbrella-former"].enabled
    assert not next(p for p in state.projects.values() if p.name == umbrella.WONKA).enabled
    assert users["umbrella-guest"].email is None
    hashed = users["umbrella-user"].password_hash
    assert hashed.startswith("$6$rounds=")
    assert verifies("password of umbrella-user", hashed)


def test_zones_flavors_and_hidden_facts(state: State) -> None:
    class Told:
        pass

    told: Any = Told()
    told.state = state
    own = servers(state)
    assert zone_of_host(told, own["u-west"].host) == own["u-west"].availability_zone == umbrella.ZONE
    flavor = state.flavors[own["u-active"].flavor_id]
    assert (flavor.is_public, flavor.ephemeral, flavor.swap, len(flavor.access)) == (False, 10, 512, 2)
    assert flavor.extra_specs
    assert state.flavors["1"].disk == (0 if state.release.name == "grizzly" else 1)
    assert own["u-data"].user_data
    assert own["u-volume"].volumes
    assert own["u-resized"].old_flavor_id != own["u-resized"].flavor_id


def test_ids_of_the_usual_site_do_not_depend_on_it(
    state: State, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fill() -> State:
        world = World(Timing(), Layer2(1, socket_cap=0), "10.10.0.0/24", "172.24.4.0/24", str(tmp_path))
        cloud = await source.start(world, release=state.release.name)
        await populate.Filler(cloud.state, lambda name: name).fill()
        await cloud.stop()
        return cloud.state

    monkeypatch.setattr(umbrella.Umbrella, "fill", lambda _self: None)
    plain = asyncio.run(fill())
    assert set(plain.servers) < set(state.servers)
    assert set(plain.images) < set(state.images)
    assert set(plain.projects) < set(state.projects)
    for server_id, server in plain.servers.items():
        assert state.servers[server_id].addresses == server.addresses
        assert state.servers[server_id].mac == server.mac


def test_what_the_api_shows_of_it(old: Connection) -> None:
    found = {s["name"]: s for s in old.compute.get("/servers/detail?all_tenants=1").json()["servers"]}
    (volume,) = found["u-volume"]["os-extended-volumes:volumes_attached"]
    path = f"/servers/{found['u-volume']['id']}/os-volume_attachments"
    (attached,) = old.compute.get(path).json()["volumeAttachments"]
    assert attached["volumeId"] == volume["id"]
    assert found["u-rescued"]["status"] == "RESCUE"
    assert found["u-west"]["OS-EXT-AZ:availability_zone"] == umbrella.ZONE
    assert found["u-drive"]["config_drive"] == "True"
    assert "S3cret" not in old.compute.get(f"/servers/{found['u-data']['id']}").text
    services = old.compute.get("/os-services?binary=nova-compute").json()["services"]
    assert {s["host"] for s in services if s["state"] == "down"} == {umbrella.DEAD_HOST}
    limits = old.compute.get("/os-quota-sets/" + found["u-active"]["tenant_id"]).json()["quota_set"]
    assert limits["floating_ips"] == 3


def test_guests_answer_where_their_servers_run(lab: LabSite) -> None:
    there = {row["address"] for row in lab.history() if row["event"] == "on" and row["cloud"] == "source"}
    with lab.connect("old") as old:
        found = {s["name"]: s for s in old.compute.get("/servers/detail?all_tenants=1").json()["servers"]}
    addresses = {n: [a["addr"] for group in s["addresses"].values() for a in group] for n, s in found.items()}
    assert set(addresses["u-rescued"]) <= there
    assert set(addresses["u-two"]) <= there
    assert not there & {*addresses["u-dead"], *addresses["u-paused"], *addresses["u-suspended"]}
