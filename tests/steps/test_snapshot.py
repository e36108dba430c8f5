"""A server carried by snapshot: consistent, copied once, and nothing of it left at the source."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import PlanStale, StepError
from pumphouse.inventory import Inventory, take_snapshot
from pumphouse.plan.model import PlannedStep
from pumphouse.plan.move import plan_move
from pumphouse.selection import select_servers
from pumphouse.site import Carry
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask
from tests.steps.bench import Bench, Killed, Scene, Write, address_of, eventually, killed_at_write, make_plan
from tests.steps.case import Case, Made, SetUp
from tests.steps.server_cases import boot_step, make_port
from tests.steps.test_cutover import somebody_answers

pytestmark = SDK_WARNS_OF_ITSELF
CREATE = Write("POST", "/servers/.*/action", "source.*", "createImage")


def snapshot_step(bench: Bench, server: dict[str, Any]) -> PlannedStep:
    """The carrying of a source server's root disk."""
    return PlannedStep(
        key=f"snapshot:{server['id']}",
        kind="snapshot",
        phase="cutover",
        title=f"carry {server['name']}",
        changes="both",
        params={
            "source_id": f"snapshot:{server['id']}",
            "server_id": server["id"],
            "name": server["name"],
            "project_id": bench.project,
            "rests": ["SHUTOFF"],
        },
        server_id=server["id"],
    )


class SnapshotCase(Case):
    kind = "snapshot"

    def make(self, bench: Bench) -> Made:
        server = bench.boot_source()
        bench.act_source(server["id"], "os-stop", "SHUTOFF")
        return Made(snapshot_step(bench, server), servers=(bench.plan_server(server["id"]),))

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        found = ask(bench.new.image, f"/images?name={step.params['name']} (carried)")["images"]
        copies = [
            (
                (image["status"], image["visibility"], image["owner"], image.get("instance_uuid")),
                hashlib.md5(bench.new.image.get(f"/images/{image['id']}/file").content).hexdigest(),
            )
            for image in found
        ]
        return copies, self.left(bench, step)

    def left(self, bench: Bench, step: PlannedStep) -> list[str]:
        """Statuses of the server's snapshots at the source."""
        found = ask(bench.old.image, "/images?limit=1000")["images"]
        return [image["status"] for image in found if image.get("instance_uuid") == step.params["server_id"]]

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        server = bench.source_server(step.params["server_id"])
        assert server is not None
        base = bench.old.image.get(f"/images/{server['image']['id']}/file").content
        disk = base + hashlib.sha256(server["id"].encode()).digest() * 2048
        return [(("active", "private", bench.acme, None), hashlib.md5(disk).hexdigest())], []

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"],)


CASE = SnapshotCase()
NOTHING: Any = ([], [])


def test_the_root_disk_goes_over_once_and_back_to_nothing(bench: Bench, scene: SetUp) -> None:
    one = scene(CASE)
    assert one.run().results == {one.step.key: "verified"}
    assert CASE.seen(bench, one.step) == CASE.want(bench, one.step)
    (copy,) = ask(bench.new.image, f"/images?name={one.step.params['name']} (carried)")["images"]
    assert one.journal.mapping("image", one.step.params["source_id"]) == copy["id"]
    assert not [name for name in copy if name.startswith("instance_type_") or name == "base_image_ref"]
    assert {"snapshot_s", "copy_s"} <= one.state().outcome.keys()
    assert one.verify()["checksum"] == copy["checksum"]
    changes = bench.changes()
    assert one.run().results == {one.step.key: "skipped"}
    assert bench.changes() == changes
    one.roll_back()
    assert CASE.seen(bench, one.step) == NOTHING
    assert one.journal.mapping("image", one.step.params["source_id"]) is None


@pytest.mark.parametrize("write", range(1, 6), ids=["lock", "take", "record", "bytes", "delete"])
def test_killed_anywhere_it_ends_as_if_it_had_not_been(bench: Bench, scene: SetUp, write: int) -> None:
    one = scene(CASE)
    with killed_at_write(write), pytest.raises(Killed):
        one.run()
    assert one.run().results == {one.step.key: "verified"}
    assert CASE.seen(bench, one.step) == CASE.want(bench, one.step)


def test_killed_in_between_it_is_rolled_back_at_both_ends(bench: Bench, scene: SetUp) -> None:
    one = scene(CASE)
    with killed_at_write(5), pytest.raises(Killed):
        one.run()
    copies, left = CASE.seen(bench, one.step)
    assert (len(copies), left) == (1, ["active"])
    one.roll_back()
    assert CASE.seen(bench, one.step) == NOTHING


