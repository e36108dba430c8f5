"""SNMP requests (v2c, v3) to one agent, for callers without an event loop: pysnmp in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from pysnmp.error import PySnmpError
from pysnmp.hlapi.v3arch import asyncio as hlapi
from pysnmp.proto import errind
from pysnmp.proto.rfc1902 import Integer32, OctetString
from pysnmp.proto.rfc1905 import EndOfMibView, NoSuchInstance, NoSuchObject

from pumphouse.errors import NodeAuthError, NodeGarbled, NodeRefused, NodeUnreachable

T = TypeVar("T")

AUTH = {
    "none": hlapi.USM_AUTH_NONE,
    "md5": hlapi.USM_AUTH_HMAC96_MD5,
    "sha": hlapi.USM_AUTH_HMAC96_SHA,
    "sha224": hlapi.USM_AUTH_HMAC128_SHA224,
    "sha256": hlapi.USM_AUTH_HMAC192_SHA256,
    "sha384": hlapi.USM_AUTH_HMAC256_SHA384,
    "sha512": hlapi.USM_AUTH_HMAC384_SHA512,
}
PRIVACY = {
    "none": hlapi.USM_PRIV_NONE,
    "des": hlapi.USM_PRIV_CBC56_DES,
    "aes128": hlapi.USM_PRIV_CFB128_AES,
    "aes192": hlapi.USM_PRIV_CFB192_AES,
    "aes256": hlapi.USM_PRIV_CFB256_AES,
}
_ABSENT = (NoSuchObject, NoSuchInstance, EndOfMibView)
_ROWS_AT_ONCE = 20
#: More rows than any switch has: an agent that never ends is a broken one.
_MOST_ROWS = 50_000
_TRY_S = 1.5
_NOT_ALLOWED = {"noAccess", "authorizationError"}
_SECURITY = (
    errind.AuthenticationFailure,
    errind.WrongDigest,
    errind.UnknownUserName,
    errind.UnknownSecurityName,
    errind.UnsupportedSecurityLevel,
    errind.UnsupportedAuthProtocol,
    errind.UnsupportedPrivProtocol,
    errind.DecryptionError,
)


@dataclass(frozen=True)
class Agent:
    """Whom to ask, and as whom; ``what`` names it in messages. ``version`` is ``2c`` or ``3``."""

    what: str
    host: str
    port: int
    version: str
    user: str
    secret: str
    auth: str
    privacy: str
    privacy_secret: str
    timeout_s: float

    def credentials(self) -> hlapi.CommunityData | hlapi.UsmUserData:
        """What pysnmp wants to know of them."""
        if self.version == "2c":
            return hlapi.CommunityData(self.secret, mpModel=1)  # noqa: S508 - many switches of 2014 have no v3
        return hlapi.UsmUserData(
            self.user,
            authKey=self.secret if self.auth != "none" else None,
            privKey=self.privacy_secret if self.privacy != "none" else None,
            authProtocol=AUTH[self.auth],
            privProtocol=PRIVACY[self.privacy],
        )


class Wire:
    """A conversation with an agent; each call is bounded by its ``timeout_s``. Close it."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        # event loops must not nest, and a notebook's thread runs one already
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snmp")
        self._runner = asyncio.Runner()
        self._noise = 0
        self._engine = hlapi.SnmpEngine()
        self._target: hlapi.UdpTransportTarget | hlapi.Udp6TransportTarget | None = None

    def close(self) -> None:
        """Free the socket and the thread."""

        async def stop() -> None:
            self._engine.close_dispatcher()

        def end() -> None:
            self._runner.run(stop())
            self._runner.close()

        self._thread.submit(end).result()
        self._thread.shutdown()

    def get(self, *oids: str) -> list[Any]:
        """Values of objects, None where the agent has none."""
        return self._run(lambda: self._get(oids))

    def walk(self, oid: str) -> dict[tuple[int, ...], Any]:
        """All rows of a table's column, by what follows ``oid``."""
        return self._run(lambda: self._walk(oid))

    def set(self, writes: Sequence[tuple[str, int | bytes]]) -> None:
        """Set objects in one request: all of them, or none (RFC 3416, 4.2.5)."""
        self._run(lambda: self._set(writes))

    def _run(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def bounded() -> T:
            # pysnmp's receiver lets some of what is no SNMP through to the loop
            asyncio.get_running_loop().set_exception_handler(self._hear_noise)
            async with asyncio.timeout(self._agent.timeout_s):
                return await call()

        try:
            return self._thread.submit(lambda: self._runner.run(bounded())).result()
        except TimeoutError as error:
            raise self._silent(error) from error
        except PySnmpError as error:
            raise NodeUnreachable(
                f"{self._agent.what}: SNMP fails ({type(error).__name__}).",
                remedy="check its address, and the way to it.",
            ) from error

    async def _where(self) -> Any:
        if self._target is None:
            tries = max(1, int(self._agent.timeout_s / _TRY_S))
            kind = hlapi.Udp6TransportTarget if ":" in self._agent.host else hlapi.UdpTransportTarget
            self._target = await kind.create(
                (self._agent.host, self._agent.port), timeout=self._agent.timeout_s / tries, retries=tries - 1
            )
        return self._target

    async def _ask(self, request: Any, *args: Any) -> list[Any]:
        answer = await request(
            self._engine, self._agent.credentials(), await self._where(), hlapi.ContextData(), *args, lookupMib=False
        )
        indication, status, index, rows = answer
        if indication:
            raise self._indicated(indication)
        if status:
            raise self._refused(str(status.prettyPrint()), int(index))
        return list(rows)

    async def _get(self, oids: Sequence[str]) -> list[Any]:
        rows = await self._ask(hlapi.get_cmd, *(_object(oid) for oid in oids))
        if [str(name) for name, _ in rows] != list(oids):
            raise self._odd("it answers with other objects than it was asked for")
        return [None if isinstance(value, _ABSENT) else value for _, value in rows]

    async def _walk(self, oid: str) -> dict[tuple[int, ...], Any]:
        base = tuple(map(int, oid.split(".")))
        found: dict[tuple[int, ...], Any] = {}
        last = base
        while True:
            rows = await self._ask(hlapi.bulk_cmd, 0, _ROWS_AT_ONCE, _object(".".join(map(str, last))))
            if not rows:
                return found
            for name, value in rows:
                key = tuple(name)
                if key[: len(base)] != base or isinstance(value, _ABSENT):
                    return found
                if key <= last or len(found) >= _MOST_ROWS:
                    raise self._odd("its rows do not come in order, or never end")
                found[key[len(base) :]] = value
                last = key

    async def _set(self, writes: Sequence[tuple[str, int | bytes]]) -> None:
        await self._ask(
            hlapi.set_cmd,
            *(_object(oid, Integer32(v) if isinstance(v, int) else OctetString(v)) for oid, v in writes),
        )

    def _indicated(self, indication: Any) -> Exception:
        if isinstance(indication, errind.RequestTimedOut):
            return self._silent(indication)
        if isinstance(indication, _SECURITY):
            return NodeAuthError(
                f"{self._agent.what} refuses SNMPv3 user {self._agent.user}: {indication}.",
                remedy="check user, password references, options.auth and options.privacy.",
            )
        return NodeUnreachable(f"{self._agent.what}: SNMP fails ({indication}).", remedy="check it and the way to it.")

    def _silent(self, cause: Any) -> Exception:
        if self._unreadable():
            return self._odd("what it sends is no SNMP")
        hint = "the community, " if self._agent.version == "2c" else ""
        return NodeUnreachable(
            f"{self._agent.what} does not answer SNMP v{self._agent.version} within {self._agent.timeout_s:g} s.",
            remedy=f"check {hint}address, port and the agent's access list: a refused request is not answered.",
        )

    def _refused(self, status: str, index: int) -> Exception:
        if status in _NOT_ALLOWED:
            return NodeAuthError(
                f"{self._agent.what} does not let this user or community write ({status}).",
                remedy="use one that may write to Q-BRIDGE-MIB.",
            )
        return NodeRefused(
            f"{self._agent.what} refuses an SNMP request: {status} at object {index}.",
            remedy="see the switch's log; where it does not write Q-BRIDGE-MIB, use the netmiko driver.",
        )

    def _odd(self, why: str) -> NodeGarbled:
        return NodeGarbled(f"{self._agent.what}: {why}.", remedy="check that an SNMP agent has that address and port.")

    def _unreadable(self) -> bool:
        (count,) = self._engine.get_mib_builder().import_symbols("__SNMPv2-MIB", "snmpInASNParseErrs")
        return self._noise > 0 or int(count.syntax) > 0

    def _hear_noise(self, _loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
        self._noise += 1


def _object(oid: str, value: Any = None) -> Any:
    identity = hlapi.ObjectIdentity(oid)
    return hlapi.ObjectType(identity) if value is None else hlapi.ObjectType(identity, value)
