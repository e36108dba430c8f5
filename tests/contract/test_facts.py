"""What a cloud tells about itself."""

from __future__ import annotations

import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.errors import CloudError


def test_facts_name_what_was_seen(cloud: OpenStackCloud) -> None:
    facts = cloud.facts
    assert facts.cloud == cloud.name
    assert facts.side == cloud.side
    assert facts.release
    assert facts.evidence
    assert facts.user_name
    assert facts.project_name
    assert cloud.user_id
    assert cloud.project_id
    assert facts.identity_api in ("v3", "v2.0")
    assert facts.image_api.startswith("v")


def test_each_side_has_its_own_network_service(source: OpenStackCloud, destination: OpenStackCloud) -> None:
    assert source.facts.network_service == "nova-network"
    assert source.network is source.nova_network
    with pytest.raises(CloudError, match=f"'{source.name}' has nova-network"):
        _ = source.neutron
    assert destination.facts.network_service == "neutron"
    assert destination.network is destination.neutron
    with pytest.raises(CloudError, match=f"'{destination.name}' has Neutron"):
        _ = destination.nova_network


def test_secrets_are_known_but_never_shown(cloud: OpenStackCloud) -> None:
    known = list(cloud.known_secrets())
    assert len(known) >= 2  # the password and the token
    shown = f"{cloud!r} {cloud.wire!r} {cloud.wire.secrets!r} {cloud.facts}"
    tokens = [secret for secret in known if len(secret) > 16]
    assert tokens
    assert not any(token in shown for token in tokens)
