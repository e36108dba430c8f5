"""From names in ``site.yaml`` to BMCs, switches and the Fuel master that we talk to."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pumphouse.errors import NodeUnreachable, SiteError
from pumphouse.nodes.api import Bmc, Switch
from pumphouse.nodes.fuel import Fuel
from pumphouse.nodes.spec import Login, NodeSpec
from pumphouse.passwords import PasswordRef, read_password

if TYPE_CHECKING:
    from pumphouse.site import Site

#: Entry point groups in which drivers are found.
BMC_GROUP, SWITCH_GROUP = "pumphouse.bmc", "pumphouse.switch"


class Nodes:
    """A site's hardware. Each conversation is opened when it is needed, is the only one with its device in this
    process, and is closed again: a BMC forgets an idle session, and a deployment lasts longer than one.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._guard = threading.Lock()
        self._heard: set[str] = set()
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

    def node(self, name: str) -> NodeSpec:
        """What site.yaml says of a node, by its name or its host's.

        :raises SiteError: when it describes no such node.
        """
        return self._site.hardware.node(name)

    @contextmanager
    def bmc(self, node: str) -> Iterator[Bmc]:
        """A conversation with a node's BMC.

        :raises SiteError: when the node has none in site.yaml, or its driver or password is missing.
        :raises NodeError: when it does not let us in.
        """
        spec = self.node(node).bmc
        if spec is None:
            raise SiteError(
                f"site.yaml: node {node} has no bmc.", remedy="describe it there (nodes.NAME.bmc): address and user."
            )
        opener = driver(BMC_GROUP, spec.driver, f"nodes.{node}.bmc")
        password = self._password(f"nodes.{node}.bmc", spec.login)
        with self._alone(f"bmc {node}"):
            opened: Bmc = opener(spec, password)
            try:
                with self._listening(f"bmc {node}"):
                    yield opened
            finally:
                opened.close()

    @contextmanager
    def switch(self, name: str) -> Iterator[Switch]:
        """A conversation with a switch.

        :raises SiteError: when site.yaml does not describe it, or its driver or password is missing.
        :raises NodeError: when it does not let us in.
        """
        spec = self._site.hardware.switches.get(name)
        if spec is None:
            raise SiteError(f"site.yaml describes no switch {name}.", remedy="describe it there (switches.NAME).")
        opener = driver(SWITCH_GROUP, spec.driver, f"switches.{name}")
        password = self._password(f"switches.{name}", spec.login)
        with self._alone(f"switch {name}"):
            opened: Switch = opener(spec, password)
            try:
                with self._listening(f"switch {name}"):
                    yield opened
            finally:
                opened.close()

    @contextmanager
    def fuel(self, *, patient: bool = True) -> Iterator[Fuel]:
        """A conversation with the Fuel master; several at a time are fine.

        :param patient: False: what cannot be read is asked again at once; there may be no master yet.
        :raises SiteError: when site.yaml names none, or its password is missing.
        """
        spec = self._site.hardware.fuel
        if spec is None:
            raise SiteError("site.yaml names no Fuel master.", remedy="add its `fuel` part: url and user.")
        opened = Fuel(spec, self._password("fuel", spec.login) or "", sleep=time.sleep if patient else lambda _s: None)
        try:
            with self._listening("fuel"):
                yield opened
        finally:
            opened.close()

    @contextmanager
    def _listening(self, what: str) -> Iterator[None]:
        """Remember who answered: a device that did and is silent now is worth waiting for, a wrong address is not."""
        try:
            yield
        except NodeUnreachable as error:
            error.known = what in self._heard
            raise
        self._heard.add(what)

    def _password(self, key: str, login: Login) -> str | None:
        return read_password(
            self._site, PasswordRef(key, "nodes", entry=login.password_entry, variable=login.password_env)
        )

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        with self._guard:
            lock = self._locks[what]
        with lock:
            yield


def driver(group: str, name: str, key: str) -> Callable[..., Any]:
    """What opens a conversation: the entry point of that name.

    :param key: the place in site.yaml that names it, for the message.
    :raises SiteError: when no installed package has it, or it cannot be imported.
    """
    found = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        raise SiteError(
            f"site.yaml: {key} wants driver {name}, which nothing installed here provides.",
            remedy=f"use one of: {', '.join(sorted(found)) or 'none'}; or install the package that has it.",
        )
    try:
        opener: Callable[..., Any] = found[name].load()
    except (ImportError, AttributeError) as error:
        raise SiteError(
            f"Driver {name} ({found[name].value}) cannot be loaded: {error}.", remedy="install what it needs."
        ) from error
    return opener
