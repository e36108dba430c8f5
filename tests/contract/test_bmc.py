"""What a BMC's driver must do, whatever stands behind it: the lab's BMCs, and a real one where one is given.

``PUMPHOUSE_REAL_SITE`` names a site.yaml and ``PUMPHOUSE_REAL_BMC`` one of its nodes: that machine is switched off and
on, and is told where to boot from. With ``PUMPHOUSE_REAL_BMC_WRONG_PASSWORD=1`` a wrong password is tried there, too;
some BMCs lock a user out after a few of those.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from pumphouse.errors import NodeAuthError, NodeUnreachable
from pumphouse.nodes.api import Bmc, BmcIdentity, BootDevice
from pumphouse.nodes.connect import BMC_GROUP, Nodes, driver
from pumphouse.nodes.spec import BmcSpec
from pumphouse.site import load_site
from tests.contract.conftest import REAL
from tests.nodes.rack import PASSWORD, Rack, rack
from tests.nodes.relay import answering
from tests.nodes.tool import ipmitool

NODE = "PUMPHOUSE_REAL_BMC"
WRONG = "PUMPHOUSE_REAL_BMC_WRONG_PASSWORD"


@dataclass(frozen=True)
class Subject:
    """A BMC under test: its driver's spec, and a driver with a given password (None: the right one)."""

    spec: BmcSpec
    opened: Callable[[str | None], Bmc]
    rack: Rack | None = None


def _real(stack: contextlib.ExitStack) -> Subject:
    site, node = load_site(os.environ[REAL]), os.environ[NODE]
    spec = site.hardware.node(node).bmc
    assert spec is not None, f"node {node} has no bmc in site.yaml"

    def opened(password: str | None) -> Bmc:
        if password is None:
            return stack.enter_context(Nodes(site).bmc(node))
        made: Bmc = driver(BMC_GROUP, spec.driver, f"nodes.{node}.bmc")(spec, password)
        return made

    return Subject(spec, opened)


@pytest.fixture(scope="module", params=["lab", pytest.param("real", marks=pytest.mark.real)])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """The lab's BMC, or the real one."""
    if request.param == "lab":
        with rack(2) as made:
            yield Subject(made.spec("node1"), lambda password: made.bmc("node1", password or PASSWORD), made)
        return
    if not (os.environ.get(REAL) and os.environ.get(NODE)):
        pytest.skip(f"{REAL} and {NODE} name no site.yaml and node whose BMC may be tried")
    with contextlib.ExitStack() as stack:
        yield _real(stack)


@pytest.fixture(scope="module")
def bmc(subject: Subject) -> Iterator[Bmc]:
    """One conversation for all tests; the machine is left as it was found."""
    opened = subject.opened(None)
    before = opened.power()
    yield opened
    opened.set_boot_device("default")
    opened.set_power(before)
    opened.close()


def test_it_is_a_bmc_and_names_itself_without_a_secret(bmc: Bmc, subject: Subject) -> None:
    assert isinstance(bmc, Bmc)
    assert subject.spec.node in bmc.name
    assert subject.spec.address in bmc.name
    assert PASSWORD not in f"{bmc.name}{bmc!r}"


def test_power_is_switched_and_read_back(bmc: Bmc) -> None:
    for state in ("off", "off", "on", "on", "off"):
        bmc.set_power(state)
        assert bmc.power() == state


@pytest.mark.parametrize("device", ["pxe", "disk", "cdrom"])
@pytest.mark.parametrize("persistent", [False, True])
def test_a_boot_device_is_chosen_and_read_back(bmc: Bmc, device: BootDevice, persistent: bool) -> None:
    bmc.set_boot_device(device, persistent=persistent)
    assert bmc.boot_device() == device
    bmc.set_boot_device("default")
    assert bmc.boot_device() == "default"


def test_a_boot_device_for_one_boot_is_used_up_by_it(bmc: Bmc, subject: Subject) -> None:
    if subject.rack is None:
        pytest.skip("when a real machine's firmware has read it cannot be told from its BMC")
    bmc.set_power("off")
    bmc.set_boot_device("pxe")
    bmc.set_power("on")
    assert bmc.boot_device() == "default"
    bmc.set_boot_device("pxe", persistent=True)
    bmc.set_power("off")
    bmc.set_power("on")
    assert bmc.boot_device() == "pxe"


def test_identity_is_told_and_stays(bmc: Bmc, subject: Subject) -> None:
    found = bmc.identity()
    assert found.serial
    assert found.guid == found.guid.lower()
    other = subject.opened(None)
    assert other.identity() == found
    other.close()
    if subject.rack is not None:
        machine = subject.rack.machine("node1")
        assert found == BmcIdentity(machine.serial, machine.product, found.manufacturer, machine.guid)


def test_closing_twice_is_harmless(subject: Subject) -> None:
    opened = subject.opened(None)
    opened.power()
    opened.close()
    opened.close()


def test_a_wrong_password_is_refused(subject: Subject) -> None:
    if subject.rack is None and not os.environ.get(WRONG):
        pytest.skip(f"{WRONG} is not set: a wrong password may lock a real user out")
    opened = subject.opened("wrong-Password")
    with pytest.raises(NodeAuthError, match=subject.spec.node):
        opened.power()
    opened.close()


def test_nobody_there(subject: Subject) -> None:
    with answering() as port:
        spec = BmcSpec("nobody", "127.0.0.1", driver=subject.spec.driver, port=port, login=subject.spec.login)
    nobody: Bmc = driver(BMC_GROUP, spec.driver, "nodes.nobody.bmc")(spec, "some-Password")
    with pytest.raises(NodeUnreachable, match="nobody"):
        nobody.power()
    nobody.close()


class TestSecondOpinion:
    """ipmitool sees what the driver did, and the driver what ipmitool did."""

    @pytest.fixture
    def tool(self, subject: Subject) -> Callable[..., str]:
        """ipmitool at the lab's BMC."""
        if subject.rack is None:
            pytest.skip("a real BMC's password is not handed to ipmitool")
        port = subject.spec.port
        return lambda *arguments: ipmitool(port, subject.spec.login.user, PASSWORD, *arguments)

    def test_power(self, bmc: Bmc, tool: Callable[..., str]) -> None:
        bmc.set_power("off")
        assert "is off" in tool("chassis", "power", "status")
        tool("chassis", "power", "on")
        assert bmc.power() == "on"

    def test_boot_device(self, bmc: Bmc, tool: Callable[..., str]) -> None:
        bmc.set_boot_device("pxe")
        assert "Force PXE" in (seen := tool("chassis", "bootparam", "get", "5"))
        assert "only next boot" in seen
        tool("chassis", "bootdev", "disk", "options=persistent")
        assert bmc.boot_device() == "disk"
        assert "all future boots" in tool("chassis", "bootparam", "get", "5")
        tool("chassis", "bootdev", "none")
        assert bmc.boot_device() == "default"

    def test_identity(self, bmc: Bmc, tool: Callable[..., str]) -> None:
        found = bmc.identity()
        fru = {
            key.strip(): value.strip() for key, _, value in (line.partition(":") for line in tool("fru").splitlines())
        }
        assert fru["Product Serial"] == found.serial
        assert fru["Product Name"] == found.product
        assert fru["Product Manufacturer"] == found.manufacturer
        assert found.guid in tool("mc", "guid")
