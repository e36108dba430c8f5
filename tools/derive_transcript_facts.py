"""Derive from recorded HTTP exchanges with a 2014 cloud what the lab's conformance test compares with.

The recording (JSON lines: service, method, path, query, request_headers, request_body, status, response_headers,
response_body) stays where it is; the result keeps, per exchange, what was asked with ids replaced by names
(``{server:web1}``), and of the answer the status, the form, the headers' names and the *structure*: keys and JSON
types, no values. Credentials, keys and tokens are dropped.

Example::

    python tools/derive_transcript_facts.py icehouse.jsonl tests/lab/data/icehouse.json
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b")
KINDS = {
    "tenant": "project",
    "project": "project",
    "user": "user",
    "role": "role",
    "image": "image",
    "server": "server",
    "flavor": "flavor",
    "network": "network",
}
FREE = ("metadata", "extra_specs", "properties", "addresses", "log")
HEADERS = (
    *("location", "retry-after", "etag", "content-md5", "vary", "www-authenticate", "x-subject-token"),
    *("x-compute-request-id", "x-openstack-request-id"),
)
SECRET_KEYS = ("password", "adminPass", "private_key", "public_key")
NEVER_THERE = re.compile(r"^(1{8}|0{8}|0{32}|1234|2234)")


def main() -> None:
    """Read the arguments, write the data file, and say what is in it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.recording.read_text(encoding="utf-8").splitlines()]
    names = name_ids(rows)
    facts = [derive(number, row, names) for number, row in enumerate(rows)]
    lines = ",\n".join(json.dumps(fact, sort_keys=True, ensure_ascii=False) for fact in facts)
    given.output.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    summary = f"{len(facts)} exchanges, {len(set(names.values()))} named objects, {given.output.stat().st_size} bytes"
    sys.stdout.write(summary + "\n")


