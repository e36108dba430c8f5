"""What a cloud is: which APIs it offers, at which address, and which release that tells of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pumphouse.clouds.http import Service, Wire
from pumphouse.clouds.parse import Doc, root_of
from pumphouse.errors import ApiError, CloudError

_ICEHOUSE = (
    "os-server-external-events",
    "os-server-groups",
    "os-extended-hypervisors",
    "os-preserve-ephemeral-rebuild",
)
_HAVANA = ("os-migrations", "os-shelve", "OS-EXT-IPS-MAC", "OS-SRV-USG", "os-extended-volumes")
_BY_MICROVERSION = {3: "kilo", 12: "liberty", 25: "mitaka", 38: "newton", 42: "ocata"}
"""The last microversion of those releases that had both nova-network and microversions."""

Version = tuple[int, int]


@dataclass(frozen=True)
class ApiVersion:
    """One entry of a service's version document."""

    id: str
    number: Version
    status: str
    maximum: Version | None
    updated: str


@dataclass(frozen=True)
class Layout:
    """Where a cloud's APIs are and what they can do; the same for all its users."""

    identity_root: str
    has_v3: bool
    image_root: str
    image_v2: Version | None
    image_v1: Version | None
    compute_maximum: Version | None
    network_root: str | None
    release: str | None
    evidence: tuple[str, ...] = field(default_factory=tuple)

    @property
    def identity_api(self) -> str:
        """``v3`` or ``v2.0``."""
        return "v3" if self.has_v3 else "v2.0"

    @property
    def image_api(self) -> str:
        """The Glance API that is used, e.g. ``v2.2``."""
        number = self.image_v2 or self.image_v1 or (0, 0)
        return f"v{_dotted(number)}"

    @property
    def compute_api(self) -> str:
        """``v2``, or ``v2.1`` with the highest microversion offered."""
        return "v2" if self.compute_maximum is None else f"v2.1 (microversions to {_dotted(self.compute_maximum)})"


def explore(wire: Wire, *, image_api: str | None) -> Layout:
    """Ask Keystone, Glance and Nova for their versions (read only).

    :param image_api: clouds.yaml's ``image_api_version``; "1" keeps us from using v2.
    :raises CloudError: when a service that we need is missing or does not answer.
    """
    evidence: list[str] = []
    identity_root = root_of(wire.auth_url)
    identity = _versions(wire, "identity", identity_root)
    evidence += [f"keystone offers {one.id} (updated {one.updated[:10] or 'unknown'})" for one in identity]
    has_v3 = any(one.number[0] == 3 for one in identity) or (not identity and _answers(wire, f"{identity_root}/v3"))

    image_root = root_of(required(wire, "image"))
    image = _versions(wire, "image", image_root)
    image_v2 = None if image_api == "1" else _highest(image, 2)
    image_v1 = _highest(image, 1)
    if image_v2 is None and image_v1 is None:
        if image and image_api != "1":
            raise CloudError(
                f"Cloud '{wire.cloud}': Glance at {image_root} offers {', '.join(one.id for one in image)} only.",
                remedy="pumphouse speaks Glance v1 and v2; give an endpoint that has one of them.",
            )
        image_v2, image_v1 = ((2, 0), None) if image_api != "1" else (None, (1, 0))
        evidence.append("glance has no version list")
    evidence += [f"glance offers {one.id} ({one.status})" for one in image if one.status == "CURRENT"]

    compute_root = root_of(required(wire, "compute"))
    maximum = max((one.maximum for one in _versions(wire, "compute", compute_root) if one.maximum), default=None)
    network = wire.catalog_url("network")
    release, why = _release(wire, maximum)
    evidence += why
    return Layout(
        identity_root=identity_root,
        has_v3=has_v3,
        image_root=image_root,
        image_v2=image_v2,
        image_v1=image_v1,
        compute_maximum=maximum,
        network_root=root_of(network) if network is not None else None,
        release=release,
        evidence=tuple(evidence),
    )


def required(wire: Wire, service: str) -> str:
    """The address of a service that has to be there.

    :raises CloudError: naming region and interface.
    """
    url = wire.catalog_url(service)
    if url is None:
        raise CloudError(
            f"Cloud '{wire.cloud}': the catalog has no {service} service with a {wire.interface} endpoint in region "
            f"{wire.region or '(any)'}.",
            remedy="correct `region_name` or `interface` of this cloud in clouds.yaml.",
        )
    return url


def version_list(doc: Doc) -> list[ApiVersion]:
    """The entries of a version document, in the three shapes that services write it in."""
    if "version" in doc:
        entries = [doc.doc("version")]
    elif doc.has_list("versions"):
        entries = doc.docs("versions")
    else:
        entries = doc.maybe_doc("versions").maybe_docs("values")
    found = []
    for entry in entries:
        number = _number(entry.text("id"))
        if number is not None:
            maximum = _number(entry.maybe_text("version", "max_version") or "")
            status = (entry.maybe_text("status") or "").upper()
            found.append(ApiVersion(entry.text("id"), number, status, maximum, entry.maybe_text("updated") or ""))
    return found


def release_by_extensions(aliases: frozenset[str]) -> tuple[str, str]:
    """(release, evidence) of a Nova without microversions, from what it announces."""
    for release, marks in (("icehouse", _ICEHOUSE), ("havana", _HAVANA)):
        found = [mark for mark in marks if mark in aliases]
        if found:
            return release, f"nova announces {', '.join(found)}"
    return "grizzly", f"nova announces neither {' nor '.join((_ICEHOUSE[0], _HAVANA[0]))}"


def _release(wire: Wire, maximum: Version | None) -> tuple[str | None, list[str]]:
    if maximum is not None:
        said = f"nova offers microversions to {_dotted(maximum)}"
        return _BY_MICROVERSION.get(maximum[1], f"nova {_dotted(maximum)}"), [said]
    compute = Service(wire, "compute", lambda: required(wire, "compute"))
    try:
        docs = compute.get("/extensions", "list extensions").docs("extensions")
    except ApiError as error:
        return None, [f"nova does not list its extensions (HTTP {error.status})"]
    release, said = release_by_extensions(frozenset(doc.text("alias") for doc in docs))
    return release, [said]


def _versions(wire: Wire, service: str, root: str) -> list[ApiVersion]:
    api = Service(wire, service, lambda: root)
    try:
        reply = api.call("GET", "/", f"read the versions of {service}", repeatable=True, accept=(300,), anonymous=True)
        return version_list(reply.doc())
    except ApiError:
        return []


def _answers(wire: Wire, url: str) -> bool:
    api = Service(wire, "identity", lambda: url)
    try:
        api.call("GET", "", "look for Keystone v3", repeatable=True, anonymous=True)
    except ApiError:
        return False
    return True


def _highest(versions: list[ApiVersion], major: int) -> Version | None:
    return max((one.number for one in versions if one.number[0] == major), default=None)


def _number(text: str) -> Version | None:
    match = re.fullmatch(r"v?(\d{1,4})(?:\.(\d{1,4}))?", text)
    return (int(match.group(1)), int(match.group(2) or 0)) if match else None


def _dotted(number: Version) -> str:
    return f"{number[0]}.{number[1]}"
