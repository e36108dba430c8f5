"""The driver for IPMI: what it makes of a BMC's answers, and what it leaves behind."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import NodeAuthError, NodeGarbled, NodeRefused, NodeTimeout, NodeUnreachable, SiteError
from pumphouse.nodes import ipmi
from pumphouse.nodes.api import Bmc
from pumphouse.nodes.connect import BMC_GROUP, driver
from pumphouse.nodes.ipmi import IpmiBmc
from pumphouse.nodes.spec import BmcSpec, Login
from tests.nodes.rack import PASSWORD, USER, Rack, rack
from tests.nodes.relay import answering, relay
from tests.nodes.tool import ipmitool

MANY = 6
#: Get Channel Authentication Capabilities of a BMC that speaks IPMI 1.5 only.
IPMI_1_5 = bytes.fromhex("0600ff070000000000000000001081 1c 63 20 00 38 00 01 14 04 00 00 00 00 00 8f")


@pytest.fixture(scope="module")
def machines() -> Iterator[Rack]:
    """One rack for all tests of this module, each with a machine of its own."""
    with rack(MANY) as made:
        yield made


@pytest.fixture
def opened(machines: Rack) -> Iterator[Callable[..., IpmiBmc]]:
    """Makes drivers that are closed behind the test."""
    made: list[IpmiBmc] = []

    def make(name: str, password: str = PASSWORD, **changes: Any) -> IpmiBmc:
        made.append(machines.bmc(name, password, **changes))
        return made[-1]

    yield make
    for bmc in made:
        bmc.close()


def at(port: int, *, timeout_s: float = 3.0, address: str = "127.0.0.1") -> IpmiBmc:
    """A driver for whatever is at a port."""
    return IpmiBmc(BmcSpec("node1", address, port=port, login=Login(user=USER, timeout_s=timeout_s)), PASSWORD)


def impatient(bmc: IpmiBmc, timeout_s: float = 1.6) -> IpmiBmc:
    """A driver that is logged in, and from now on waits no longer than this."""
    bmc.power()
    bmc._timeout_s = timeout_s
    return bmc


def patient(bmc: IpmiBmc) -> IpmiBmc:
    """The same, with time to log in again."""
    bmc._timeout_s = 20.0
    return bmc


def workers() -> dict[int, str]:
    """Processes of conversations that we have: arguments and environment of each."""
    found = {}
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, children.read_text(encoding="ascii").split()):
            # a child that has ended, whoever's it was, tells nothing any more
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                told = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
                if b"ipmi_worker" in told:
                    found[pid] = told.decode(errors="replace")
    return found


def pipes() -> int:
    """How many pipes we hold an end of."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        # the folder's own descriptor is gone by now
        with contextlib.suppress(FileNotFoundError):
            found += link.readlink().name.startswith("pipe:")
    return found


def test_the_driver_is_found_by_its_name() -> None:
    assert driver(BMC_GROUP, "ipmi", "nodes.node1.bmc") is IpmiBmc
    assert isinstance(at(623), Bmc)


def test_nothing_is_asked_before_the_first_call_and_nothing_is_left_after_close(
    opened: Callable[..., IpmiBmc], machines: Rack
) -> None:
    bmc = opened("node1")
    assert workers() == {}
    before = pipes()
    assert bmc.power() == "on"
    (told,) = workers().values()
    assert pipes() == before + 2
    assert PASSWORD not in told
    assert PASSWORD not in repr(bmc) + bmc.name
    bmc.close()
    assert workers() == {}
    assert pipes() == before
    bmc.close()
    assert bmc.power() == "on"


