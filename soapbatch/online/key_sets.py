"""The key sets that SuperOffice Online publishes (JWKS), and the key in one that a JWT is signed with.

Source: ONLINE section 3, "Keys". A `kid` is the SHA-1 thumbprint of a certificate in hexadecimal digits, an `x5t` the
same in base64url. Either may be missing, in a key set as in the header of a JWT.
"""

import binascii
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from soapbatch.errors import UnexpectedResponse
from soapbatch.online.extra import extra_is_missing
from soapbatch.online.responses import as_list, read_object

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

ALGORITHM: Final = "RS256"
_SHORTEST_KEY: Final = 2048  # bits: RFC 7518, section 3.3, allows RS256 no shorter key
_LONGEST_KEY: Final = 8192  # bits: to verify with a longer one would take long
_SHA1_BYTES: Final = 20
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{40}")


def parse_key_set(body: bytes) -> Mapping[str, Any]:
    """Read the response of the key set endpoint: what `verify_system_token` takes as `jwks`.

    Raises:
        UnreadableResponse: the body is no JSON object.
        UnexpectedResponse: it holds no RSA key for signatures.
    """
    key_set = read_object(body, "the key set of the sign-in host")
    if not any(_is_signing_key(key) for key in _entries(key_set)):
        raise UnexpectedResponse("the key set of the sign-in host holds no RSA key for signatures")
    return key_set


def is_key_named(header: Mapping[str, Any]) -> bool:
    """Return whether the header of a JWT names the key that it is signed with."""
    return any(_thumbprint(header.get(name)) is not None for name in ("kid", "x5t"))


def candidate_keys(jwks: Mapping[str, Any], header: Mapping[str, Any]) -> Iterator["RSAPublicKey"]:
    """Yield the keys that a JWT with this header may be signed with.

    The key that `kid` names; if there is none, the key that `x5t` names; if the header names no key, every RSA key for
    signatures. Keys of other kinds, and entries that cannot be read, are skipped.
    """
    entries = [key for key in _entries(jwks) if _is_signing_key(key)]
    for name in ("kid", "x5t"):
        wanted = _thumbprint(header.get(name))
        if wanted is None:
            continue
        found = [key for key in entries if wanted in {_thumbprint(key.get("kid")), _thumbprint(key.get("x5t"))}]
        if found:
            entries = found
            break
    else:
        if is_key_named(header):
            return
    for entry in entries:
        key = _public_key(entry)
        if key is not None:
            yield key


def _entries(jwks: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [key for key in as_list(jwks.get("keys")) if isinstance(key, Mapping)]


def _is_signing_key(key: Mapping[str, Any]) -> bool:
    return key.get("kty") == "RSA" and key.get("use", "sig") == "sig" and key.get("alg", ALGORITHM) == ALGORITHM


def _thumbprint(value: object) -> str | None:
    """Return one spelling for both spellings of a thumbprint; another text as it is; None for anything else."""
    if not isinstance(value, str) or not value:
        return None
    if _HEXADECIMAL.fullmatch(value):
        return value.lower()
    text = value.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return value
    return data.hex() if len(data) == _SHA1_BYTES else value


def _public_key(entry: Mapping[str, Any]) -> "RSAPublicKey | None":
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415 - from an extra
        from jwt import PyJWK, PyJWTError  # noqa: PLC0415 - from an extra
    except ImportError:
        raise extra_is_missing("cryptography and PyJWT") from None

    try:
        key = PyJWK({name: entry.get(name) for name in ("kty", "n", "e")}, algorithm=ALGORITHM).key
    except (PyJWTError, ValueError, TypeError, AttributeError):
        return None
    is_fit = isinstance(key, RSAPublicKey) and _SHORTEST_KEY <= key.key_size <= _LONGEST_KEY
    return key if is_fit else None
