"""Whose a switch port is, before its node loses power: heard while it lives, refused where another machine speaks."""

from __future__ import annotations

import dataclasses
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import NodeUnreachable, PumphouseError
from pumphouse.nodes.api import LearnedMacs
from pumphouse.nodes.fuel import FuelNode
from pumphouse.nodes.sight import judge
from pumphouse.nodes.spec import Hardware
from pumphouse.notebook.runs import show_evidence
from pumphouse.steps import STEPS
from tests.hardware.making import make_node
from tests.hardware.world import FakeSwitch, Hall, World, refused

OWN, OTHERS, GUEST = make_node().macs[0], make_node("n2").macs[0], "fa:16:3e:11:22:33"
FUELS = "52:54:00:99:00:01"


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    hall = Hall.open(tmp_path, World())
    nodes = {**hall.site.hardware.nodes, "n2": make_node("n2")}
    hall.site = dataclasses.replace(hall.site, hardware=dataclasses.replace(hall.site.hardware, nodes=nodes))
    return hall


def codes(hall: Hall) -> set[str]:
    return {finding.code for finding in hall.findings if finding.code.startswith("port-")}


def hears(hall: Hall, *macs: str, **more: str) -> None:
    hall.world.heard = LearnedMacs("", macs, **more)


def test_the_node_heard_at_its_own_port_is_proof_and_evidence_and_its_guests_are_no_strangers(hall: Hall) -> None:
    hears(hall, GUEST)
    plan = hall.transfer()
    assert codes(hall) == set()
    (told,) = [event for event in hall.journal.events(step_key="node-port:n1") if event.event == "verified"]
    evidence = told.data["evidence"]
    assert (evidence["own"], evidence["strangers"], evidence["proof"]) == ([OWN], [GUEST], True)
    assert any(OWN in note.text for note in plan.notes)


@pytest.mark.parametrize(
    ("heard", "told", "proves"),
    [((OWN,), OWN, "that proves that it is n1's"), ((), "nobody is heard", "no proof that it is n1's")],
    ids=["the node", "nobody"],
)
def test_what_was_heard_is_shown_as_a_sentence_and_not_by_our_names_for_it(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, heard: tuple[str, ...], told: str, proves: str
) -> None:
    monkeypatch.setattr(FakeSwitch, "macs", lambda _self, port: LearnedMacs(port, heard))
    plan = hall.transfer()
    step, kind = plan.step("node-port:n1"), STEPS["node-port"]
    evidence = kind.verify(hall.context(plan), step, hall.journal.step_state(plan.hash, step.key).outcome)
    row = {"step": step.kind, "what": step.title, "evidence": evidence, "words": kind.in_words(step, evidence)}
    shown = unescape(show_evidence([row]).html)
    assert told in shown
    assert proves in shown
    assert not re.search(r"\b(untold|strangers|proof|told|own)=", shown)


def test_another_nodes_mac_blocks_the_plan_and_says_whose_it_is(hall: Hall) -> None:
    hears(hall, OTHERS)
    hall.work.plan_transfer("n1")
    (found,) = [finding for finding in hall.findings if finding.code == "port-of-another"]
    assert found.severity == "block"
    assert OTHERS in found.message
    assert "node n2" in found.message


def test_a_machine_that_only_fuel_knows_is_somebody_elses_too() -> None:
    node = make_node()
    known = FuelNode(9, "ctl", "ready", True, 7, FUELS, (FUELS,), "10.20.0.9", "SN-ctl")
    sight = judge(Hardware({"n1": node}), node, node.ports[0], LearnedMacs("p-n1", (OWN, known.mac)), [known])
    assert not sight.is_proof
    assert "node 9 (ctl) of Fuel's" in sight.told


def test_another_machine_that_is_heard_after_the_plan_keeps_the_node_on_and_its_host_enabled(hall: Hall) -> None:
    plan = hall.work.plan_transfer("n1")
    hears(hall, OTHERS)
    with pytest.raises(PumphouseError, match=f"MAC {OTHERS} is heard there, which site[.]yaml gives to node n2"):
        hall.work.release(plan)
    assert (hall.world.log, hall.world.power, hall.world.vlan) == ([], "on", 200)
    hears(hall)
    assert hall.journal.plan_state(hall.transfer().hash) == "finished"


def test_who_speaks_at_the_port_of_a_node_without_power_is_not_the_node(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = hall.work.plan_transfer("n1")
    quiet = FakeSwitch.macs

    def macs(self: FakeSwitch, port: str) -> LearnedMacs:
        heard = quiet(self, port)
        return heard if self.world.power == "on" else dataclasses.replace(heard, macs=(OTHERS,))

    monkeypatch.setattr(FakeSwitch, "macs", macs)
    with pytest.raises(PumphouseError, match="would cut off another machine"):
        hall.work.release(plan)
    assert (hall.world.log, hall.world.vlan) == (["disable", "power off"], 200)


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        (LearnedMacs("", untold="the switch is reached by hand only"), "reached by hand only"),
        (LearnedMacs(""), "nobody is heard there"),
        (LearnedMacs("", (GUEST,)), "only 1 MAC"),
    ],
)
def test_silence_and_a_switch_that_cannot_tell_are_findings_and_no_proof(
    hall: Hall, heard: LearnedMacs, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSwitch, "macs", lambda _self, port: dataclasses.replace(heard, port=port))
    hall.transfer()
    (found,) = [finding for finding in hall.findings if finding.code == "port-unproved"]
    assert (found.severity, said in found.message) == ("warn", True)
    (told,) = [event for event in hall.journal.events(step_key="node-port:n1") if event.event == "verified"]
    assert told.data["evidence"]["proof"] is False
    assert any(said in line for line in hall.lines)


def test_what_was_heard_before_the_power_went_counts_for_the_next_plan(hall: Hall) -> None:
    plan = hall.work.plan_acquire("n1")
    hall.work.evacuate(plan)
    hall.work.release(plan)
    assert hall.world.power == "off"
    hall.work.plan_transfer("n1")
    assert codes(hall) == set()
    other = dataclasses.replace(hall.world.node.ports[0], port="p-other")
    moved = dataclasses.replace(hall.world.node, ports=(other,))
    nodes = {**hall.site.hardware.nodes, "n1": moved}
    hall.site = dataclasses.replace(hall.site, hardware=dataclasses.replace(hall.site.hardware, nodes=nodes))
    hall.work.plan_transfer("n1")
    assert codes(hall) == {"port-unproved"}


def test_a_switch_that_is_silent_is_told_in_the_plan_and_stops_the_node_from_losing_power(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: Any) -> LearnedMacs:
        raise NodeUnreachable("switch sw1 does not answer.", remedy="look at it.")

    monkeypatch.setattr(FakeSwitch, "macs", silent)
    assert "sw1 does not answer" in str(refused(hall))
    assert codes(hall) == {"port-unproved"}
    assert hall.world.log == []
