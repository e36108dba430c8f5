"""initech, moved and taken back: the source serves as before, and the destination is as before the move."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from . import operate
from .conftest import Moved, views
from .observe import View, action_times, addresses, differences, named
from .operate import Done, Site
from .tier import Clouds

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class TakenBack:
    """What rolling back did."""

    refused: Done
    done: Done
    meanwhile: tuple[View, View]
    after: tuple[View, View]


@pytest.fixture(scope="module")
def taken_back(clouds: Clouds, site: Site, initech: Moved) -> TakenBack:
    assert initech.done.exit_code == 0, initech.done
    refused = site.run(operate.ROLL_BACK, projects="initech")
    meanwhile = views(clouds)
    site.approve(refused)
    done = site.run(operate.ROLL_BACK, projects="initech")
    return TakenBack(refused, done, meanwhile, views(clouds))


def test_it_had_moved_with_its_floating_ip(clouds: Clouds, initech: Moved) -> None:
    assert initech.done.exit_code == 0, initech.done
    was = initech.before[0]["servers"][clouds.facts["servers"]["initech-tps"]["id"]]
    (address,) = addresses(was, "floating")
    view = initech.after[1]
    (bound,) = [ip for ip in view["floating_ips"].values() if ip["floating_ip_address"] == address]
    assert view["ports"][bound["port_id"]]["device_id"] == named(view, "servers", "initech-tps")["id"]
    assert initech.after[0]["servers"][was["id"]]["status"] == "SHUTOFF"


def test_going_back_needs_an_approval(initech: Moved, taken_back: TakenBack) -> None:
    assert taken_back.refused.exit_code == 3, taken_back.refused
    for old, new in zip(initech.after, taken_back.meanwhile, strict=True):
        assert differences(old, new) == []


def test_the_source_is_as_before_the_move(clouds: Clouds, initech: Moved, taken_back: TakenBack) -> None:
    assert taken_back.done.exit_code == 0, taken_back.done
    assert taken_back.done.outcome["result"] == "succeeded"
    # servers ACTIVE, floating IP bound, and every other project's things too
    assert differences(initech.before[0], taken_back.after[0]) == []
    for was in clouds.servers_of("initech").values():
        assert taken_back.after[0]["servers"][was["id"]]["status"] == "ACTIVE"
    server = taken_back.after[0]["servers"][clouds.facts["servers"]["initech-tps"]["id"]]
    assert len(addresses(server, "floating")) == 1


def test_each_copy_was_gone_before_its_source_began(clouds: Clouds, initech: Moved, taken_back: TakenBack) -> None:
    for name, was in clouds.servers_of("initech").items():
        _, gone = action_times(clouds.destination, named(initech.after[1], "servers", name)["id"], "delete")
        began, _ = action_times(clouds.source, was["id"], "start")
        assert gone <= began, name


def test_nothing_of_it_is_left_at_the_destination(initech: Moved, taken_back: TakenBack) -> None:
    # projects, users, images, groups, keypairs, ports, floating IPs and servers; acme and globex unchanged
    assert differences(initech.before[1], taken_back.after[1]) == []
    assert not [p for p in taken_back.after[1]["projects"].values() if p["name"] == "initech"]
