"""The one place where HTTP is spoken: a keystoneauth session with checked answers, our errors, retries and bounds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import requests
import tenacity
import urllib3
from keystoneauth1 import exceptions as ksa
from keystoneauth1.access import AccessInfo
from keystoneauth1.session import Session

from pumphouse import pausing
from pumphouse.clouds.failures import cause_of, first_line, hopeless, never_sent, timed_out, unresolved
from pumphouse.clouds.faults import api_error, fault_text, request_id, retry_after_s
from pumphouse.clouds.parse import Doc, decode, root_of
from pumphouse.errors import (
    ApiError,
    CloudAuthError,
    CloudError,
    CloudUnreachable,
    NotFound,
    PumphouseError,
    RateLimited,
)
from pumphouse.trace import ask_permission, note

Notice = Callable[[str], None]
Sleep = Callable[[float], None]
Item = TypeVar("Item")
Result = TypeVar("Result")

RATE_WORDS = "limits our rate"
"""What the line says that tells people why nothing happens for a while."""

_log = logging.getLogger(__name__)
_TRANSIENT = frozenset({500, 502, 503, 504})
_ATTEMPTS = 4
_TIMEOUTS = 2
_RATE_BUDGET_S = 600.0
"""How long one call waits for rate limits altogether: for Grizzly's ten a minute, dozens may be in the queue."""
_OUTAGE_POLL_S = 10.0
_UPLOAD_S = 300.0
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

    __slots__ = ("_where", "request_id", "response")

    def __init__(self, response: requests.Response, where: str, request_id: str | None = None) -> None:
        self.response = response
        self.request_id = request_id
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
        return decode(self.response.content, self._where, self.request_id)


