"""Detecting that a source server changed since its plan was made."""

from __future__ import annotations

import hashlib
import json

from pumphouse.model import Server


def fingerprint(server: Server) -> str:
    """Twelve hex digits over what a move carries, without what moving itself changes (state, host, floating IPs)."""
    carried = {
        "name": server.name,
        "project": server.project_id,
        "user": server.user_id,
        "flavor": server.flavor_id,
        "image": server.image_id,
        "key": server.key_name,
        "groups": sorted(server.security_groups),
        "metadata": dict(sorted(server.metadata.items())),
        "volumes": sorted(server.volume_ids),
        "addresses": sorted(a.address for a in server.addresses),
    }
    return hashlib.sha256(json.dumps(carried, sort_keys=True).encode()).hexdigest()[:12]
