"""Neutron's quotas: what a project may have of ports, floating IPs, groups and rules, and what it has."""

from __future__ import annotations

from collections.abc import Mapping

from pumphouse.clouds.http import Service
from pumphouse.clouds.parse import Doc, path
from pumphouse.model import Quota

#: What pumphouse makes in a project, by Neutron's names.
RESOURCES = ("network", "subnet", "port", "router", "floatingip", "security_group", "security_group_rule")


class NetworkQuotas:
    """Quotas of one cloud (extensions ``quotas`` and ``quota_details``)."""

    def __init__(self, api: Service) -> None:
        self._api = api

    def use(self, project_id: str) -> dict[str, tuple[int, int]]:
        """Limit and use per resource; what is reserved by requests under way counts as used (read only)."""
        place = path("quotas", project_id, "details.json")
        details = self._api.get(place, f"read the network quota of project {project_id}").doc("quota")
        rows = {name: details.doc(name) for name in RESOURCES if name in details}
        return {
            name: (row.whole("limit", -1), row.whole("used", 0) + row.whole("reserved", 0))
            for name, row in rows.items()
        }

    def default(self) -> Quota:
        """What a new project gets (read only); Neutron wants the id of some project, whichever."""
        return Quota("", _limits(self._api.get("/quotas/none/default", "read the default network quota").doc("quota")))

    def own(self, project_id: str) -> Quota | None:
        """Limits that were set for this project (read only): Neutron lists such projects alone."""
        for doc in self._api.get("/quotas", "list network quotas").docs("quotas"):
            if doc.maybe_text("project_id", "tenant_id") == project_id:
                return Quota(project_id, _limits(doc))
        return None

    def set(self, project_id: str, limits: Mapping[str, int]) -> None:
        """Set some limits; Neutron fills the others with the defaults of now."""
        self._api.put(
            path("quotas", project_id), {"quota": dict(limits)}, f"set the network quota of project {project_id}"
        )

    def reset(self, project_id: str) -> None:
        """Forget what was set."""
        self._api.delete(path("quotas", project_id), f"reset the network quota of project {project_id}")


def _limits(doc: Doc) -> dict[str, int]:
    return {name: doc.whole(name) for name in RESOURCES if name in doc}
