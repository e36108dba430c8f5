"""The one place where HTTP is spoken: a keystoneauth session with checked answers, our errors, retries and bounds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import requests
import tenacity
import urllib3
from keystoneauth1 import exceptions as ksa
from keystoneauth1.access import AccessInfo
from keystoneauth1.session import Session

from pumphouse.clouds.faults import api_error, fault_text, request_id, retry_after_s
from pumphouse.clouds.parse import Doc, decode
from pumphouse.clouds.trace import note
from pumphouse.errors import (
    ApiError,
    CloudAuthError,
    CloudError,
    CloudUnreachable,
    NotFound,
    PumphouseError,
    RateLimited,
)

Notice = Callable[[str], None]
Sleep = Callable[[float], None]
Item = TypeVar("Item")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)
_TRANSIENT = frozenset({500, 502, 503, 504})
_ATTEMPTS = 4
_TIMEOUTS = 2
_RATE_BUDGET_S = 300.0
_CONNECT_S = 10.0
_WORDS_404 = frozenset({"image"})
"""Services whose own "no such object" is HTML; the others say it in JSON, so that HTML there is a proxy's word."""
_WORKERS = 8


class Secrets:
    """What must never appear in a message, a log or a record: shared by a cloud and all its children."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Secrets: {len(self._values)} hidden>"

    def add(self, value: str | None) -> None:
        """Remember one secret."""
        if value:
            with self._lock:
                self._values.add(value)

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(sorted(self._values))

    def redact(self, text: str) -> str:
        """The text with every known secret replaced."""
        for value in sorted(self, key=len, reverse=True):
            text = text.replace(value, "***")
        return text


class Reply:
    """A successful answer."""

    __slots__ = ("_where", "response")

    def __init__(self, response: requests.Response, where: str) -> None:
        self.response = response
        self._where = where

    @property
    def status(self) -> int:
        """The HTTP status, below 400."""
        return int(self.response.status_code)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, found in any case."""
        return self.response.headers

    def doc(self) -> Doc:
        """The JSON object in the body.

        :raises CloudError: when there is something else.
        """
        return decode(self.response.content, self._where)


