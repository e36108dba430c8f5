"""One cloud as one user: the services' verbs put together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import requests
from keystoneauth1.identity import v2, v3
from keystoneauth1.session import Session, TCPKeepAliveAdapter

from pumphouse.clouds.abilities import Abilities
from pumphouse.clouds.api import Cloud, Identity, Images
from pumphouse.clouds.compute import NovaCompute
from pumphouse.clouds.discovery import Layout, required
from pumphouse.clouds.hosts import NovaHosts
from pumphouse.clouds.http import Service, Wire
from pumphouse.clouds.identity import IdentityV3
from pumphouse.clouds.identity_v2 import IdentityV2
from pumphouse.clouds.images import ImagesV2
from pumphouse.clouds.images_v1 import ImagesV1
from pumphouse.clouds.network_api import Networking, Neutron, NovaNetwork
from pumphouse.clouds.neutron import NeutronNetworking
from pumphouse.clouds.nova_network import NovaNetworking
from pumphouse.clouds.parse import root_of
from pumphouse.errors import CloudAuthError, CloudError
from pumphouse.model import TLS_EVIDENCE, CloudFacts

_CONNECTIONS = 32
_ADMIN_PORT = 35357
"""Keystone's admin port until v2.0 was dropped (IANA: openstack-id)."""


@dataclass(frozen=True)
class Tls:
    """How to check the cloud's certificate and which one to show: requests' ``verify`` and ``cert``."""

    verify: bool | str = True
    cert: str | tuple[str, str] | None = None


def new_session(auth: object, tls: Tls) -> Session:
    """A keystoneauth session whose connections suit a dozen threads."""
    http = requests.Session()
    for scheme in ("http://", "https://"):
        http.mount(scheme, TCPKeepAliveAdapter(pool_connections=_CONNECTIONS, pool_maxsize=_CONNECTIONS))
    return Session(auth=auth, session=http, verify=tls.verify, cert=tls.cert, app_name="pumphouse")


