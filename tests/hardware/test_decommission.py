"""The end of a source: what counts as left, in which order controllers go, the archive, and what is asked last."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pumphouse.clouds.api import Cloud
from pumphouse.errors import CloudAuthError, CloudUnreachable, PlanError, StepError
from pumphouse.findings import Finding, blocking
from pumphouse.model import FloatingIp, Project
from pumphouse.nodes.spec import Hardware
from pumphouse.plan.hardware import Canary, Layout
from pumphouse.plan.hardware.decommission import Archive, Ending, order_of, plan_decommission
from pumphouse.plan.hardware.remains import Accounts, Remnant, SourceRemains, account, control_rank, unknown
from pumphouse.plan.model import Plan
from pumphouse.records.redact import Redactor
from pumphouse.session.decommission import has_ended, is_ending
from pumphouse.steps.hardware.archive import ArchiveSource, look_at_archive, problem_of, require_archive
from pumphouse.steps.hardware.decommission import ControllerOff
from pumphouse.steps.hardware.remains import read_remains
from tests.factories import make_image, make_server
from tests.hardware.making import ADMIN_VLAN, DIGEST, NAMES, make_node, make_service
from tests.hardware.world import Hall, World

FIRST, LAST = (make_node(name, role="controller") for name in ("n1", "n2"))
KNOWN = Archive(("true",), "/archive.tar")
OFF_TO_SERVING = [
    "node-port", "controller-off", "node-vlan", "node-pxe", "node-on", "node-discovered", "node-assign", "node-deploy",
    "host-up", "canary",
]  # fmt: skip


def floating(**values: Any) -> FloatingIp:
    return FloatingIp(**{"id": "f1", "address": "172.16.0.9", "pool": "nova", "project_id": "p1", **values})


# -- what counts as left --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("remains", "accounts", "code"),
    [
        (SourceRemains(servers=(make_server("web", status="SHUTOFF"),)), {}, "server-left"),
        (SourceRemains(servers=(make_server("web", status="ERROR"),)), {}, "server-left"),
        (SourceRemains(servers=(make_server("web", id="s1", status="SHUTOFF"),)), {"moved": {"s1"}}, "not-finalised"),
        (SourceRemains(servers=(make_server("web", status="ACTIVE"),)), {"leave": {"web"}}, "left-alive"),
        (SourceRemains(servers=(make_server("w", status="ERROR", power_state=1),)), {"leave": {"w"}}, "left-alive"),
        (SourceRemains(images=(make_image("old", status="active"),)), {}, "image-left"),
        (SourceRemains(images=(make_image("old", status="saving"),)), {}, "image-left"),
        (SourceRemains(floating_ips=(floating(),)), {}, "address-left"),
        (SourceRemains(floating_ips=(floating(server_id="s1"),)), {"addresses": {"172.16.0.9"}}, "address-bound"),
        (SourceRemains(floating_ips=(floating(server_id="s1"),)), {"leave": {"172.16.0.9"}}, "address-bound"),
        (SourceRemains(services=(make_service("c1"),)), {}, "host-left"),
        (SourceRemains(services=(make_service("c1", state="down"),)), {}, "host-left"),
        (SourceRemains(services=(make_service("c1", status="disabled"),)), {}, "host-left"),
    ],
)
def test_what_has_no_account_is_named(remains: SourceRemains, accounts: dict[str, Any], code: str) -> None:
    found = account(remains, Accounts(**accounts))
    assert [(one.code, one.accounted) for one in found] == [(code, False)]
    assert found[0].remedy


@pytest.mark.parametrize("denied", [False, True])
def test_whose_an_address_is_is_said_by_name_where_keystone_tells_it(*, denied: bool) -> None:
    def projects() -> list[Project]:
        if denied:
            raise CloudAuthError("Listing projects of old was refused.", remedy="log in as an administrator.")
        return [Project("p1", "acme")]

    source = SimpleNamespace(
        compute=SimpleNamespace(list_servers=lambda: [make_server("web", id="s1")], list_services=list),
        images=SimpleNamespace(list_images=list),
        network=SimpleNamespace(list_floating_ips=lambda: [floating(), floating(id="f2", server_id="s1")]),
        identity=SimpleNamespace(list_projects=projects),
    )
    found = {one.code: one.why for one in account(read_remains(cast("Cloud", source)), Accounts())}
    assert "to server web (s1)." in found["address-bound"]
    assert f"to project {'p1' if denied else 'acme (p1)'}, " in found["address-left"]


@pytest.mark.parametrize(
    ("remains", "accounts", "told"),
    [
        (SourceRemains(servers=(make_server("web", status="SHUTOFF"),)), {"leave": {"web"}}, 1),
        (SourceRemains(servers=(make_server("w", status="ERROR", power_state=0),)), {"leave": {"w"}}, 1),
        (SourceRemains(images=(make_image("old", id="i1", status="active"),)), {"images": {"i1"}}, 0),
        (SourceRemains(images=(make_image("old", id="i1", status="active"),)), {"leave": {"i1"}}, 1),
        (SourceRemains(images=(make_image("old", status="killed"),)), {}, 0),
        (SourceRemains(floating_ips=(floating(project_id=None),)), {}, 0),
        (SourceRemains(floating_ips=(floating(),)), {"addresses": {"172.16.0.9"}}, 0),
        (SourceRemains(floating_ips=(floating(),)), {"leave": {"172.16.0.9"}}, 1),
        (SourceRemains(services=(make_service("c1"),)), {"retiring": {"c1"}}, 0),
        (SourceRemains(services=(make_service("c1"),)), {"leave": {"c1"}}, 1),
        (SourceRemains(services=(make_service("c1", status="disabled", state="down"),)), {}, 1),
        (SourceRemains(services=(make_service("ctl", "nova-scheduler"),)), {}, 0),
    ],
)
def test_what_is_accounted_for_is_told_where_it_is_lost(
    remains: SourceRemains, accounts: dict[str, Any], told: int
) -> None:
    found = account(remains, Accounts(**accounts))
    assert [one.accounted for one in found] == [True] * told


def test_a_word_that_names_nothing_is_found() -> None:
    remains = SourceRemains(servers=(make_server("web", id="s1"),), services=(make_service("c1"),))
    assert unknown(remains, ["s1", "web", "c1", "wbe"]) == ("wbe",)


# -- the plan -------------------------------------------------------------------------------------
def plan(*remnants: Remnant, **changed: Any) -> tuple[Plan, tuple[Finding, ...]]:
    ending = replace(
        Ending((FIRST, LAST), remnants, admin_vlan=ADMIN_VLAN, ranks={"host-n1": 0, "host-n2": 2}), **changed
    )
    layouts = {"n1": Layout("mos"), "n2": Layout("mos")}
    return plan_decommission(ending, layouts, Canary(), KNOWN, digest=DIGEST, **NAMES)


def test_controllers_go_one_after_the_other_and_the_second_waits_until_the_first_serves() -> None:
    made, findings = plan()
    assert blocking(findings) == ()
    assert [step.kind for step in made.phase("archive")] == ["source-spent", "archive"]
    assert [(step.node, step.kind) for step in made.phase("retire")] == [
        *(("n1", kind) for kind in OFF_TO_SERVING),
        *(("n2", kind) for kind in OFF_TO_SERVING),
    ]
    assert made.step("node-port:n2").needs == ("canary:n1",)
    assert made.step("node-port:n1").needs == ("archive:old",)
    assert made.step("controller-off:n1").needs == ("node-port:n1",)
    irreversible = {step.kind for step in made.steps if step.undo is None}
    assert irreversible == {"node-deploy"}
    assert "archive" in made.step("node-deploy:n1").cost
    assert not any(step.params.get("host") for step in made.phase("retire"))
    assert Plan.from_document(made.document) == made


def test_what_is_left_blocks_and_what_is_lost_is_noted() -> None:
    left = Remnant("server-left", "server web", "was not moved.", "move it.")
    lost = Remnant("left", "image old", "is lost, on the operator's word", accounted=True)
    made, findings = plan(left, lost, unknown=("typo",))
    assert [(f.severity, f.code) for f in findings] == [("block", "server-left"), ("warn", "leave-unknown")]
    assert any(note.object == "image old" for note in made.notes)


def test_the_safe_order_and_another_one() -> None:
    services = [make_service("host-n2", "nova-scheduler"), make_service("host-n1", "nova-network")]
    ranks = control_rank(services)
    unheard_of = make_node("n3", role="controller")
    assert order_of((LAST, unheard_of, FIRST), ranks) == (FIRST, unheard_of, LAST)
    _, findings = plan(controllers=(LAST, FIRST))
    assert [finding.code for finding in findings] == ["order-unusual"]
    with pytest.raises(PlanError, match="no controller"):
        plan(controllers=())


@pytest.mark.parametrize("values", [{"command": ()}, {"command": ("tar", "")}, {"file": ""}, {"timeout_s": 0.0}])
def test_an_archive_that_is_not_told_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        Archive(**{"command": ("tar",), "file": "/a.tar", **values})


@pytest.mark.parametrize(
    ("command", "file", "said"),
    [
        (("no-such-program-here",), "/tmp/a", "no program"),
        (("true",), "a.tar", "depends on the folder"),
        (("true",), "/no/such/folder/a.tar", "no folder"),
        (("true",), "/a.tar", ""),
    ],
)
def test_what_can_be_told_of_the_command_is_told_before_it_runs(command: tuple[str, ...], file: str, said: str) -> None:
    found = problem_of(Archive(command, file))
    assert said in found
    assert bool(said) == bool(found)


def test_a_command_that_holds_a_secret_is_refused_before_it_stands_in_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hall = Hall.open(tmp_path, World(node=FIRST))
    redactor = Redactor(lambda: ["s3cret-of-the-site"])
    monkeypatch.setattr("pumphouse.session.decommission.site_redactor", lambda _site: redactor)
    with pytest.raises(PlanError, match="holds a secret") as refused:
        hall.work.plan_decommission(["dump", "--password=s3cret-of-the-site"], "/a.tar")
    assert "s3cret" not in str(refused.value)
    assert hall.journal.plan_documents() == []
    hall.journal.close()


# -- the archive ----------------------------------------------------------------------------------
def bench(tmp_path: Path, script: str, **values: Any) -> tuple[Hall, Any, Any]:
    """A hall, the context and the archive's step of a plan whose command is that Python script."""
    archive = Archive((sys.executable, "-c", script), str(tmp_path / "kept.tar"), **values)
    hall = Hall.open(tmp_path, World(node=FIRST, service=None))
    ending = Ending((FIRST,), (), admin_vlan=ADMIN_VLAN)
    made, _ = plan_decommission(ending, {"n1": Layout("mos")}, Canary(), archive, digest=DIGEST, **NAMES)
    hall.journal.save_plan(made.hash, kind=made.kind, selection_digest=DIGEST, document=made.document)
    return hall, hall.context(made), made.step("archive:old")


