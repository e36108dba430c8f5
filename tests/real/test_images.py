"""Images and snapshots between the two real clouds: records, bytes, and what is left of an interrupted copy."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pumphouse.checks.images import check_images, check_records
from pumphouse.clouds import OpenStackCloud, connect
from pumphouse.errors import CloudError, CloudUnreachable, PumphouseError
from pumphouse.executor import execute
from pumphouse.journal import Journal
from pumphouse.model import Image
from pumphouse.plan.model import Plan, PlannedStep, PlanServer
from pumphouse.secretstore import SecretStore
from pumphouse.site import Site, load_site
from pumphouse.steps import STEPS, Context
from tests.benchmarks.carrier import image_step

from . import cloud

pytestmark = pytest.mark.real
MIB = 1 << 20
PREFIX = "img-test"


@dataclass
class Bench:
    """Both clouds as administrators, a journal, and a list of what to take away."""

    source: OpenStackCloud
    destination: OpenStackCloud
    site: Site
    journal: Journal

    def context(self, plan: Plan) -> Context:
        """What a step of this plan is given."""
        run_id = self.journal.start_run(notebook="t", template_digest="", parameters={}, operator="t", record=None)
        digest = plan.selection_digest
        self.journal.save_plan(plan.hash, kind="move", selection_digest=digest, document=plan.document)
        secrets = SecretStore(self.site.secrets_file)
        return Context(self.source, self.destination, self.site, self.journal, secrets, plan, run_id)

    def run(self, plan: Plan) -> None:
        """Carry a plan's steps out."""
        ctx = self.context(plan)
        execute(ctx, plan.steps)
        ctx.close()

    def undo(self, plan: Plan) -> None:
        """Take each step back."""
        ctx = self.context(plan)
        for step in reversed(plan.steps):
            state = self.journal.step_state(plan.hash, step.key)
            STEPS[step.kind].undo(ctx, step, {**state.intent_data, **state.outcome}, ours=state.ours)
        ctx.close()


@pytest.fixture
def bench(clouds: Any, tmp_path: Path) -> Iterator[Bench]:
    """Connects both clouds; takes away afterwards what a test left in either."""
    where = cloud.home()
    file = tmp_path / "site.yaml"
    file.write_text(
        f"schema: 1\nclouds_yaml: {where.clouds_yaml}\nsource: {{cloud: source}}\ndestination: {{cloud: destination}}\n"
    )
    site = load_site(file)
    made = [
        connect(name, side=name, clouds_yaml=where.clouds_yaml) for name in (site.source_cloud, site.destination_cloud)
    ]
    journal = Journal.open(site.journal_url)
    yield Bench(*made, site, journal)
    journal.close()
    for side in made:
        for image in side.images.list_images():
            if image.name.startswith((PREFIX, f"pumphouse {PREFIX}")):
                with contextlib.suppress(PumphouseError):
                    side.images.set_protected(image.id, protected=False)
                    side.images.delete_image(image.id)
        side.close()


