"""Nova's flavors: the record, its extra specs and its access list are three resources."""

from __future__ import annotations

import builtins
from dataclasses import replace

from pumphouse.clouds.http import Service
from pumphouse.clouds.nova_records import flavor_of
from pumphouse.clouds.paging import all_pages
from pumphouse.clouds.parse import path
from pumphouse.errors import CloudError, Conflict, NotFound
from pumphouse.model import Flavor


class Flavors:
    """Flavors of one cloud."""

    def __init__(self, api: Service) -> None:
        self._api = api

    def list(self) -> builtins.list[Flavor]:
        """Public and private flavors; ``is_public=None`` asks for both (read only)."""
        found = [flavor_of(doc) for doc in all_pages(self._api, "flavors", {"is_public": "None"})]
        return self._api.wire.each(self._complete, found)

    def find(self, flavor_id: str) -> Flavor | None:
        """One flavor by id, or None (read only)."""
        answer = self._api.find(path("flavors", flavor_id), f"read flavor {flavor_id}")
        return self._complete(flavor_of(answer.doc("flavor"))) if answer is not None else None

    def create(self, flavor: Flavor) -> Flavor:
        """Make a flavor; one whose specs or access list are refused is removed again.

        :raises Conflict: when id or name is taken.
        """
        body = {
            "id": flavor.id, "name": flavor.name, "vcpus": flavor.vcpus, "ram": flavor.ram_mib, "disk": flavor.disk_gib,
            "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gib, "swap": flavor.swap_mib,
            "rxtx_factor": flavor.rxtx_factor, "os-flavor-access:is_public": flavor.is_public,
        }  # fmt: skip
        self._api.post("/flavors", {"flavor": body}, f"create flavor '{flavor.name}'")
        try:
            if flavor.extra_specs:
                specs = {"extra_specs": dict(flavor.extra_specs)}
                doing = f"set extra specs of flavor {flavor.id}"
                self._api.post(path("flavors", flavor.id, "os-extra_specs"), specs, doing, repeatable=True)
            self._set_access(flavor)
            made = self.find(flavor.id)
        except CloudError:
            self.delete(flavor.id)
            raise
        if made is None:
            raise CloudError(
                f"Cloud '{self._api.wire.cloud}': flavor {flavor.id} ('{flavor.name}') vanished while it was made.",
                remedy="see who else works on this cloud, then repeat.",
            )
        return made

    def delete(self, flavor_id: str) -> None:
        """Delete a flavor."""
        self._api.delete(path("flavors", flavor_id), f"delete flavor {flavor_id}")

    def add_access(self, flavor_id: str, project_id: str) -> None:
        """Let a project use a private flavor."""
        self._change_access(flavor_id, "addTenantAccess", project_id)

    def remove_access(self, flavor_id: str, project_id: str) -> None:
        """Take a private flavor away from a project."""
        self._change_access(flavor_id, "removeTenantAccess", project_id)

    def _complete(self, flavor: Flavor) -> Flavor:
        answer = self._api.maybe(path("flavors", flavor.id, "os-extra_specs"), f"read specs of flavor {flavor.id}")
        specs = answer.mapping("extra_specs") if answer is not None else {}
        return replace(flavor, extra_specs=specs, access_project_ids=self._access(flavor))

    def _access(self, flavor: Flavor) -> tuple[str, ...]:
        return () if flavor.is_public else self._projects(flavor.id)

    def _projects(self, flavor_id: str) -> tuple[str, ...]:
        doing = f"read the access list of flavor {flavor_id}"
        answer = self._api.maybe(path("flavors", flavor_id, "os-flavor-access"), doing)
        return tuple(doc.text("tenant_id") for doc in answer.docs("flavor_access")) if answer is not None else ()

    def _set_access(self, flavor: Flavor) -> None:
        # some releases give the creator's own project access by themselves
        wanted, there = flavor.access_project_ids, self._access(flavor)
        changes = [("addTenantAccess", one) for one in wanted if one not in there]
        changes += [("removeTenantAccess", one) for one in there if one not in wanted]
        for action, project_id in changes:
            self._change_access(flavor.id, action, project_id)

    def _change_access(self, flavor_id: str, action: str, project_id: str) -> None:
        doing = f"set the access list of flavor {flavor_id}"
        try:
            self._api.post(path("flavors", flavor_id, "action"), {action: {"tenant": project_id}}, doing)
        except (Conflict, NotFound):
            if (project_id in self._projects(flavor_id)) != (action == "addTenantAccess"):
                raise
