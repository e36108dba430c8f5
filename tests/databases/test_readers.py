"""Reading and writing Keystone's and Nova's databases, in every shape that they have had."""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from pumphouse.databases import Databases, KeystoneDatabase, NovaDatabase, PasswordHash, UserData, scheme_name
from pumphouse.databases.engine import Database
from pumphouse.databases.hashes import matches, new_hash
from pumphouse.errors import DatabaseError, SiteError
from pumphouse.records.secrets import collect_secrets
from pumphouse.site import DatabaseRef, load_site

OLD, NEW = "$6$rounds=40000$salt$old", "$2b$12$new"
LOCAL = "CREATE TABLE user (id, extra, enabled); CREATE TABLE local_user (id INTEGER, user_id, domain_id, name);"
USERS = (
    "INSERT INTO user VALUES ('a', '{}', 1), ('b', '{}', 1), ('ldap', '{}', 1);"
    "INSERT INTO local_user VALUES (1, 'a', 'default', 'alice'), (2, 'b', 'default', 'bob');"
)
#: Shape -> (tables and rows of alice, who has a password, bob, who has none, and somebody of LDAP; alice's rows).
KEYSTONES = {
    "icehouse": (
        ("CREATE TABLE user (id, name, extra, password, enabled, domain_id, default_project_id);"
        f"INSERT INTO user VALUES ('a', 'alice', '{{}}', '{OLD}', 1, 'default', NULL), "
        "('b', 'bob', '{}', NULL, 1, 'default', NULL);"),
        "SELECT password FROM user WHERE id = 'a'",
    ),
    "newton": (
        (f"{LOCAL}{USERS}CREATE TABLE password (id INTEGER, local_user_id INTEGER, password);"
        f"INSERT INTO password VALUES (1, 1, '{OLD}'), (2, 2, NULL);"),
        "SELECT password FROM password WHERE id = 1",
    ),
    "ocata": (
        (f"{LOCAL}{USERS}CREATE TABLE password (id INTEGER, local_user_id INTEGER, password, created_at);"
        f"INSERT INTO password VALUES (9, 1, '$6$x$stale', '2017-01-01'), (1, 1, '{OLD}', '2017-06-01');"),
        "SELECT password FROM password WHERE id = 1",
    ),
    "pike": (
        (f"{LOCAL}{USERS}CREATE TABLE password (id INTEGER, local_user_id INTEGER, password, password_hash, "
        f"created_at_int BIGINT); INSERT INTO password VALUES (1, 1, '$6$x$stale', '$6$x$stale', 5), "
        f"(2, 1, '{OLD}', '{OLD}', 7);"),
        "SELECT password_hash FROM password WHERE id = 2 AND password = password_hash",
    ),
    "current": (
        (f"{LOCAL}{USERS}CREATE TABLE password (id INTEGER, local_user_id INTEGER, password_hash, created_at_int);"
        f"INSERT INTO password VALUES (2, 1, '$6$x$stale', 5), (1, 1, '{OLD}', 7);"),
        "SELECT password_hash FROM password WHERE id = 1",
    ),
}  # fmt: skip
PAIRS = "(id, name, user_id, fingerprint, public_key{more})"


def make(folder: Path, script: str, name: str = "x.db") -> DatabaseRef:
    """A SQLite database made by a script."""
    with closing(sqlite3.connect(folder / name)) as connection:
        connection.executescript(script)
    return DatabaseRef(f"source.databases.{name.partition('.')[0]}", f"sqlite:///{folder / name}")


def ask(folder: Path, statement: str, name: str = "x.db") -> list[Any]:
    with closing(sqlite3.connect(folder / name)) as connection:
        return connection.execute(statement).fetchall()


@pytest.mark.parametrize("shape", KEYSTONES)
def test_every_keystones_present_hashes_are_read(tmp_path: Path, shape: str) -> None:
    script, _ = KEYSTONES[shape]
    keystone = KeystoneDatabase(Database(make(tmp_path, script)))
    found = {user_id: value for user_id, value in keystone.hashes().items() if value is not None}
    assert found == {"a": PasswordHash(OLD)}
    assert keystone.hash_of("a") == PasswordHash(OLD)
    assert [keystone.hash_of(user_id) for user_id in ("b", "ldap", "nobody")] == [None] * 3


@pytest.mark.parametrize("shape", KEYSTONES)
def test_the_present_hash_is_replaced_and_no_other_row_changes(tmp_path: Path, shape: str) -> None:
    script, mine = KEYSTONES[shape]
    ref = make(tmp_path, script)
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        before = list(connection.iterdump())
    KeystoneDatabase(Database(ref)).replace_hash("a", PasswordHash(NEW), instead_of=PasswordHash(OLD).digest)
    assert ask(tmp_path, mine) == [(NEW,)]
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        after = list(connection.iterdump())
    assert [line.replace(NEW, OLD) for line in after] == before


