"""The journal of the embedded Online: each request with the host that got it and the names of the secrets in it.

The journal holds no secret. A test can show it, and can assert that a foreign host was sent none.
"""

import binascii
import html
import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_plus

import attrs

STRANGER: Final = "a token that Online did not issue"
_TOKEN = re.compile(r"(?:7T|8A):[A-Za-z0-9+/=_-]+")
_JSON_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")
_BASIC = re.compile(r"Basic ([A-Za-z0-9+/=]+)")


@attrs.define(kw_only=True)
class Visit:
    """One request to a host of the embedded Online, or to any other host that a client was led to.

    Attributes:
        at: the clock's seconds when it came.
        method: of HTTP.
        host: that it was sent to, from the Host header, without a port.
        path: without the query.
        endpoint: what it led to: "state", "system_user", "system_user_soap", "discovery", "jwks", "tokens", "tenant",
            "api", or "" where there is nothing.
        tenant: whose, as far as the path says so; else None.
        secrets: the names of the secrets in it, for example "client secret of My App" or "ticket 2 of Cust12345".
        status: of the response; 0 while there is none.
        outcome: for a sign-in: "succeeded", or why not, for example "InvalidTimestamp"; else "".
    """

    at: float
    method: str
    host: str
    path: str
    endpoint: str = ""
    tenant: str | None = None
    secrets: frozenset[str] = frozenset()
    status: int = 0
    outcome: str = ""


@attrs.define
class SecretNames:
    """The secrets of an embedded Online by name, to recognise them in requests."""

    _names: dict[str, str] = attrs.field(factory=dict, repr=False)

    def add(self, secret: str, name: str) -> str:
        """Register a secret and return it."""
        self._names[secret] = name
        return secret

    def find(self, headers: Iterable[tuple[bytes, bytes]], query: bytes, body: bytes) -> frozenset[str]:
        """Return the names of all secrets in a request: plain, or as URLs, JSON, XML and Basic credentials do it."""
        lines = [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in headers]
        text = "\n".join([*lines, query.decode("latin-1"), body.decode("utf-8", "replace")])
        for credentials in _BASIC.findall(text):
            try:
                text += f"\n{b64decode(credentials).decode('utf-8', 'replace')}"
            except binascii.Error:
                continue
        unescaped = _JSON_ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
        texts = (text, unescaped, unquote_plus(text), html.unescape(text))
        found = {name for secret, name in self._names.items() if any(secret in written for written in texts)}
        tokens = {token for written in texts for token in _TOKEN.findall(written)}
        if any(not any(token in secret for secret in self._names) for token in tokens):
            found.add(STRANGER)
        return frozenset(found)
