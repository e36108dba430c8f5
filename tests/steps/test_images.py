"""Images on their way: transfers that break off, twins, owners that follow later, and what people read meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pumphouse.errors import CloudUnreachable, StepError
from pumphouse.executor import execute
from pumphouse.model import Image
from pumphouse.plan.model import PlannedStep
from pumphouse.steps import STEPS
from pumphouse.steps import images as step_images
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask
from tests.steps.bench import Bench, Scene, Write, keep, make_plan, start, unique
from tests.steps.case import Made, SetUp
from tests.steps.shared_cases import FlavorCase, ImageCase, like

pytestmark = SDK_WARNS_OF_ITSELF
READ = Write("GET", "/v2/images/.*/file", "source.*")
SEND = Write("PUT", "/v2/images/.*/file$")


class Megabytes(ImageCase):
    """Large enough to break off in the middle."""

    size_bytes = 3 << 20


class OneAtATime(ImageCase):
    """Without members and protection."""

    changes: dict[str, Any] = {"member_ids": [], "protected": False, "visibility": "private"}

    def make(self, bench: Bench) -> Made:
        made = super().make(bench)
        image = {**made.step.params["image"], **self.changes}
        return Made(replace(made.step, params={**made.step.params, "image": image}))


def run_reporting(one: Scene) -> list[str]:
    """Carry the scene's step out; the lines that a person sees."""
    lines: list[str] = []
    ctx = one.context(run_id=start(one.journal))
    ctx.report = lines.append
    try:
        execute(ctx, [one.step], workers=1)
    finally:
        ctx.close()
    return lines


@pytest.mark.parametrize(
    ("write", "rule"),
    [
        (READ, {"kind": "reset"}),
        (READ, {"kind": "status", "status": 503}),
        (SEND, {"kind": "reset"}),
        (SEND, {"kind": "status", "status": 503}),
        (SEND, {"kind": "lost"}),
    ],
    ids=["unread", "source-down", "unsent", "destination-down", "answer-lost"],
)
def test_a_transfer_that_breaks_off_is_begun_again(
    bench: Bench, scene: SetUp, write: Write, rule: dict[str, Any]
) -> None:
    case = Megabytes()
    one = scene(case)
    with bench.fault(write, **rule, times=1):
        assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    asked = [path for method, path in bench.changes() if method == "POST" and path.endswith("/v2/images")]
    assert len(asked) == 2, "one record at the source by the test, one at the destination: it was used again"


def test_a_destination_that_never_takes_it_is_given_up_without_a_half_image(bench: Bench, scene: SetUp) -> None:
    case = Megabytes()
    one = scene(case)
    with bench.fault(SEND, kind="reset", times=0):
        error = one.refused()
    assert isinstance(error, CloudUnreachable)
    sent = [path for method, path in bench.changes() if method == "PUT" and path.endswith("/file")]
    assert len(sent) == 1 + step_images.ATTEMPTS, "the test's own upload, and ours"
    assert [row["status"] for row in case.found(bench, one.step)] == ["queued"]
    one.roll_back()
    assert case.seen(bench, one.step) == []


@pytest.mark.parametrize(
    ("content", "left"),
    [(b"x" * ImageCase.size_bytes, []), (b"x", ["queued"]), (b"x" * 9999, ["queued"])],
    ids=["other", "short", "long"],
)
def test_bytes_that_are_not_the_images_never_become_active(
    bench: Bench, scene: SetUp, monkeypatch: pytest.MonkeyPatch, content: bytes, left: list[str]
) -> None:
    case = OneAtATime()
    one = scene(case)
    with monkeypatch.context() as patch:
        patch.setattr(bench.source.images, "download", lambda _image_id: iter([content]))
        assert one.refused().remedy
    assert [row["status"] for row in case.found(bench, one.step)] == left
    assert one.run().results == {one.step.key: "verified"}
    assert [row["status"] for row in case.found(bench, one.step)] == ["active"]