class OpenStackCloud(Cloud):
    """A real cloud over HTTP.

    :param password: our user's, to log in to other projects; None when clouds.yaml logs in by other means.
    :param user_id: known beforehand for :meth:`as_user`, else asked.
    """

    def __init__(
        self,
        wire: Wire,
        layout: Layout,
        *,
        side: str,
        tls: Tls,
        password: str | None,
        user_id: str | None = None,
        project_id: str | None = None,
        abilities: Abilities | None = None,
    ) -> None:
        self.name = wire.cloud
        self.side = side
        self._wire = wire
        self._layout = layout
        self._tls = tls
        self._password = password
        self._user_id = user_id
        self._project_id = project_id
        self._abilities = abilities or Abilities(wire, layout)
        compute = Service(wire, "compute", lambda: required(wire, "compute"))
        self.compute = NovaCompute(
            compute, lambda: self.user_id, lambda: self.project_id, locks_api=lambda: self._newer_compute((2, 9)),
            keypairs_api=lambda: self._newer_compute((2, 10)), user_data_api=lambda: self._newer_compute((2, 3)),
        )  # fmt: skip
        self.hosts = NovaHosts(compute, self.compute)
        self.identity: Identity = self._identity()
        self.images: Images = self._images()
        self._nova_network = NovaNetworking(compute, self.compute, self._newer_compute)
        self._neutron = None
        if layout.network_root is not None:
            base = f"{layout.network_root}/v2.0"
            self._neutron = NeutronNetworking(Service(wire, "network", lambda: base))

    def __repr__(self) -> str:
        return f"<{self.side} cloud {self.name!r} at {self._wire.auth_url}>"

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every address at which its services answer: Keystone's as we log in, and all of the catalog (read only)."""
        return tuple(sorted({self._wire.auth_url, *self._wire.catalog_urls()}))

    @property
    def facts(self) -> CloudFacts:
        """What the cloud told about itself (read only; asked once)."""
        access = self._wire.access()
        roles = ", ".join(sorted(access.role_names)) or "none"
        return CloudFacts(
            cloud=self.name,
            side=self.side,
            auth_url=self._wire.auth_url,
            region=self._wire.region,
            release=self._layout.release,
            identity_api=self._layout.identity_api,
            image_api=self._layout.image_api,
            compute_api=self._layout.compute_api,
            network_service=self._layout.network_service,
            project_name=access.project_name or "",
            user_name=access.username or "",
            tls_verified=bool(self._tls.verify) and all(url.startswith("https:") for url in self._addresses()),
            evidence=(*self._layout.evidence, f"our roles in the project: {roles}", TLS_EVIDENCE + self._tls_words()),
            abilities=self._abilities.told(),
        )

    @property
    def nova_network(self) -> NovaNetwork:
        """nova-network's verbs."""
        if self._neutron is not None:
            raise CloudError(
                f"Cloud '{self.name}' has Neutron, not nova-network.",
                remedy="check in site.yaml which cloud is the source and which the destination.",
            )
        return self._nova_network

    @property
    def neutron(self) -> Neutron:
        """Neutron's verbs."""
        if self._neutron is None:
            raise CloudError(
                f"Cloud '{self.name}' has nova-network, not Neutron: its catalog has no network service.",
                remedy="check in site.yaml which cloud is the source and which the destination.",
            )
        return self._neutron

    @property
    def network(self) -> Networking:
        """Whichever of the two this cloud has."""
        return self._nova_network if self._neutron is None else self._neutron

    @property
    def user_id(self) -> str:
        """Id of our user."""
        return self._user_id or self._wire.access().user_id or ""

    @property
    def project_id(self) -> str:
        """Id of our project."""
        return self._project_id or self._wire.access().project_id or ""

    @property
    def clock_ahead_s(self) -> float | None:
        """See :class:`Cloud`."""
        return self._wire.ahead_s

    @property
    def compute_url(self) -> str:
        """Nova's address, from the catalog or clouds.yaml."""
        return required(self._wire, "compute")

    @property
    def layout(self) -> Layout:
        """Which APIs there are, and where."""
        return self._layout

    @property
    def wire(self) -> Wire:
        """The session underneath, for tests and for what has no verb."""
        return self._wire

    def limited_to(self, *, keystone_v2: bool = False, glance_v1: bool = False) -> OpenStackCloud:
        """This cloud over its oldest APIs, as if it had no others; shares our session."""
        layout = replace(
            self._layout,
            has_v3=self._layout.has_v3 and not keystone_v2,
            image_v2=None if glance_v1 else self._layout.image_v2,
        )
        return OpenStackCloud(self._wire, layout, side=self.side, tls=self._tls, password=self._password)

    @property
    def last_request_id(self) -> str | None:
        """The request id of this thread's last call to this cloud, for the journal."""
        return self._wire.last_request_id

    def known_secrets(self) -> Iterator[str]:
        """Passwords and tokens of this cloud and of all clouds made from it, to keep them out of records."""
        return iter(self._wire.secrets)

    def expect_end(self) -> None:
        """From now on a call that finds the cloud gone fails after its usual attempts."""
        self._wire.outage_s = 0.0

    def as_user(self, *, user_id: str, password: str, project_id: str) -> OpenStackCloud:
        """The same cloud as another user."""
        self._wire.secrets.add(password)
        return self._sibling(user_id, password, project_id)

    def accepts_password(self, user_id: str, password: str) -> bool:
        """One login without a project."""
        self._wire.secrets.add(password)
        root = self._layout.identity_root
        if self._layout.has_v3:
            auth = v3.Password(f"{root}/v3", user_id=user_id, password=password, unscoped=True)
        else:
            auth = v2.Password(f"{root}/v2.0", user_id=user_id, password=password)
        wire = self._wire.with_session(new_session(auth, self._tls))
        try:
            wire.log_in_once()
        except CloudAuthError:
            return False
        finally:
            wire.close()
        return True

    def in_project(self, project_id: str) -> OpenStackCloud:
        """The same user in another project."""
        if self._password is None:
            raise CloudError(
                f"Cloud '{self.name}': our user cannot log in to project {project_id}: clouds.yaml has no password.",
                remedy="use `auth_type: password` for this cloud.",
            )
        return self._sibling(self.user_id, self._password, project_id)

    def close(self) -> None:
        """Close the HTTP connections; clouds made from this one close their own."""
        self._wire.close()

    def _sibling(self, user_id: str, password: str, project_id: str) -> OpenStackCloud:
        root = self._layout.identity_root
        if self._layout.has_v3:
            auth = v3.Password(f"{root}/v3", user_id=user_id, password=password, project_id=project_id)
        else:
            auth = v2.Password(f"{root}/v2.0", user_id=user_id, password=password, tenant_id=project_id)
        wire = self._wire.with_session(new_session(auth, self._tls))
        return OpenStackCloud(
            wire, self._layout, side=self.side, tls=self._tls, password=password,
            user_id=user_id, project_id=project_id, abilities=self._abilities,
        )  # fmt: skip

    def _tls_words(self) -> str:
        plain = sorted({urlsplit(url).netloc for url in self._addresses() if not url.startswith("https:")})
        secure = any(url.startswith("https:") for url in self._addresses())
        off = ["not verified: its entry of clouds.yaml turns that off"] if secure and not self._tls.verify else []
        return "; ".join([*off, *([f"none at {', '.join(plain)} (http)"] if plain else [])]) or "verified"

    def _addresses(self) -> list[str]:
        layout = self._layout
        known = (self._wire.auth_url, self.compute_url, layout.image_root, layout.network_root)
        return [url for url in known if url is not None]

    def _identity(self) -> Identity:
        root = self._layout.identity_root
        admin_v2 = Service(self._wire, "identity", self._admin_v2)
        if not self._layout.has_v3:
            return IdentityV2(admin_v2)
        v3_api = Service(self._wire, "identity", lambda: f"{root}/v3")
        return IdentityV3(
            v3_api,
            lambda: self._wire.access().project_domain_id or "default",
            admin_v2,
            user_id=(lambda: self.user_id) if self.side == "destination" else None,
        )

    def _admin_v2(self) -> str:
        wire = self._wire
        reached = wire.auth_url if urlsplit(wire.auth_url).port == _ADMIN_PORT else None
        url = wire.overrides.get("identity") or reached or wire.catalog_url("identity", "admin") or wire.auth_url
        return f"{root_of(url)}/v2.0"

    def _images(self) -> Images:
        root = self._layout.image_root
        v1_api = Service(self._wire, "image", lambda: f"{root}/v1")
        if self._layout.image_v2 is None:
            return ImagesV1(v1_api)
        v2_api = Service(self._wire, "image", lambda: f"{root}/v2")
        return ImagesV2(v2_api, self._layout.image_v2, v1_api if self._layout.image_v1 else None)

    def _newer_compute(self, asked: tuple[int, int] = (2, 4)) -> Service | None:
        if self._layout.compute_maximum is None or self._layout.compute_maximum < asked:
            return None
        url = re.sub(r"/v2(?=/|$)", "/v2.1", required(self._wire, "compute"), count=1)
        headers = {"X-OpenStack-Nova-API-Version": f"{asked[0]}.{asked[1]}"}
        return Service(self._wire, "compute", lambda: url, headers)
