"""The recorded story of a Fuel master, told again to the lab's one, and where its answers are not as recorded.

``data/fuel-RELEASE.json`` is made by ``tools/derive_fuel_facts.py``. A recording is one story: its requests are sent in
their order to one master, which lets time pass only where the recording waited.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from pumphouse.lab.hardware import nailgun
from pumphouse.lab.hardware.fleet import Fleet, Machine, Nic, Port
from pumphouse.lab.world import Layer2, Timing, World
from tests.lab.replaying import unlike

RELEASES = ("6.0", "6.1", "7.0", "8.0")
#: Sent while something was under way: time stands still before them.
DURING = re.compile(
    r"while running|delete running task|fake Astute|^(neutron: )?STOP|^DELETE cluster while|^to fail|"
    r"^((neutron |multinode )?deploy|(neutron )?stop|verify|provision|redeploy|nocontroller|reset( after failure)?): |"
    r"^(add|remove|deploy) node: "
)
#: What the lab's master does not answer as recorded, and why.
UNLIKE = {
    (release, f"{what} info defaults"): "what Astute is told is not simulated: such paths are unknown"
    for release in RELEASES
    for what in ("provisioning", "deployment")
} | {("6.0", "DEPLOY changes (remove node)"): "the recorded Astute was a fake that removed a node within the request"}


@dataclass
class Gate:
    """Time that passes only when somebody lets it."""

    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def pause(self, _seconds: float) -> None:
        """Wait until time passes."""
        await self.open.wait()


@dataclass
class Told:
    """What came of one exchange."""

    fact: dict[str, Any]
    differences: list[str]


class Story:
    """One release's recording, being told again."""

    def __init__(self, release: str) -> None:
        self.release = release
        path = Path(__file__).parent / f"data/fuel-{release}.json"
        document = json.loads(path.read_text(encoding="utf-8"))
        self.facts: list[dict[str, Any]] = document["facts"]
        self.shapes: dict[str, Any] = document["shapes"]
        self._answers: dict[int, Any] = {}
        self._asked: dict[int, Any] = {}
        self._tasks: dict[int, int] = {}
        self._members: dict[int, tuple[Any, int | None]] = {}
        self._gate = Gate()

    async def tell(self) -> list[Told]:
        """Send everything, in order."""
        world = World(Timing(scale=0.0), Layer2(1, socket_cap=0), "10.10.0.0/24", "172.24.4.224/28")
        fleet = Fleet(ports={"": Port("", 1)}, admin_vlan=1)
        master = await nailgun.start(world, fleet, release=self.release, pause=self._gate.pause)
        try:
            async with aiohttp.ClientSession(skip_auto_headers=["Accept", "Content-Type"]) as session:
                return [await self._one(master, session, fact) for fact in self.facts]
        finally:
            await master.stop()

    async def _one(self, master: nailgun.Nailgun, session: aiohttp.ClientSession, fact: dict[str, Any]) -> Told:
        label = fact["label"]
        master.state.auth_required = bool(fact["auth"])
        if not DURING.search(label):
            self._gate.open.set()
            await master.work.idle()
            self._gate.open.clear()
            self._report_again(master)
        self._prepare(master, label)
        self._discover(master, fact)
        body = self._body(fact)
        headers = {"Accept": "application/xml" if label == "Accept xml" else "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if "with token" in label or "version with" in label:
            headers["X-Auth-Token"] = master.state.issue()
        cookies = {"token": master.state.issue()} if "with cookie" in label else None
        url = URL(master.url + self._path(fact)).with_query(fact.get("query", {}))
        async with session.request(
            fact["method"], url, headers=headers, data=body, cookies=cookies, allow_redirects=False
        ) as answer:
            raw = await answer.read()
            status, kind = answer.status, answer.headers.get("Content-Type")
        session.cookie_jar.clear()
        self._remember(master, fact)
        return Told(fact, self._compare(fact, status, kind, raw))

    def _report_again(self, master: nailgun.Nailgun) -> None:
        """What was taken out of an environment reports again, under the next id, as the recorded machines did."""
        state = master.state
        for node_id, (body, cluster_id) in list(self._members.items()):
            if node_id not in state.nodes:
                del self._members[node_id]
                if cluster_id is not None:
                    node = master.discovery.register(body)
                    self._members[node.id] = body, None

    def _prepare(self, master: nailgun.Nailgun, label: str) -> None:
        """What was done without recording it: a node asked to leave, and failures put into Astute's reports."""
        nodes = master.state.nodes.values()
        if label == "DEPLOY changes (remove node)":
            next(node for node in nodes if node.id == 5).pending_deletion = True
        elif label.startswith("DEPLOY (to fail in "):
            node = max((node for node in nodes if node.cluster_id is not None), key=lambda node: node.id)
            runs = "bootstrap" if "deploy)" in label else None
            node.machine = Machine(
                "broken", "", "", "", [Nic("eth0", node.mac, "")], runs=runs, staged={"deploy-error"}
            )
        elif label.startswith(("notifications after", "RE-DEPLOY")):
            for node in nodes:
                node.machine = None

    def _discover(self, master: nailgun.Nailgun, fact: dict[str, Any]) -> None:
        """Of all machines that were discovered in the course of the recording, one was recorded."""
        extra = next(one for one in self.facts if one["label"] == "node discover (extra)")
        if fact["n"] <= extra["n"] or fact["status"] == 404:
            return
        entries = fact.get("request") if isinstance(fact.get("request"), list) else []
        ids = [int(entry.get("id", 0)) for entry in entries or []]
        ids += [int(part) for part in str(fact.get("query", {}).get("nodes", "")).split(",") if part.isdigit()]
        while any(node_id not in master.state.nodes for node_id in ids):
            body = copy.deepcopy(self._asked[extra["n"]])
            number = len(self._members)
            for nic in (body, *body["meta"]["interfaces"]):
                nic["mac"] = f"{nic['mac'][:9]}ee:{number:02x}:{nic['mac'][-2:]}"
            node = master.discovery.register(body)
            self._members[node.id] = body, None

    def _remember(self, master: nailgun.Nailgun, fact: dict[str, Any]) -> None:
        for node in master.state.nodes.values():
            body = self._members[node.id][0] if node.id in self._members else self._asked.get(fact["n"], {})
            self._members[node.id] = body, node.cluster_id

    def _path(self, fact: dict[str, Any]) -> str:
        path = str(fact["path"])
        found = re.search(r"/tasks/(\d+)", path)
        if found and int(found[1]) in self._tasks:
            path = path.replace(f"/tasks/{found[1]}", f"/tasks/{self._tasks[int(found[1])]}")
        return path

    def _body(self, fact: dict[str, Any]) -> bytes | None:
        if "raw" in fact:
            return str(fact["raw"]).encode()
        if "request" in fact:
            body = fact["request"]
        elif "edits" in fact:
            body = copy.deepcopy(self._answers[fact["like"]] if "like" in fact else self._asked[fact["again"]])
            for edit in fact["edits"]:
                body = _edited(body, *edit)
        else:
            return None
        self._asked[fact["n"]] = body
        return json.dumps(body).encode()

    def _compare(self, fact: dict[str, Any], status: int, kind: str | None, raw: bytes) -> list[str]:
        text = raw.decode()
        form, value = _form(text)
        self._answers[fact["n"]] = value
        if isinstance(value, dict) and "task" in fact and {"id", "uuid", "name"} <= value.keys():
            self._tasks.setdefault(fact["task"][0], value["id"])
        if status != fact["status"]:
            return [f"status {status} instead of {fact['status']}: {text[:200]}"]
        found = []
        if kind != fact["type"]:
            found.append(f"content type {kind} instead of {fact['type']}")
        wanted = "text" if fact["form"] == "page" else fact["form"]
        if form != wanted:
            return [*found, f"a body of form {form} instead of {wanted}: {text[:200]}"]
        if form == "json":
            found += unlike(self.shapes[fact["shape"]], value, "$")
        if fact.get("says") and fact["form"] != "page" and not DURING.search(fact["label"]):
            said = str(value.get("message")) if isinstance(value, dict) else text
            if _words(said) != _words(fact["says"]):
                found.append(f"says {said[:200]!r} instead of {fact['says']!r}")
        if "state" in fact and isinstance(value, dict) and not DURING.search(fact["label"]):
            state = value.get("status")
            if state != fact["state"] and {state, fact["state"]} != {"pending", "running"}:
                found.append(f"status {state} instead of {fact['state']}")
        if "task" in fact and isinstance(value, dict) and value.get("name") != fact["task"][1]:
            found.append(f"task {value.get('name')} instead of {fact['task'][1]}")
        return found


def _form(text: str) -> tuple[str, Any]:
    if text == "":
        return "empty", None
    try:
        value = json.loads(text)
    except ValueError:
        return "text", None
    if isinstance(value, dict | list):
        return "json", value
    return ("null", None) if value is None else ("text", None)


def _words(sentence: str) -> str:
    """The first words of a sentence: what names objects, numbers and Python's notation is left out."""
    plain = re.sub(r"<[^>]*>|\{.*\}|\bu'|'[^']*'|[^A-Za-z ]", " ", sentence.partition("\n")[0])
    return " ".join(plain.split()[:6])


def _edited(body: Any, path: list[Any], *value: Any) -> Any:
    """The body with the value at a path set, or removed where none is given."""
    if not path:
        return value[0]
    target = body
    for key in path[:-1]:
        target = target[key]
    if value:
        target[path[-1]] = value[0]
    else:
        target.pop(path[-1], None)
    return body
