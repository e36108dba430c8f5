"""The lab's BMCs in a process of their own, many on one loopback address, a UDP port each.

The lab calls :func:`start`; the process is ``python -m pumphouse.lab.hardware.bmc_process``. It knows no physics: each
BMC asks and presses through the lab's control port (:mod:`pumphouse.lab.hardware.control`). Secrets come over its
standard input, whose end is its own end: it never outlives who started it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp

START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0
_CONTROL_TIMEOUT_S = 10.0

View = Mapping[str, Any]


@dataclass(frozen=True)
class BmcDoor:
    """Where a machine's BMC listens on 127.0.0.1 (port 0: a free one), and whom it lets in. ``guid``: the machine's."""

    guid: str
    user: str
    password: str = field(repr=False)
    port: int = 0


class BmcProcess:
    """The running process. ``ports`` tells the UDP port of each machine's BMC."""

    def __init__(self, child: subprocess.Popen[bytes], ports: dict[str, int]) -> None:
        self._child = child
        self.ports = ports

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it still lives."""
        return self._child.poll() is None

    def stop(self) -> None:
        """End it; safe to call twice."""
        _end(self._child)


def start(control_url: str, token: str, doors: Mapping[str, BmcDoor]) -> BmcProcess:
    """Start the BMCs of all machines, and wait until they listen; blocks for about half a second.

    :param control_url: the lab's control port.
    :param doors: machine name -> its BMC's port and login.
    :raises RuntimeError: when they do not come up, with what they said.
    """
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "pumphouse.lab.hardware.bmc_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    orders = {"control_url": control_url, "token": token, "doors": {name: asdict(door) for name, door in doors.items()}}
    late = threading.Timer(START_TIMEOUT_S, child.kill)
    late.start()
    try:
        child.stdin.write(json.dumps(orders).encode() + b"\n")
        child.stdin.flush()
        line = child.stdout.readline()
    except BrokenPipeError:
        line = b""
    finally:
        late.cancel()
    said: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {"error": "it ended, see its messages"}
    if "ports" not in said:
        _end(child)
        raise RuntimeError(f"the lab's BMCs did not come up: {said['error']}")
    return BmcProcess(child, said["ports"])


def _end(child: subprocess.Popen[bytes]) -> None:
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            stream.close()
    try:
        child.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class ControlPort:
    """The lab's control port, seen from the BMCs. Raises :class:`OSError` where it does not answer as it should."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = f"{url}/hardware/machines"

    async def machine(self, name: str) -> View:
        """A machine as it is now."""
        found: View = await self._ask("GET", f"/{name}")
        return found

    async def machines(self) -> list[View]:
        """All machines as they are now."""
        found: list[View] = (await self._ask("GET", ""))["machines"]
        return found

    async def press(self, name: str, button: str, **body: Any) -> View:
        """Press a button of a machine: ``power`` or ``boot``."""
        after: View = await self._ask("POST", f"/{name}/{button}", body)
        return after

    async def _ask(self, verb: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            async with self._http.request(verb, self._url + path, json=body) as answer:
                answer.raise_for_status()
                return await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"the lab's control port: {error}") from error


async def _serve(orders: dict[str, Any]) -> None:
    # here and not above: pyghmi keeps state in its modules, and the lab's own process imports this one
    from pumphouse.lab.hardware.bmc_server import LabBmc

    timeout = aiohttp.ClientTimeout(total=_CONTROL_TIMEOUT_S)
    async with aiohttp.ClientSession(headers={"X-Lab-Token": orders["token"]}, timeout=timeout) as http:
        wires = ControlPort(http, orders["control_url"])
        bmcs = [LabBmc(name, wires=wires, **door) for name, door in orders["doors"].items()]
        tasks = [asyncio.create_task(bmc.serve()) for bmc in bmcs]
        _say(ports={bmc.name: bmc.port for bmc in bmcs})
        tasks.append(asyncio.create_task(_orphaned()))
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _orphaned() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def _say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read orders from standard input, serve until it ends."""
    # unbuffered: what follows the first line is asyncio's to wait for
    with open(0, "rb", buffering=0, closefd=False) as orders_pipe:
        orders = json.loads(orders_pipe.readline())
    try:
        asyncio.run(_serve(orders))
    except OSError as error:
        _say(error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
