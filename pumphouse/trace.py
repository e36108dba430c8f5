"""Which requests changed a cloud or hardware: their ids, for the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class Requests:
    """The changing requests of one step.

    ``ids``: ``service METHOD request-id`` of the answered ones. ``statuses``: the HTTP status of each one that was
    sent; None where no answer came, so that nobody knows whether it took effect.
    """

    ids: list[str] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)
    permit: Callable[[], None] | None = None


_collected: ContextVar[Requests | None] = ContextVar("pumphouse_requests", default=None)


@contextmanager
def changing_requests(permit: Callable[[], None] | None = None) -> Iterator[Requests]:
    """Collect every changing request that this thread sends in the block.

    :param permit: called before each of them leaves; raises when it may not.
    """
    found = Requests(permit=permit)
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def ask_permission(method: str) -> None:
    """To be called before a request leaves: whoever collects changing requests may forbid it."""
    found = _collected.get()
    if found is not None and found.permit is not None and method not in ("GET", "HEAD"):
        found.permit()


def note(service: str, method: str, *, status: int | None, request_id: str | None = None) -> None:
    """Add a request; reading ones are left out. ``status`` is None when no answer came."""
    found = _collected.get()
    if found is None or method in ("GET", "HEAD"):
        return
    found.statuses.append(status)
    if status is not None:
        found.ids.append(f"{service} {method} {request_id or 'no id'}")


@contextmanager
def changing(service: str, verb: str) -> Iterator[None]:
    """A change by another protocol than HTTP: permission is asked before it, and an error leaves open what it did."""
    ask_permission(verb)
    try:
        yield
    except BaseException:
        note(service, verb, status=None)
        raise
    note(service, verb, status=200, request_id="done")
