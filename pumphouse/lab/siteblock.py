"""A block of loopback addresses for one lab, so that several labs run on one machine at once."""

from __future__ import annotations

import contextlib
import random
import socket
from dataclasses import dataclass

from pumphouse.errors import PumphouseError

_FIRST_PORT, _PORTS, _TRIES = 18080, 20, 200
_SMALL_SIZE = 180


@dataclass
class Block:
    """Addresses of one lab. ``holder`` is a bound socket on the gateway address: as long as it is open, no other lab
    picks this block."""

    fixed_cidr: str
    floating_cidr: str
    guest_port: int
    holder: socket.socket

    def free(self) -> None:
        """Give the block back."""
        self.holder.close()


def claim(size: int = 0) -> Block:
    """Claim a free /24 (a /17 for a lab with many extra servers) of 127.0.0.0/8.

    :raises PumphouseError: when no block is free.
    """
    pick = random.SystemRandom()
    small = size <= _SMALL_SIZE
    for _ in range(_TRIES):
        second = pick.randrange(16, 128) if small else pick.randrange(128, 240)
        third = 2 * pick.randrange(128) if small else 0
        gateway = f"127.{second}.{third}.1"
        for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS):
            holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            with contextlib.suppress(OSError):
                holder.bind((gateway, port))
                if small:
                    fixed, floating = f"127.{second}.{third}.0/24", f"127.{second}.{third + 1}.0/24"
                else:
                    fixed, floating = f"127.{second}.0.0/17", f"127.{second}.128.0/24"
                return Block(fixed, floating, port, holder)
            holder.close()
    raise PumphouseError(
        "The lab found no free block of loopback addresses.",
        remedy="stop other labs (`pumphouse lab down --dir DIR`); on systems other than Linux, 127.0.0.0/8 must be "
        "configured on the loopback interface.",
    )
