"""Something else is where a step wants to put its object: it says so, touches nothing, and goes on when it is gone."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import openstack
import pytest
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session

from pumphouse.clouds import streams
from pumphouse.errors import Conflict, PumphouseError, StepError, VerificationFailed
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask
from tests.steps.bench import Bench, Killed, Scene, Write, eventually, unique
from tests.steps.case import Case, Made, SetUp
from tests.steps.shared_cases import (
    FlavorCase,
    ImageCase,
    KeypairCase,
    NetworkCase,
    PortCase,
    ProjectCase,
    RouterCase,
    RulesCase,
    SecurityGroupCase,
    UserCase,
)

pytestmark = SDK_WARNS_OF_ITSELF


def is_refused(one: Scene, bench: Bench, case: Case, kind: type[PumphouseError], *words: str) -> None:
    """The step fails with that error, which says these words, and changes nothing."""
    found, changes = case.seen(bench, one.step), bench.changes()
    error = one.refused()
    assert type(error) is kind, error
    assert all(word in error.message for word in words), error
    assert error.remedy
    assert case.seen(bench, one.step) == found
    assert bench.changes() == changes
    assert one.state().state == "failed"


def test_a_project_made_from_another_source_project(bench: Bench, scene: SetUp) -> None:
    case = ProjectCase()
    one = scene(case)
    name = one.step.params["name"]
    other = {"project": {"name": name, "domain_id": "default", "pumphouse_source_id": "some-other"}}
    made = ask(bench.new.identity, "/projects", "POST", json=other)["project"]["id"]
    is_refused(one, bench, case, StepError, name, made, "some-other")


def test_a_user_can_log_in_with_the_secret_that_was_handed_over(bench: Bench, scene: SetUp) -> None:
    one = scene(UserCase())
    one.run()
    name = one.step.params["name"]
    ctx = one.context()
    password = ctx.secrets.get(name)
    assert password is not None
    assert len(password) >= 24
    url = bench.lab.facts["destination_auth_url"]
    session = Session(auth=Password(url, username=name, password=password, user_domain_id="default", unscoped=True))
    assert session.get_user_id() == one.state().outcome["id"]
    session.session.close()
    assert password.encode() not in b"".join(file.read_bytes() for file in one.folder.iterdir())


def test_a_user_whose_secret_cannot_be_kept_is_not_made(bench: Bench, scene: SetUp) -> None:
    case = UserCase()
    one = scene(case)
    one.site = replace(bench.site, work_dir=one.folder / "file" / "work")
    (one.folder / "file").write_text("not a folder")
    error = one.refused()
    assert "handover-secrets.yaml" in error.message
    assert error.remedy
    assert case.seen(bench, one.step) == []


def test_a_flavor_of_other_sizes(bench: Bench, scene: SetUp) -> None:
    case = FlavorCase()
    one = scene(case)
    made = one.step.params["flavor"]
    body = {"id": made["id"], "name": made["name"], "vcpus": 7, "ram": 64, "disk": made["disk_gib"]}
    body["os-flavor-access:is_public"] = False
    ask(bench.new.compute, "/flavors", "POST", json={"flavor": body})
    is_refused(one, bench, case, StepError, made["name"], "vcpus", "ram_mib")


def test_somebody_elses_flavor_without_the_extra_specs_is_not_completed(bench: Bench, scene: SetUp) -> None:
    case = FlavorCase()
    one = scene(case)
    case.there(bench, one.step)
    case.spoil(bench, one.step)
    is_refused(one, bench, case, VerificationFailed, one.step.params["source_id"], "hw:cpu_policy")


def test_an_image_of_the_same_id_with_other_bytes(bench: Bench, scene: SetUp) -> None:
    case = ImageCase()
    one = scene(case)
    case.upload(bench, one.step, b"something else" * 100)
    is_refused(one, bench, case, VerificationFailed, one.step.params["source_id"], "checksum")


def test_somebody_elses_image_that_only_has_to_be_shared_stays_theirs(bench: Bench, scene: SetUp) -> None:
    case = ImageCase()
    one = scene(case)
    case.upload(bench, one.step, case.data(one.step.params["image"]["name"]))
    one.run()
    (image,) = case.found(bench, one.step)
    assert image["id"] == one.state().outcome["id"] == one.step.params["source_id"]
    members = ask(bench.new.image, f"/images/{image['id']}/members")["members"]
    assert [member["member_id"] for member in members] == [bench.acme]
    assert not one.state().ours
    one.roll_back()
    assert [row["id"] for row in case.found(bench, one.step)] == [image["id"]]


def test_an_image_whose_source_is_damaged(bench: Bench, scene: SetUp) -> None:
    class Damaged(ImageCase):
        def make(self, bench: Bench) -> Made:
            made = super().make(bench)
            image = {**made.step.params["image"], "checksum": "0" * 32}
            return Made(replace(made.step, params={**made.step.params, "image": image}))

    case = Damaged()
    one = scene(case)
    error = one.refused()
    assert type(error) is StepError
    assert one.step.params["source_id"] in error.message
    assert "0" * 32 in error.message
    assert error.remedy
    assert case.seen(bench, one.step) == []


class BigImageCase(ImageCase):
    """One that does not go over the wire in one piece."""

    size_bytes = 3 << 20


def test_killed_in_the_middle_of_an_upload(bench: Bench, scene: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    case = BigImageCase()
    one = scene(case)
    was = case.seen(bench, one.step)
    with monkeypatch.context() as patch:

        def dying(self: streams.Tally) -> Any:
            yield b"x" * 1000
            raise Killed("in an upload")

        patch.setattr(streams.Tally, "_pass", dying)
        with pytest.raises(Killed):
            one.run()
    eventually(lambda: [row["status"] for row in case.found(bench, one.step)] == ["queued"], "the upload's end")
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    one.roll_back()
    assert case.seen(bench, one.step) == was


def test_an_image_that_is_being_uploaded_is_not_made_twice(bench: Bench, scene: SetUp) -> None:
    case = ImageCase()
    one = scene(case)
    go_on = threading.Event()

    def slowly() -> Any:
        yield b"x"
        go_on.wait(20)

    source_id = one.step.params["source_id"]
    body = {"id": source_id, "name": one.step.params["image"]["name"], "disk_format": "raw"}
    body |= {"container_format": "bare", "visibility": "shared"}
    ask(bench.new.image, "/images", "POST", json=body)
    binary = {"Content-Type": "application/octet-stream"}
    thread = threading.Thread(
        target=lambda: bench.new.image.put(f"/images/{source_id}/file", data=slowly(), headers=binary)
    )
    thread.start()
    try:
        eventually(lambda: [row["status"] for row in case.found(bench, one.step)] == ["saving"], "saving")
        error = one.refused()
        assert type(error) is StepError
        assert source_id in error.message
        assert "saving" in error.message
        assert len(case.found(bench, one.step)) == 1
    finally:
        go_on.set()
        thread.join()


def test_an_image_made_again_after_a_roll_back_gets_another_id(bench: Bench, scene: SetUp) -> None:
    one = scene(ImageCase())
    one.run()
    source_id = one.step.params["source_id"]
    assert one.journal.mapping("image", source_id) == source_id
    one.roll_back()
    assert one.journal.mapping("image", source_id) is None
    one.renew()
    one.run()
    assert one.journal.mapping("image", source_id) not in (None, source_id)


def test_a_source_that_breaks_off_a_download(bench: Bench, scene: SetUp) -> None:
    case = ImageCase()
    one = scene(case)
    with bench.fault(Write("GET", "/v2/images/.*/file", "source.*"), kind="reset", times=0):
        error = one.refused()
    assert one.step.params["source_id"] in error.message
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)


def test_a_keypair_of_that_name_with_another_key(bench: Bench, scene: SetUp) -> None:
    case = KeypairCase()
    one = scene(case)
    other = bench.pattern("keypair", user_name="acme-ops").params["public_key"]
    case.add(bench, one.step, other)
    is_refused(one, bench, case, StepError, one.step.params["name"], "another key")


def test_a_keypair_is_made_for_its_owner_without_the_owners_secret(bench: Bench, scene: SetUp) -> None:
    case = KeypairCase()
    one = scene(case)
    one.site = replace(bench.site, work_dir=one.folder / "empty")
    one.run()
    assert case.seen(bench, one.step) == case.want(bench, one.step)


@pytest.mark.parametrize(("cidr", "word"), [("10.99.0.0/24", "10.99.0.0/24"), (None, "None")])
def test_a_network_of_that_name_with_another_cidr(cidr: str | None, word: str, bench: Bench, scene: SetUp) -> None:
    case = NetworkCase()
    one = scene(case)
    network, _ = case.add(bench, one.step.params["name"], cidr)
    is_refused(one, bench, case, StepError, one.step.params["name"], network, word)


def test_two_networks_of_that_name(bench: Bench, scene: SetUp) -> None:
    case = NetworkCase()
    one = scene(case)
    ids = [case.add(bench, one.step.params["name"], one.step.params["cidr"])[0] for _ in range(2)]
    is_refused(one, bench, case, StepError, one.step.params["name"], *ids)


def test_a_network_that_somebody_uses_is_not_undone(bench: Bench, scene: SetUp) -> None:
    case = NetworkCase()
    one = scene(case)
    one.run()
    network = one.state().outcome["id"]
    port = ask(bench.new.network, "/ports", "POST", json={"port": {"network_id": network}})["port"]["id"]
    error = one.refused(one.roll_back)
    assert isinstance(error, Conflict)
    assert network in error.message
    ask(bench.new.network, f"/ports/{port}", "DELETE")
    one.roll_back()
    assert case.seen(bench, one.step) == []


def test_a_router_of_that_name_to_another_network(bench: Bench, scene: SetUp) -> None:
    case = RouterCase()
    one = scene(case)
    body = {"network": {"name": unique("external"), "router:external": True}}
    external = ask(bench.new.network, "/networks", "POST", json=body)["network"]["id"]
    subnet = {"network_id": external, "ip_version": 4, "cidr": "198.51.100.0/24", "enable_dhcp": False}
    ask(bench.new.network, "/subnets", "POST", json={"subnet": subnet})
    router = case.add(
        bench, one.step, {"name": one.step.params["name"], "external_gateway_info": {"network_id": external}}
    )
    is_refused(one, bench, case, Conflict, one.step.params["name"], router, external)


def test_the_default_group_is_neutrons_own_and_stays(bench: Bench, scene: SetUp) -> None:
    class Default(SecurityGroupCase):
        def make(self, bench: Bench) -> Made:
            made = super().make(bench)
            project = ProjectCase().make(bench).step.params
            body = {"project": {"name": project["name"], "domain_id": "default"}}
            there = ask(bench.new.identity, "/projects", "POST", json=body)["project"]["id"]
            params = {**made.step.params, "name": "default", "project_id": f"old-{there}"}
            return Made(replace(made.step, params=params), mappings=[("project", f"old-{there}", there)])

    case = Default()
    one = scene(case)
    one.run()
    assert not one.state().ours
    project = one.step.params["project_id"].removeprefix("old-")
    assert [row["id"] for row in case.found(bench, one.step) if row["project_id"] == project] == [
        one.state().outcome["id"]
    ]
    one.roll_back()
    assert project in [row["project_id"] for row in case.found(bench, one.step)]


def test_rules_that_were_there_stay_when_ours_are_removed(bench: Bench, scene: SetUp) -> None:
    case = RulesCase()
    one = scene(case)
    case.add(bench, one.step, "tcp", 443, 443, "0.0.0.0/0", None)
    case.add(bench, one.step, "tcp", 8080, 8080, None, None)
    was = case.seen(bench, one.step)
    one.run()
    assert len(case.seen(bench, one.step)) == 5
    one.roll_back()
    assert case.seen(bench, one.step) == was


def test_an_address_that_another_port_holds(bench: Bench, scene: SetUp) -> None:
    case = PortCase()
    one = scene(case)
    port = case.add(bench, {**one.step.params, "name": "somebody's"})
    is_refused(one, bench, case, StepError, one.step.params["address"], port, "somebody's")
    ask(bench.new.network, f"/ports/{port}", "DELETE")
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)


def test_a_mac_that_another_port_has(bench: Bench, scene: SetUp) -> None:
    case = PortCase()
    one = scene(case)
    case.add(bench, {**one.step.params, "name": "somebody's", "address": bench.address()})
    error = one.refused()
    assert isinstance(error, Conflict)
    assert one.step.params["mac"] in error.message
    assert error.remedy
    assert case.seen(bench, one.step) == []


def test_a_group_whose_project_is_gone_is_undone_with_it(bench: Bench, scene: SetUp) -> None:
    one = scene(SecurityGroupCase())
    one.run()
    one.journal.forget_mapping("project", bench.project)
    assert one.roll_back().results
    assert one.state().state == "undone"


def test_what_a_step_stands_on_was_not_carried(bench: Bench, scene: SetUp) -> None:
    one = scene(SecurityGroupCase())
    one.journal.forget_mapping("project", bench.project)
    error = one.refused()
    assert bench.project in error.message
    assert error.remedy
    with pytest.raises(openstack.exceptions.NotFoundException):
        ask(bench.new.network, f"/security-groups/{one.step.params['source_id']}")
