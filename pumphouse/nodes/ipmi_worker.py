"""A conversation with one BMC in a process of its own: ``python -m pumphouse.nodes.ipmi_worker``.

pyghmi shares sockets, queues and one I/O thread among all sessions of a process: a malformed packet of one BMC raises
in whichever thread happens to empty the queue, a session that nobody waits for spins, and the I/O thread can be caught
in a blocking read. So each BMC has this process, with one session in it, which :mod:`pumphouse.nodes.ipmi` starts and,
where it does not answer in time, kills.

Lines of JSON on standard input: first the login, then requests ``{"do", "deadline", "spare_s", …}``, one at a time;
``deadline`` is on the monotonic clock, ``spare_s`` what is kept of it to find out what went wrong. Each is answered
with one line on standard output: ``{"value"}``, or ``{"failure", "detail"}``. The process ends after a failure of
:data:`ENDING`, when its input ends, and when nothing is asked for a while: BMCs have few sessions to give.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import time
import types
import uuid
from collections.abc import Callable
from typing import IO, Any, Literal, TypeVar

import pyghmi.exceptions
from pyghmi.ipmi import fru
from pyghmi.ipmi.command import Command

from pumphouse.nodes.ipmi_probe import probe

_T = TypeVar("_T")
Failure = Literal["auth", "unreachable", "garbled", "refused", "stayed"]

#: Failures after which a conversation is not worth going on with.
ENDING: frozenset[Failure] = frozenset({"auth", "unreachable", "garbled"})
IDLE_S = 30.0
_POLL_S = 0.3
_FRESH_S = 2.0
_SHOWS_WITHIN_S = 2.0
_DEVICES = {"disk": "hd", "pxe": "network", "cdrom": "optical", "default": "default"}
_NAMES = {theirs: ours for ours, theirs in _DEVICES.items()} | {"safe": "disk"}
#: Completion codes with which a BMC says that it has no such thing (IPMI 2.0, table 5-2).
_LACKING = {0xC1, 0xC3, 0xC9, 0xCB, 0xCC}
_BUSY = {0xC0, 0x81}
_WRONG = ("password", "unauthorized name", "privilege", "privelege", "rakp4", "username length", "invalid role")
_NOTHING_CAME = ("no longer connected", "failed to initialize", "unable to transmit")


class Failed(Exception):
    """A request that came to nothing."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


class Late(BaseException):
    """The time for this request is over; no Exception, since pyghmi swallows those in places."""


