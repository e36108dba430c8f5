"""A compute host of the real source dies: its server is made anew on another host, and the host comes back.

What else hosts can do is in `tests/contract/test_hosts.py`, which runs on these clouds, too.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pumphouse.clouds import OpenStackCloud, connect_site
from pumphouse.errors import ApiError
from pumphouse.model import Server, ServerSpec
from pumphouse.site import load_site

from . import cloud
from .base import HERE
from .operate import Site
from .tier import Clouds

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
WAIT_S = 120


@pytest.fixture
def source(site: Site) -> Iterator[OpenStackCloud]:
    """The source as pumphouse sees it."""
    both = connect_site(load_site(site.file))
    yield both[0]
    for one in both:
        one.close()


@pytest.fixture
def refugee(clouds: Clouds, source: OpenStackCloud) -> Iterator[Server]:
    """A server of the administrator's own."""
    compute = source.compute
    pattern = compute.get_server(next(iter(clouds.facts["servers"].values()))["id"])
    assert pattern.image_id is not None
    server_id = compute.create_server(ServerSpec("refugee", pattern.flavor_id, pattern.image_id, ()))
    yield compute.wait_server(server_id, "ACTIVE", timeout_s=WAIT_S)
    compute.delete_server(server_id)
    compute.wait_server_gone(server_id, timeout_s=WAIT_S)


@contextmanager
def dead(clouds: Clouds, source: OpenStackCloud, host: str) -> Iterator[None]:
    """The host's nova-compute is gone, and Nova has noticed."""
    cloud.launcher("source", clouds.home.path).processes.stop([f"nova-{host}"])
    try:
        source.hosts.wait_service(host, "down", timeout_s=WAIT_S)
        yield
    finally:
        command = ["-m", "tests.real", "up", "--only", "source", "--home", str(clouds.home.path)]
        subprocess.run(
            [sys.executable, *command], cwd=HERE.parent.parent, check=True, timeout=WAIT_S, stdout=sys.stderr
        )
        source.hosts.wait_service(host, "up", timeout_s=WAIT_S)


def test_a_dead_hosts_server_is_made_anew_elsewhere(clouds: Clouds, source: OpenStackCloud, refugee: Server) -> None:
    hosts = source.hosts
    assert refugee.host is not None
    target = next(
        s.host for s in source.compute.list_services() if s.binary == "nova-compute" and s.host != refugee.host
    )
    with dead(clouds, source, refugee.host):
        with pytest.raises(ApiError, match="unavailable") as refused:
            hosts.live_migrate(refugee.id, host=target, block=True)
        assert refused.value.status == 400
        hosts.evacuate(refugee.id, host=target, shared_storage=False)
        there = hosts.wait_moved(refugee.id, leaving=refugee.host, timeout_s=WAIT_S)
        assert (there.status, there.host, there.addresses) == ("ACTIVE", target, refugee.addresses)
        assert refugee.id not in {server.id for server in hosts.list_servers(refugee.host)}
    # the host that came back does not take it back
    assert source.compute.get_server(refugee.id).host == target
