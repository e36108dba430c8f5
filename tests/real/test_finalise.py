"""globex, moved and finalised: the sources are gone for good, their addresses stay reserved."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from . import operate
from .conftest import Moved, views
from .observe import View, differences, fixed_ip, named
from .operate import Done, Site
from .populate import SERVERS
from .tier import Clouds

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
GLOBEX = [server.name for server in SERVERS if server.tenant == "globex"]


@dataclass(frozen=True)
class Finalised:
    """What finalising did: the refused run, the approved one, and both clouds around them."""

    refused: Done
    done: Done
    before: tuple[View, View]
    meanwhile: tuple[View, View]
    after: tuple[View, View]


@pytest.fixture(scope="module")
def finalised(clouds: Clouds, site: Site, globex: Moved) -> Finalised:
    assert globex.done.exit_code == 0, globex.done
    before = views(clouds)
    refused = site.run(operate.FINALISE, projects="globex")
    meanwhile = views(clouds)
    site.approve(refused)
    done = site.run(operate.FINALISE, projects="globex")
    return Finalised(refused, done, before, meanwhile, views(clouds))


def test_the_move_is_done_and_waits_for_its_hold(clouds: Clouds, globex: Moved) -> None:
    assert globex.done.exit_code == 0, globex.done
    for name, was in clouds.servers_of("globex").items():
        assert named(globex.after[1], "servers", name)["status"] == "ACTIVE"
        assert globex.after[0]["servers"][was["id"]]["status"] == "SHUTOFF"


def test_a_finalisation_needs_an_approval_of_its_own(finalised: Finalised) -> None:
    assert finalised.refused.exit_code == 3, finalised.refused
    for old, new in zip(finalised.before, finalised.meanwhile, strict=True):
        assert differences(old, new) == []


def test_the_sources_are_gone_and_nothing_else(clouds: Clouds, finalised: Finalised) -> None:
    assert finalised.done.exit_code == 0, finalised.done
    assert finalised.done.outcome["result"] == "succeeded"
    gone = sorted(f"servers {was['id']} is gone: {name}" for name, was in clouds.servers_of("globex").items())
    assert len(gone) == len(GLOBEX)
    assert differences(finalised.before[0], finalised.after[0]) == gone
    assert differences(finalised.before[1], finalised.after[1]) == []


@pytest.mark.parametrize("name", GLOBEX)
def test_its_fixed_ip_is_reserved_at_the_source(clouds: Clouds, finalised: Finalised, name: str) -> None:
    found = fixed_ip(clouds.source, clouds.facts["servers"][name]["fixed_ip"])
    assert (found["reserved"], found["hostname"]) == (True, None)


def test_its_floating_ip_stays_allocated_at_the_source(clouds: Clouds, finalised: Finalised) -> None:
    address = clouds.facts["servers"]["globex-app"]["floating_ip"]
    found = finalised.after[0]["floating_ips"][address]
    assert (found["project_id"], found["instance_uuid"]) == (clouds.facts["tenants"]["globex"], None)