def name_ids(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Id -> placeholder, learnt from every record that shows an id beside a name."""
    names: dict[str, str] = {}

    def learn(kind: str, record: dict[str, Any]) -> None:
        name = record.get("name") or record.get("label")
        if isinstance(record.get("id"), str) and UUID.fullmatch(record["id"]) and name:
            names.setdefault(record["id"], f"{{{kind}:{name}}}")

    def walk(parent: str, value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                walk(parent, item)
        elif isinstance(value, dict):
            kind = KINDS.get(parent.removesuffix("s"))
            if kind is not None:
                learn(kind, value)
            for key, item in value.items():
                walk(key, item)

    for row in rows:
        body, asked = row["response_body"], row["request_body"]
        is_image = row["service"] == "image" and isinstance(body, dict) and "disk_format" in body
        walk("image" if is_image else "", body)
        made = isinstance(asked, dict) and isinstance(body, dict) and asked.get("server")
        if made and isinstance(body.get("server"), dict) and row["path"].endswith("/servers"):
            learn("server", {**body["server"], "name": asked["server"].get("name")})
    infer(rows, names)
    for row in rows:
        for kind, found in re.findall(r"/(servers|roles/OS-KSADM)/([0-9a-f-]{32,36})\b", row["path"]):
            if found not in names and not NEVER_THERE.match(found):
                word = "server" if kind == "servers" else "role"
                names[found] = f"{{{word}:other{sum(1 for n in names.values() if ':other' in n) + 1}}}"
    return names


def infer(rows: list[dict[str, Any]], names: dict[str, str]) -> None:
    """Ids of another run of the same cloud: what a server was booted from and where, by the server's name."""
    listed: dict[str, dict[str, Any]] = {}
    for row in rows:
        body = row["response_body"]
        if isinstance(body, dict) and isinstance(body.get("servers"), list):
            listed |= {s["name"]: s for s in body["servers"] if "tenant_id" in s}
    for row in rows:
        asked = row["request_body"]
        booted = asked.get("server") if isinstance(asked, dict) else None
        if not row["path"].endswith("/servers") or not isinstance(booted, dict) or booted.get("name") not in listed:
            continue
        known = listed[booted["name"]]
        for old, new in ((row["path"].split("/")[2], known["tenant_id"]), (booted["imageRef"], known["image"]["id"])):
            if old not in names and new in names:
                names[old] = names[new]
    infer_shared(rows, names)


def infer_shared(rows: list[dict[str, Any]], names: dict[str, str]) -> None:
    """Ids of another run of the same cloud: the only image that is shared, and with whom."""
    shared = {
        (row["path"].split("/")[3], member["member_id"])
        for row in rows
        if re.fullmatch(r"/v1/images/[^/]+/members", row["path"]) and isinstance(row["response_body"], dict)
        for member in row["response_body"].get("members", [])
    }
    for row in rows:
        asked = re.fullmatch(r"/v1/images/([^/]+)/members/([^/]+)", row["path"])
        if asked and len(shared) == 1:
            for old, new in zip(asked.groups(), next(iter(shared)), strict=True):
                if old not in names and new in names:
                    names[old] = names[new]


def derive(number: int, row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """One exchange's facts."""
    fact: dict[str, Any] = {
        "n": number,
        "service": row["service"],
        "method": row["method"],
        "path": replace(row["path"], names),
        "status": row["status"],
    }
    if row["query"]:
        fact["query"] = {key: replace(value, names) for key, value in row["query"].items()}
    if row["request_body"] is not None:
        fact["request"] = scrub(row["request_body"], names)
    sent = {key.lower(): value for key, value in row["request_headers"].items()}
    kept = {
        key: replace(value, names)
        for key, value in sent.items()
        if key.startswith(("x-image-meta", "x-openstack")) or (key == "content-type" and value != "application/json")
    }
    fact["accept"] = sent.get("accept", "")
    fact["token"] = "x-auth-token" in sent
    if kept:
        fact["send"] = kept
    got = {key.lower(): value for key, value in row["response_headers"].items()}
    fact["type"] = got.get("content-type")
    fact["headers"] = [key for key in HEADERS if key in got]
    body = row["response_body"]
    if isinstance(body, (dict, list)) and "binary_bytes" not in body:
        fact["shape"] = shape(body)
        message = error_message(body)
        if message is not None:
            fact["message"] = replace(message, names)
    elif isinstance(body, str):
        fact["page"] = replace(body, names)
    elif isinstance(body, dict):
        fact["binary"] = True
    return fact


def error_message(body: Any) -> str | None:
    """The sentence of a JSON fault."""
    if isinstance(body, dict) and len(body) == 1:
        inner = next(iter(body.values()))
        if isinstance(inner, dict) and "message" in inner and "code" in inner:
            return str(inner["message"]).split(" 'INSERT")[0]
    return None


def replace(value: Any, names: dict[str, str]) -> Any:
    """Ids in a text by their placeholders."""
    if not isinstance(value, str):
        return value
    return UUID.sub(lambda match: names.get(match.group(), match.group()), value)


def scrub(value: Any, names: dict[str, str]) -> Any:
    """A request body without secrets and ids."""
    if isinstance(value, dict):
        cleaned = {}
        for key, item in value.items():
            if key in SECRET_KEYS and isinstance(item, str):
                cleaned[key] = item if len(item) < 20 and key == "public_key" else f"<{key}>"
            elif key == "md5":
                continue
            elif key == "id" and item == "***":
                cleaned[key] = "<token>"
            else:
                cleaned[key] = scrub(item, names)
        return cleaned
    if isinstance(value, list):
        return [scrub(item, names) for item in value]
    return replace(value, names)


def shape(value: Any, key: str = "") -> Any:
    """A JSON value's structure.

    A scalar is its type's name; a list is ``[one shape for all items]`` (with a second item ``?`` where some of
    the lists were empty); an object is its keys, those that not every
    item of the same list has marked with ``?``; ``{"*": shape}`` is an object whose keys are data.
    """
    if isinstance(value, dict):
        if key in FREE and (key == "addresses" or all(isinstance(item, str) for item in value.values())):
            return {"*": merge([shape(item) for item in value.values()])}
        return {name: shape(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [merge([shape(item) for item in value])]
    names = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}
    return names[type(value)]


def merge(shapes: list[Any]) -> Any:
    """One shape that all of these fit; ``any`` of nothing."""
    if not shapes:
        return "any"
    if all(isinstance(item, dict) for item in shapes):
        merged: dict[str, Any] = {}
        plain = [{key.rstrip("?"): item for key, item in each.items()} for each in shapes]
        for key in dict.fromkeys(key for each in plain for key in each):
            everywhere = all(key in each for each in shapes)
            merged[key if everywhere else f"{key}?"] = merge([each[key] for each in plain if key in each])
        return merged
    if all(isinstance(item, list) for item in shapes):
        known = [item[0] for item in shapes if item[0] != "any"]
        sometimes_empty = any(item[0] == "any" or len(item) > 1 for item in shapes)
        return [merge(known), "?"] if known and sometimes_empty else [merge(known)]
    flat = sorted({part for item in shapes if isinstance(item, str) for part in item.split("|")})
    others = [item for item in shapes if not isinstance(item, str)]
    return merge(others) if others else "|".join(flat)


if __name__ == "__main__":
    main()
