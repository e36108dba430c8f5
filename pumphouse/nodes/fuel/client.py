"""One Fuel master."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from pumphouse.nodes.fuel.deployment import Deployment
from pumphouse.nodes.fuel.environments import Environments
from pumphouse.nodes.fuel.nodes import Nodes
from pumphouse.nodes.fuel.wire import Sleep, Wire
from pumphouse.nodes.spec import FuelSpec


class Fuel(Environments, Nodes, Deployment):
    """A Fuel master of release 5.1 to 8.0. Nothing is asked before the first verb; safe to use from several threads.

    Every verb raises only :class:`pumphouse.errors.NodeError`'s children: :class:`NodeUnreachable` (no answer),
    :class:`NodeAuthError` (credentials), :class:`NodeGarbled` (not Fuel's answer), :class:`NodeRefused` (Fuel says no,
    ``status`` is its HTTP status; 0 where we refused on its behalf, or it shows another thing than it took).

    :param password: of ``spec.login.user``.
    :param poll_s: seconds between two looks at something that is waited for.
    :param sleep: waits.
    :param clock: seconds that pass.
    """

    def __init__(
        self,
        spec: FuelSpec,
        password: str,
        *,
        poll_s: float = 1.0,
        sleep: Sleep = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(Wire(spec, password, sleep=sleep), poll_s=poll_s, clock=clock)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def known_secrets(self) -> Iterator[str]:
        """What must not appear in a record: our password and tokens, and the new cloud's password once it was read."""
        return self.wire.known_secrets()

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self.wire.close()