WRITES = "open('{path}', 'w').write('all of it')"


def test_an_archive_is_run_looked_at_and_held_to_its_bytes(tmp_path: Path) -> None:
    hall, ctx, step = bench(tmp_path, WRITES.format(path=tmp_path / "kept.tar") + "; print('a password')")
    outcome = ArchiveSource().act(ctx, step)
    assert "a password" not in str(outcome)
    assert (Path(outcome["log"]).stat().st_mode & 0o777, Path(outcome["log"]).read_text()) == (0o600, "a password\n")
    assert ArchiveSource().verify(ctx, step, outcome)["size_bytes"] == len("all of it")
    hall.journal.write(hall.run_id, ctx.plan.hash, step.key, "done", outcome)
    require_archive(ctx, step)
    (tmp_path / "kept.tar").write_text("something else")
    with pytest.raises(StepError, match="not the one any more"):
        require_archive(ctx, step)
    hall.journal.close()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("raise SystemExit(7)", "exit code 7"),
        ("pass", "not there"),
        ("open('{path}', 'w')", "empty"),
        ("import time; time.sleep(60)", "did not end within"),
        ("import os; open('{path}', 'w').write('x'); os.utime('{path}', (1, 1))", "before its command began"),
    ],
)
def test_an_archive_that_is_none_ends_it(tmp_path: Path, script: str, said: str) -> None:
    hall, ctx, step = bench(tmp_path, script.format(path=tmp_path / "kept.tar"), timeout_s=1.0)
    with pytest.raises(StepError, match=said):
        ArchiveSource().act(ctx, step)
    hall.journal.close()