@pytest.mark.parametrize(
    ("password", "user", "says"),
    [
        ("wrong", USER, "Incorrect password"),
        (PASSWORD, "nobody", "Unauthorized name"),
        ("", USER, "Incorrect password"),
    ],
)
def test_refused_credentials(opened: Callable[..., IpmiBmc], password: str, user: str, says: str) -> None:
    with pytest.raises(NodeAuthError, match=says) as raised:
        opened("node1", password, user=user).power()
    assert "nodes.node1.bmc" in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_silence_noise_a_closed_port_an_unknown_name_and_an_old_protocol_are_told_apart(machines: Rack) -> None:
    with answering() as silent, answering(b"SSH-2.0-OpenSSH\r\n") as noisy, answering(IPMI_1_5) as old:
        began = time.monotonic()
        with pytest.raises(NodeUnreachable, match=r"nothing answers|no answer in time"):
            at(silent, timeout_s=1.5).power()
        assert time.monotonic() - began < 3
        with pytest.raises(NodeGarbled, match="does not speak IPMI"):
            at(noisy).power()
        with pytest.raises(NodeRefused, match=r"IPMI 1\.5 only"):
            at(old).power()
    with pytest.raises(NodeUnreachable, match="nothing listens there"):
        at(silent).power()
    with pytest.raises(NodeUnreachable, match=r"cannot be resolved|no answer in time"):
        at(623, address="no-such-bmc.invalid").power()
    assert workers() == {}


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [("bmc-silent", NodeUnreachable, "fell silent"), ("bmc-garbage", NodeGarbled, "does not speak IPMI")],
)
def test_a_bmc_that_goes_astray_in_mid_conversation_and_comes_back(
    opened: Callable[..., IpmiBmc], machines: Rack, fault: str, error: type[Exception], says: str
) -> None:
    bmc = impatient(opened("node2"))
    with machines.staged("node2", fault), pytest.raises(error, match=says):
        bmc.set_power("off")
    assert workers() == {}
    assert patient(bmc).power() == "on"


def test_a_login_that_is_never_answered(machines: Rack) -> None:
    # the capabilities pass, the session does not: all of its sessions are taken, say
    real = machines.process.ports["node1"]
    with (
        relay(real, back=lambda _n, data: [data] if data[4] == 0 else []) as port,
        pytest.raises(NodeUnreachable, match="not to the login"),
    ):
        at(port, timeout_s=2.0).power()


def test_power_that_stays_as_it_is(opened: Callable[..., IpmiBmc], machines: Rack) -> None:
    bmc = impatient(opened("node3"))
    with machines.staged("node3", "stuck-power"):
        began = time.monotonic()
        with pytest.raises(NodeTimeout, match="accepted power off, and the chassis is still on"):
            bmc.set_power("off")
        assert time.monotonic() - began < 3.0
        patient(bmc).set_power("on")
    bmc.set_power("off")
    assert not machines.machine("node3").power


def test_power_that_is_as_wanted_is_left_alone(opened: Callable[..., IpmiBmc], machines: Rack) -> None:
    before = len(machines.fleet.history)
    opened("node3").set_power("on" if machines.machine("node3").power else "off")
    assert len(machines.fleet.history) == before


