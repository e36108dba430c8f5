"""The lab answers like a real cloud: status, headers, structure, wording of refusals (data/current.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .running import Running, running
from .scenario import hold
from .talk import Conversation

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "current.json").read_text(encoding="utf-8"))

# what the lab does differently on purpose: answer -> why
EXCEPTIONS: dict[str, str] = {}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the lab answered in the same conversation."""
    for lab in running(tmp_path_factory.mktemp("shapes")):
        yield _converse(lab)


def _converse(lab: Running) -> dict[str, Any]:
    info = lab.info
    exchanges = hold(Conversation(info.auth_url, info.admin_username, info.admin_password, info.admin_project))
    assert lab.world.layer2.violations == []
    assert not lab.inside(lambda: lab.world.layer2.guests), "a guest outlived its server"
    assert not any(lab.inside(lambda: dict(lab.world.layer2.floating)).values()), "a floating IP outlived its server"
    return {name: exchange.as_dict() for name, exchange in exchanges.items()}


def test_the_whole_conversation_was_held(answers: dict[str, Any]) -> None:
    """Nothing that the real cloud was asked is left out, and the other way round."""
    assert sorted(answers) == sorted(RECORDED)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_answer(answers: dict[str, Any], name: str) -> None:
    """One answer has the same status, content type, headers, keys, types and wording."""
    if name in EXCEPTIONS:
        assert answers[name] != RECORDED[name], f"{name} is no exception any more; strike it off the list"
        return
    assert answers[name] == RECORDED[name]
