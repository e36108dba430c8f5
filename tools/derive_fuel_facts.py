"""Derive from recorded HTTP exchanges with Fuel masters what the lab's Nailgun and its conformance test need.

The recording (JSON lines: label, method, path, query, request_body, status, content_type, response_body) stays where
it is. For the lab: the documents that Nailgun ships with (releases, attributes, networks), without their prose and
passwords. For the test, per exchange: what was asked, and of the answer status, content type, form and *structure*
(keys and JSON types); of a refusal also its sentence. A request body that was a changed answer is kept as changes.

Example::

    python tools/derive_fuel_facts.py fuel-6.1.jsonl pumphouse/lab/hardware/nailgun/data tests/lab/data
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

PROSE = frozenset({"description", "label", "warning", "error", "message", "text", "source", "condition", "tooltip"})
#: Objects whose keys are data, not structure.
FREE = frozenset({"ui_settings"})
SECRET = re.compile(r"(?i)(password|passwd|secret|_key|token)$")
SNIPPET = 140


def main() -> None:
    """Read the arguments, write both files, and say what is in them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("documents", type=Path)
    parser.add_argument("facts", type=Path)
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.recording.read_text(encoding="utf-8").splitlines()]
    release = given.recording.stem.removeprefix("fuel-")
    shipped = given.documents / f"{release}.json"
    shipped.write_text(json.dumps(documents(rows), sort_keys=True, separators=(",", ":")) + "\n", encoding="utf-8")
    known: dict[str, Any] = {}
    facts = [derive(number, row, rows[:number], known) for number, row in enumerate(rows)]
    lines = ",\n".join(json.dumps(fact, sort_keys=True, separators=(",", ":")) for fact in facts)
    shapes = ",\n".join(
        f"{json.dumps(k)}:{json.dumps(v, sort_keys=True, separators=(',', ':'))}" for k, v in known.items()
    )
    derived = given.facts / f"fuel-{release}.json"
    derived.write_text(f'{{"shapes":{{\n{shapes}\n}},\n"facts":[\n{lines}\n]}}\n', encoding="utf-8")
    sys.stdout.write(
        f"{len(facts)} exchanges, {derived.stat().st_size} bytes; documents {shipped.stat().st_size} bytes\n"
    )


# --- the documents


