"""The error tree.

::

    PumphouseError
    ├── SiteError              clouds.yaml / site.yaml: missing, malformed or contradictory
    ├── CloudError             a cloud answered, or failed to answer, in a way we cannot go on from
    │   ├── CloudUnreachable   no HTTP answer (refused, timed out, TLS)
    │   ├── CloudAuthError     credentials refused
    │   ├── ApiError           an HTTP error status
    │   │   ├── NotFound       404
    │   │   ├── Conflict       409
    │   │   ├── QuotaExceeded  403/413 that names a quota
    │   │   └── RateLimited    413/429 that names a rate
    │   ├── ActionTimeout      accepted, but the expected state never came
    │   ├── ServerStayed       a move that was accepted, after which the server is where it was
    │   └── DatabaseError      a service's database cannot be reached, read or written
    ├── NodeError              a BMC, a switch or Fuel answered, or failed to answer, in a way we cannot go on from
    │   ├── NodeUnreachable    no answer: silence, connection refused, name unknown
    │   ├── NodeAuthError      credentials refused
    │   ├── NodeGarbled        an answer that is none of the protocol's
    │   ├── NodeRefused        an answer that says no (``status`` for HTTP)
    │   ├── FuelTaskFailed     a Fuel task that ended in error
    │   └── NodeTimeout        accepted, but the expected state never came
    ├── SelectionError         a selection that is empty, ambiguous or names what does not exist
    ├── PlanError              a plan that cannot be made
    │   └── PlanStale          the source changed since the plan was made
    ├── ChecksFailed           at least one finding blocks
    ├── ApprovalMissing        no approval bound to this plan
    ├── ApprovalRefused        an approval that may not be given: of a plan that is over, or over another one
    ├── StepError              a step could not be carried out
    │   ├── Stopped            somebody asked the run to stop, and it did
    │   ├── NotCarried         a source object has no counterpart at the destination (yet, or any more)
    │   └── VerificationFailed carried out, but the cloud does not show the expected outcome
    ├── JournalError           the journal cannot be read or written, or contradicts itself
    │   └── ClaimHeld          somebody else works on that object
    │       └── PlanHeld       another run is carrying out that plan
    └── RunbookError           notebooks, runbooks, parameters and records
        └── ParameterError     a parameter that the template does not know or cannot take

Every error names the object, what happened and what to do next. All of them pickle, so that they
survive a process boundary.
"""

from __future__ import annotations

import textwrap
from typing import Any


