"""One question that every BMC answers without a login: is anybody there, and is it IPMI?

pyghmi drops what it does not understand and waits for what does not come, so that noise, silence and a closed port
look alike. This tells them apart, before a login and after one that failed.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any, Literal

Finding = Literal["ipmi2", "ipmi1", "garbled", "silent", "closed", "unknown"]

_RMCP = b"\x06\x00\xff\x07"
_CAPABILITIES = 0x38
_AGAIN_S = 0.7
_TELLING: tuple[Finding, ...] = ("ipmi2", "ipmi1", "garbled", "silent", "closed", "unknown")


@dataclass(frozen=True)
class Answer:
    """What came back: IPMI 2.0 or 1.5 only, something else, nothing, a closed port, or the name is not known.

    ``detail`` is the system's own word, where there is one.
    """

    finding: Finding
    detail: str = ""


def request() -> bytes:
    """Get Channel Authentication Capabilities, outside of a session (IPMI 2.0, sections 13.6 and 22.13)."""
    head, body = bytes((0x20, 0x18)), bytes((0x81, 0, _CAPABILITIES, 0x8E, 4))
    message = head + _checksum(head) + body + _checksum(body)
    return _RMCP + bytes(9) + bytes((len(message),)) + message


def judge(data: bytes) -> Finding:
    """What a datagram is, as an answer to :func:`request`."""
    message = data[14 : 14 + data[13]] if len(data) > 14 else b""
    if data[:1] != b"\x06" or data[3:4] != b"\x07" or len(message) < 8 or len(message) != data[13]:
        return "garbled"
    if sum(message[:3]) % 256 or sum(message[3:]) % 256 or message[1] >> 2 != 7 or message[5] != _CAPABILITIES:
        return "garbled"
    code, said = message[6], message[7:-1]
    if code:
        # an old BMC that stumbles over the bit which asks for 2.0
        return "ipmi1"
    if len(said) < 4:
        return "garbled"
    return "ipmi2" if said[1] & 0x80 and said[3] & 0x02 else "ipmi1"


def probe(address: str, port: int, patience_s: float) -> Answer:
    """Ask the BMC at an address (read only), for ``patience_s`` at most once the name is resolved."""
    try:
        found = socket.getaddrinfo(address, port, 0, socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        return Answer("unknown", str(error))
    answers = []
    for family, kind, protocol, _, where in found:
        answers.append(_ask(socket.socket(family, kind, protocol), where, patience_s / len(found)))
        if answers[-1].finding in ("ipmi2", "ipmi1"):
            break
    return min(answers, key=lambda answer: _TELLING.index(answer.finding))


def _ask(asking: socket.socket, where: Any, patience_s: float) -> Answer:
    deadline = time.monotonic() + patience_s
    finding: Finding = "silent"
    try:
        with asking:
            # connected, so that the system tells of a closed port
            asking.connect(where)
            while finding == "silent" and (left_s := deadline - time.monotonic()) > 0:
                asking.send(request())
                finding = _listen(asking, min(_AGAIN_S, left_s))
    except OSError as error:
        return Answer("closed", error.strerror or str(error))
    return Answer(finding)


def _listen(asking: socket.socket, patience_s: float) -> Finding:
    deadline = time.monotonic() + patience_s
    finding: Finding = "silent"
    while (left_s := deadline - time.monotonic()) > 0:
        asking.settimeout(left_s)
        try:
            judged = judge(asking.recv(3000))
        except TimeoutError:
            break
        if judged != "garbled":
            return judged
        finding = judged
    return finding


def _checksum(data: bytes) -> bytes:
    return bytes((-sum(data) % 256,))
