"""Whole moves with databases in the lab: passwords, everybody's keypairs, user_data; and no secret is told."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import openstack
import pytest
import yaml

import pumphouse
from pumphouse.approval import approve
from pumphouse.errors import StepError
from pumphouse.plan.model import Plan
from pumphouse.selection import select_servers
from pumphouse.session import Run
from tests.databases.people import People, cheap_hash
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite

pytestmark = SDK_WARNS_OF_ITSELF
OWN = "the password of old"
DATA = b"#cloud-config\npassword: hunter2hunter2\n"


class Mover:
    """An operator with a site of its own on the lab's clouds."""

    def __init__(self, people: People, folder: Path) -> None:
        self.people, self.folder = people, folder
        self.site = folder / "site.yaml"
        lab = people.lab.directory
        document = yaml.safe_load((lab / "site-databases.yaml").read_text(encoding="utf-8"))
        for side in ("source", "destination"):
            for entry in document[side]["databases"].values():
                entry["url"] = f"sqlite:///{lab}/{entry['url'].removeprefix('sqlite:///')}"
        document["clouds_yaml"] = str(people.lab.clouds_file)
        document["source"].pop("owners")  # nobody's credentials: Nova's database tells their keypairs
        self.site.write_text(yaml.safe_dump(document), encoding="utf-8")

    def begin(self, names: Sequence[str], verb: str) -> tuple[Run, Plan]:
        run = pumphouse.begin(self.site, change="CHG", operator="otto", report=lambda _line: None)
        inventory = run.inventory()
        selection = select_servers(inventory.servers, names=names)
        plan: Plan = getattr(run, verb)(selection)
        return run, plan

    def move(self, *names: str) -> tuple[Run, Plan]:
        run, plan = self.begin(names, "plan_move")
        run.require_clean(run.check(plan))
        approve(plan, run.site.work_dir / "approvals", by="ada", reason="test")
        run.require_approval(plan)
        run.prepare(plan)
        run.cut_over(plan)
        for phase in ("prepare", "cutover"):
            run.verify(plan, phase)
        return run, plan

    def roll_back(self, *names: str) -> tuple[Run, Plan]:
        run, plan = self.begin(names, "plan_rollback")
        run.require_clean(run.check(plan))
        approve(plan, run.site.work_dir / "approvals", by="ada", reason="test")
        run.require_approval(plan)
        run.roll_back(plan)
        return run, plan


@pytest.fixture
def mover(people: People, tmp_path: Path) -> Mover:
    return Mover(people, tmp_path)


def new_server(lab: LabSite, name: str) -> dict[str, object]:
    """A server of the destination as an administrator sees it at microversion 2.3."""
    with lab.connect("new") as cloud:
        answer = cloud.compute.get(f"/servers/detail?all_tenants=1&name={name}", microversion="2.3")
        openstack.exceptions.raise_from_response(answer)
        (found,) = answer.json()["servers"]
    return dict(found)


def test_a_project_moves_in_two_waves_and_back(mover: Mover) -> None:
    people = mover.people
    owner = people.old.identity.find_user("globex-user")
    assert owner is not None
    people.sql("old-keystone", "UPDATE user SET password = ? WHERE id = ?", cheap_hash(OWN), owner.id)
    people.sql(
        "old-nova", "UPDATE instances SET user_data = ? WHERE display_name = 'erp'", base64.encodebytes(DATA).decode()
    )

    def opens(password: str) -> bool:
        there = people.new.identity.find_user("globex-user")
        return there is not None and people.new.accepts_password(there.id, password)

    run, plan = mover.move("erp")
    assert opens(OWN)
    notes = {note.object: note.text for note in plan.notes}
    assert "keeps its password" in notes["user globex-user"]
    assert "would be locked out with its old hash" in notes["user globex-ops"]
    there = people.new.identity.find_user("globex-user")
    assert there is not None
    server = new_server(people.lab, "erp")
    assert server["user_id"] == there.id
    assert server["key_name"] == "globex-key"
    assert base64.b64decode(str(server["OS-EXT-SRV-ATTR:user_data"])) == DATA

    mover.move("mail")
    assert new_server(people.lab, "mail")["user_id"] == there.id
    assert opens(OWN)

    secret = yaml.safe_load(run.site.secrets_file.read_text(encoding="utf-8"))["globex-user"]["password"]
    told = b"".join(
        file.read_bytes()
        for file in mover.folder.rglob("*")
        if file.is_file() and file != run.site.secrets_file and file.suffix != ".lock"
    )
    hash_value = people.sql("old-keystone", "SELECT password FROM user WHERE id = ?", owner.id)[0][0]
    for word in (b"hunter2", base64.b64encode(DATA)[:20], hash_value.encode(), OWN.encode(), secret.encode()):
        assert word not in told

    mover.roll_back("mail")
    assert opens(OWN)
    mover.roll_back("erp")
    assert people.new.identity.find_user("globex-user") is None
    assert yaml.safe_load(run.site.secrets_file.read_text(encoding="utf-8")) == {}


def test_user_data_that_changed_since_the_plan_stops_before_the_server_does(mover: Mover) -> None:
    people = mover.people
    run, plan = mover.begin(["worker1"], "plan_move")
    approve(plan, run.site.work_dir / "approvals", by="ada", reason="test")
    server_id = plan.servers[0].id
    people.sql("old-nova", "UPDATE instances SET user_data = ? WHERE uuid = ?", "Zmlyc3Q=", server_id)
    run, plan = mover.begin(["worker1"], "plan_move")
    approve(plan, run.site.work_dir / "approvals", by="ada", reason="test")
    run.require_approval(plan)
    run.prepare(plan)
    people.sql("old-nova", "UPDATE instances SET user_data = ? WHERE uuid = ?", "c2Vjb25k", server_id)
    with pytest.raises(StepError, match="is not what was planned"):
        run.cut_over(plan)
    assert people.old.compute.get_server(server_id).status == "ACTIVE"