class PumphouseError(Exception):
    """Root of all errors that pumphouse raises on purpose.

    :param message: what happened, naming the object (cloud, type, id, name).
    :param remedy: what to do next, as a sentence; shown after the message.
    :param request_id: the service's ``x-openstack-request-id``, when there was one.
    """

    def __init__(self, message: str, *, remedy: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.request_id = request_id

    def __str__(self) -> str:
        text = self.message
        if self.request_id:
            text += f" [request {self.request_id}]"
        if self.remedy:
            text += f" Remedy: {self.remedy}"
        return text

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback (its own protocol): the sentences, for people."""
        request = f" [request {self.request_id}]" if self.request_id else ""
        lines = [_wrapped(f"{type(self).__name__}: {self.message}{request}")]
        return [*lines, _wrapped(f"Remedy: {self.remedy}")] if self.remedy else lines

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _wrapped(text: str) -> str:
    """Lines that fit a notebook, which would break them in the middle of words; what is indented stays so."""
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        lines += textwrap.wrap(line, 110, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [
            ""
        ]
    return "\n".join(lines)


def _rebuild(kind: type[PumphouseError], args: tuple[Any, ...], state: dict[str, Any]) -> PumphouseError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class SiteError(PumphouseError):
    """``clouds.yaml``, ``secure.yaml`` or ``site.yaml`` is missing, malformed or contradictory."""


class CloudError(PumphouseError):
    """A cloud failed in a way that we cannot go on from."""


class CloudUnreachable(CloudError):
    """No HTTP answer: connection refused, name unknown, timeout, TLS failure."""


class CloudAuthError(CloudError):
    """The cloud refused the credentials (Keystone cannot tell why: user, password, project or disabled)."""


#: HTTP statuses with which a service says that it did nothing.
REFUSALS = frozenset({400, 403, 404, 409, 413, 422, 429})


class ApiError(CloudError):
    """A service answered with an HTTP error status (``status``)."""

    def __init__(
        self, message: str, *, status: int = 0, remedy: str | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy, request_id=request_id)
        self.status = status

    @property
    def refused(self) -> bool:
        """Whether the service says that it did nothing; any other answer leaves that open."""
        return self.status in REFUSALS


class NotFound(ApiError):
    """404: the object does not exist, or this user may not see it."""


class Conflict(ApiError):
    """409 (and nova-network's equivalents): the object exists, is in use or is in the wrong state."""


class QuotaExceeded(ApiError):
    """403 or 413 whose body names a quota."""


class RateLimited(ApiError):
    """413 or 429 whose body names a rate; the request was not carried out.

    ``retry_after_s`` says how long to wait, ``reason`` which limit it is, ``interval_s`` how far apart it lets
    requests be (0 where the cloud does not say).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        retry_after_s: float = 0.0,
        interval_s: float = 0.0,
        reason: str = "",
        remedy: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, remedy=remedy, request_id=request_id)
        self.retry_after_s = retry_after_s
        self.interval_s = interval_s
        self.reason = reason


class ActionTimeout(CloudError):
    """An accepted action did not reach the expected state in time."""


class ServerStayed(CloudError):
    """Nova accepted a server's move to another host and gave it up without a word: the server is where it was."""


class DatabaseError(CloudError):
    """A service's database cannot be reached, read or written, or is not what it should be.

    Never raised ``from`` the driver's error: that may quote values, and values here are secrets.
    """


class NodeError(PumphouseError):
    """A BMC, a switch or Fuel failed in a way that we cannot go on from."""


class NodeUnreachable(NodeError):
    """No answer: silence, connection refused, name unknown. ``known``: the device answered us earlier in this run."""

    known = False


class NodeAuthError(NodeError):
    """Credentials refused."""


class NodeGarbled(NodeError):
    """An answer that is none of the protocol's."""


class NodeRefused(NodeError):
    """An answer that says no; ``status`` is the HTTP status where there is one."""

    def __init__(
        self, message: str, *, status: int = 0, remedy: str | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy, request_id=request_id)
        self.status = status

    @property
    def refused(self) -> bool:
        """Whether the service says that it did nothing; any other answer leaves that open (Fuel's 500)."""
        return self.status in REFUSALS


class FuelTaskFailed(NodeError):
    """A Fuel task ended in status ``error``."""


class NodeTimeout(NodeError):
    """An accepted change did not show in time."""


class SelectionError(PumphouseError):
    """A selection is empty, ambiguous, or names what does not exist."""


class PlanError(PumphouseError):
    """A plan cannot be made from this selection."""


class PlanStale(PlanError):
    """The source changed since the plan was made; the message shows the difference."""


class ChecksFailed(PumphouseError):
    """At least one finding blocks; ``findings`` holds all of them."""

    def __init__(self, message: str, *, findings: tuple[Any, ...] = (), remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.findings = findings


class ApprovalMissing(PumphouseError):
    """No approval is bound to this plan's hash."""


class ApprovalRefused(PumphouseError):
    """An approval that may not be given: the plan is over, or somebody approved it already."""


class StepError(PumphouseError):
    """A step could not be carried out; what was done before it stays journalled."""


class Stopped(StepError):
    """Somebody asked the run to stop, and it did: steps are left that were not begun."""


class NotCarried(StepError):
    """A source object has no counterpart at the destination: it was not carried yet, or was taken back."""


class VerificationFailed(StepError):
    """A step's call succeeded, but reading the cloud again does not show the expected outcome."""


class JournalError(PumphouseError):
    """The journal cannot be read or written, or contradicts itself."""


class ClaimHeld(JournalError):
    """Another run works on that object and its lease has not ended."""


class PlanHeld(ClaimHeld):
    """Another run is carrying out that plan; nothing was begun by this one."""


class RunbookError(PumphouseError):
    """A notebook, runbook or record cannot be used as it is."""


class ParameterError(RunbookError):
    """A parameter that the template does not know, or a value that it cannot take."""