@pytest.mark.parametrize(
    ("user_id", "instead_of", "words"),
    [
        ("a", "0123456789abcdef", "changed by somebody else"),
        ("b", PasswordHash(OLD).digest, "no password of its own"),
        ("nobody", PasswordHash(OLD).digest, "no password of its own"),
    ],
)
def test_a_hash_that_is_not_the_expected_one_stays(tmp_path: Path, user_id: str, instead_of: str, words: str) -> None:
    script, mine = KEYSTONES["current"]
    keystone = KeystoneDatabase(Database(make(tmp_path, script)))
    with pytest.raises(DatabaseError, match=words) as caught:
        keystone.replace_hash(user_id, PasswordHash(NEW), instead_of=instead_of)
    assert "$2b$" not in repr(caught.value) + str(caught.value)
    assert ask(tmp_path, mine) == [(OLD,)]


@pytest.mark.parametrize("script", ["", "CREATE TABLE user (id, extra);", "CREATE TABLE instances (uuid);"])
def test_what_is_no_keystones_or_novas_is_told_apart(tmp_path: Path, script: str) -> None:
    database = Database(make(tmp_path, script))
    with pytest.raises(DatabaseError, match="no Keystone's"):
        KeystoneDatabase(database).hashes()
    for ask_nova in (lambda nova: nova.keypairs(), lambda nova: nova.user_data(["s"])):
        with pytest.raises(DatabaseError, match="no Nova's"):
            ask_nova(NovaDatabase(database))


def test_an_error_of_the_driver_tells_neither_values_nor_itself(tmp_path: Path) -> None:
    script = "CREATE TABLE user (id, password CHECK (length(password) < 30)); INSERT INTO user VALUES ('a', '$6$x$y');"
    keystone = KeystoneDatabase(Database(make(tmp_path, script)))
    new = PasswordHash("$2b$" + "secret" * 10)
    with pytest.raises(DatabaseError, match="IntegrityError") as caught:
        keystone.replace_hash("a", new, instead_of=PasswordHash("$6$x$y").digest)
    error = caught.value
    assert "secret" not in f"{error!r} {error} {pickle.loads(pickle.dumps(error)).__dict__}"
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert "source.databases.x" in error.message


def test_a_hash_shows_itself_as_its_digest_only() -> None:
    value = PasswordHash(OLD)
    assert OLD not in f"{value} {value!r}"
    assert str(value) == f"sha512_crypt ($6$) hash {value.digest}"
    assert len(value.digest) == 16


@pytest.mark.parametrize("ident", ["1", "5", "6", "2b", "2y", "bcrypt-sha256", "scrypt", "pbkdf2-sha512"])
def test_hashes_of_every_known_scheme_can_be_made_for_trying(ident: str) -> None:
    made = new_hash(ident, "right")
    assert made.ident == ident
    assert matches(made, "right")
    assert not matches(made, "wrong")
    assert "unknown" not in scheme_name(ident)


@pytest.mark.parametrize("stored", ["plain text", "{SSHA}abc", "", "$9$x$y", "$$"])
def test_what_is_no_known_hash_fits_no_password(stored: str) -> None:
    value = PasswordHash(stored)
    assert not matches(value, stored)
    with pytest.raises(DatabaseError, match="unknown scheme"):
        new_hash(value.ident, "right")


def test_everybodys_keypairs_are_read_from_both_of_novas_databases(tmp_path: Path) -> None:
    cell = make(
        tmp_path,
        f"CREATE TABLE key_pairs {PAIRS.format(more=', deleted INTEGER')};"
        "INSERT INTO key_pairs VALUES (1, 'k', 'a', 'f1', 'ssh-rsa A', 0), (2, 'gone', 'a', 'f2', 'ssh-rsa B', 2), "
        "(3, 'k', 'b', 'f3', 'ssh-rsa C', 0);",
        "cell.db",
    )
    api = make(
        tmp_path,
        f"CREATE TABLE key_pairs {PAIRS.format(more=', type')};"
        "INSERT INTO key_pairs VALUES (1, 'new', 'a', 'f4', 'ssh-rsa D', 'ssh'), (2, 'x', 'a', NULL, 'cert', 'x509');",
        "api.db",
    )
    found = NovaDatabase(Database(cell), Database(api)).keypairs()
    assert [(k.user_id, k.name, k.public_key, k.type) for k in found] == [
        ("a", "k", "ssh-rsa A", "ssh"),
        ("a", "new", "ssh-rsa D", "ssh"),
        ("a", "x", "cert", "x509"),
        ("b", "k", "ssh-rsa C", "ssh"),
    ]
    assert len(NovaDatabase(Database(cell)).keypairs()) == 2