class Conversation:
    """A session with a BMC, opened by the first request."""

    def __init__(self, login: dict[str, Any]) -> None:
        self._login = login
        self._command: Any = None

    def carry_out(self, request: dict[str, Any]) -> Any:
        """Do what a request says; its value.

        :raises Failed: whatever else comes of it.
        """
        spare_s = request["spare_s"]
        try:
            return self._within(request["deadline"] - spare_s - time.monotonic(), request)
        except Late as error:
            raise self._without_answer(spare_s / 3) from error
        except pyghmi.exceptions.PyghmiException as error:
            raise self._translated(error, spare_s / 3) from error

    def _within(self, patience_s: float, request: dict[str, Any]) -> Any:
        # an alarm and no thread: it reaches pyghmi wherever it waits
        signal.setitimer(signal.ITIMER_REAL, max(0.05, patience_s))
        try:
            if self._command is None:
                self._open(0.8 * patience_s)
            return self._do(request)
        except (Failed, pyghmi.exceptions.PyghmiException):
            raise
        except Exception as error:
            # pyghmi takes packets apart without looking; its text may quote what was sent
            kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
            raise Failed("garbled", f"pyghmi cannot read it ({kind})") from error
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def close(self) -> None:
        """Log out, if the BMC still listens."""
        if self._command is not None:
            signal.setitimer(signal.ITIMER_REAL, 1.0)
            self._command.ipmi_session.logout()

    def _open(self, patience_s: float) -> None:
        who = self._login
        answer = probe(who["address"], who["port"], max(0.2, min(4.0, patience_s)))
        match answer.finding:
            case "garbled":
                raise Failed("garbled", "what answers there does not speak IPMI")
            case "silent":
                raise Failed("unreachable", "nothing answers")
            case "closed":
                raise Failed("unreachable", f"nothing listens there ({answer.detail})")
            case "unknown":
                raise Failed("unreachable", f"the address cannot be resolved ({answer.detail})")
            case "ipmi1":
                raise Failed("refused", "it speaks IPMI 1.5 only, or IPMI 2.0 is switched off")
        self._command = Command(who["address"], who["user"], who["password"], port=who["port"])

    def _do(self, request: dict[str, Any]) -> Any:
        match request["do"]:
            case "power":
                return self._power()
            case "set_power":
                return self._set_power(request["state"])
            case "boot_device":
                return self._boot_device()[0]
            case "set_boot_device":
                return self._set_boot_device(request["device"], request["persistent"], request["uefi"])
            case "identity":
                return self._identity()
        raise Failed("refused", f"there is no request {request['do']}")

    def _power(self) -> str:
        return "on" if self._ask(0x00, 0x01)[0] & 1 else "off"

    def _set_power(self, state: str) -> None:
        if (found := self._power()) == state:
            return
        self._ask(0x00, 0x02, 1 if state == "on" else 0)
        seen_at = time.monotonic()
        try:
            while (found := self._power()) != state:
                seen_at = time.monotonic()
                time.sleep(_POLL_S)
        except Late as error:
            if time.monotonic() - seen_at > _FRESH_S:
                raise
            raise Failed("stayed", found) from error

    def _boot_device(self) -> tuple[str, bool]:
        found = self._command.get_bootdev()
        if found["bootdev"] not in _NAMES:
            raise Failed("refused", f"it is to boot from {found['bootdev']}, for which we have no name")
        return _NAMES[found["bootdev"]], bool(found["persistent"])

    def _set_boot_device(self, device: str, persistent: bool, uefi: bool) -> None:
        self._command.set_bootdev(_DEVICES[device], persist=persistent, uefiboot=uefi)
        patience_until = time.monotonic() + _SHOWS_WITHIN_S
        while True:
            found, always = self._boot_device()
            if found == device and (device == "default" or always == persistent):
                return
            if time.monotonic() > patience_until:
                raise Failed("stayed", f"{found} for {'every boot' if always else 'one boot'}")
            time.sleep(_POLL_S)

    def _identity(self) -> dict[str, str]:
        info = self._fru()
        return {
            "product_serial": _text(info.get("Serial Number")),
            "board_serial": _text(info.get("Board serial number")),
            "chassis_serial": _text(info.get("Chassis serial number")),
            "product": _text(info.get("Product name")) or _text(info.get("Board product name")),
            "manufacturer": _text(info.get("Manufacturer")) or _text(info.get("Board manufacturer")),
            "guid": self._guid(),
        }

    def _fru(self) -> dict[str, Any]:
        try:
            return Fru(ipmicmd=self._command).info or {}
        except pyghmi.exceptions.IpmiException as error:
            if error.ipmicode in _LACKING:
                return {}
            raise

    def _guid(self) -> str:
        try:
            data = bytes(self._ask(0x06, 0x37)[:16])
        except pyghmi.exceptions.IpmiException as error:
            if error.ipmicode in _LACKING:
                return ""
            raise
        blank = len(data) < 16 or set(data) <= {0x00} or set(data) <= {0xFF}
        return "" if blank else str(uuid.UUID(bytes_le=data))

    def _ask(self, netfn: int, command: int, *data: int) -> bytearray:
        def ask() -> bytearray:
            answer = self._command.raw_command(netfn=netfn, command=command, data=data)
            if "error" in answer:
                raise pyghmi.exceptions.IpmiException(answer["error"], code=answer["code"])
            found: bytearray = answer["data"]
            return found

        return _when_free(ask)

    def _translated(self, error: Exception, patience_s: float) -> Failed:
        # the message of an IpmiException may be None
        text = str(error.args[0]) if error.args and error.args[0] else ""
        lower = text.lower()
        if lower in ("", "timeout") or any(word in lower for word in _NOTHING_CAME):
            return self._without_answer(patience_s)
        if any(word in lower for word in _WRONG):
            return Failed("auth", text)
        return Failed("refused", text)

    def _without_answer(self, patience_s: float) -> Failed:
        finding = probe(self._login["address"], self._login["port"], patience_s).finding
        if finding == "garbled":
            return Failed("garbled", "what answers there does not speak IPMI")
        if finding not in ("ipmi2", "ipmi1"):
            return Failed("unreachable", "nothing answers" if self._command is None else "it fell silent")
        what = "the login (no session free, or no such user)" if self._command is None else "this request"
        return Failed("unreachable", f"it answers, but not to {what}")


class Fru(fru.FRU):  # type: ignore[misc]
    """What can be read of a FRU; vendors' are malformed often enough."""

    def fetch_fru(self, fruid: int) -> None:
        """Read it; pyghmi takes one that is busy for one that is not there."""
        _when_free(lambda: super(Fru, self).fetch_fru(fruid))

    def parsedata(self) -> None:
        """Take the data apart, as far as that goes."""
        try:
            super().parsedata()
        except (LookupError, ValueError, TypeError, struct.error, pyghmi.exceptions.PyghmiException):
            return


def _when_free(ask: Callable[[], _T]) -> _T:
    # for as long as the request has time
    while True:
        try:
            return ask()
        except pyghmi.exceptions.IpmiException as error:
            if error.ipmicode not in _BUSY:
                raise
            time.sleep(_POLL_S)


def _text(field: Any) -> str:
    text = bytes(field).decode("latin-1") if isinstance(field, bytes | bytearray) else str(field or "")
    return "".join(letter for letter in text if letter.isprintable()).strip()


def _late(_number: int, _frame: types.FrameType | None) -> None:
    raise Late


def _next_line(requests: IO[bytes], patience_s: float | None) -> dict[str, Any] | None:
    if not select.select([requests], [], [], patience_s)[0]:
        return None
    line = requests.readline()
    return json.loads(line) if line.endswith(b"\n") else None


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more, or one fails; both streams are unbuffered."""
    login = _next_line(requests, None)
    if login is None:
        return
    conversation = Conversation(login)
    try:
        while (request := _next_line(requests, IDLE_S)) is not None:
            try:
                answer = {"value": conversation.carry_out(request)}
            except Failed as error:
                answer = {"failure": error.failure, "detail": error.detail}
            answers.write(json.dumps(answer).encode() + b"\n")
            if answer.get("failure") in ENDING:
                return
        conversation.close()
    except (BrokenPipeError, Late, pyghmi.exceptions.PyghmiException):
        # nobody waits for an answer any more, or for the log-out
        return


def main() -> None:
    """Serve on standard input and output, which pyghmi must not print to."""
    signal.signal(signal.SIGALRM, _late)
    with open(0, "rb", buffering=0, closefd=False) as requests, os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        serve(requests, answers)


if __name__ == "__main__":
    main()
