"""Keep secrets out of records: known values wherever they stand, and what has the shape of a secret.

Two nets, because each has holes. Values that this site is known to hold (passwords of ``clouds.yaml``, one-time
passwords made during the run) are removed wherever they appear, also JSON-, HTML-, URL- or base64-encoded.
What nobody registered is recognised by its shape (Fernet, PKI, JWS and UUID tokens, private keys, password
hashes) or by its context (``password:``, ``X-Auth-Token:``, ``user:pass@host``).

The rules are narrow on purpose: a 32-digit hex string is a project's id far more often than a token, so it is
taken for a token only where a token is expected.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import re
import secrets as random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
MIN_SECRET_LENGTH = 4
"""Shorter values are not searched for: they would blank out ordinary words. Nobody should have such a password."""
_WHOLE_WORD_BELOW = 8

SECRET_KEY = re.compile(
    r"""(?ix) ^ [\w.-]* (?: password | passwd | passphrase | passcode | secret | secret_?key | admin_?pass
        | private_?key | auth_?token | access_?token | service_?token ) $"""
)
"""Names (of keys, variables, columns) whose value is a secret whatever it looks like."""

_KEY = r"[\w.-]*(?:password|passwd|passphrase|passcode|secret|secret_?key|admin_?pass|private_?key)"
_FREE_VALUES = {"none", "null", "true", "false", "str", "''", '""', "~", "|", ">", "|-", ">-"}
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

_PEM = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END (?P=kind)-----|\Z)",
    re.DOTALL,
)
_SHAPES = (
    re.compile(r"(?<![\w-])gAAAA[\w-]{40,}={0,2}"),  # Fernet
    re.compile(r"(?<![\w+/=-])MII[\w+/=-]{125,}"),  # PKI: one unbroken line, unlike a PEM certificate's
    re.compile(r"(?<![\w-])PKIZ_[\w+/=-]{40,}"),
    re.compile(r"(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),  # JWS
    re.compile(r"\$(?:5|6)\$(?:rounds=\d+\$)?[./\w]{1,16}\$[./\w]{43,86}"),  # sha256_crypt, sha512_crypt
    re.compile(r"\$2[abxy]?\$\d\d\$[./\w]{53}"),  # bcrypt
    re.compile(r"\$(?:scrypt|pbkdf2-sha\d+|bcrypt-sha256)\$[./\w=,$+-]{20,}"),
)
_HEADER = re.compile(
    r"""(?ix) \b (?P<head> x-(?:auth|subject|service|storage)-token (?: ["'] \s* , | ["']? \s* [:=] ) \s* [bu]? ["']?
        | authorization ["']? \s* [:=,] \s* [bu]? ["']? (?:bearer|basic) \s+ ) (?P<value> [^\s"',;\\{*][^\s"',;\\]* )"""
)
_TOKEN_VALUE = re.compile(
    r"""(?ix) (?P<head> \b (?:[a-z]+_)* token (?:_id)? \\?["']? \s* [:=] \s* [bu]? \\?["']? )
        (?P<value> (?= [\w+/=.-]* \d ) [\w+/=.-]{16,} )"""
)
_OPTION = re.compile(r"(?P<head>--[\w-]*(?:password|passwd|secret|token)[ =])(?P<value>[^\s'\"]+)")
_TOKEN_PATH = re.compile(r"(?i)(?P<head>/(?:auth/)?tokens/)(?P<value>[0-9a-f]{32,})")
_USERINFO = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s:/@\"']*:)(?P<value>[^\s/@\"']+)(?=@)", re.IGNORECASE)
_QUOTED = re.compile(
    rf"""(?ix) (?P<head> \b {_KEY} \\?["']? \]? (?: \s*:\s* [\w\[\]|\s.]{{1,40}}? (?=\s*=) )? \s* [:=] \s* [bu]?)
        (?P<quote> \\?["'] ) (?P<value> (?: (?!(?P=quote)) (?: \\. | [^\n] ) )+ ) (?P=quote)"""
)
_BARE = re.compile(
    rf"""(?ixm) (?: ^ | (?<=[\s,;&?(]) ) (?P<head> {_KEY} ) (?:
        \s*:[ \t]+ (?P<value> [^\s"',;&)\[\]{{}}(]+ ) [ \t]* $
        | [ \t]*=[ \t]* (?P<set> [^\s"',;&)\[\]{{}}(]++ ) (?![(\[]) )"""
)
_ENVIRONMENT = re.compile(
    r"(?m)^(?P<head>[ \t]*(?:export[ \t]+|set[ \t]+)?[A-Z0-9_]*(?:PASSWORD|PASSWD|SECRET|TOKEN)=)(?P<value>[^\s'\"]+)"
)
_TOKEN_OBJECT = re.compile(r"""["'](?:token)["']\s*:\s*\{""", re.IGNORECASE)
_TOKEN_ID = re.compile(r"""["'](?:id|adminURL_token)["']\s*:\s*[bu]?(?P<quote>["'])(?P<value>[^"']+)(?P=quote)""")

_HINT = re.compile(r"[:=$]|gAAAA|MII|PKIZ_|eyJ|--|(?i:token|authorization)")
"""Without any of these no rule below can match: most texts are names, ids and addresses."""

_TEXT_MIME = re.compile(r"^(text/|application/(.*\+)?json|application/(xml|javascript|yaml)|image/svg)")


class Redactor:
    """Replaces secrets by ``***`` and a short digest that lets a reader see where the *same* secret stood.

    The digest is keyed with a random salt of this redactor: an unsalted one would let anybody who holds the
    record try passwords against it. Redacting twice changes nothing.

    A password that equals a name of its site (user ``admin``, password ``admin``) cannot be searched for: that would
    blot out who did what, and give the password away by the blot. Such a value is taken out where a password is
    expected (``password:``, ``user:pass@host``) and stays where it is a name;
    :func:`pumphouse.records.secrets.weak_secrets` finds them, and records say so.

    :param known: called before each pass over a notebook; returns the secret values known right now.
    :param names: likewise; returns values that are no secrets, whatever else they are.
    """

    def __init__(self, known: Callable[[], Iterable[str]] = tuple, names: Callable[[], Iterable[str]] = tuple) -> None:
        self._known = known
        self._names = names
        self._registered: set[str] = set()
        self._salt = random.token_bytes(16)
        self._pattern: re.Pattern[str] | None = None
        self._origin: dict[str, str] = {}
        self._current: frozenset[str] = frozenset()
        self._cache: dict[tuple[str, bool], str] = {}

    def register(self, *values: str) -> None:
        """Add values to be removed from now on."""
        self._registered.update(values)

    def refresh(self) -> None:
        """Ask the provider again; it may know more than a cell ago. What was known once stays known."""
        self._registered.update(self._known())
        names = set(self._names())
        current = frozenset(
            v for v in self._registered if len(v) >= MIN_SECRET_LENGTH and not v.startswith(MASK) and v not in names
        )
        if current != self._current:
            self._current = current
            self._origin = {form: value for value in sorted(current) for form in spellings(value)}
            self._cache.clear()
            longest_first = sorted(self._origin, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(_literal, longest_first))) if longest_first else None

    @property
    def known(self) -> frozenset[str]:
        """The values that are removed wherever they stand; names are not among them."""
        return self._current

    def is_clean(self, text: str) -> bool:
        """Whether nothing is left in a text that this redactor, as last refreshed, would take out."""
        return self._ansi(text) == text

    def holds_secret(self, text: str) -> bool:
        """Whether a *known* secret stands in the text; one so short that it is a word as well does not count."""
        self.refresh()
        return any(form in text for form in self._origin if len(form) >= _WHOLE_WORD_BELOW)

    def text(self, text: str, *, code: bool = False) -> str:
        """The text without secrets.

        :param code: the text is a program, where ``password = load()`` names a variable and holds no secret.
        """
        self.refresh()
        return self._text(text, code=code)

    def value(self, value: Any) -> Any:
        """A JSON-like structure without secrets: strings, and whatever stands under a secret's name."""
        self.refresh()
        return self._value(value)

    def notebook(self, notebook: Any) -> None:
        """Redact a notebook in place: sources, outputs and metadata; ids, types and tags stay what they are.

        Neighbouring stream outputs of one name are joined first, so that a secret cannot hide in the seam.
        """
        self.refresh()
        notebook["metadata"].update(
            {
                key: self._value(value)
                for key, value in notebook["metadata"].items()
                if key not in {"kernelspec", "language_info"}
            }
        )
        for cell in notebook["cells"]:
            cell["source"] = self._text(cell["source"], code=cell["cell_type"] == "code")
            cell["metadata"].update({k: self._value(v) for k, v in cell["metadata"].items() if k != "tags"})
            if cell["cell_type"] == "code":
                cell["outputs"] = _join_streams(cell["outputs"])
                for output in cell["outputs"]:
                    self._output(output)

    def _output(self, output: Any) -> None:
        if output["output_type"] == "stream":
            output["text"] = self._ansi(output["text"])
        elif output["output_type"] == "error":
            output["ename"] = self._text(output["ename"])
            output["evalue"] = self._ansi(output["evalue"])
            # one secret may span lines of the traceback (a private key), so it is redacted as one text
            lines = self._ansi("\n".join(output["traceback"])).split("\n")
            if lines != "\n".join(output["traceback"]).split("\n"):
                output["traceback"] = lines
        else:
            for mime, data in output["data"].items():
                # base64 of a picture may well contain what looks like a token
                if _TEXT_MIME.match(mime):
                    output["data"][mime] = self._ansi(data) if isinstance(data, str) else self._value(data)
            output["metadata"].update({k: self._value(v) for k, v in output["metadata"].items()})

    def _ansi(self, text: str) -> str:
        redacted = self._text(text)
        if "\x1b" not in text:
            return redacted
        plain = _ANSI.sub("", text)
        # colour codes may cut a secret in two: give up the colours rather than the secret
        without = self._text(plain)
        return redacted if _ANSI.sub("", redacted) == without else without

    def _value(self, value: Any, *, under: str = "") -> Any:
        if isinstance(value, str):
            if value and SECRET_KEY.match(under) and not _is_free(value):
                return self._mask(value)
            return self._text(value)
        if isinstance(value, Mapping):
            masked: dict[str, Any] = type(value)()  # type: ignore[assignment]
            for key, item in value.items():
                name = self._text(key) if isinstance(key, str) else key
                if under.lower() == "token" and key == "id" and isinstance(item, str):
                    masked[name] = self._mask(item)
                else:
                    masked[name] = self._value(item, under=str(key))
            return masked
        if isinstance(value, list | tuple):
            return [self._value(item, under=under) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            if SECRET_KEY.match(under) or str(value) in self._current:
                return self._mask(str(value))
            return value
        return value

    def _text(self, text: str, *, code: bool = False) -> str:
        if len(text) < MIN_SECRET_LENGTH:
            return text
        cached = self._cache.get((text, code))
        if cached is None:
            cached = self._scan(text, code=code)
            if len(self._cache) > 4096:
                self._cache.clear()
            self._cache[(text, code)] = cached
        return cached

    def _scan(self, text: str, *, code: bool) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(lambda m: self._mask(self._origin[m.group(0)]), text)
        if _HINT.search(text) is None:
            return text
        text = _PEM.sub(lambda m: self._mask(m.group(0)), text)
        for shape in _SHAPES:
            text = shape.sub(lambda m: self._mask(m.group(0)), text)
        for context in (_HEADER, _TOKEN_VALUE, _TOKEN_PATH, _USERINFO, _OPTION, _ENVIRONMENT):
            text = context.sub(self._swap, text)
        text = self._token_objects(text)
        text = _QUOTED.sub(self._swap, text)
        return text if code else _BARE.sub(self._swap, text)

    def _token_objects(self, text: str) -> str:
        """Mask the ``id`` of every ``"token": {...}``, not the ids of the tenant or user inside it."""
        start = 0
        while (match := _TOKEN_OBJECT.search(text, start)) is not None:
            start = match.end()
            for begin, end in _top_level(text, match.end()):
                if (found := _TOKEN_ID.fullmatch(text, begin, end)) and not found["value"].startswith(MASK):
                    text = text[: found.start("value")] + self._mask(found["value"]) + text[found.end("value") :]
                    break
        return text

    def _swap(self, match: re.Match[str]) -> str:
        group = "value" if match["value"] is not None else "set"
        value = match[group]
        if _is_free(value):
            return match[0]
        begin, end = match.span(group)
        offset = match.start()
        return match[0][: begin - offset] + self._mask(value) + match[0][end - offset :]

    def _mask(self, secret: str) -> str:
        if secret.startswith(MASK):
            return secret
        tag = hmac.new(self._salt, secret.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:8]
        return f"{MASK}{{SHA256}}{tag}"


def _is_free(value: str) -> bool:
    """Whether a value in a secret's place is plainly no secret: masked already, empty, a type, a reference."""
    return (
        value.startswith((MASK, "{SHA256}", "$(", "${", "<", "{{"))
        or set(value) <= {"*", "."}
        or value.lower() in _FREE_VALUES
    )


def _top_level(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Spans of ``"key": "string"`` members of the object whose brace was opened just before ``start``."""
    depth, position = 1, start
    member = start
    while position < len(text) and depth:
        char = text[position]
        if char in "\"'":
            position += 1
            while position < len(text) and text[position] != char:
                position += 2 if text[position] == "\\" else 1
        elif char in "{[":
            depth += 1
        elif char in "}]":
            depth -= 1
        if depth == 0 or (char == "," and depth == 1):
            span = text[member:position]
            lead = len(span) - len(span.lstrip())
            yield member + lead, member + len(span.rstrip())
            member = position + 1
        position += 1


def spellings(secret: str) -> set[str]:
    """The ways a secret may be written down."""
    forms = {
        secret,
        secret.strip(),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        html.escape(secret),
        html.escape(secret, quote=False),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
    }
    raw = secret.encode("utf-8", "surrogatepass")
    if len(raw) >= _WHOLE_WORD_BELOW:
        forms |= {_base64_core(raw, shift) for shift in range(3)}
    return {form for form in forms if len(form) >= MIN_SECRET_LENGTH}


def _base64_core(raw: bytes, shift: int) -> str:
    """The part of base64 text that depends on ``raw`` alone when ``shift`` other bytes come before it."""
    encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
    head = (0, 2, 3)[shift]
    tail = len(encoded) - (1 if (shift + len(raw)) % 3 else 0)
    return encoded[head:tail]


def _literal(form: str) -> str:
    """A regular expression for that very text; a short one must stand alone, or it would hit inside words."""
    if len(form) < _WHOLE_WORD_BELOW:
        return rf"(?<![^\W_]){re.escape(form)}(?![^\W_])"
    return re.escape(form)


def _join_streams(outputs: list[Any]) -> list[Any]:
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if (
            last is not None
            and output["output_type"] == "stream" == last["output_type"]
            and output["name"] == last["name"]
        ):
            last["text"] += output["text"]
        else:
            joined.append(output)
    return joined