def documents(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What this release ships with, by name."""

    def body(label: str) -> Any:
        return next((r["response_body"] for r in rows if r["label"] == label and r["status"] < 300), None)

    def networks(label: str) -> Any:
        found = body(label)
        return found and {"networking_parameters": found["networking_parameters"], "networks": found["networks"]}

    made = [r["response_body"] for r in rows if r["label"].startswith("cluster create") and r["status"] == 201]
    provider = made[0]["net_provider"] if made[0]["net_provider"] != "neutron" else ""
    tun = next((r["response_body"]["id"] for r in rows if "neutron tun" in r["label"] and r["status"] == 201), None)
    found = {
        "version": body("version"),
        "releases": body("releases"),
        "attributes": body("attributes"),
        "generated": body("generated"),
        "settings": body("master settings (6.0+)"),
        "release_networks": body("release networks (6.0+)"),
        "release_roles": body("release roles (6.1+)"),
        "cluster": made[-1],
        "node": next(r["response_body"] for r in rows if r["label"] == "node create: no meta"),
        "nova_network": networks("netconf get") if provider else None,
        "neutron": networks("netconf neutron get"),
        "has_tun": tun is not None,
    }
    found["releases"] = sorted(found["releases"], key=lambda one: one["id"])
    cleaned: dict[str, Any] = scrub(found)
    return cleaned


def scrub(value: Any, key: str = "", owner: str = "") -> Any:
    """A document without prose and secrets; what it is for shows in its keys."""
    if isinstance(value, dict):
        return {name: scrub(item, name, key) for name, item in value.items()}
    if isinstance(value, list):
        return [scrub(item, key, owner) for item in value]
    if isinstance(value, str):
        if key in PROSE:
            return owner if key == "label" else ""
        if SECRET.search(key):
            return ""
        if len(value) > 60 or "://" in value:
            return ""
    return value


# --- the facts


def derive(number: int, row: dict[str, Any], before: list[dict[str, Any]], known: dict[str, Any]) -> dict[str, Any]:
    """One exchange's facts; structures go to ``known`` once."""
    fact: dict[str, Any] = {
        "n": number,
        "label": row["label"],
        "method": row["method"],
        "path": row["path"],
        "status": row["status"],
        "type": row["content_type"],
        "auth": row["auth"],
    }
    if row["query"]:
        fact["query"] = row["query"]
    if row["request_body"] is not None:
        fact.update(asked(row, before))
    body = row["response_body"]
    if isinstance(body, str):
        fact["form"] = text_form(body)
        if fact["form"] == "text":
            fact["says"] = sentence(body)
        return fact
    if body is None:
        fact["form"] = "null"
        return fact
    fact["form"] = "json"
    structure = shape(body)
    written = json.dumps(structure, sort_keys=True)
    name = hashlib.sha256(written.encode()).hexdigest()[:8]
    known[name] = structure
    fact["shape"] = name
    if isinstance(body, dict) and isinstance(body.get("message"), str) and text_form(body["message"]) == "text":
        fact["says"] = sentence(body["message"])
    if isinstance(body, dict) and "status" in body:
        fact["state"] = body["status"]
    if isinstance(body, dict) and {"uuid", "name"} <= body.keys():
        fact["task"] = [body["id"], body["name"]]
    return fact


def sentence(text: str) -> str:
    """What a refusal says, without the schema that some quote after it."""
    return text.partition("\n")[0][:SNIPPET]


def text_form(body: str) -> str:
    """``page`` for an error page or a traceback, which only a server in development mode shows."""
    if body == "":
        return "empty"
    return "page" if body.startswith(("<", "Traceback")) else "text"


def asked(row: dict[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
    """The request body: as changes of the answer (``like``) or request (``again``) it resembles, else as it was."""
    body = row["request_body"]
    if isinstance(body, str):
        return {"raw": body}
    best: tuple[int, dict[str, Any]] = (len(json.dumps(body)) // 2, {})
    trunk = row["path"].rstrip("/").removesuffix("/verify").replace("/nodes/agent", "/nodes")
    for number, earlier in enumerate(before):
        if earlier["path"].rstrip("/").removesuffix("/verify").replace("/nodes/agent", "/nodes") != trunk:
            continue
        answered = earlier["method"] == "GET" and earlier["status"] == 200
        for kind, old in (("like", earlier["response_body"] if answered else None), ("again", earlier["request_body"])):
            if type(old) is not type(body):
                continue
            edits = changes(old, body)
            if len(json.dumps(edits)) < best[0]:
                best = len(json.dumps(edits)), {kind: number, "edits": edits}
    if best[1]:
        return best[1]
    return {"request": body}


def changes(old: Any, new: Any, path: tuple[str | int, ...] = ()) -> list[list[Any]]:
    """``[[path, value], …]`` that make ``new`` of ``old``; ``[path]`` alone removes."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[list[Any]] = [[[*path, key]] for key in old if key not in new]
        for key in new:
            found += changes(old[key], new[key], (*path, key)) if key in old else [[[*path, key], new[key]]]
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for n, pair in enumerate(zip(old, new, strict=True)) for line in changes(*pair, (*path, n))]
    return [] if old == new else [[list(path), new]]


def shape(value: Any, key: str = "") -> Any:
    """A JSON value's structure, as in ``derive_transcript_facts``; what has several is ``any``."""
    if isinstance(value, dict):
        return {"*": "any"} if key in FREE else {name: shape(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [merge([shape(item, key) for item in value])]
    names = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}
    return names[type(value)]


def merge(shapes: list[Any]) -> Any:
    """One shape that all of these fit."""
    if not shapes:
        return "any"
    if all(isinstance(item, dict) for item in shapes):
        merged: dict[str, Any] = {}
        plain = [{key.removesuffix("?"): item for key, item in each.items()} for each in shapes]
        for key in dict.fromkeys(key for each in plain for key in each):
            everywhere = all(key in each for each in shapes)
            merged[key if everywhere else f"{key}?"] = merge([each[key] for each in plain if key in each])
        return merged
    if all(isinstance(item, list) for item in shapes):
        known = [item[0] for item in shapes if item[0] != "any"]
        sometimes_empty = any(item[0] == "any" or len(item) > 1 for item in shapes)
        return [merge(known), "?"] if known and sometimes_empty else [merge(known)]
    if all(isinstance(item, str) for item in shapes):
        return "|".join(sorted({part for item in shapes for part in item.split("|")}))
    others = [item for item in shapes if item != "null"]
    return merge(others) if len(others) < len(shapes) else "any"


if __name__ == "__main__":
    main()
