"""Whatever comes back over the wire, a caller sees a right answer or a NodeError, in time."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumphouse.errors import NodeError
from pumphouse.lab.hardware import bmc_records
from pumphouse.nodes.api import BmcIdentity
from pumphouse.nodes.ipmi import IpmiBmc
from pumphouse.nodes.ipmi_probe import judge, request
from pumphouse.nodes.ipmi_worker import Fru
from pumphouse.nodes.spec import BmcSpec, Login
from tests.nodes.rack import PASSWORD, USER, Rack, rack
from tests.nodes.relay import answering, relay

TIMEOUT_S = 2.5
RMCP = b"\x06\x00\xff\x07"


@pytest.fixture(scope="module")
def machines() -> Iterator[Rack]:
    """One machine; its answers are bent on their way."""
    with rack(1) as made:
        yield made


def identity(port: int, timeout_s: float = TIMEOUT_S) -> BmcIdentity | NodeError:
    """What one caller sees."""
    bmc = IpmiBmc(BmcSpec("node1", "127.0.0.1", port=port, login=Login(user=USER, timeout_s=timeout_s)), PASSWORD)
    try:
        return bmc.identity()
    except NodeError as error:
        return error
    finally:
        bmc.close()


class Bender:
    """Spoils answers from the ``start``-th on, about every other one, in a way of its own."""

    def __init__(self, seed: int, start: int) -> None:
        self.dice = random.Random(seed)
        self.start = start

    def __call__(self, number: int, data: bytes) -> list[bytes]:
        """What is passed on."""
        if number < self.start or self.dice.random() < 0.4:
            return [data]
        dice, spoiled = self.dice, bytearray(data)
        match dice.randrange(6):
            case 0:
                for _ in range(dice.randint(1, 4)):
                    spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
            case 1:
                del spoiled[dice.randrange(len(spoiled)) :]
            case 2:
                spoiled += dice.randbytes(dice.randint(1, 64))
            case 3:
                spoiled[4:] = dice.randbytes(dice.randint(1, 80))
            case 4:
                return [data, data]
            case 5:
                return []
        return [bytes(spoiled)]


def test_bent_answers(machines: Rack) -> None:
    real = machines.process.ports["node1"]

    def one(seed: int) -> tuple[BmcIdentity | NodeError, float]:
        # each start is one more answer of a login and a FRU: capabilities, sessions, keys, privilege, data
        with relay(real, back=Bender(seed, start=seed % 12)) as port:
            began = time.monotonic()
            return identity(port), time.monotonic() - began

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(one, range(12)))
    machine = machines.machine("node1")
    right = BmcIdentity(machine.serial, machine.product, bmc_records.MANUFACTURER, machine.guid)
    assert [seen for seen, _ in found if not isinstance(seen, NodeError) and seen != right] == []
    assert max(took for _, took in found) < TIMEOUT_S + 2.0
    assert any(isinstance(seen, NodeError) for seen, _ in found)
    with relay(real) as port:
        assert identity(port, timeout_s=20.0) == right


@pytest.mark.parametrize("start", [b"", RMCP, RMCP + b"\x06\x11", RMCP + b"\x06\xc0"])
def test_noise(start: bytes) -> None:
    dice = random.Random(start)
    with answering(*(start + dice.randbytes(dice.randint(0, 90)) for _ in range(7))) as port:
        assert isinstance(identity(port), NodeError)


def test_our_own_question_as_answer() -> None:
    with answering(request()) as port:
        assert "does not speak IPMI" in str(identity(port))


@given(st.binary(max_size=120) | st.binary(max_size=80).map(lambda tail: RMCP + tail))
def test_any_datagram_is_judged(data: bytes) -> None:
    assert judge(data) in ("ipmi2", "ipmi1", "garbled")


@settings(max_examples=200)
@given(st.data())
def test_a_spoiled_fru_is_read_as_far_as_it_goes(data: st.DataObject) -> None:
    good = bmc_records.fru("SN-1", "R420")
    spoiled = bytearray(good[: data.draw(st.integers(0, len(good)))])
    for _ in range(data.draw(st.integers(0, 3)) if spoiled else 0):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    info = Fru(rawdata=bytes(spoiled)).info
    assert isinstance(info, dict)


def test_a_sound_fru_is_read_to_its_end() -> None:
    info = Fru(rawdata=bmc_records.fru("SN-1", "R420")).info
    assert (info["Serial Number"], info["Chassis serial number"], info["FRU ID"]) == ("SN-1", "CH-SN-1", "0")