class Wire:
    """One user's authenticated session with one cloud. Safe to use from several threads.

    :param timeout_s: bound of each call; streams are bound between two pieces.
    :param notice: told, in a sentence, when a call waits or is repeated.

    ``outage_s`` is set once the cloud has answered: for how long calls wait, altogether, for one that is gone.
    ``ahead_s``: by how much the cloud's clock is ahead of this machine's, as its last answer told (RFC 9110, ``Date``).
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
        interfaces: Mapping[str, str] | None = None,
        notice: Notice | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.cloud = cloud
        self.auth_url = auth_url
        self.region = region
        self.interface = interface
        self.interfaces = dict(interfaces or {})
        self.overrides = dict(overrides)
        self.timeout_s = timeout_s
        self.secrets = secrets
        self.session = session
        self.outage_s = 0.0
        self.ahead_s: float | None = None
        self.notice: Notice = notice or _log.warning
        self.sleep = sleep
        self._queue = Queue()
        self._local = threading.local()
        self._catalog: dict[tuple[str, str], str | None] = {}
        session.timeout = timeout_s

    def __repr__(self) -> str:
        return f"<Wire to cloud {self.cloud!r} at {self.auth_url}>"

    def with_session(self, session: Session) -> Wire:
        """The same cloud as somebody else; nothing is asked yet."""
        wire = Wire(
            cloud=self.cloud, session=session, auth_url=self.auth_url, region=self.region, interface=self.interface,
            overrides=self.overrides, timeout_s=self.timeout_s, secrets=self.secrets, interfaces=self.interfaces,
            notice=self.notice, sleep=self.sleep,
        )  # fmt: skip
        wire.outage_s = self.outage_s
        return wire

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

    def log_in_once(self) -> None:
        """Ask for a token, once: whether Keystone answers at all may be the question.

        :raises CloudAuthError: when the credentials are refused.
        :raises CloudUnreachable: when Keystone does not answer.
        """
        try:
            access = self.session.auth.get_access(self.session)
        except Exception as error:
            raise self._foreign(error, self.auth_url, "log in", "identity") from error
        self.secrets.add(access.auth_token)

    def catalog_url(self, service: str, interface: str | None = None) -> str | None:
        """The service's address: clouds.yaml's override, else the catalog's; None when there is none.

        :raises CloudError: when the catalog has several of them, in regions of which clouds.yaml names none.
        """
        if interface is None and service in self.overrides:
            return self.overrides[service]
        key = (service, interface or self.interfaces.get(service) or self.interface)
        if key not in self._catalog:
            self._catalog[key] = self._look_up(*key)
        return self._catalog[key]

    def catalog_urls(self) -> frozenset[str]:
        """Every address in the catalog, of whatever service, interface and region."""
        found = self.access().service_catalog.get_endpoints_data()
        return frozenset(str(one.url) for ends in found.values() for one in ends if one.url)

    def _look_up(self, service: str, interface: str) -> str | None:
        found = self.access().service_catalog.get_endpoints_data(
            service_type=service, interface=interface, region_name=self.region
        )
        places = {one.catalog_url: one.region_name for some in found.values() for one in some}
        if len(places) > 1 and len(set(places.values())) > 1:
            # the first one of each service need not even be of one region
            regions = ", ".join(sorted(str(region) for region in set(places.values())))
            raise CloudError(
                f"Cloud '{self.cloud}': the catalog has {service} in several regions: {regions}.",
                remedy="name the region that is meant as `region_name` of this cloud in clouds.yaml.",
            )
        return next(iter(places), None)

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
        wait_s = max(self.timeout_s, _UPLOAD_S)
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
            # whoever listens for a stop is known to the context, which a new thread has not
            contexts = [copy_context() for _ in todo]
            return list(pool.map(lambda context, item: context.run(work, item), contexts, todo))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Close the connections."""
        self.session.session.close()

    def _once(self, method: str, url: str, doing: str, service: str, accept: Sequence[int], **options: Any) -> Reply:
        self._local.request_id = None
        ask_permission(method)
        try:
            response = self.session.request(url, method, raise_exc=False, **options)
            body = b"" if response.status_code < 400 and options.get("stream") else response.content
        except PumphouseError:
            raise
        except Exception as error:
            note(service, method, status=None)
            raise self._foreign(error, url, doing, service) from error
        self._local.request_id = request_id(response.headers)
        self.ahead_s = _ahead_s(response.headers, self.ahead_s)
        note(service, method, status=response.status_code, request_id=self._local.request_id)
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
        return Reply(response, f"Cloud '{self.cloud}' ({service}), asked to {doing},", self._local.request_id)

    def _persist(self, once: Callable[[], Result], doing: str, *, repeatable: bool) -> Result:
        waited_s = gone_s = 0.0

        def gone(error: BaseException | None) -> bool:
            """Whether a cloud that has answered before cannot be reached, and asking again is harmless."""
            return (
                isinstance(error, CloudUnreachable)
                and not hopeless(error, names=False)
                and (repeatable or never_sent(error) or unresolved(error))
            )

        def worth_it(state: tenacity.RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, RateLimited):
                return waited_s + max(1.0, error.retry_after_s) <= _RATE_BUDGET_S
            if gone(error) and gone_s < self.outage_s:
                return True
            if state.attempt_number >= _ATTEMPTS:
                return False
            if isinstance(error, CloudAuthError):
                # Keystone revokes by the second: a token made in the second of a password change is refused, and
                # nothing was done. A refused login, which has a cause, stays refused.
                return error.__cause__ is None and state.attempt_number < _ATTEMPTS - 1
            if isinstance(error, CloudUnreachable):
                again = not hopeless(error) and (not timed_out(error) or state.attempt_number < _TIMEOUTS)
                return again and (repeatable or never_sent(error))
            return repeatable and isinstance(error, ApiError) and error.status in _TRANSIENT

        def wait_s(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, RateLimited):
                # a request that was refused for its rate was not carried out, so that repeating a write is harmless
                return max(1.0, error.retry_after_s)
            if isinstance(error, CloudAuthError):
                return 1.1
            if gone(error) and state.attempt_number >= _ATTEMPTS:
                return min(_OUTAGE_POLL_S, max(self.outage_s - gone_s, 0.0))
            return float(tenacity.wait_random_exponential(multiplier=0.5, max=5.0)(state))

        def pause(told_s: float) -> None:
            nonlocal waited_s, gone_s
            error = refused
            if not isinstance(error, RateLimited):
                if error is not None and gone(error):
                    gone_s += told_s + (self.timeout_s if timed_out(error) else 0.0)
                pausing.pause(told_s, sleep=self.sleep)
                return
            with self._queue.place(error.interval_s or told_s) as before_us_s:
                pause_s = told_s + before_us_s
                waited_s += pause_s
                self.notice(
                    f"Cloud '{self.cloud}' {RATE_WORDS}: waiting {pause_s:.0f} s before we {doing} ({error.reason})."
                )
                pausing.pause(pause_s, sleep=self.sleep)

        refused: BaseException | None = None

        def tell(state: tenacity.RetryCallState) -> None:
            nonlocal refused
            refused = state.outcome.exception() if state.outcome else None
            if isinstance(refused, RateLimited):
                return
            pause_s = state.next_action.sleep if state.next_action else 0.0
            message = refused.message if isinstance(refused, CloudError) else str(refused)
            left = f"; waiting for it {self.outage_s - gone_s:.0f} s more" if self.outage_s and gone(refused) else ""
            self.notice(f"{message} Repeating in {pause_s:.1f} s (attempt {state.attempt_number + 1}{left}).")

        retrying = tenacity.Retrying(
            retry=worth_it, wait=wait_s, before_sleep=tell, sleep=pause, reraise=True, stop=tenacity.stop_never
        )
        return retrying(once)

    def _foreign(self, error: Exception, url: str, doing: str, service: str) -> CloudError:
        intro = f"Cloud '{self.cloud}' could not {doing}: {service}"
        place = url.partition("?")[0]
        if isinstance(error, CloudError):
            return error
        if isinstance(error, ksa.HttpError):
            headers = requests.structures.CaseInsensitiveDict(getattr(error.response, "headers", None) or {})
            text = self.secrets.redact(" ".join(str(error.message).split()))[:300]
            body = getattr(error.response, "content", b"") or b""
            refused = api_error(int(error.http_status or 500), headers, body, intro=intro, text=text)
            if isinstance(refused, CloudAuthError):
                # every release gives this one answer to all of these, so that nobody can guess names
                refused.remedy = (
                    "check user, password and project of this cloud in clouds.yaml and secure.yaml, and that user and "
                    "project are enabled: Keystone does not tell which of them is wrong."
                )
            return refused
        words = self.secrets.redact(first_line(error))
        if isinstance(error, ksa.MissingAuthPlugin | ksa.AuthorizationFailure | ksa.AuthPluginException):
            return CloudAuthError(f"{intro} login failed: {words}.", remedy="check the `auth` section in clouds.yaml.")
        cause = cause_of(error, place)
        if cause is not None:
            why, remedy = cause
            if not url.startswith(root_of(self.auth_url)):
                remedy += f" Where the catalog's address cannot be reached from here: `{service}_endpoint_override`."
            return CloudUnreachable(f"{intro} {why.format(place=place, words=words)}.", remedy=remedy)
        return CloudError(
            f"{intro} failed: {type(error).__name__}: {words}.", remedy="check this cloud in clouds.yaml."
        )


