"""Whoever lost his claim changes no hardware either: permission is asked before each change leaves."""

from __future__ import annotations

import pytest

from pumphouse.errors import ClaimHeld
from pumphouse.trace import changing, changing_requests


def forbid() -> None:
    raise ClaimHeld("somebody else works on it", remedy="wait.")


def test_a_change_that_is_not_permitted_does_not_begin() -> None:
    begun = []
    with changing_requests(forbid) as found, pytest.raises(ClaimHeld), changing("bmc n1", "power off"):
        begun.append("sent")
    assert (begun, found.statuses) == ([], [])


def test_a_change_that_failed_leaves_open_what_it_did() -> None:
    with changing_requests() as found:
        with pytest.raises(OSError, match="silence"), changing("bmc n1", "power off"):
            raise OSError("silence")
        with changing("switch s1", "e1 to VLAN 7"):
            pass
    assert found.statuses == [None, 200]
    assert found.ids == ["switch s1 e1 to VLAN 7 done"]