def test_a_snapshot_whose_answer_was_lost_is_not_taken_twice(bench: Bench, scene: SetUp) -> None:
    one = scene(CASE)
    with bench.fault(CREATE, kind="lost", times=1):
        assert one.refused().remedy
    assert one.run().results == {one.step.key: "verified"}
    asked = [path for method, path in bench.changes() if method == "POST" and path.endswith("/action")]
    assert CASE.seen(bench, one.step) == CASE.want(bench, one.step)
    # lock, snapshot; and lock once more by the second run
    assert (
        len([path for path in asked if one.step.params["server_id"] in path]) == 4
    )  # with the stop that made it ready


def test_a_source_that_runs_again_is_not_snapshotted(bench: Bench, scene: SetUp) -> None:
    one = scene(CASE)
    bench.act_source(one.step.params["server_id"], "os-start", "ACTIVE")
    error = one.refused()
    assert type(error) is StepError
    assert one.step.params["server_id"] in error.message
    assert "ACTIVE" in error.message
    assert CASE.seen(bench, one.step) == NOTHING


def test_a_source_that_its_owner_used_after_its_snapshot_is_not_booted_from_it(
    bench: Bench, scene: SetUp, tmp_path: Path
) -> None:
    """Its boot failed and left it unlocked; what was written to its disk since is in no snapshot."""
    del scene  # tidies up
    server = bench.boot_source()
    bench.act_source(server["id"], "os-stop", "SHUTOFF")
    carry, boot = snapshot_step(bench, server), boot_step(bench, server)
    boot = replace(boot, params={**boot.params, "image_id": carry.params["source_id"], "locked": False})
    plan = make_plan(carry, replace(boot, needs=(carry.key,)), servers=(bench.plan_server(server["id"]),))
    one = Scene(bench, tmp_path, plan, plan.step(boot.key))
    one.know(*make_port(bench, server))
    with somebody_answers(address_of(server), bench.lab.guest_port):
        assert "still answers" in one.refused(lambda: one.run(*plan.steps)).message
    assert one.state(carry).state == "verified"
    for action, status in (("os-start", "ACTIVE"), ("os-stop", "SHUTOFF")):
        ask(bench.owner.compute, f"/servers/{server['id']}/action", "POST", json={action: None})
        bench.wait_source(server["id"], status)
    error = one.refused(lambda: one.run(*plan.steps))
    assert isinstance(error, PlanStale)
    assert all(word in error.message for word in (server["id"], "start at ", "stop at ", "after the snapshot"))
    assert error.remedy is not None
    assert "roll it back" in error.remedy
    assert bench.copies(server["name"]) == []
    one.journal.close()


def test_a_snapshot_that_nova_gives_up_is_said_and_tried_again(bench: Bench, scene: SetUp) -> None:
    one = scene(CASE)
    server_id = one.step.params["server_id"]

    def taken() -> list[str]:
        found = ask(bench.old.image, "/images?limit=1000")["images"]
        return [image["id"] for image in found if image.get("instance_uuid") == server_id]

    original = bench.source.images.get_image

    def vanishing(image_id: str) -> Any:
        for gone in taken():
            ask(bench.old.image, f"/images/{gone}", "DELETE")
        return original(image_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.source.images, "get_image", vanishing)
        error = one.refused()
    assert type(error) is StepError
    assert server_id in error.message
    eventually(lambda: (bench.source_server(server_id) or {})["OS-EXT-STS:task_state"] is None, "the task's end")
    assert one.run().results == {one.step.key: "verified"}
    assert CASE.seen(bench, one.step) == CASE.want(bench, one.step)


def test_a_whole_server_moves_with_its_root_disk(bench: Bench, scene: SetUp, tmp_path: Path) -> None:
    del scene  # tidies up
    server = bench.boot_source()
    inventory = Inventory(
        take_snapshot(bench.source, owners=bench._owners(), progress=None),
        take_snapshot(bench.destination, progress=None),
    )
    zones = {server["OS-EXT-AZ:availability_zone"]: None}
    site = replace(bench.site, carry=Carry(servers={server["name"]: "snapshot"}), availability_zones=zones)
    selection = select_servers(inventory.servers, ids=[server["id"]])
    plan, _ = plan_move(inventory, selection, site, secrets_known=frozenset({"acme-user"}))
    assert not [step for step in plan.steps if step.kind == "image"]
    one = Scene(bench, tmp_path, plan, plan.step(f"boot:{server['id']}"))
    one.site = site
    assert set(one.run(*plan.steps).results.values()) == {"verified"}
    (copy,) = bench.copies(server["name"])
    image = ask(bench.new.image, f"/images/{copy['image']['id']}")
    assert image["name"] == f"{server['name']} (carried)"
    assert (image["owner"], image["status"]) == (bench.acme, "active")
    assert bench.answers(address_of(server))
    one.journal.close()
