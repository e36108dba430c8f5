"""The lab's Fuel master answers a recorded story as the recorded masters did: status, form, structure, first words."""

from __future__ import annotations

import asyncio

import pytest

from tests.lab.recorded_fuel import RELEASES, UNLIKE, Story

RECORDED = {"6.0": 318, "6.1": 309, "7.0": 310, "8.0": 308}


@pytest.mark.parametrize("release", RELEASES)
def test_a_recorded_story(release: str) -> None:
    told = asyncio.run(Story(release).tell())
    assert len(told) == RECORDED[release]
    differing = {one.fact["label"]: one.differences for one in told if one.differences}
    unlike = {label for known, label in UNLIKE if known == release}
    assert {label: lines for label, lines in differing.items() if label not in unlike} == {}
    assert unlike <= differing.keys(), "what is alike by now is no exception any more"
