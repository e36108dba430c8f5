"""Which requests changed a cloud: their ids, for the journal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_collected: ContextVar[list[str] | None] = ContextVar("pumphouse_request_ids", default=None)


@contextmanager
def request_ids() -> Iterator[list[str]]:
    """Collect ``service METHOD request-id`` of every changing request that this thread sends in the block."""
    found: list[str] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def note(service: str, method: str, request_id: str | None) -> None:
    """Add a request that was answered; reading ones are left out."""
    found = _collected.get()
    if found is not None and method not in ("GET", "HEAD"):
        found.append(f"{service} {method} {request_id or 'no id'}")
