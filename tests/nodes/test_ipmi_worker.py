"""What the process of a conversation makes of pyghmi's words, without a BMC."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pyghmi.exceptions import BmcErrorException, IpmiException

from pumphouse.nodes import ipmi_worker
from pumphouse.nodes.ipmi import LONGEST_USER
from pumphouse.nodes.ipmi_worker import Conversation, Failed
from tests.nodes.relay import answering


def conversation(port: int = 1) -> Conversation:
    """One that is not opened."""
    return Conversation({"address": "127.0.0.1", "port": port, "user": "u" * LONGEST_USER, "password": "secret-7719"})


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (IpmiException("Incorrect password provided"), "auth"),
        (IpmiException("Unauthorized name in RAKP2"), "auth"),
        (IpmiException("Invalid integrity check value reported in RAKP4"), "auth"),
        (IpmiException("Invalid RAKP4 integrity code (wrong Kg?)"), "auth"),
        (IpmiException("Insufficient privilege level", code=0xD4), "auth"),
        (
            IpmiException("Insufficient resources to create new session (wait for existing sessions to timeout)"),
            "refused",
        ),
        (IpmiException("Command not supported in present state", code=0xD5), "refused"),
        (BmcErrorException("Incorrect SDR record id from BMC"), "refused"),
        (IpmiException(None), "unreachable"),
        (IpmiException("timeout", code=0xFFFF), "unreachable"),
        (IpmiException("Session no longer connected"), "unreachable"),
    ],
)
def test_what_pyghmi_says(error: Exception, failure: str) -> None:
    with answering() as port:
        pass
    translated = conversation(port)._translated(error, 0.3)
    assert translated.failure == failure
    assert "secret-7719" not in translated.detail
    assert "None" not in translated.detail


def test_silence_after_a_failure_is_looked_into() -> None:
    with answering(b"no IPMI at all") as port:
        assert conversation(port)._translated(IpmiException(None), 0.3).failure == "garbled"


class Answers:
    """A session that answers with these in turn."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)

    def raw_command(self, **_asked: Any) -> dict[str, Any]:
        """The next answer."""
        return self.answers.pop(0)

    def get_bootdev(self) -> dict[str, Any]:
        """The next answer."""
        return self.answers.pop(0)


def opened(*answers: dict[str, Any]) -> Conversation:
    """One that is opened, with a BMC that answers so."""
    made = conversation()
    made._command = Answers(*answers)
    return made


BUSY = {"error": "Node busy", "code": 0xC0, "data": b""}


def test_a_busy_bmc_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipmi_worker, "_POLL_S", 0.0)
    assert opened(BUSY, BUSY, {"code": 0, "data": bytearray(b"\x01\0\0")})._power() == "on"


@pytest.mark.parametrize(
    ("answer", "guid"),
    [
        ({"code": 0, "data": bytearray(16)}, ""),
        ({"code": 0, "data": bytearray(b"\xff" * 16)}, ""),
        ({"code": 0, "data": bytearray(b"short")}, ""),
        ({"error": "Invalid command", "code": 0xC1, "data": b""}, ""),
        ({"code": 0, "data": bytearray(range(16))}, "03020100-0504-0706-0809-0a0b0c0d0e0f"),
    ],
)
def test_a_guid_is_told_or_left_empty(answer: dict[str, Any], guid: str) -> None:
    assert opened(answer)._guid() == guid


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("network", "pxe"), ("hd", "disk"), ("safe", "disk"), ("optical", "cdrom"), ("default", "default")],
)
def test_boot_devices_have_our_names(theirs: str, ours: str) -> None:
    assert opened({"bootdev": theirs, "persistent": False})._boot_device() == (ours, False)


def test_a_boot_device_without_a_name_of_ours_is_said() -> None:
    with pytest.raises(Failed, match="it is to boot from floppy"):
        opened({"bootdev": "floppy", "persistent": False})._boot_device()


def test_it_ends_when_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipmi_worker, "IDLE_S", 0.05)
    there, here = os.pipe()
    with os.fdopen(there, "rb", 0) as requests, os.fdopen(here, "wb", 0) as asking, Path(os.devnull).open("wb") as to:
        asking.write(b'{"address": "127.0.0.1", "port": 1, "user": "", "password": ""}\n')
        began = time.monotonic()
        ipmi_worker.serve(requests, to)
    assert time.monotonic() - began < 5