def test_an_archive_grows_old(tmp_path: Path) -> None:
    hall, ctx, step = bench(tmp_path, "pass", fresh_s=60.0)
    (tmp_path / "kept.tar").write_text("all of it")
    os.utime(tmp_path / "kept.tar", (time.time() - 100, time.time() - 100))
    hall.journal.write(hall.run_id, ctx.plan.hash, step.key, "done", look_at_archive(str(tmp_path / "kept.tar")))
    with pytest.raises(StepError, match="more than 60 s ago"):
        require_archive(ctx, step)
    hall.journal.close()


# -- the moment before power goes -----------------------------------------------------------------
def test_a_controller_keeps_its_power_unless_the_source_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hall, ctx, archive = bench(tmp_path, WRITES.format(path=tmp_path / "kept.tar"))
    step = ctx.plan.step("controller-off:n1")
    with pytest.raises(StepError, match="not there"):
        ControllerOff().look(ctx, step)
    outcome = ArchiveSource().act(ctx, archive)
    hall.journal.write(hall.run_id, ctx.plan.hash, archive.key, "done", outcome)
    said: list[Any] = [(Remnant("server-left", "server late", "was not moved.", "move it."),)]

    def remnants(*_: Any, **__: Any) -> Any:
        if isinstance(said[0], Exception):
            raise said[0]
        return said[0]

    monkeypatch.setattr("pumphouse.steps.hardware.decommission.remnants_of", remnants)
    with pytest.raises(StepError, match="server late was not moved"):
        ControllerOff().look(ctx, step)
    said[0] = CloudUnreachable("old does not answer.", remedy="look.")
    with pytest.raises(CloudUnreachable):  # it may hold anything
        ControllerOff().look(ctx, step)
    assert hall.world.power == "on"
    said[0] = ()
    assert ControllerOff().look(ctx, step) is None
    hall.journal.write(hall.run_id, ctx.plan.hash, step.key, "intent", {"absent": True})
    ControllerOff().act(ctx, step)
    assert hall.world.log == ["power off"]
    said[0] = CloudUnreachable("old does not answer.", remedy="look.")  # for it was this one's power that went
    assert ControllerOff().look(ctx, step) == {"serial": FIRST.serial}
    assert ControllerOff().undo(ctx, step, {}, ours=True) == {"power": "on"}
    assert hall.world.log == ["power off", "no more patience", "boot disk", "power on"]
    hall.world.broken.add("foreign-serial")
    with pytest.raises(StepError, match="not the machine that was meant"):
        ControllerOff().look(ctx, step)
    hall.world.broken.clear()
    said[0] = ()
    hall.world._discovered()  # an earlier plan took it over: it may hold servers of the destination by now
    hall.world.change_fuel(environment_id=7, status="ready")
    with pytest.raises(StepError, match="belongs to the destination"):
        ControllerOff().look(ctx, step)
    hall.journal.close()


