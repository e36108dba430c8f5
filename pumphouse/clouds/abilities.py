"""What a cloud can do beside its release: asked of the services themselves, for the inventory and the record."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pumphouse.clouds.discovery import Layout, required
from pumphouse.clouds.http import Service, Wire
from pumphouse.clouds.parse import Doc
from pumphouse.errors import CloudError

_EXTENSIONS = {
    "shelve": "os-shelve",
    "evacuate": "os-evacuate",
    "server groups": "os-server-groups",
    "migrations": "os-migrations",
    "MACs in addresses": "OS-EXT-IPS-MAC",
    "user data": "os-user-data",
}
_NEUTRON = {
    "routers": "router",
    "external networks": "external-net",
    "provider networks": "provider",
    "security groups": "security-group",
    "network quotas": "quotas",
}
_RESERVATIONS = (2, 4)
"""The microversion from which ``os-fixed-ips`` shows whether an address is reserved."""


class Abilities:
    """A cloud's abilities, asked for once, however many users share the cloud in this process.

    :param wire: the session of whoever connected first, as a rule an administrator.
    """

    def __init__(self, wire: Wire, layout: Layout) -> None:
        self._wire = wire
        self._layout = layout
        self._told: dict[str, str] | None = None
        self._lock = threading.Lock()

    def told(self) -> dict[str, str]:
        """Name -> what the cloud says, in words; a question that it does not answer says why (read only)."""
        with self._lock:
            if self._told is None:
                self._told = self._ask()
            return dict(self._told)

    def _ask(self) -> dict[str, str]:
        layout, wire = self._layout, self._wire
        compute = Service(wire, "compute", lambda: required(wire, "compute"))
        questions: dict[str, Callable[[], str]] = {
            "Keystone": lambda: ", ".join(layout.identity_versions) or "no version list",
            "Glance": lambda: ", ".join(layout.image_versions) or "no version list",
            "microversions": lambda: _up_to(layout),
            "role assignments": self._role_assignments,
            "owner in image records": self._image_owner,
            "rate limits": lambda: rate_limits(compute.get("/limits", "read the limits").maybe_doc("limits")),
            "service ids": lambda: _service_ids(compute),
        }
        if layout.network_service == "nova-network":
            newer = layout.compute_maximum is not None and layout.compute_maximum >= _RESERVATIONS
            questions["reserved fixed IPs"] = lambda: "shown" if newer else "not shown (needs microversion 2.4)"
        if layout.network_root is not None:
            questions["Neutron"] = self._neutron
        answers = wire.each(lambda question: _answer(question), questions.values())
        found = dict(zip(questions, answers, strict=True))
        aliases = self._aliases(compute)
        for name, alias in _EXTENSIONS.items():
            found[name] = aliases if isinstance(aliases, str) else _yes(alias in aliases)
        return found

    def _aliases(self, compute: Service) -> frozenset[str] | str:
        if self._layout.extensions is not None:
            return self._layout.extensions
        try:
            docs = compute.get("/extensions", "list extensions").docs("extensions")
        except CloudError as error:
            return _untold(error)
        return frozenset(doc.text("alias") for doc in docs)

    def _role_assignments(self) -> str:
        layout, wire = self._layout, self._wire
        if not layout.has_v3:
            return "asked tenant by tenant (v2.0)"
        identity = Service(wire, "identity", lambda: f"{layout.identity_root}/v3")
        access = wire.access()
        ours = {"user.id": access.user_id or "", "scope.project.id": access.project_id or ""}
        listed = identity.find("/role_assignments", "look for role assignments", **ours)
        return "one list" if listed is not None else "asked pair by pair (Keystone has no list)"

    def _image_owner(self) -> str:
        layout = self._layout
        if layout.image_v2 is None:
            return "yes (v1)"
        image = Service(self._wire, "image", lambda: f"{layout.image_root}/v2")
        fields = image.get("/schemas/image", "read the schema of images").maybe_doc("properties")
        return "yes" if "owner" in fields else "no (asked of v1)"

    def _neutron(self) -> str:
        network = Service(self._wire, "network", lambda: f"{self._layout.network_root}/v2.0")
        docs = network.get("/extensions", "list Neutron's extensions").docs("extensions")
        aliases = {doc.text("alias") for doc in docs}
        missing = [name for name, alias in _NEUTRON.items() if alias not in aliases]
        return f"{len(aliases)} extensions; " + (f"without {', '.join(missing)}" if missing else ", ".join(_NEUTRON))


def rate_limits(limits: Doc) -> str:
    """Nova's rate limits in words, e.g. ``POST 10/minute``; ``none`` where it has none."""
    found = []
    for rule in limits.maybe_docs("rate"):
        uri = rule.maybe_text("uri") or "*"
        where = "" if uri == "*" else f" {uri}"
        found += [
            f"{limit.text('verb')}{where} {limit.whole('value')}/{limit.text('unit').lower()}"
            for limit in rule.maybe_docs("limit")
        ]
    return ", ".join(found) or "none"


def _service_ids(compute: Service) -> str:
    docs = compute.get("/os-services", "list services").docs("services")
    return _yes(any("id" in doc for doc in docs))


def _up_to(layout: Layout) -> str:
    maximum = layout.compute_maximum
    return "none" if maximum is None else f"to {maximum[0]}.{maximum[1]}"


def _answer(question: Callable[[], str]) -> str:
    try:
        return question()
    except CloudError as error:
        return _untold(error)


def _untold(error: CloudError) -> str:
    status = getattr(error, "status", 0)
    why = f"HTTP {status}" if status else type(error).__name__
    return f"not told ({why})"


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"
