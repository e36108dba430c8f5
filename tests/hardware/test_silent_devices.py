"""A BMC, a switch or Fuel that falls silent during a transfer: waited for, told, and nothing is done twice."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pumphouse import executor
from pumphouse.errors import NodeUnreachable, PumphouseError, StepError, Stopped
from pumphouse.nodes import connect
from pumphouse.nodes.spec import SwitchSpec
from pumphouse.plan.model import Plan
from pumphouse.session import begin
from pumphouse.steps import Context
from pumphouse.stopping import StopKind, ask_to_stop
from tests.hardware.hall import LabHall
from tests.hardware.test_transfer_steps import WHOLE
from tests.hardware.world import FakeNodes, Hall, World
from tests.labsite import SDK_WARNS_OF_ITSELF

pytestmark = SDK_WARNS_OF_ITSELF


@dataclass
class Wire:
    """What is between us and the devices. ``cut`` names the call (counted over all of them) that gets no answer.

    ``acts``: the device hears it all the same. ``lasts``: so many further calls to that device get none either.
    """

    cut: int = -1
    acts: bool = False
    lasts: int = 0
    calls: list[str] = field(default_factory=list)
    _gone: str = ""
    _left: int = 0

    def carry(self, device: str, call: Any, name: str, *words: Any, **more: Any) -> Any:
        """A call, or silence."""
        number = len(self.calls)
        self.calls.append(f"{device} {name}")
        if number == self.cut:
            self._gone, self._left = device, self.lasts
            if self.acts:
                call(*words, **more)
        elif device == self._gone and self._left > 0:
            self._left -= 1
        else:
            return call(*words, **more)
        raise NodeUnreachable(f"{device} does not answer.", remedy="look at its cable.")


class Far:
    """A device at the other end of a wire."""

    def __init__(self, device: Any, name: str, wire: Wire) -> None:
        self._device, self._name, self._wire = device, name, wire

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._device, name)
        if not callable(found) or name == "close":
            return found
        return lambda *words, **more: self._wire.carry(self._name, found, name, *words, **more)


class FarNodes(FakeNodes):
    """Devices of a world, reached as the real ones are."""

    def __init__(self, hall: Hall, wire: Wire) -> None:
        super().__init__(hall.site, hall.world)
        self.wire = wire

    @contextlib.contextmanager
    def bmc(self, node: str) -> Iterator[Any]:
        with super().bmc(node) as device, self._listening("bmc"):
            yield Far(device, "bmc", self.wire)

    @contextlib.contextmanager
    def switch(self, name: str) -> Iterator[Any]:
        with super().switch(name) as device, self._listening("switch"):
            yield Far(device, "switch", self.wire)

    @contextlib.contextmanager
    def fuel(self, *, patient: bool = True) -> Iterator[Any]:
        with super().fuel(patient=patient) as device, self._listening("fuel"):
            yield Far(device, "fuel", self.wire)


@dataclass
class FarHall(Hall):
    """A hall whose devices are at the other end of a wire, which is laid after planning."""

    nodes: FarNodes | None = None

    def lay(self, wire: Wire, *, outage_s: float = 600.0) -> None:
        self.site = replace(self.site, outage_s=outage_s)
        self.nodes = FarNodes(self, wire)
        for device in ("bmc", "switch", "fuel"):
            self.nodes._heard.add(device)

    def context(self, plan: Plan) -> Context:
        ctx = super().context(plan)
        if self.nodes is not None:
            ctx._nodes[:] = [self.nodes]
        return ctx

    def carry(self, plan: Plan) -> None:
        """All phases."""
        for phase in ("release", "discover", "install", "prove"):
            getattr(self.work, phase)(plan)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "DEVICE_S", 0.0)


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[FarHall]:
    made = FarHall.open(tmp_path, World())
    yield made
    made.journal.close()


def state_of(world: World) -> tuple[Any, ...]:
    """What must be the same in the end, whatever happened on the way."""
    fuel = world.fuel and (world.fuel.environment_id, world.fuel.status, world.fuel.roles, world.fuel.online)
    return world.power, world.vlan, world.disk, world.runs, world.service, world.canaries, world.groups, fuel


@pytest.mark.slow
@pytest.mark.parametrize("acts", [False, True])
def test_each_call_in_turn_gets_no_answer(tmp_path: Path, acts: bool) -> None:
    """Whether the device heard it or not, the transfer goes on by itself and ends as one without silence."""
    quiet = FarHall.open(tmp_path / "quiet", World())
    quiet.lay(Wire())
    plan = quiet.work.plan_transfer("n1")
    quiet.carry(plan)
    assert quiet.nodes is not None
    calls = quiet.nodes.wire.calls
    assert {call.split()[0] for call in calls} == {"bmc", "switch", "fuel"}
    assert len(calls) > 20
    quiet.journal.close()
    for cut in range(len(calls)):
        folder = tmp_path / f"cut{cut}"
        hall = FarHall.open(folder, World())
        hall.lay(Wire(cut, acts=acts, lasts=cut % 3))
        plan = hall.work.plan_transfer("n1")
        hall.carry(plan)
        assert [kind for kind in hall.world.log if kind != "boot pxe"] == [k for k in WHOLE if k != "boot pxe"], cut
        assert state_of(hall.world) == state_of(quiet.world), calls[cut]
        assert hall.journal.plan_state(plan.hash) == "finished"
        assert hall.journal.run_result(hall.run_id) == "succeeded"
        hall.journal.close()
        shutil.rmtree(folder)


def test_it_is_told_and_journalled(hall: FarHall) -> None:
    plan = hall.work.plan_transfer("n1")
    hall.lay(Wire(cut=4, lasts=2))
    hall.carry(plan)
    told = [line for line in hall.lines if line.startswith("waiting")]
    assert told
    assert all("does not answer. Looking again in 0 s, for 6" in line for line in told)
    waited = [event for event in hall.journal.events(plan_hash=plan.hash) if event.event == "waited"]
    assert len(waited) == len(told)


def test_a_device_that_never_answered_is_not_waited_for(hall: FarHall) -> None:
    plan = hall.work.plan_transfer("n1")
    hall.lay(Wire(cut=0, lasts=10**6))
    assert hall.nodes is not None
    hall.nodes._heard.clear()
    with pytest.raises(StepError, match="does not answer"):
        hall.carry(plan)
    assert not [line for line in hall.lines if line.startswith("waiting")]


@pytest.mark.parametrize("outage_s", [0.0, 0.05])
def test_patience_ends(hall: FarHall, outage_s: float) -> None:
    plan = hall.work.plan_transfer("n1")
    hall.lay(Wire(cut=6, lasts=10**6), outage_s=outage_s)
    with pytest.raises(StepError, match="does not answer"):
        hall.carry(plan)
    assert bool([line for line in hall.lines if line.startswith("waiting")]) is (outage_s > 0)
    hall.lay(Wire())
    hall.carry(plan)
    assert hall.world.log[-1] == WHOLE[-1]


def test_who_asks_to_stop_is_not_kept_waiting(hall: FarHall) -> None:
    plan = hall.work.plan_transfer("n1")
    hall.lay(Wire(cut=6, lasts=10**6))
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        if line.startswith("waiting") and len(lines) > 3:
            ask_to_stop(hall.journal, hall.run_id, plan.hash, StopKind.NOW, by="olga")

    hall.lines = type("Lines", (list,), {"append": lambda _self, line: hear(line)})()
    with pytest.raises(PumphouseError) as caught:
        hall.carry(plan)
    assert isinstance(caught.value, Stopped | StepError)
    assert len([line for line in lines if line.startswith("waiting")]) < 10


def test_who_answered_is_remembered(hall: FarHall, monkeypatch: pytest.MonkeyPatch) -> None:
    """By each kind of conversation on its own: that the BMC is there says nothing of Fuel."""

    class Device:
        def close(self) -> None:
            """Nothing to close."""

    switch = SwitchSpec("sw1", "any", (100, 200))
    site = replace(hall.site, hardware=replace(hall.site.hardware, switches={"sw1": switch}))
    monkeypatch.setattr(connect, "driver", lambda *_: lambda *_words: Device())
    monkeypatch.setattr(connect, "Fuel", lambda *_words, **_more: Device())
    nodes = connect.Nodes(site)
    for talk in (lambda: nodes.bmc("n1"), lambda: nodes.switch("sw1"), nodes.fuel):
        known = []
        for answers in (False, True, False):
            with contextlib.suppress(NodeUnreachable), talk():
                if not answers:
                    error = NodeUnreachable("silence", remedy="wait.")
                    known.append(error)
                    raise error
        assert [error.known for error in known] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("device", ["bmc", "fuel"])
def test_a_device_of_the_lab_that_is_gone_for_a_while(hardware_lab: LabHall, device: str) -> None:
    """Real silence on a real wire, from the first step that asked both until the run says that it waits."""
    lab, lines = hardware_lab.lab, list[str]()
    hardware_lab.ground()

    def gone(on: bool) -> None:
        if device == "bmc":
            lab.control("POST", "/hardware/machines/spare-01/stage", fault="bmc-silent", on=on)
        elif on:
            lab.control("POST", "/faults", service="fuel", kind="reset", times=0)
        else:
            lab.control("DELETE", "/faults")

    def hear(line: str) -> None:
        lines.append(line)
        if "aiting" in line:  # by the step, or by our client of Fuel, which has a patience of its own
            gone(False)
        elif not any("aiting" in one for one in lines) and line.startswith(("done     power", "in place power")):
            gone(True)

    with begin(lab.site_file, operator="olga", notebook="test", hardware=True, report=hear) as run:
        plan = run.hardware.plan_transfer("spare-01", discovery_s=60.0, copy_disks=False)
        hardware_lab.carry_out(run, plan, "release", "discover")
    told = [line for line in lines if "aiting" in line]
    assert told, lines
    assert ("BMC of spare-01" if device == "bmc" else "Fuel") in told[0]
    assert (hardware_lab.machine("spare-01")["runs"], hardware_lab.vlan("spare-01")) == ("bootstrap", 100)
    hardware_lab.give_back("spare-01")
    assert hardware_lab.machine("spare-01")["power"] == "off"
    hardware_lab.conscience()