# -- taken up again -------------------------------------------------------------------------------
def says(hall: Hall, **values: Any) -> None:
    """site.yaml says something else of the controller now."""
    node = replace(hall.site.hardware.nodes["n1"], **values)
    hall.world.node = node
    hall.site = replace(hall.site, hardware=replace(hall.site.hardware, nodes={"n1": node}))


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hall, Callable[[], Plan], Plan]]:
    """A hall, its operator, who asks for the same each time, and a plan whose archive is made."""
    hall = Hall.open(tmp_path, World(node=FIRST, service=None))

    def ending(*_: Any, controllers: tuple[Any, ...], **__: Any) -> Ending:
        return Ending(controllers, (), admin_vlan=ADMIN_VLAN)

    monkeypatch.setattr("pumphouse.session.decommission.read_ending", ending)

    def ask() -> Plan:
        return hall.work.plan_decommission(["true"], str(tmp_path / "kept.tar"), environment="mos")

    made = ask()
    hall.journal.set_plan_state(made.hash, "started")
    for key in ("source-spent:old", "archive:old"):
        outcome = {"changed_s": time.time()}
        for event in ("intent", "done", "verified"):
            hall.journal.write(hall.run_id, made.hash, key, event, outcome)
    yield hall, ask, made
    hall.journal.close()