def test_a_record_that_glance_never_lets_go_of_is_replaced(
    bench: Bench, scene: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = OneAtATime()
    one = scene(case)
    original = bench.destination.images.get_image

    def stuck(image_id: str) -> Image:
        return replace(original(image_id), status="saving")

    monkeypatch.setattr(step_images, "SETTLE_S", 0.0)
    with bench.fault(SEND, kind="reset", times=1), monkeypatch.context() as patch:
        patch.setattr(bench.destination.images, "get_image", stuck)
        one.refused()  # it cannot be verified as long as everything is said to be saving
    (left,) = case.found(bench, one.step)
    assert left["status"] == "active"
    assert left["id"] != one.step.params["source_id"]


def test_how_far_it_has_come_is_told(bench: Bench, scene: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    one = scene(Megabytes())
    original = step_images.Progress
    monkeypatch.setattr(step_images, "Progress", lambda *args, **more: original(*args, **more, every_s=0.0))
    lines = run_reporting(one)
    name = one.step.params["image"]["name"]
    told = [line for line in lines if line.startswith(f"image {name}: ")]
    assert [line.partition(",")[0].partition(": ")[2] for line in told] == [
        "1.0 MiB of 3.0 MiB (33 %)",
        "2.0 MiB of 3.0 MiB (66 %)",
        "3.0 MiB of 3.0 MiB (100 %)",
    ]
    assert all("/s" in line for line in told)
    assert f"copied   image {name}: 3.0 MiB" in " ".join(lines)
    outcome = one.state().outcome
    assert {"seconds", "bytes_per_s", "hash_algo", "hash_value"} <= outcome.keys()


def test_twins_share_one_copy(bench: Bench, scene: SetUp) -> None:
    case = OneAtATime()
    one = scene(case)
    first = one.step
    twin = like(first, unique("twin"), twin_id=first.params["source_id"], source_id=unique("twin-id"))
    plan = make_plan(replace(first, needs=()), replace(twin, needs=(first.key,)))
    keep(one.journal, plan)
    one.run(*plan.steps, plan=plan)
    assert len(case.found(bench, first)) == 1
    mapped = [one.journal.mapping("image", step.params["source_id"]) for step in (first, twin)]
    assert mapped[0] == mapped[1] is not None
    assert not one.journal.made_by_us(twin.key)


def test_a_copy_that_was_the_operators_comes_to_its_owner_when_that_moves(bench: Bench, scene: SetUp) -> None:
    case = OneAtATime()
    one = scene(case)
    one.run()
    (before,) = case.found(bench, one.step)
    assert before["owner"] == bench.destination.project_id
    image = {**one.step.params["image"], "owner_id": bench.project}
    later = make_plan(replace(one.step, params={**one.step.params, "image": image}))
    keep(one.journal, later)
    one.run(*later.steps, plan=later)
    (after,) = case.found(bench, one.step)
    assert (after["id"], after["owner"], after["visibility"]) == (before["id"], bench.acme, "private")
    assert len([path for method, path in bench.changes() if method == "PUT" and path.endswith("/file")]) == 2


def test_a_member_that_has_not_accepted_is_not_made_to(bench: Bench, scene: SetUp) -> None:
    class Pending(OneAtATime):
        changes = {"member_ids": [bench.project], "pending_ids": [bench.project], "visibility": "shared"}

    case = Pending()
    one = scene(case)
    one.run()
    (made,) = case.found(bench, one.step)
    members = ask(bench.new.image, f"/images/{made['id']}/members")["members"]
    assert [(member["member_id"], member["status"]) for member in members] == [(bench.acme, "pending")]
    assert bench.destination.images.get_image(made["id"]).pending_ids == (bench.acme,)


# --- flavors ------------------------------------------------------------------------------------------


def project_step(bench: Bench) -> str:
    """A project of the destination, made by hand; its id."""
    body = {"project": {"name": unique("project"), "domain_id": "default"}}
    return str(ask(bench.new.identity, "/projects", "POST", json=body)["project"]["id"])


def test_a_later_plan_opens_a_private_flavor_to_its_project(bench: Bench, scene: SetUp) -> None:
    case = FlavorCase()
    one = scene(case)
    one.run()
    other = project_step(bench)
    one.know("project", "old-other", other)
    flavor = {**one.step.params["flavor"], "access_project_ids": [bench.project, "old-other"]}
    step: PlannedStep = replace(one.step, params={**one.step.params, "flavor": flavor})
    later = make_plan(step)
    keep(one.journal, later)
    one.run(step, plan=later)
    _, access = case.more(bench, one.step.params["source_id"])
    assert sorted(access) == sorted([bench.acme, other])
    state = one.journal.step_state(later.hash, step.key)
    assert (state.ours, state.outcome["granted"]) == (False, [other])
    one.plan, one.step = later, step
    ctx = one.context()
    STEPS["flavor"].undo(ctx, step, {**state.outcome}, ours=False)
    ctx.close()
    assert case.more(bench, one.step.params["source_id"])[1] == [bench.acme]


def test_a_flavor_under_another_id_is_mapped_to_it(bench: Bench, scene: SetUp) -> None:
    case = FlavorCase()
    one = scene(case)
    chosen = unique("chosen")
    flavor = {**one.step.params["flavor"], "id": chosen}
    plan = make_plan(replace(one.step, params={**one.step.params, "flavor": flavor}))
    keep(one.journal, plan)
    one.run(*plan.steps, plan=plan)
    assert one.journal.mapping("flavor", one.step.params["source_id"]) == chosen
    assert [row[0] for row in case.seen(bench, one.step)] == [chosen]


def test_a_flavor_with_a_spec_of_its_own_is_not_taken_for_ours(bench: Bench, scene: SetUp) -> None:
    case = FlavorCase()
    one = scene(case)
    case.there(bench, one.step)
    path = f"/flavors/{one.step.params['source_id']}/os-extra_specs"
    ask(bench.new.compute, path, "POST", json={"extra_specs": {"trait:HW_CPU": "required"}})
    error = one.refused()
    assert isinstance(error, StepError)
    assert "trait:HW_CPU" in error.message