def test_a_boot_device_that_does_not_stay_and_one_that_is_refused(
    opened: Callable[..., IpmiBmc], machines: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    bmc = opened("node4")
    with monkeypatch.context() as patch:
        patch.setattr(machines.fleet, "choose_boot", lambda *_args, **_kw: None)
        with pytest.raises(NodeTimeout, match="accepted boot device pxe for one boot, and shows default for every"):
            bmc.set_boot_device("pxe")
        conversation = workers().keys()

    def refuse(*_args: Any, **_kw: Any) -> None:
        raise ValueError

    with monkeypatch.context() as patch:
        patch.setattr(machines.fleet, "choose_boot", refuse)
        with pytest.raises(NodeRefused, match=r"says no: .*[Uu]nspecified"):
            bmc.set_boot_device("pxe")
    bmc.set_boot_device("pxe")
    # sessions are few: none was thrown away
    assert workers().keys() == conversation


def test_uefi_is_asked_for(opened: Callable[..., IpmiBmc], machines: Rack) -> None:
    for uefi, says in ((True, "BIOS EFI boot"), (False, "BIOS PC Compatible")):
        opened("node4", uefi=uefi).set_boot_device("pxe")
        port = machines.process.ports["node4"]
        assert says in ipmitool(port, USER, PASSWORD, "chassis", "bootparam", "get", "5")


def test_a_process_that_hangs_costs_one_call_and_no_more(opened: Callable[..., IpmiBmc]) -> None:
    bmc = impatient(opened("node1"))
    (pid,) = workers()
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(NodeUnreachable, match="no answer in time"):
        bmc.power()
    assert time.monotonic() - began < 3.0
    assert workers() == {}
    assert patient(bmc).power() == "on"


def test_a_process_that_dies_costs_one_call_and_no_more(opened: Callable[..., IpmiBmc]) -> None:
    bmc = opened("node1")
    bmc.power()
    (pid,) = workers()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(NodeUnreachable, match=r"is gone|came to an end"):
        bmc.power()
    assert bmc.power() == "on"


def test_an_interrupt_ends_the_process(opened: Callable[..., IpmiBmc], monkeypatch: pytest.MonkeyPatch) -> None:
    bmc = opened("node1")
    bmc.power()

    def interrupted(*_args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(json, "loads", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bmc.power()
    assert workers() == {}
    assert bmc.power() == "on"


def test_a_conversation_that_rested_too_long_is_begun_again(
    opened: Callable[..., IpmiBmc], monkeypatch: pytest.MonkeyPatch
) -> None:
    bmc = opened("node1")
    bmc.power()
    first = workers()
    bmc.power()
    assert workers() == first
    monkeypatch.setattr(ipmi, "_REUSED_WITHIN_S", 0.0)
    bmc.power()
    assert len(workers()) == 1
    assert workers().keys() != first.keys()


def test_a_driver_that_nobody_closed_takes_its_process_along(machines: Rack) -> None:
    bmc = machines.bmc("node1")
    bmc.power()
    del bmc
    gc.collect()
    assert workers() == {}


def test_many_bmcs_at_once_and_nothing_left_of_it(machines: Rack) -> None:
    def cycle(name: str) -> str:
        bmc = machines.bmc(name)
        bmc.set_power("off")
        bmc.set_boot_device("pxe")
        bmc.set_power("on")
        serial = bmc.identity().serial
        bmc.close()
        return serial

    before = pipes()
    names = [f"node{number}" for number in range(1, MANY + 1)]
    with ThreadPoolExecutor(MANY) as pool:
        assert list(pool.map(cycle, names)) == [machines.machine(name).serial for name in names]
        assert list(pool.map(cycle, names)) == [machines.machine(name).serial for name in names]
    assert workers() == {}
    assert pipes() == before
    assert all(machines.machine(name).power for name in names)


def test_threads_share_a_bmc(opened: Callable[..., IpmiBmc]) -> None:
    bmc = opened("node5")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: bmc.power(), range(12)))
    assert set(found) == {"on"}
    assert len(workers()) == 1


def test_a_call_waits_for_another_only_as_long_as_it_may(opened: Callable[..., IpmiBmc], machines: Rack) -> None:
    bmc = impatient(opened("node6"))
    with machines.staged("node6", "bmc-silent"), ThreadPoolExecutor(3) as pool:
        began = time.monotonic()
        calls = [pool.submit(bmc.power) for _ in range(3)]
        errors = [call.exception() for call in calls]
        assert time.monotonic() - began < 4.5
    assert all(isinstance(error, NodeTimeout | NodeUnreachable) for error in errors)


def test_which_serial_is_the_machines(opened: Callable[..., IpmiBmc], machines: Rack) -> None:
    machine = machines.machine("node5")
    found = opened("node5").identity()
    assert (found.serial, found.product, found.guid) == (machine.serial, machine.product, machine.guid)
    assert opened("node5", serial="chassis").identity().serial == f"CH-{machine.serial}"
    assert opened("node5", serial="board").identity().serial == f"BRD-{machine.serial}"


def test_somebody_elses_serial(opened: Callable[..., IpmiBmc], machines: Rack) -> None:
    with machines.staged("node6", "foreign-serial"):
        found = opened("node6").identity()
    assert found.serial == machines.machine("node1").serial
    assert found.guid == machines.machine("node1").guid


@pytest.mark.parametrize(
    ("password", "user", "options", "says"),
    [
        ("x" * 21, USER, {}, "its password has 21 bytes; IPMI 2.0 takes 20 at most"),
        ("\u00e9" * 11, USER, {}, "its password has 22 bytes"),
        ("tab\there", USER, {}, "not all of them printable"),
        ("\ud800\udc80 unpaired", USER, {}, "not all of them printable"),
        (None, USER, {}, "names no password"),
        ("x", "u" * 17, {}, "its user has 17 bytes; IPMI 2.0 takes 16 at most"),
        ("x", USER, {"serial": "shoe"}, "`serial` (product, board, chassis)"),
        ("x", USER, {"sreial": "board"}, "something is wrong there"),
        ("x", USER, {"uefi": "yes"}, "something is wrong there"),
    ],
)
def test_what_ipmi_cannot_take(password: str | None, user: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(SiteError) as raised:
        IpmiBmc(BmcSpec("node1", "127.0.0.1", login=Login(user=user), options=options), password)
    assert says in str(raised.value)
    assert password is None or len(password) < 5 or password not in str(raised.value)
