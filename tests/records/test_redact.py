"""Secrets never survive; what only looks a little like one does."""

from __future__ import annotations

import base64
import html
import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_output

from pumphouse.records import Redactor, collect_secrets
from pumphouse.records.redact import MASK
from tests.runner.making import code, make_site, notebook, prose

FERNET = "gAAAAABTe5ZbYkZ0" + "aB3_-9xY" * 12
PKI = "MIIDZQYJKoZIhvcNAQcCoIIDVjCCA1ICAQEx" + "Ab9-" * 60
HEX = "0123456789abcdef0123456789abcdef"
HASH = "$6$rounds=40000$S4ltS4lt$" + "aZ09./" * 14 + "xx"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\nqq1\n-----END RSA PRIVATE KEY-----"

secret_values = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="*", exclude_categories=("Cs", "Cc")),
    min_size=8,
    max_size=40,
).filter(lambda text: text.strip() == text and "SHA256" not in text)


@given(secret=secret_values, before=st.text(max_size=30), after=st.text(max_size=30))
def test_registered_secret_never_survives(secret: str, before: str, after: str) -> None:
    redactor = Redactor(lambda: {secret})
    assert secret not in redactor.text(before + secret + after)


@given(secret=secret_values, user=st.text("abcXYZ0123456789-", max_size=9))
def test_encoded_secret_does_not_survive_either(secret: str, user: str) -> None:
    redactor = Redactor(lambda: {secret})
    raw = secret.encode()
    core = len(base64.b64encode(raw)) // 2
    for written in (json.dumps(secret), repr(secret), html.escape(secret), quote(secret, safe="")):
        assert written.strip("\"'") not in redactor.text(f"<{written}>")
    basic = base64.b64encode(f"{user}:".encode() + raw).decode()
    masked = redactor.text(f"seen {basic} there")
    assert MASK in masked
    assert not any(basic[-core - 4 : -4] in part for part in masked.split(MASK))


@settings(max_examples=40, deadline=None)
@given(secret=secret_values, texts=st.lists(st.text(max_size=40), min_size=6, max_size=6))
def test_notebook_stays_valid_and_clean(secret: str, texts: list[str]) -> None:
    coloured = f"\x1b[31m{secret[:5]}\x1b[0m{secret[5:]}"
    book = notebook(prose(texts[0] + secret), code(f"{texts[1]}{secret}", "ph-inventory"))
    book["metadata"]["papermill"] = {"parameters": {"a": [texts[2] + secret, {"b": secret}]}, "x": None}
    book["cells"][1]["outputs"] = [
        new_output("stream", name="stdout", text=texts[3] + secret[:4]),
        new_output("stream", name="stdout", text=secret[4:] + texts[4]),
        new_output("display_data", data={"text/plain": secret, "application/json": {secret: [secret, 1, None]}}),
        new_output("error", ename="E", evalue=secret + texts[5], traceback=[coloured]),
    ]
    structure = nbformat.writes(book).replace(secret, "")
    assume(secret not in structure)
    Redactor(lambda: {secret}).notebook(book)
    nbformat.validate(book)
    assert secret not in "\n".join(strings(json.loads(nbformat.writes(book))))
    assert [cell["id"] for cell in book["cells"]] == ["cell-1", "cell-2"]
    assert book["cells"][1]["metadata"]["tags"] == ["ph-inventory"]


def strings(node: Any) -> list[str]:
    """Every text of a structure; lists of lines are joined as nbformat joins them."""
    if isinstance(node, str):
        return [node]
    if isinstance(node, list):
        joined = ["".join(node)] if all(isinstance(item, str) for item in node) else []
        return joined + [text for item in node for text in strings(item)]
    if isinstance(node, dict):
        return [text for key, value in node.items() for text in (key, *strings(value))]
    return []


