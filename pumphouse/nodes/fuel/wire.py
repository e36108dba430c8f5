"""The HTTP of one Fuel master: login, bounds, retries of reads, and errors in our words."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import requests
import tenacity
import urllib3

from pumphouse.errors import NodeAuthError, NodeError, NodeRefused, NodeUnreachable
from pumphouse.nodes.fuel.reading import Doc, docs, garbled
from pumphouse.nodes.spec import FuelSpec
from pumphouse.trace import ask_permission, note

Sleep = Callable[[float], None]

_ATTEMPTS = 4
_CONNECT_S = 10.0
_TRANSIENT = frozenset({500, 502, 503, 504})
_SLOW_WRITES = 4
"""Nailgun does a good part of ``changes`` and of network checks before it answers."""
_NOTHING = ("", "None", "null", "{}")
"""Success without content: ``None`` is what releases up to 6.1 print after an assignment."""


class Wire:
    """A session with Nailgun. Safe to use from several threads.

    A token may expire while a deployment goes on: a 401 is answered by logging in again and repeating once, which is
    harmless for writes too, since nothing was done. Everything else is repeated for reads only.

    :param sleep: waits between attempts.
    """

    def __init__(self, spec: FuelSpec, password: str, *, sleep: Sleep = time.sleep) -> None:
        self.spec = spec
        self.name = f"Fuel at {spec.url}"
        self.sleep = sleep
        self._password = password
        self._session = requests.Session()
        self._session.trust_env = False  # a token and a password must not travel through somebody's proxy
        self._session.verify = spec.ca_file or True
        self._token = ""
        self._hidden = {password} - {""}
        self._auth_required: bool | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def hide(self, secret: str) -> None:
        """Remember what must not appear in a message or a record."""
        if secret:
            with self._lock:
                self._hidden.add(secret)

    def known_secrets(self) -> Iterator[str]:
        """The password, all tokens so far, and what was hidden; for redaction."""
        with self._lock:
            secrets = sorted(self._hidden)
        return iter(secrets)

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._session.close()

    # --- requests

    def get(self, path: str, doing: str, **query: str | int) -> Doc:
        """Read an object."""
        return Doc(self.read(path, doing, **query), self._where(doing))

    def get_list(self, path: str, doing: str, **query: str | int) -> list[Doc]:
        """Read a list of objects."""
        return docs(self.read(path, doing, **query), self._where(doing))

    def read(self, path: str, doing: str, **query: str | int) -> Any:
        """Read any JSON; repeated when it fails for a reason that may pass."""

        def passing(error: BaseException) -> bool:
            return isinstance(error, NodeUnreachable) or (isinstance(error, NodeRefused) and error.status in _TRANSIENT)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(passing),
            wait=tenacity.wait_random_exponential(multiplier=0.3, max=5.0),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            sleep=self.sleep,
            reraise=True,
        )
        return retrying(self._json, "GET", path, doing, query=query)

    def change(self, method: str, path: str, doing: str, body: Any = None, **query: str | int) -> Any:
        """Send a changing request, once; its JSON, or None where the answer is empty or says ``None``."""
        return self._json(method, path, doing, body=body, query=query)

    def version(self) -> Doc:
        """``GET /version``, which no release protects."""
        return self._version(self.read)

    def _version(self, read: Callable[[str, str], Any]) -> Doc:
        doc = Doc(read("/version/", "tell its version"), self._where("tell its version"))
        self._auth_required = doc.flag("auth_required")
        return doc

    def log_in(self) -> None:
        """Ask for a token.

        :raises NodeAuthError: when the credentials are refused.
        """
        doing = "log in"
        login = self.spec.login
        body = {
            "auth": {
                "tenantName": self.spec.tenant,
                "passwordCredentials": {"username": login.user, "password": self._password},
            }
        }
        answer = self._exchange("POST", f"{self.spec.url}/keystone/v2.0/tokens", doing, body=body, token="")
        if answer.status_code in (400, 401, 403):
            raise self._not_let_in()
        self._check(answer, doing)
        where = self._where(doing)
        token = Doc(self._decode(answer, doing), where).doc("access").doc("token").text("id")
        self.hide(token)
        self._token = token

    # --- below

    def _json(
        self, method: str, path: str, doing: str, *, body: Any = None, query: dict[str, str | int] | None = None
    ) -> Any:
        answer = self._authenticated(method, path, doing, body, query or {})
        self._check(answer, doing)
        return self._decode(answer, doing)

    def _authenticated(
        self, method: str, path: str, doing: str, body: Any, query: dict[str, str | int]
    ) -> requests.Response:
        public = path == "/version/"
        if not public and self._auth_required is None:
            # a reading call is repeated as a whole: questions repeated within its attempts would multiply the wait
            self._version(partial(self._json, "GET") if method == "GET" else self.read)
        if not public and self._auth_required and not self._token:
            self.log_in()
        url = f"{self.spec.url}/api{path}"
        used = "" if public else self._token
        answer = self._exchange(method, url, doing, body=body, query=query, token=used)
        if answer.status_code == 401 and not public:
            if self._token == used:
                self.log_in()
            answer = self._exchange(method, url, doing, body=body, query=query, token=self._token)
        return answer

    def _exchange(
        self,
        method: str,
        url: str,
        doing: str,
        *,
        body: Any = None,
        query: dict[str, str | int] | None = None,
        token: str = "",
    ) -> requests.Response:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if token:
            headers["X-Auth-Token"] = token
        timeout_s = self.spec.login.timeout_s * (1 if method == "GET" else _SLOW_WRITES)
        is_login = url.endswith("/tokens")
        if not is_login:
            ask_permission(method)
        try:
            answer = self._session.request(
                method,
                url,
                params=query or None,
                data=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=(min(_CONNECT_S, timeout_s), timeout_s),
                allow_redirects=False,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if not is_login:
                note("fuel", method, status=None)
            raise self._unreachable(error, doing) from error
        if not is_login:
            note("fuel", method, status=answer.status_code)
        return answer

    def _check(self, answer: requests.Response, doing: str) -> None:
        status = answer.status_code
        if status < 300:
            return
        if status < 400:
            raise garbled(self._where(doing), f"a redirect (HTTP {status})")
        if status == 401:
            raise self._not_let_in()
        text = self._redact(error_text(answer.text))
        raise NodeRefused(
            f"{self.name} could not {doing}: {text or 'no reason given'} (HTTP {status}).",
            status=status,
            remedy=_remedy(status, text),
        )

    def _decode(self, answer: requests.Response, doing: str) -> Any:
        text = answer.text.strip()
        if text in _NOTHING:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            shown = self._redact(" ".join(text.split())[:80])
            raise garbled(self._where(doing), f"HTTP {answer.status_code} and no JSON: {shown!r}") from error

    def _unreachable(self, error: Exception, doing: str) -> NodeError:
        words = self._redact(_innermost(error))
        remedy = "check `fuel.url` in site.yaml, the network, and the services of the Fuel master."
        if isinstance(error, requests.exceptions.SSLError):
            remedy = "give the master's CA as `fuel.ca_file` in site.yaml, or correct the scheme of `fuel.url`."
        elif isinstance(error, requests.exceptions.Timeout):
            remedy = "check the network and the master's load, or raise `fuel.timeout_s` in site.yaml."
        return NodeUnreachable(f"{self.name} did not answer when asked to {doing}: {words}.", remedy=remedy)

    def _not_let_in(self) -> NodeAuthError:
        login = self.spec.login
        place = login.password_env or login.password_entry or "its secret"
        return NodeAuthError(
            f"{self.name} refused user {login.user!r} of tenant {self.spec.tenant!r}.",
            remedy=f"check `fuel.user` and `fuel.tenant` in site.yaml, and the password ({place}).",
        )

    def _redact(self, text: str) -> str:
        # Fuel ships with admin/admin: to blot out a name that stands for itself would hide nothing
        names = {self.spec.login.user, self.spec.tenant}
        for secret in sorted(set(self.known_secrets()) - names, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _where(self, doing: str) -> str:
        return f"{self.name}, asked to {doing},"


def error_text(body: str) -> str:
    """What an error says: 6.1+ send ``{"message": …}``, older ones plain text, a broken one a page or a traceback.

    The content type tells nothing: 6.1+ call their JSON ``text/html``.
    """
    text = body.strip()
    try:
        decoded = json.loads(text)
    except ValueError:
        decoded = None
    if isinstance(decoded, dict) and "message" in decoded:
        return " ".join(str(decoded["message"] or "").split())[:500]
    if text in ("None", "null"):
        return ""
    if text.startswith("<"):
        return "an HTML page instead of a reason"
    if text.startswith("Traceback"):
        text = text.splitlines()[-1]
    return " ".join(text.split())[:500]


def _remedy(status: int, text: str) -> str:
    words = text.lower()
    if "already" in words or "running task" in words or "is running" in words:
        return "wait until the environment's running task is over, then repeat."
    if status == 404:
        return "look which objects Fuel has: ids change when a node is deleted or an environment made again."
    if status >= 500:
        return "look into Nailgun's log on the master (/var/log/nailgun): Fuel answers 500 to conflicts too."
    return "correct what it names, then repeat."


def _innermost(error: BaseException) -> str:
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        one = todo.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.strerror and not isinstance(one, requests.RequestException):
            return one.strerror
        todo += [one.__cause__, getattr(one, "reason", None), *one.args]
    if isinstance(error, requests.exceptions.Timeout):
        return "it stayed silent for too long"
    return " ".join((str(error) or type(error).__name__).split())[:200].rstrip(".")