Begun = tuple[Hall, Callable[[], Plan], Plan]


def test_a_begun_end_is_taken_up_while_site_yaml_says_the_same(begun: Begun) -> None:
    _, ask, made = begun
    assert ask().hash == made.hash


@pytest.mark.parametrize(
    "values",
    [
        {"serial": "SN-corrected"},
        {"macs": ("52:54:00:00:09:01",)},
        {"host": "controller-2"},
        {"ports": (replace(FIRST.ports[0], port="p-other"),)},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_controller_that_is_another_machine_by_now_wants_another_plan(begun: Begun, values: dict[str, Any]) -> None:
    hall, ask, made = begun
    says(hall, **values)
    assert ask().hash != made.hash
    assert hall.journal.plan_state(made.hash) == "superseded"


@pytest.mark.parametrize("values", [{"serial": "SN-corrected"}, {"host": "controller-2"}])
def test_and_none_once_it_lost_its_power_as_site_yaml_was_then(begun: Begun, values: dict[str, Any]) -> None:
    hall, ask, made = begun
    for event in ("intent", "done", "verified"):
        hall.journal.write(hall.run_id, made.hash, "controller-off:n1", event, {})
    says(hall, **values)
    with pytest.raises(PlanError, match=f"something else of the {next(iter(values))}"):
        ask()
    assert hall.journal.plan_state(made.hash) == "started"


# -- a source that is no more ---------------------------------------------------------------------
BOTH = Hardware(
    nodes={"n1": FIRST, "n2": LAST, "n3": make_node("n3"), "n4": make_node("n4", role="controller", host="")}
)


def off(hall: Hall, made: Plan, *names: str) -> None:
    for name in names:
        for event in ("intent", "done"):
            hall.journal.write(hall.run_id, made.hash, f"controller-off:{name}", event, {})


def test_a_source_has_ended_when_every_controller_of_a_begun_plan_is_off(tmp_path: Path) -> None:
    hall = Hall.open(tmp_path, World(node=FIRST))
    assert not has_ended(hall.journal, BOTH)
    made, _ = plan()
    hall.journal.save_plan(made.hash, kind=made.kind, selection_digest=DIGEST, document=made.document)
    off(hall, made, "n1", "n2")
    assert not has_ended(hall.journal, BOTH), "a plan that was never begun"
    hall.journal.set_plan_state(made.hash, "started")
    assert has_ended(hall.journal, BOTH)
    assert is_ending(hall.journal)
    another = replace(BOTH, nodes={**BOTH.nodes, "n5": make_node("n5", role="controller")})
    assert not has_ended(hall.journal, another), "a controller that no plan took"
    hall.journal.write(hall.run_id, made.hash, "controller-off:n2", "undone", {})
    assert not has_ended(hall.journal, BOTH), "one was switched on again"
    hall.journal.close()


def test_it_has_not_while_its_last_controller_has_power(tmp_path: Path) -> None:
    hall = Hall.open(tmp_path, World(node=FIRST))
    made, _ = plan()
    hall.journal.save_plan(made.hash, kind=made.kind, selection_digest=DIGEST, document=made.document)
    hall.journal.set_plan_state(made.hash, "started")
    off(hall, made, "n1")
    assert not has_ended(hall.journal, BOTH)
    hall.journal.set_plan_state(made.hash, "superseded")
    off(hall, made, "n2")
    assert not has_ended(hall.journal, BOTH), "another plan took its place"
    hall.journal.close()