class Queue:
    """Who waits for a rate limit: all of them would be let in at once, and all but the first be refused again."""

    def __init__(self) -> None:
        self._waiting = 0
        self._lock = threading.Lock()

    @contextmanager
    def place(self, interval_s: float) -> Iterator[float]:
        """Take a place; yields the seconds for those who are before us, ``interval_s`` each."""
        with self._lock:
            before_us_s = self._waiting * interval_s
            self._waiting += 1
        try:
            yield before_us_s
        finally:
            with self._lock:
                self._waiting -= 1


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


def _ahead_s(headers: Mapping[str, str], known: float | None) -> float | None:
    """By how much an answer's date is ahead of now; what was known before where it has none."""
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp() - time.time()
    except (KeyError, ValueError, TypeError, OverflowError):
        return known


def chunks_of(response: requests.Response, chunk_bytes: int) -> Iterator[bytes]:
    """A streamed body in pieces, with the libraries' errors as ours.

    :raises CloudUnreachable: when the stream breaks.
    """
    try:
        yield from response.iter_content(chunk_bytes)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise CloudUnreachable(
            f"The stream from {response.url} broke: {first_line(error)}.", remedy="repeat the transfer."
        ) from error
    finally:
        response.close()


__all__ = ["RATE_WORDS", "Notice", "Reply", "Secrets", "Service", "Sleep", "Wire", "chunks_of", "retry_after_s"]
