"""The wire forms that the 2014 services share: WebOb's error pages, request ids, JSON answers, token checks."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from pumphouse.lab.source.state import State, Token, now

REASONS = {
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Entity",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}

# WebOb's stock explanations, part of the wire format
EXPLANATIONS = {
    202: "The request is accepted for processing.",
    400: ("The server could not comply with the request since it is either malformed or otherwise incorrect."),
    401: (
        "This server could not verify that you are authorized to access the document you requested. Either you "
        "supplied the wrong credentials (e.g., bad password), or your browser does not understand how to supply "
        "the credentials required."
    ),
    403: "Access was denied to this resource.",
    404: "The resource could not be found.",
    409: "There was a conflict when trying to complete your request.",
    413: "The body of your request was too large for this server.",
    415: "The request media type is not supported by this server.",
}


class ApiFault(Exception):
    """An HTTP error; each service renders it in its own form.

    :param message: what the service says; None takes WebOb's stock sentence.
    :param detail: WebOb's second paragraph (Glance).
    :param retry_after: value of Retry-After and ``retryAfter`` (Nova's 413).
    """

    def __init__(
        self, status: int, message: str | None = None, *, detail: str = "", retry_after: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message if message is not None else EXPLANATIONS.get(status, "")
        self.detail = detail
        self.retry_after = retry_after


@dataclass
class Caller:
    """Who asks: a validated token and what follows from it."""

    token: Token
    user_id: str
    project_id: str
    is_admin: bool
    request_id: str


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
"""Where a service's middleware leaves who asks."""


def new_request_id() -> str:
    """A request id as the services make them."""
    return f"req-{uuid.uuid4()}"


def stamp(moment: datetime | None) -> str | None:
    """``2014-04-17T00:00:00Z``"""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_micro(moment: datetime | None) -> str | None:
    """``2014-04-17T00:00:00.000000``: a database value, seconds only, as Nova's extensions print it."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.000000")


def json_answer(data: Any, status: int = 200, *, content_type: str = "application/json") -> web.Response:
    """A JSON answer with exactly that Content-Type."""
    return web.Response(status=status, body=json.dumps(data).encode(), headers={"Content-Type": content_type})


def empty_answer(status: int, content_type: str | None = "text/html; charset=UTF-8") -> web.Response:
    """An answer without a body."""
    return web.Response(status=status, headers={"Content-Type": content_type} if content_type else None)


def webob_page(request: web.Request, status: int, explanation: str | None = None, detail: str = "") -> web.Response:
    """WebOb's page: HTML for those who accept it or anything, else plain text."""
    title = f"{status} {REASONS.get(status, '')}".strip()
    explanation = EXPLANATIONS.get(status, "") if explanation is None else explanation
    accept = request.headers.get("Accept", "")
    if "html" in accept or "*/*" in accept:
        body = (
            f"<html>\n <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n"
            f"  {explanation}<br /><br />\n{detail}\n\n\n </body>\n</html>"
        )
        kind = "text/html; charset=UTF-8"
    else:
        body = f"{title}\n\n{explanation}\n\n {detail}  "
        kind = "text/plain; charset=UTF-8"
    return web.Response(status=status, body=body.encode(), headers={"Content-Type": kind})


def over_limit(message: str) -> web.Response:
    """Nova's 413 of a quota, in the form of its older extensions."""
    answer = json_answer({"overLimit": {"code": 413, "message": message, "retryAfter": "0"}}, 413)
    answer.headers["Retry-After"] = "0"
    return answer


async def read_json(request: web.Request) -> Any:
    """The request's JSON body; None when it is empty or not JSON."""
    raw = await request.read()
    if not raw:
        return None
    try:
        return json.loads(raw)
    except (UnicodeDecodeError, ValueError):
        return None


class TokenCheck:
    """The auth middleware of Nova and Glance, with its cache of validated tokens."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._believed: dict[str, tuple[float, Token]] = {}

    def caller(self, request: web.Request) -> Caller | None:
        """The caller, or None when the token is missing, unknown, expired or not scoped to a project."""
        key = request.headers.get("X-Auth-Token", "")
        token = self._state.tokens.get(key)
        if token is not None:
            self._believed.setdefault(key, (time.monotonic(), token))
        elif key in self._believed:
            since, token = self._believed[key]
            if time.monotonic() - since > self._state.token_cache_s:
                del self._believed[key]
                return None
        if token is None or token.expires_at <= now() or token.project_id is None:
            return None
        return caller_of(self._state, token, token.project_id)


def caller_of(state: State, token: Token, project_id: str) -> Caller:
    """What a project-scoped token allows."""
    names = {state.roles[role_id].name for role_id in token.role_ids if role_id in state.roles}
    return Caller(token, token.user_id, project_id, "admin" in names, new_request_id())


Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]