@given(
    value=st.one_of(
        st.uuids().map(str),
        st.uuids().map(lambda u: u.hex),
        st.binary(min_size=32, max_size=32).map(bytes.hex),
        st.ip_addresses(v=4).map(str),
        st.binary(min_size=6, max_size=6).map(lambda b: b.hex(":")),
        st.integers().map(str),
    ),
    key=st.sampled_from(
        ["id", "server_id", "tenant_id", "project", "checksum", "user", "mac", "host", "hash", "image"]
    ),
)
def test_ordinary_values_survive(value: str, key: str) -> None:
    redactor = Redactor()
    for text in (
        f"{key}: {value}",
        f"{key}={value}",
        json.dumps({key: value}),
        repr({key: value}),
        f"| {value} |",
        f"GET /v2/servers/{value} HTTP/1.1",
        f"http://10.0.0.1:8774/v2/{value}/servers",
    ):
        assert redactor.text(text) == text
    assert redactor.value({key: value}) == {key: value}


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing(text: str) -> None:
    redactor = Redactor(lambda: {"correct-horse-battery"})
    once = redactor.text(text + " password: hunter2 correct-horse-battery " + text)
    assert redactor.text(once) == once


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"token {FERNET} issued", FERNET),
        (f"X-Subject-Token: {PKI}", PKI),
        (f"a {PKI} b", PKI),
        (f"X-Auth-Token: {HEX}", HEX),
        (f"-H 'X-Auth-Token: {HEX}'", HEX),
        (f"{{'X-Auth-Token': '{HEX}'}}", HEX),
        (f"('X-Auth-Token', b'{HEX}')", HEX),
        (f"Authorization: Bearer {HEX}", HEX),
        (f"OS_TOKEN={HEX}", HEX),
        (f"admin_token = {HEX}", HEX),
        (f"GET /v2.0/tokens/{HEX}", HEX),
        (f"DELETE http://k:5000/v3/auth/tokens/{HEX}?x", HEX),
        (f'{{"access": {{"token": {{"issued_at": "now", "id": "{HEX}"}}}}}}', HEX),
        (f"{{'token': {{'tenant': {{'id': 'aa'}}, 'id': '{HEX}', 'x': 1}}}}", HEX),
        ('{"auth": {"password": "hunter2"}}', "hunter2"),
        ("{'adminPass': 'Zy9!x'}", "Zy9!x"),
        ('"{\\"password\\": \\"hunter2\\"}"', "hunter2"),
        ("      password: hunter2\n", "hunter2"),
        ("OS_PASSWORD=hunter2", "hunter2"),
        ("export OS_PASSWORD=hun(ter2", "hun(ter2"),
        ("admin_password = hunter2", "hunter2"),
        ("openstack --os-password hunter2 token issue", "hunter2"),
        ("User(name='anna', password='hunter2')", "hunter2"),
        ("secret_key: s3cr3t", "s3cr3t"),
        ("mysql+pymysql://nova:hunter2@db/nova", "hunter2"),
        ("http://admin:p%40ss@cloud:5000/", "p%40ss"),
        (f"password_hash {HASH}", HASH),
        (f"key:\n{PEM}\nend", "MIIEowIBAAKCAQEA7"),
        ("eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjE1NzM5fQ.4yWLb3mSu5jTXk", "4yWLb3mSu5jTXk"),
    ],
)
def test_unregistered_secrets_are_recognised(text: str, secret: str) -> None:
    redacted = Redactor().text(text)
    assert secret not in redacted
    assert MASK in redacted


@pytest.mark.parametrize(
    "text",
    [
        f'{{"server": {{"id": "{uuid.uuid4()}", "tenant_id": "{HEX}"}}}}',
        f"/v2/{HEX}/servers/detail",
        'password = load_password("x")',
        "the password is handed over in a file",
        '"password": null',
        "password: null",
        "password: ********",
        "X-Auth-Token: {SHA256}0a1b2c3d4e5f",
        "secrets_file: handover-secrets.yaml",
        "password_expires_at: 2030-01-01",
        "tokens are 32 hex digits; tokenisation is not one",
        "http://cloud.example:8774/v2/servers?limit=5@x",
        f"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ{'C9x' * 30} anna@host",
        "nova-network host-1.example:22",
    ],
)
def test_innocent_text_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_only_the_tokens_own_id_is_masked() -> None:
    answer = {"access": {"token": {"id": HEX, "tenant": {"id": "f" * 32}}, "user": {"id": "e" * 32}}}
    for seen in (Redactor().text(json.dumps(answer)), json.dumps(Redactor().value(answer))):
        assert HEX not in seen
        assert "f" * 32 in seen
        assert "e" * 32 in seen


def test_same_secret_same_tag_within_a_record_only() -> None:
    redactor = Redactor(lambda: {"correct-horse"})
    first, second = redactor.text("correct-horse correct-horse").split(" ")
    assert first == second
    assert Redactor(lambda: {"correct-horse"}).text("correct-horse") != first


def test_code_keeps_variables_named_password() -> None:
    source = "password = store.get(user)\nlogin(password=password)\nother = 'x'"
    assert Redactor().text(source, code=True) == source
    assert "hunter2" not in Redactor().text("password: str = 'hunter2'", code=True)


def test_short_secret_is_removed_as_a_word_only() -> None:
    redactor = Redactor(lambda: {"demo", "x"})
    assert redactor.text("democracy: x") == "democracy: x"
    assert "demo" not in redactor.text("is it demo, or not")


def test_pictures_are_left_alone() -> None:
    picture = base64.b64encode(b"\x30\x82\x03" * 200).decode() + PKI
    book = notebook(code("1"))
    book["cells"][0]["outputs"] = [new_output("display_data", data={"image/png": picture})]
    Redactor().notebook(book)
    assert book["cells"][0]["outputs"][0]["data"]["image/png"] == picture


def test_provider_is_asked_again_and_nothing_is_forgotten() -> None:
    known = {"first-secret"}
    redactor = Redactor(lambda: set(known))
    assert "first-secret" not in redactor.text("first-secret")
    known.clear()
    known.add("second-secret")
    text = redactor.text("first-secret second-secret")
    assert "first-secret" not in text
    assert "second-secret" not in text


def test_secrets_of_a_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(tmp_path / "site")
    other = tmp_path / "elsewhere.yaml"
    other.write_text("clouds:\n  x:\n    auth: {application_credential_secret: app-cred-secret}\n")
    monkeypatch.setenv("OS_CLIENT_SECURE_FILE", str(other))
    monkeypatch.setenv("OS_PASSWORD", "from-environment")
    found = collect_secrets(site)
    assert {"correct-horse-battery", "from-secure-yaml-77", "app-cred-secret", "from-environment"} <= found
    assert "admin" not in found
    site.work_dir.mkdir()
    site.secrets_file.write_text("anna: {password: one-time}\nbert: {password: 12345678}\n")
    assert {"one-time", "12345678"} <= collect_secrets(site)
    site.secrets_file.write_text("anna: {password: 'half wri")
    assert "correct-horse-battery" in collect_secrets(site)