class Wire:
    """One user's authenticated session with one cloud. Safe to use from several threads.

    :param timeout_s: bound of each call; streams are bound between two pieces.
    :param notice: told, in a sentence, when a call waits or is repeated.
    """

    def __init__(
        self,
        *,
        cloud: str,
        session: Session,
        auth_url: str,
        region: str | None,
        interface: str,
        overrides: Mapping[str, str],
        timeout_s: float,
        secrets: Secrets,
        notice: Notice | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.cloud = cloud
        self.auth_url = auth_url
        self.region = region
        self.interface = interface
        self.overrides = dict(overrides)
        self.timeout_s = timeout_s
        self.secrets = secrets
        self.session = session
        self.notice: Notice = notice or _log.warning
        self.sleep = sleep
        self._local = threading.local()
        self._catalog: dict[tuple[str, str], str | None] = {}
        session.timeout = timeout_s

    def __repr__(self) -> str:
        return f"<Wire to cloud {self.cloud!r} at {self.auth_url}>"

    def with_session(self, session: Session) -> Wire:
        """The same cloud as somebody else; nothing is asked yet."""
        return Wire(
            cloud=self.cloud, session=session, auth_url=self.auth_url, region=self.region, interface=self.interface,
            overrides=self.overrides, timeout_s=self.timeout_s, secrets=self.secrets, notice=self.notice,
            sleep=self.sleep,
        )  # fmt: skip

    @property
    def last_request_id(self) -> str | None:
        """The id of this thread's last answered request."""
        value: str | None = getattr(self._local, "request_id", None)
        return value

    def access(self) -> AccessInfo:
        """The token with its user, project and catalog; asks for a new one when it is about to end.

        :raises CloudAuthError: when the credentials are refused.
        :raises CloudUnreachable: when Keystone does not answer.
        """

        def once() -> AccessInfo:
            try:
                access: AccessInfo = self.session.auth.get_access(self.session)
            except Exception as error:
                raise self._foreign(error, self.auth_url, "log in", "identity") from error
            self.secrets.add(access.auth_token)
            return access

        return self._persist(once, "log in", repeatable=True)

    def catalog_url(self, service: str, interface: str | None = None) -> str | None:
        """The service's address: clouds.yaml's override, else the catalog's; None when there is none."""
        if interface is None and service in self.overrides:
            return self.overrides[service]
        key = (service, interface or self.interface)
        if key not in self._catalog:
            self._catalog[key] = (
                self.access().service_catalog.url_for(service_type=service, interface=key[1], region_name=self.region)
                if self._offers(*key)
                else None
            )
        return self._catalog[key]

    def _offers(self, service: str, interface: str) -> bool:
        found = self.access().service_catalog.get_endpoints(
            service_type=service, interface=interface, region_name=self.region
        )
        return any(found.values())

    def send(
        self,
        method: str,
        url: str,
        *,
        doing: str,
        service: str,
        repeatable: bool,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        secret: bool = False,
        stream: bool = False,
        accept: Sequence[int] = (),
        anonymous: bool = False,
    ) -> Reply:
        """One call, repeated as far as that is harmless.

        :param doing: completes "Cloud X could not …".
        :param repeatable: whether a repetition after a lost answer is harmless.
        :param secret: keep the body out of every log.
        :param accept: statuses of 300 and above that count as answers.
        """

        if not anonymous:
            self.access()

        def once() -> Reply:
            return self._once(
                method, url, doing, service, accept,
                json=json, headers=dict(headers or {}), params=dict(params or {}), stream=stream,
                log=not secret and not stream, authenticated=not anonymous, redirect=method in ("GET", "HEAD"),
                timeout=(min(_CONNECT_S, self.timeout_s), self.timeout_s),
            )  # fmt: skip

        return self._persist(once, doing, repeatable=repeatable)

    def upload(self, method: str, url: str, chunks: Iterable[bytes], *, doing: str, service: str,
               headers: Mapping[str, str]) -> Reply:  # fmt: skip
        """Stream a body once; with a fresh token, because the body could not be sent again from its start."""
        self.access()
        wait_s = max(self.timeout_s, _RATE_BUDGET_S)
        return self._once(
            method, url, doing, service, (),
            data=chunks, headers=dict(headers), log=False, authenticated=True, redirect=False,
            allow_reauth=False, timeout=(wait_s, wait_s),
        )  # fmt: skip

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """``work`` for all items, several at a time, results in the items' order; the first error ends it."""
        todo = list(items)
        if len(todo) < 2:
            return [work(item) for item in todo]
        pool = ThreadPoolExecutor(max_workers=min(_WORKERS, len(todo)), thread_name_prefix="pumphouse-read")
        try:
            return list(pool.map(work, todo))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Close the connections."""
        self.session.session.close()

    def _once(self, method: str, url: str, doing: str, service: str, accept: Sequence[int], **options: Any) -> Reply:
        self._local.request_id = None
        try:
            response = self.session.request(url, method, raise_exc=False, **options)
            body = b"" if response.status_code < 400 and options.get("stream") else response.content
        except PumphouseError:
            raise
        except Exception as error:
            raise self._foreign(error, url, doing, service) from error
        self._local.request_id = request_id(response.headers)
        note(service, method, self._local.request_id)
        self.secrets.add(response.request.headers.get("X-Auth-Token"))
        if response.status_code >= 300 and response.status_code not in accept:
            text = self.secrets.redact(fault_text(body, response.status_code))
            intro = f"Cloud '{self.cloud}' could not {doing}: {service}"
            if response.status_code == 404 and service not in _WORDS_404 and not body.lstrip().startswith(b"{"):
                raise ApiError(
                    f"{intro} at {response.url.partition('?')[0]} answered 404, but not in its own words: {text}",
                    status=404,
                    request_id=request_id(response.headers),
                    remedy="the object may well exist; look for a proxy before the service, or a wrong endpoint.",
                )
            raise api_error(response.status_code, response.headers, body, intro=intro, text=text)
        return Reply(response, f"Cloud '{self.cloud}' ({service}), asked to {doing},")

    def _persist(self, once: Callable[[], Result], doing: str, *, repeatable: bool) -> Result:
        waited_s = 0.0

        def worth_it(state: tenacity.RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, RateLimited):
                return waited_s + wait_s(state) <= _RATE_BUDGET_S
            if state.attempt_number >= _ATTEMPTS:
                return False
            if isinstance(error, CloudAuthError):
                # Keystone revokes by the second: a token made in the second of a password change is refused, and
                # nothing was done. A refused login, which has a cause, stays refused.
                return error.__cause__ is None and state.attempt_number < _ATTEMPTS - 1
            if isinstance(error, CloudUnreachable):
                again = not _hopeless(error) and (not _timed_out(error) or state.attempt_number < _TIMEOUTS)
                return again and (repeatable or _never_sent(error))
            return repeatable and isinstance(error, ApiError) and error.status in _TRANSIENT

        def wait_s(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, RateLimited):
                return max(1.0, error.retry_after_s)
            if isinstance(error, CloudAuthError):
                return 1.1
            return float(tenacity.wait_random_exponential(multiplier=0.5, max=5.0)(state))

        def tell(state: tenacity.RetryCallState) -> None:
            nonlocal waited_s
            error = state.outcome.exception() if state.outcome else None
            pause_s = state.next_action.sleep if state.next_action else 0.0
            if isinstance(error, RateLimited):
                waited_s += pause_s
                self.notice(f"Cloud '{self.cloud}' limits our rate: waiting {pause_s:.0f} s before we {doing}.")
            else:
                message = error.message if isinstance(error, CloudError) else str(error)
                self.notice(f"{message} Repeating in {pause_s:.1f} s (attempt {state.attempt_number + 1}).")

        retrying = tenacity.Retrying(
            retry=worth_it, wait=wait_s, before_sleep=tell, sleep=self.sleep, reraise=True, stop=tenacity.stop_never
        )
        return retrying(once)

    def _foreign(self, error: Exception, url: str, doing: str, service: str) -> CloudError:
        intro = f"Cloud '{self.cloud}' could not {doing}: {service}"
        place = url.partition("?")[0]
        words = self.secrets.redact(_first_line(error))
        if isinstance(error, CloudError):
            return error
        if isinstance(error, ksa.HttpError):
            headers = requests.structures.CaseInsensitiveDict(getattr(error.response, "headers", None) or {})
            text = self.secrets.redact(" ".join(str(error.message).split()))[:300]
            return api_error(int(error.http_status or 500), headers, b"", intro=intro, text=text)
        if isinstance(error, ksa.SSLError | requests.exceptions.SSLError):
            return CloudUnreachable(
                f"{intro} at {place} failed the TLS check: {words}.",
                remedy="give the cloud's CA as `cacert` in clouds.yaml, or correct the address.",
            )
        if isinstance(error, ksa.ConnectTimeout | ksa.ConnectFailure | ksa.DiscoveryFailure | ksa.ConnectionError
                      | requests.RequestException | urllib3.exceptions.HTTPError | OSError):  # fmt: skip
            return CloudUnreachable(
                f"{intro} does not answer at {place}: {words}.",
                remedy="check the address (clouds.yaml, or the cloud's catalog), the network and the service itself.",
            )
        if isinstance(error, ksa.MissingAuthPlugin | ksa.AuthorizationFailure | ksa.AuthPluginException):
            return CloudAuthError(f"{intro} login failed: {words}.", remedy="check the `auth` section in clouds.yaml.")
        return CloudError(
            f"{intro} failed: {type(error).__name__}: {words}.", remedy="check this cloud in clouds.yaml."
        )


class Service:
    """One API of a cloud: short forms of :meth:`Wire.send` below one base address.

    :param base: the address, asked for when it is first needed.
    """

    def __init__(
        self, wire: Wire, name: str, base: Callable[[], str], headers: Mapping[str, str] | None = None
    ) -> None:
        self.wire = wire
        self.name = name
        self._base = base
        self._headers = dict(headers or {})

    def url(self, path: str) -> str:
        """The full address of a path."""
        return f"{self._base().rstrip('/')}{path}"

    def call(self, method: str, path: str, doing: str, *, repeatable: bool, **options: Any) -> Reply:
        """Any call; see :meth:`Wire.send`."""
        headers = {"Accept": "application/json", **self._headers, **options.pop("headers", {})}
        return self.wire.send(
            method, self.url(path), doing=doing, service=self.name, repeatable=repeatable, headers=headers, **options
        )

    def get(self, path: str, doing: str, /, **params: str) -> Doc:
        """Read one document."""
        return self.call("GET", path, doing, repeatable=True, params=params).doc()

    def find(self, path: str, doing: str, /, **params: str) -> Doc | None:
        """Read one document; None on 404."""
        try:
            return self.get(path, doing, **params)
        except NotFound:
            return None

    def maybe(self, path: str, doing: str, /) -> Doc | None:
        """Read one document of an extension that a cloud may lack; None on any 404."""
        try:
            return self.get(path, doing)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def post(self, path: str, body: Any, doing: str, *, repeatable: bool = False, secret: bool = False) -> Reply:
        """Make something."""
        return self.call("POST", path, doing, repeatable=repeatable, json=body, secret=secret)

    def put(self, path: str, body: Any, doing: str, *, secret: bool = False) -> Reply:
        """Set something: repeating is harmless."""
        return self.call("PUT", path, doing, repeatable=True, json=body, secret=secret)

    def patch(self, path: str, body: Any, doing: str, *, secret: bool = False) -> Reply:
        """Set parts of something: repeating is harmless."""
        return self.call("PATCH", path, doing, repeatable=True, json=body, secret=secret)

    def delete(self, path: str, doing: str) -> None:
        """Delete something; what is gone already is fine."""
        try:
            self.call("DELETE", path, doing, repeatable=True)
        except NotFound:
            return


def chunks_of(response: requests.Response, chunk_bytes: int) -> Iterator[bytes]:
    """A streamed body in pieces, with the libraries' errors as ours.

    :raises CloudUnreachable: when the stream breaks.
    """
    try:
        yield from response.iter_content(chunk_bytes)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise CloudUnreachable(
            f"The stream from {response.url} broke: {_first_line(error)}.", remedy="repeat the transfer."
        ) from error
    finally:
        response.close()


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [one.__cause__, getattr(one, "reason", None), *one.args]
            # only what keystoneauth translated: any other context may be an older error that is just being handled
            if isinstance(one, ksa.ClientException) and isinstance(one.__context__, requests.RequestException):
                todo.append(one.__context__)


def _never_sent(error: BaseException) -> bool:
    kinds = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError, ConnectionRefusedError)
    return any(isinstance(one, kinds) for one in _chain(error))


def _timed_out(error: BaseException) -> bool:
    kinds = (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError)
    # urllib3 counts a refused connection among its timeouts
    refused = any(isinstance(one, urllib3.exceptions.NewConnectionError) for one in _chain(error))
    return not refused and any(isinstance(one, kinds) for one in _chain(error))


def _hopeless(error: BaseException) -> bool:
    kinds = (
        ksa.SSLError,
        requests.exceptions.SSLError,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
        urllib3.exceptions.NameResolutionError,
    )
    return any(isinstance(one, kinds) for one in _chain(error))


def _first_line(error: BaseException) -> str:
    for one in _chain(error):
        if isinstance(one, OSError) and one.strerror and not isinstance(one, requests.RequestException):
            return one.strerror
    return " ".join((str(error) or type(error).__name__).split())[:200].rstrip(".")


__all__ = ["Notice", "Reply", "Secrets", "Service", "Sleep", "Wire", "chunks_of", "retry_after_s"]
