"""What the ledger says of a whole move is true: held against the raw records of both clouds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pumphouse.inventory import Inventory, Snapshot
from pumphouse.ledger import Entry, Treatment, entries
from tests.flow.desk import Desk
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite, start_lab
from tests.ledger import lookout, truth
from tests.real.rest import Session

pytestmark = SDK_WARNS_OF_ITSELF
PROJECTS = {"icehouse": ["acme", "globex"], "grizzly": ["globex"]}
#: Types of which every release's move carries something.
TYPES = {
    *("project", "user", "role", "role_assignment", "flavor", "image", "keypair", "security_group"),
    *("security_group_rule", "network", "fixed_ip", "virtual_interface", "floating_ip", "quota_set", "server"),
}


@contextlib.contextmanager
def moved(tmp_path_factory: pytest.TempPathFactory, release: str) -> Iterator[tuple[list[Entry], truth.Finding]]:
    """A lab of that release after a whole move: the ledger, and what came of holding it against both clouds."""
    lab = start_lab(tmp_path_factory, name=f"ledger-{release}", scale=0.02, release=release)
    try:
        old, new = _admins(lab)
        _make_difficult(lab, old)
        _be_there_before(lab, old, new)
        before = lookout.source_view(old, _owners(lab))
        with Desk.open(lab) as desk:
            done = desk.do("move", projects=PROJECTS[release], accepted="project-exists")
            assert (done.error, done.result) == (None, "succeeded")
            with desk.run() as run:
                mapped = run.journal.mapping
                here, there = truth.sides(before, lookout.destination_view(new), mapped)
                # as the check notebook shows it, and as the move shows it at its end
                for inventory in (_planned_with(lab, done.run_id), run.inventory()):
                    lines = list(entries(done.plan, inventory, mapped=mapped))
                    finding = truth.hold(lines, here, there)
                    if finding.lies:
                        break
                yield lines, finding
    finally:
        lab.stop()


def _clouds(lab: LabSite) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(lab.clouds_file.read_text(encoding="utf-8"))["clouds"]
    return loaded


def _login(lab: LabSite, entry: str) -> Session:
    auth = _clouds(lab)[entry]["auth"]
    login = Session.v2 if "/v2.0" in auth["auth_url"] else Session.v3
    return login(auth["auth_url"], auth["username"], lab.password(entry), auth["project_name"])


def _admins(lab: LabSite) -> tuple[Session, Session]:
    return _login(lab, "old"), _login(lab, "new")


def _owners(lab: LabSite) -> dict[str, Session]:
    owners = [_login(lab, entry) for entry in _clouds(lab) if entry.startswith("old-")]
    return {owner.user_id: owner for owner in owners}


def _make_difficult(lab: LabSite, admin: Session) -> None:
    """Give globex what is carried in other words, or not at all."""
    owner = _login(lab, "old-globex-user")
    groups = {g["name"]: g["id"] for g in owner.call("GET", "compute", "/os-security-groups")["security_groups"]}
    everything = {"ip_protocol": "tcp", "from_port": 1, "to_port": 65535, "cidr": "10.1.2.3/8"}
    ping = {"ip_protocol": "icmp", "from_port": 8, "to_port": 0, "cidr": "192.0.2.0/24"}
    members = {"ip_protocol": "udp", "from_port": 53, "to_port": 53, "group_id": groups["default"]}
    for rule in (everything, ping, members):
        asked = {"security_group_rule": {"parent_group_id": groups["default"], **rule}}
        owner.call("POST", "compute", "/os-security-group-rules", asked)
    server = owner.call("GET", "compute", "/servers")["servers"][0]["id"]
    owner.call("PUT", "compute", f"/servers/{server}", {"server": {"accessIPv4": "192.0.2.9"}})
    owner.call("POST", "compute", f"/servers/{server}/metadata", {"metadata": {"a.b c": "value", "empty": ""}})
    quota = {"quota_set": {"instances": 77, "security_group_rules": 33, "floating_ips": 9}}
    admin.call("PUT", "compute", f"/os-quota-sets/{owner.project_id}", quota)


def _be_there_before(lab: LabSite, old: Session, new: Session) -> None:
    """An image with other words about the same bytes, and a user of another description, are at the destination."""
    image = next(i for i in old.call("GET", "image", "/v2/images")["images"] if i["name"] == "globex-shop")
    same = {key: image[key] for key in ("id", "disk_format", "container_format")}
    record = {**same, "name": "another name", "visibility": "public", "colour": "blue"}
    new.call("POST", "image", "/v2/images", record)
    data = old.reply("GET", "image", f"/v2/images/{image['id']}/file").content
    octets = {"Content-Type": "application/octet-stream"}
    new.reply("PUT", "image", f"/v2/images/{image['id']}/file", data, headers=octets)
    users = old.call("GET", "identity", "/users", interface="admin")["users"]
    email = next(user.get("email") for user in users if user["name"] == "globex-ops")
    known = {"name": "globex-ops", "email": email, "description": "made by hand", "password": "not-ours-1"}
    new.call("POST", "identity", "/users", {"user": known})


def _planned_with(lab: LabSite, run_id: str) -> Inventory:
    """What both clouds held when the plan was made."""
    folder = lab.directory / "work" / "snapshots"
    return Inventory(*(Snapshot.load(folder / f"{run_id}-{side}.json") for side in ("source", "destination")))


@pytest.mark.parametrize("release", sorted(PROJECTS))
def test_what_it_says_is_so(
    tmp_path_factory: pytest.TempPathFactory, release: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with moved(tmp_path_factory, release) as (lines, finding):
        with capsys.disabled():
            print(f"\nledger, {release}: {finding}")
        assert not finding.lies, "\n".join(finding.lies)
        assert {line.type for line in lines} >= TYPES
        # every type has a claim that was really compared
        assert {kind for kind, _ in finding.claims} >= TYPES - {"role_assignment"} | {"role_assignment"}
        assert finding.checked[Treatment.COPIED] > 100
        assert finding.checked[Treatment.MAPPED] > 40


def test_a_lie_is_found() -> None:
    line = Entry("server", "1", "web", "name", Treatment.COPIED, "web", "web", "name", "as at the source")
    here, there = truth.Side(), truth.Side()
    here.add("server", "1", {"name": "web"})
    there.add("server", "1", {"name": "wep"})
    assert "said to be copied" in truth.hold([line], here, there).lies[0]
    here.records["server", "1"] = [{"name": "other"}]
    assert "at the source; the ledger says" in truth.hold([line], here, there).lies[0]
    here.records["server", "1"] = [{"name": "web", "invented": 1}]
    assert truth.hold([line], here, there).lies[-1] == "server 1: invented is not accounted for"
    mapped = Entry("server", "1", "web", "id", Treatment.MAPPED, "1", "2", "id", "why")
    here.records["server", "1"], there.records["server", "1"] = [{"id": "1"}], [{"id": "3"}]
    assert "said to be mapped to '2'" in truth.hold([mapped], here, there).lies[0]
    assert "the source does not show it" in truth.hold([mapped], truth.Side(), there).lies[0]
