"""What a cloud is: which APIs it offers, at which address, and which release that tells of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus

from pumphouse.clouds.http import Service, Wire
from pumphouse.clouds.parse import Doc, root_of
from pumphouse.clouds.releases import may_have_nova_network, release_by_extensions, release_by_microversion
from pumphouse.errors import ApiError, CloudAuthError, CloudError

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
    network_service: str
    release: str | None
    evidence: tuple[str, ...] = field(default_factory=tuple)
    identity_versions: tuple[str, ...] = ()
    image_versions: tuple[str, ...] = ()
    extensions: frozenset[str] | None = None

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


def explore(wire: Wire, *, image_api: str | None, identity: list[ApiVersion], release: str = "") -> Layout:
    """Ask Glance, Nova and the catalog what they are (read only).

    :param image_api: clouds.yaml's ``image_api_version``; "1" keeps us from using v2.
    :param identity: Keystone's versions, as :func:`identity_versions` found them.
    :param release: what site.yaml calls the release, for a cloud that does not tell.
    :raises CloudError: when a service that we need is missing or does not answer, or the release is another one.
    """
    evidence: list[str] = []
    identity_root = root_of(wire.auth_url)
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
    nova = _versions(wire, "compute", compute_root) or _versions(wire, "compute", _versioned(required(wire, "compute")))
    maximum = max((one.maximum for one in nova if one.maximum), default=None)
    network = wire.catalog_url("network")
    compute = Service(wire, "compute", lambda: required(wire, "compute"))
    extensions, found, why = _release(compute, maximum)
    evidence.append(why)
    if network is not None:
        network_service = "neutron"
        evidence.append(f"the catalog has a network service at {root_of(network)}")
    else:
        network_service, why = _network_service(compute, maximum)
        evidence.append(why)
    if release and found not in (None, release):
        raise CloudError(
            f"Cloud '{wire.cloud}': site.yaml calls it {release}, but it is {found}: {'; '.join(evidence)}.",
            remedy="take `source.release` out of site.yaml: it is for clouds that do not tell.",
        )
    if release and found is None:
        evidence.append(f"site.yaml says {release}")
    return Layout(
        identity_root=identity_root,
        has_v3=has_v3,
        image_root=image_root,
        image_v2=image_v2,
        image_v1=image_v1,
        compute_maximum=maximum,
        network_root=root_of(network) if network is not None else None,
        network_service=network_service,
        release=found or release or None,
        evidence=tuple(evidence),
        identity_versions=_sorted(identity),
        image_versions=_sorted(image),
        extensions=extensions,
    )


def identity_versions(wire: Wire) -> list[ApiVersion]:
    """Keystone's versions, asked without a token at the root of ``auth_url``; none where it keeps that from us.

    :raises CloudUnreachable: when nothing answers there.
    """
    return _versions(wire, "identity", root_of(wire.auth_url))


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


def _release(compute: Service, maximum: Version | None) -> tuple[frozenset[str] | None, str | None, str]:
    if maximum is not None:
        release, said = release_by_microversion(maximum)
        return None, release, said
    try:
        docs = compute.get("/extensions", "list extensions").docs("extensions")
    except ApiError as error:
        return None, None, f"nova does not list its extensions (HTTP {error.status})"
    aliases = frozenset(doc.text("alias") for doc in docs)
    return aliases, *release_by_extensions(aliases)


def _network_service(compute: Service, maximum: Version | None) -> tuple[str, str]:
    """Whether there is a nova-network behind a catalog without Neutron."""
    nothing = "the catalog has no network service"
    if not may_have_nova_network(maximum):
        return "none", f"{nothing}, and this Nova is too new for nova-network"
    try:
        networks = compute.get("/os-networks", "list networks").docs("networks")
    except ApiError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return "nova-network", f"{nothing}; nova keeps its networks from this user"
        return "none", f"{nothing}, and nova has no networks of its own (os-networks answers {error.status})"
    if networks and not any("cidr" in doc and doc.text("cidr") != "None" for doc in networks):
        # Nova passes the question on to a Neutron that the catalog does not name, and gets no addresses
        return "none", f"{nothing}, and nova's networks have no addresses: they are those of a Neutron"
    return "nova-network", f"{nothing}; nova tells of {len(networks)} network{'' if len(networks) == 1 else 's'}"


def _versions(wire: Wire, service: str, root: str) -> list[ApiVersion]:
    api = Service(wire, service, lambda: root)
    try:
        reply = api.call("GET", "/", f"read the versions of {service}", repeatable=True, accept=(300,), anonymous=True)
        return version_list(reply.doc())
    except (ApiError, CloudAuthError):
        return []


def _versioned(url: str) -> str:
    """An address up to its version: where a proxy hides the root, a current Nova tells of itself there."""
    match = re.match(r"(.*?/v\d+(?:\.\d+)?)(?=/|$)", url)
    return match.group(1) if match else url


def _answers(wire: Wire, url: str) -> bool:
    api = Service(wire, "identity", lambda: url)
    try:
        api.call("GET", "", "look for Keystone v3", repeatable=True, anonymous=True)
    except ApiError:
        return False
    return True


def _sorted(versions: list[ApiVersion]) -> tuple[str, ...]:
    return tuple(one.id for one in sorted(versions, key=lambda one: one.number))


def _highest(versions: list[ApiVersion], major: int) -> Version | None:
    return max((one.number for one in versions if one.number[0] == major), default=None)


def _number(text: str) -> Version | None:
    match = re.fullmatch(r"v?(\d{1,4})(?:\.(\d{1,4}))?", text)
    return (int(match.group(1)), int(match.group(2) or 0)) if match else None


def _dotted(number: Version) -> str:
    return f"{number[0]}.{number[1]}"
