"""The driver ``ipmi``: BMCs that speak IPMI 2.0 over LAN, by pyghmi in a process per conversation.

Why a process, and what runs in it: :mod:`pumphouse.nodes.ipmi_worker`. It lives from the first call until
:meth:`IpmiBmc.close`, a failure, or half a minute without a call; the password goes there through a pipe, never as an
argument or in the environment. A call that is not answered in time ends the process, so that nothing of it is left to
disturb the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
import weakref
from typing import IO, Any, NoReturn, cast

from pumphouse.errors import NodeAuthError, NodeGarbled, NodeRefused, NodeTimeout, NodeUnreachable, SiteError
from pumphouse.nodes.api import BmcIdentity, BootDevice, Power
from pumphouse.nodes.spec import BmcSpec
from pumphouse.trace import changing

#: IPMI 2.0 keeps 20 bytes of a password and 16 of a user's name (sections 22.28 and 22.30).
LONGEST_PASSWORD, LONGEST_USER = 20, 16
SERIALS = ("product", "board", "chassis")

_ENDING = ("auth", "unreachable", "garbled")
# below the worker's own, so that it is never found leaving
_REUSED_WITHIN_S = 20.0
_ENDS_WITHIN_S = 2.0
_CHECK = "look at its address and port in site.yaml, the way to it, and whether IPMI over LAN is switched on there"


class IpmiBmc:
    """A BMC over IPMI 2.0; implements :class:`pumphouse.nodes.api.Bmc`.

    Nothing is sent before the first call. Calls from several threads wait for each other.

    Options of site.yaml: ``uefi`` (boot devices are for UEFI firmware), ``serial`` (which of the FRU's serials is the
    machine's: ``product``, ``board`` or ``chassis``; without it the product's, or else the board's; machines that
    share a chassis share its serial).

    :raises SiteError: when password, user or options are none that IPMI can take.
    """

    def __init__(self, spec: BmcSpec, password: str | None) -> None:
        self._spec = spec
        self._where = f"nodes.{spec.node}.bmc"
        self._check_login(password)
        self._login = {"address": spec.address, "port": spec.port, "user": spec.login.user, "password": password}
        self._serial, self._uefi = self._check_options()
        self._timeout_s = spec.login.timeout_s
        self._worker: _Worker | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def name(self) -> str:
        """Node and address."""
        return f"BMC of {self._spec.node} ({self._spec.address}:{self._spec.port})"

    def power(self) -> Power:
        """Whether the chassis has power (read only; Get Chassis Status).

        :raises NodeError: unreachable, credentials refused, garbled, or refused.
        """
        power: Power = self._ask("power")
        return power

    def set_power(self, state: Power) -> None:
        """Switch the power (hard), and wait until the BMC shows it; nothing happens where it is so already.

        :raises NodeTimeout: when the chassis accepts it and stays as it was.
        """
        with changing(self.name, f"power {state}"):
            self._ask("set_power", state=state)

    def boot_device(self) -> BootDevice:
        """Where the next boot comes from (read only; Get System Boot Options).

        :raises NodeRefused: when it is a device that we have no name for (floppy, firmware setup).
        """
        device: BootDevice = self._ask("boot_device")
        return device

    def set_boot_device(self, device: BootDevice, *, persistent: bool = False) -> None:
        """Choose where the next boot (``persistent``: every one) comes from, and read it back.

        :raises NodeTimeout: when the BMC accepts it and shows something else.
        """
        with changing(self.name, f"boot {device}"):
            self._ask("set_boot_device", device=device, persistent=persistent, uefi=self._uefi)

    def identity(self) -> BmcIdentity:
        """Serial number, product and GUID from FRU 0 and Get System GUID (read only).

        The GUID is read as SMBIOS writes it (its first half little-endian), which is what machines report of
        themselves; a BMC that follows the letter of IPMI shows another order.
        """
        found = self._ask("identity")
        serials = [self._serial] if self._serial else ["product", "board"]
        return BmcIdentity(
            serial=next((found[f"{kind}_serial"] for kind in serials if found[f"{kind}_serial"]), ""),
            product=found["product"],
            manufacturer=found["manufacturer"],
            guid=found["guid"],
        )

    def close(self) -> None:
        """Log out; safe to call twice."""
        with self._lock:
            self._let_go()

    def _ask(self, do: str, **what: Any) -> Any:
        deadline = time.monotonic() + self._timeout_s
        if not self._lock.acquire(timeout=self._timeout_s):
            raise NodeTimeout(
                f"{self.name}: another call took all of the {self._timeout_s:g} s.", remedy="ask again when it is over."
            )
        try:
            answer = self._answer({"do": do, "deadline": deadline, "spare_s": min(1.5, self._timeout_s / 3), **what})
        finally:
            self._lock.release()
        if "failure" in answer:
            self._fail(do, what, **answer)
        return answer["value"]

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._worker is not None and not self._worker.fresh:
            self._let_go()
        try:
            if self._worker is None:
                self._worker = _Worker(self._login)
            answer = self._worker.ask(request)
        except OSError as error:
            answer = {
                "failure": "unreachable",
                "detail": f"the process that was to ask cannot do so ({error.strerror})",
            }
        except BaseException:
            # the person at the keyboard would not wait for a log-out
            self._let_go(gently=False)
            raise
        if answer.get("failure") in _ENDING:
            self._let_go(gently=False)
        return answer

    def _let_go(self, *, gently: bool = True) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end(gently=gently)

    def _fail(self, do: str, what: dict[str, Any], *, failure: str, detail: str) -> NoReturn:
        may_have_acted = " What was asked for may have happened all the same." if do.startswith("set_") else ""
        match failure:
            case "auth":
                raise NodeAuthError(
                    f"{self.name} refuses user {self._spec.login.user or '(none)'}: {detail}.",
                    remedy=f"check user and password ({self._where} in site.yaml names both), and that this user may "
                    f"use IPMI over LAN as administrator or operator.",
                )
            case "garbled":
                raise NodeGarbled(
                    f"{self.name} gives no sensible answer: {detail}.{may_have_acted}",
                    remedy="see what it is that listens there; restart the BMC if it is one.",
                )
            case "refused":
                raise NodeRefused(f"{self.name} says no: {detail}.", remedy="see the BMC's own pages or its manual.")
            case "stayed":
                if do == "set_power":
                    raise NodeTimeout(
                        f"{self.name} accepted power {what['state']}, and the chassis is still {detail} "
                        f"after {self._timeout_s:g} s.",
                        remedy=f"look at the machine; if it is only slow, raise {self._where}.timeout_s in site.yaml.",
                    )
                raise NodeTimeout(
                    f"{self.name} accepted boot device {what['device']} for "
                    f"{'every boot' if what['persistent'] else 'one boot'}, and shows {detail}.",
                    remedy="choose the boot device by hand, or look for a newer firmware of the BMC.",
                )
        raise NodeUnreachable(f"{self.name}: {detail}.{may_have_acted}", remedy=f"{_CHECK}.")

    def _check_login(self, password: str | None) -> None:
        if password is None:
            raise SiteError(
                f"{self.name}: site.yaml names no password.",
                remedy=f"give {self._where}.password_entry or password_env.",
            )
        for kind, text, most in (
            ("password", password, LONGEST_PASSWORD),
            ("user", self._spec.login.user, LONGEST_USER),
        ):
            size = len(text.encode("utf-8", "surrogatepass"))
            if size > most or not text.isprintable():
                raise SiteError(
                    f"{self.name}: its {kind} has {size} bytes"
                    + (f"; IPMI 2.0 takes {most} at most." if size > most else ", not all of them printable."),
                    remedy=f"give a {kind} that the BMC can hold: what is longer it cuts off or refuses.",
                )

    def _check_options(self) -> tuple[str, bool]:
        options = dict(self._spec.options)
        serial, uefi = options.pop("serial", ""), options.pop("uefi", False)
        if options or serial not in ("", *SERIALS) or not isinstance(uefi, bool):
            raise SiteError(
                f"site.yaml: {self._where}.options: {', '.join(sorted(self._spec.options))}: something is wrong there.",
                remedy=f"driver ipmi knows `serial` ({', '.join(SERIALS)}) and `uefi` (true, false).",
            )
        return serial, uefi


class _Worker:
    """The process of a conversation. It ends when it is let go of, at the latest with this one."""

    def __init__(self, login: dict[str, Any]) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "pumphouse.nodes.ipmi_worker"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # an interrupt of the terminal is for us alone
            process_group=0,
        )
        self._requests = cast(IO[bytes], self._child.stdin)
        self._answers = cast(IO[bytes], self._child.stdout)
        self._finalize = weakref.finalize(self, _end, self._child)
        self._used_at = time.monotonic()
        self._unsaid = _line(login)

    @property
    def fresh(self) -> bool:
        """Whether it can be relied on to be there still."""
        return time.monotonic() - self._used_at < _REUSED_WITHIN_S

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its answer; a failure where there is none by the deadline."""
        try:
            self._requests.write(self._unsaid + _line(request))
        except BrokenPipeError:
            return {"failure": "unreachable", "detail": "the process that was to ask is gone"}
        self._unsaid = b""
        line = self._read_line(request["deadline"])
        self._used_at = time.monotonic()
        if line is None:
            return {"failure": "unreachable", "detail": "no answer in time"}
        if not line.endswith(b"\n"):
            why = "the process that asked came to an end (python -m pumphouse.nodes.ipmi_worker shows if it can start)"
            return {"failure": "unreachable", "detail": why}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _read_line(self, deadline: float) -> bytes | None:
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                piece = os.read(self._answers.fileno(), 65536)
                if not piece:
                    break
                line += piece
        return line

    def end(self, *, gently: bool) -> None:
        """End it: by letting it log out, or at once."""
        if not gently:
            self._child.kill()
        self._finalize()


def _end(child: subprocess.Popen[bytes]) -> None:
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            # what could not be written any more is nobody's loss
            with contextlib.suppress(OSError):
                stream.close()
    try:
        child.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