def content(size_bytes: int = 3 * MIB) -> bytes:
    """Bytes that no other image has."""
    return (uuid.uuid4().bytes * (size_bytes // 16 + 1))[:size_bytes]


def make_image(bench: Bench, data: bytes, **changes: Any) -> Image:
    """An active image of the source."""
    fields: dict[str, Any] = {
        "name": f"{PREFIX}-{uuid.uuid4().hex[:8]}", "disk_format": "raw", "container_format": "bare",
        "visibility": "private", **changes,
    }  # fmt: skip
    image = Image(id="", status="queued", owner_id=None, size_bytes=None, checksum=None, **fields)
    made = bench.source.images.create_image(image)
    return bench.source.images.upload(made.id, iter([data]), size_bytes=len(data))


def plan_of(*steps: PlannedStep, servers: tuple[PlanServer, ...] = ()) -> Plan:
    """A plan like no other."""
    return Plan("move", "source", "destination", uuid.uuid4().hex * 2, servers, steps)


@pytest.mark.parametrize("size", [1, 3 * MIB, 3 * MIB + 17])
def test_the_copy_has_the_same_record_and_the_same_bytes(bench: Bench, size: int) -> None:
    data = content(size)
    properties = {"os_distro": "débian", "hw_disk_bus": "virtio", "note": "two words: und ä"}
    made = make_image(bench, data, properties=properties, min_disk_gib=1, min_ram_mib=64, tags=("lts", "web"))
    step = image_step(bench.source, made.id)
    plan = plan_of(replace(step, params={**step.params, "image": {**step.params["image"], "protected": True}}))
    bench.run(plan)
    copy = bench.destination.images.get_image(made.id)
    assert (copy.size_bytes, copy.checksum) == (size, hashlib.md5(data).hexdigest())
    assert (copy.hash_algo, copy.hash_value) == ("sha512", hashlib.sha512(data).hexdigest())
    assert copy.properties.items() >= properties.items()
    assert (copy.min_disk_gib, copy.min_ram_mib, copy.protected) == (1, 64, True)
    assert sorted(copy.tags) == ["lts", "web"]
    assert b"".join(bench.destination.images.download(copy.id)) == data
    bench.run(plan)  # a second time changes nothing
    assert bench.destination.images.get_image(made.id) == copy
    bench.undo(plan)
    with pytest.raises(CloudError):
        bench.destination.images.get_image(made.id)


def test_an_upload_that_breaks_off_leaves_a_record_that_the_next_attempt_fills(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = content(4 * MIB)
    made = make_image(bench, data)
    plan = plan_of(image_step(bench.source, made.id))
    original = bench.source.images.download
    broken: list[str] = []

    def once_broken(image_id: str, **options: Any) -> Any:
        stream = original(image_id, **options)
        if broken:
            return stream
        broken.append(image_id)

        def pieces() -> Iterator[bytes]:
            yield next(stream)
            raise CloudUnreachable("the source went away", remedy="repeat")

        return pieces()

    monkeypatch.setattr(bench.source.images, "download", once_broken)
    bench.run(plan)
    assert broken == [made.id]
    state = bench.journal.step_state(plan.hash, plan.steps[0].key)
    assert state.outcome["attempts"] == 2
    assert state.outcome["id"] == made.id, "the record of the first attempt was used again"
    assert b"".join(bench.destination.images.download(made.id)) == data


def test_what_this_destination_refuses_is_found_before(bench: Bench) -> None:
    fine = image_step(bench.source, make_image(bench, content()).id)
    image = fine.params["image"]
    wrong = [
        replace(fine, key=f"image:{number}", params={**fine.params, "image": {**image, **changes}})
        for number, changes in enumerate([{"disk_format": "floppy"}, {"container_format": "jar"}, {"name": "n" * 256}])
    ]
    assert check_records(plan_of(fine), bench.destination.images) == ()
    found = check_records(plan_of(fine, *wrong), bench.destination.images)
    assert [finding.code for finding in found] == ["image-refused"] * 3
    for step in wrong:
        with pytest.raises(PumphouseError):
            bench.run(plan_of(step))


def test_a_mislabelled_image_is_found_before_and_refused_by_glance(bench: Bench) -> None:
    step = image_step(bench.source, make_image(bench, content(), disk_format="qcow2").id)
    assert [finding.code for finding in check_images(plan_of(step), bench.source.images)] == ["image-format"]
    with pytest.raises(PumphouseError, match="415"):
        bench.run(plan_of(step))


@pytest.fixture
def server(bench: Bench, clouds: Any) -> Iterator[dict[str, Any]]:
    """A stopped server of acme's at the source."""
    owner = clouds.user("acme-user")
    facts = clouds.facts
    body = {
        "name": f"{PREFIX}-{uuid.uuid4().hex[:6]}",
        "imageRef": facts["images"]["ubuntu-14.04"]["id"],
        "flavorRef": facts["flavors"]["m1.tiny"]["id"],
    }
    made = owner.call("POST", "compute", "/servers", {"server": body})["server"]["id"]
    bench.source.compute.wait_server(made, "ACTIVE", timeout_s=90)
    bench.source.compute.stop_server(made)
    bench.source.compute.wait_server(made, "SHUTOFF", timeout_s=90)
    yield {"id": made, "name": body["name"], "project_id": owner.project_id}
    bench.source.compute.unlock_server(made)
    bench.source.compute.delete_server(made)
    bench.source.compute.wait_server_gone(made, timeout_s=90)


def test_a_stopped_server_is_carried_by_snapshot(bench: Bench, server: dict[str, Any]) -> None:
    project = bench.destination.identity.create_project(f"{PREFIX}-{uuid.uuid4().hex[:8]}")
    step = PlannedStep(
        key=f"snapshot:{server['id']}",
        kind="snapshot",
        phase="cutover",
        title="carry",
        changes="both",
        params={
            "source_id": f"snapshot:{server['id']}", "server_id": server["id"], "name": server["name"],
            "project_id": server["project_id"], "rests": ["SHUTOFF"],
        },
        server_id=server["id"],
    )  # fmt: skip
    try:
        bench.journal.write("t", "t", "@t", "note", mapping=("project", server["project_id"], project.id))
        plan = plan_of(step)
        bench.run(plan)
        state = bench.journal.step_state(plan.hash, step.key)
        copy = bench.destination.images.get_image(state.outcome["id"])
        assert (copy.status, copy.owner_id, copy.visibility) == ("active", project.id, "private")
        assert copy.size_bytes
        assert not {"instance_uuid", "base_image_ref", "image_location"} & copy.properties.keys()
        left = [i for i in bench.source.images.list_images() if i.properties.get("instance_uuid") == server["id"]]
        assert left == []
        bench.undo(plan)
        with pytest.raises(CloudError):
            bench.destination.images.get_image(copy.id)
    finally:
        bench.destination.identity.delete_project(project.id)


def test_flavors_keep_what_nova_lets_them_keep(bench: Bench) -> None:
    name = f"{PREFIX}-{uuid.uuid4().hex[:8]}"
    flavor = {
        "id": name, "name": name, "vcpus": 1, "ram_mib": 128, "disk_gib": 1, "ephemeral_gib": 2, "swap_mib": 64,
        "rxtx_factor": 2.0, "is_public": False, "extra_specs": {"quota:cpu_shares": "512"}, "access_project_ids": [],
        "disabled": False,
    }  # fmt: skip
    step = PlannedStep(f"flavor:{name}", "flavor", "prepare", name, "destination",
                       params={"source_id": name, "flavor": flavor})  # fmt: skip
    plan = plan_of(step)
    bench.run(plan)
    made = bench.destination.compute.find_flavor(name)
    assert made is not None
    assert (made.ephemeral_gib, made.swap_mib, made.rxtx_factor, made.is_public) == (2, 64, 2.0, False)
    assert made.extra_specs == {"quota:cpu_shares": "512"}
    bench.undo(plan)
    assert bench.destination.compute.find_flavor(name) is None