def test_user_data_of_the_asked_servers_is_read(tmp_path: Path) -> None:
    ref = make(
        tmp_path,
        "CREATE TABLE instances (uuid, user_data, deleted INTEGER);"
        "INSERT INTO instances VALUES ('s1', 'aGVsbG8=', 0), ('s2', NULL, 0), ('s3', 'Z29uZQ==', 3), ('s4', '', 0);",
    )
    nova = NovaDatabase(Database(ref))
    assert nova.user_data(["s1", "s2", "s3", "s4", *(f"no-{n}" for n in range(1200))]) == {"s1": "aGVsbG8="}
    assert nova.user_data([]) == {}
    assert UserData.of("aGVs\nbG8=").size_bytes == 5
    with pytest.raises(ValueError, match="base64"):
        UserData.of("not base64!")


# --- what site.yaml says of them -----------------------------------------------------------------------


def site_with(folder: Path, entry: dict[str, Any], secure: object = None) -> Path:
    """A site.yaml whose source has this Keystone database."""
    document = {
        "schema": 1,
        "source": {"cloud": "old", "databases": {"keystone": entry}},
        "destination": {"cloud": "new"},
    }
    (folder / "site.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (folder / "clouds.yaml").write_text("clouds: {}\n", encoding="utf-8")
    if secure is not None:
        (folder / "secure.yaml").write_text(yaml.safe_dump(secure), encoding="utf-8")
    return folder / "site.yaml"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"url": "mysql://k:hunter22@db/keystone"}, "holds a password"),
        ({"url": "mysql://k@db/keystone?password=hunter22"}, "holds a password"),
        ({"url": "mysql://k@db/k", "password_env": "A", "password_entry": "hunter22"}, "two places"),
        ({"url": "hunter22"}, "not a database URL"),
        ({"url": "mysql://k@db:hunter22/k"}, "not a database URL"),
        ({"password_env": "hunter22"}, "'url' is missing"),
        ({"url": "mysql://k@db/k", "password": "hunter22"}, "unknown key"),
    ],
)
def test_a_password_in_site_yaml_is_refused_and_not_repeated(tmp_path: Path, entry: dict[str, Any], words: str) -> None:
    with pytest.raises(SiteError, match=words) as caught:
        load_site(site_with(tmp_path, entry))
    assert "hunter22" not in f"{caught.value} {caught.value.__cause__}"
    assert "source.databases.keystone" in str(caught.value)


def test_a_password_comes_from_secure_yaml_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secure = {"clouds": {}, "databases": {"keystone-old": {"password": "hunter22"}}}
    site = load_site(site_with(tmp_path, {"url": "mysql://k@db/keystone", "password_entry": "keystone-old"}, secure))
    assert Databases(site).source_keystone is not None
    assert "hunter22" in collect_secrets(site)
    site = load_site(site_with(tmp_path, {"url": "mysql://k@db/keystone", "password_env": "KEYSTONE_DB"}))
    with pytest.raises(DatabaseError, match="environment variable KEYSTONE_DB"):
        _ = Databases(site).source_keystone
    monkeypatch.setenv("KEYSTONE_DB", "hunter23")
    assert Databases(site).source_keystone is not None
    assert "hunter23" in collect_secrets(site)


@pytest.mark.parametrize("secure", [None, {}, {"databases": {"other": {"password": "x"}}}, {"databases": []}])
def test_a_password_that_is_not_where_site_yaml_says(tmp_path: Path, secure: object) -> None:
    site = load_site(site_with(tmp_path, {"url": "mysql://k@db/k", "password_entry": "keystone-old"}, secure))
    with pytest.raises(DatabaseError, match=r"databases\.keystone-old\.password") as caught:
        _ = Databases(site).source_keystone
    assert "source.databases.keystone" in caught.value.message


@pytest.mark.parametrize("url", ["mysql://k@127.0.0.1:1/k", "postgresql://k@127.0.0.1:1/k", "sqlite:///missing/x.db"])
def test_a_database_that_cannot_be_reached(tmp_path: Path, url: str) -> None:
    site = load_site(site_with(tmp_path, {"url": url}))
    keystone = Databases(site).source_keystone
    assert keystone is not None
    with pytest.raises(DatabaseError, match="OperationalError") as caught:
        keystone.hashes()
    assert "source.databases.keystone" in caught.value.message


def test_a_database_without_a_driver(tmp_path: Path) -> None:
    site = load_site(site_with(tmp_path, {"url": "oracle://k@db/keystone"}))
    with pytest.raises(DatabaseError, match="no usable driver") as caught:
        _ = Databases(site).source_keystone
    assert "`databases`" in str(caught.value.remedy)


def test_a_site_without_databases_has_none(tmp_path: Path) -> None:
    site = load_site(site_with(tmp_path, {"url": "sqlite:///x.db"}))
    assert site.source_databases["keystone"].url == f"sqlite:///{tmp_path / 'x.db'}"
    found = Databases(site)
    assert (found.source_nova, found.destination_keystone) == (None, None)
