"""What else surprises between openstacksdk and a 2014 cloud; the eleven traps are in tests/clouds/test_traps.py."""

from __future__ import annotations

import requests

from tests.lab.conftest import Connection
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite

pytestmark = SDK_WARNS_OF_ITSELF


def test_v3_lists_all_projects_even_with_a_v2_token(old: Connection) -> None:
    assert {p.name for p in old.identity.projects()} >= {"admin", "service", "acme", "globex", "initech"}


def test_a_revoked_token_goes_on_working_where_it_was_seen(lab: LabSite) -> None:
    connection, other = lab.connect("old"), lab.connect("old")
    headers = {"X-Auth-Token": connection.auth_token}
    servers = f"{connection.compute.get_endpoint()}/servers"
    admin = connection.session.get_endpoint(service_type="identity", interface="admin")
    assert requests.get(servers, headers=headers, timeout=5).status_code == 200
    assert other.session.delete(f"{admin}/tokens/{connection.auth_token}").status_code == 204
    assert requests.get(servers, headers=headers, timeout=5).status_code == 200
    assert requests.get(f"{admin}/tenants", headers=headers, timeout=5).status_code == 401
    connection.close()
    other.close()
