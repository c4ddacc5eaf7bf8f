"""The private key of an app, in every form in which one is handed around.

Source: ONLINE section 2, "Key forms to accept". The vendor's portal shows a key as RSAKeyValue XML. OpenSSL and most
secret stores keep PEM: PKCS#1 or PKCS#8, encrypted or not.
"""

import binascii
import codecs
import os
import re
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, cast

from soapbatch.errors import UsageError, clean_traceback
from soapbatch.model import Secret
from soapbatch.online.extra import extra_is_missing
from soapbatch.online.xml_texts import texts_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_FORMS: Final = "RSAKeyValue XML, or PEM as PKCS#1 or PKCS#8"
_BEGINS: Final = "-----BEGIN "
_PUBLIC_LABELS = re.compile(r"-----BEGIN (?:RSA PUBLIC KEY|PUBLIC KEY|CERTIFICATE)-----")
_LONGEST_PATH: Final = 255
# A name that can be shown in an error: base64, which a key might be, has no dot.
_FILE_NAME = re.compile(r"[^\n<>]{1,250}\.\w{1,5}")


class PrivateKey:
    """The RSA key that an app signs with. `repr` shows its length alone, and it cannot be pickled."""

    __slots__ = ("_key",)

    def __init__(self, key: "RSAPrivateKey") -> None:
        """Wrap a key of cryptography's. `PrivateKey.read` is what reads one."""
        self._key = key

    @classmethod
    def read(cls, source: str | bytes | os.PathLike[str], *, password: str | Secret | None = None) -> "PrivateKey":
        r"""Read a key from its text, its bytes, or a file.

        Args:
            source: RSAKeyValue XML or PEM, as text or as bytes; or the path of a file that holds it. A text with
                neither "<" nor "-----BEGIN" is a path. The two characters `\n` in a text without line ends stand for
                the end of a line: environment variables often hold PEM like that.
            password: of an encrypted PEM.

        Raises:
            UsageError: there is no such file, the key has another form or is no private RSA key, the password is
                wrong, missing or not needed, or the extra `soapbatch[online]` is missing. No message shows a part of
                the key.
        """
        held, secret = hold(source), Secret.wrap(password)
        del source, password
        with clean_traceback():
            return cls(_load(held, secret))

    @classmethod
    def from_environment(cls, name: str, *, password: str | Secret | None = None) -> "PrivateKey":
        """Read a key from the environment variable `name`, which holds the key's text or the path of its file.

        Raises:
            UsageError: the variable is not set or empty, or `read` refuses its value.
        """
        held = Secret(os.environ.get(name, ""))
        secret = Secret.wrap(password)
        del password
        if held == Secret(""):
            raise UsageError(
                f"the environment variable {name} is to hold a private key or the path of one; it is empty"
            )
        with clean_traceback():
            return cls(_load(held, secret))

    @property
    def bits(self) -> int:
        """The length of the key."""
        return self._key.key_size

    def sign(self, data: bytes) -> bytes:
        """Return the RSASSA-PKCS1-v1_5 signature of `data` with SHA-256. It takes about 0.7 ms with 2048 bits."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415 - from an extra
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - from an extra

        return self._key.sign(data, PKCS1v15(), SHA256())

    def public_pem(self) -> bytes:
        """Return the public half, which the vendor's portal keeps, as PEM."""
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - from an extra
            Encoding,
            PublicFormat,
        )

        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def __repr__(self) -> str:
        """Return the length, and nothing of the key."""
        return f"PrivateKey({self.bits} bits)"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: a pickle shows the key to whoever finds it."""
        raise TypeError("a PrivateKey cannot be pickled; read it where it is needed")


def hold(source: object) -> object:
    """Return the text or bytes of a key as a Secret, and anything else as it is. Raises nothing.

    A constructor that takes a key calls this first: a traceback may show the locals of its frame.
    """
    return source if isinstance(source, os.PathLike) else Secret.wrap(_as_text(source))


def read_held(held: object) -> PrivateKey | None:
    """Return the private key in what `hold` returned; None for None.

    Raises:
        UsageError: see `PrivateKey.read`.
    """
    if held is None or isinstance(held, PrivateKey):
        return held
    with clean_traceback():
        return PrivateKey(_load(held, None))


def _as_text(source: object) -> object:
    """Return bytes as text, undecodable ones as "", and anything else as it is. Raises nothing."""
    if not isinstance(source, bytes | bytearray):
        return source
    is_utf16 = source.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return source.decode("utf-16" if is_utf16 else "utf-8", errors="ignore")


def _load(held: object, password: object) -> "RSAPrivateKey":
    """Return the key in a Secret text, or in the file that a path names."""
    if isinstance(held, Secret):
        text = held.reveal().removeprefix("\ufeff")
        if not text.strip():
            raise UsageError(f"the private key is empty: hand in {_FORMS}")
        if "<" not in text and _BEGINS not in text:
            text = _read_file(text)
    elif isinstance(held, os.PathLike):
        text = _read_file(str(Path(cast("os.PathLike[str]", held))))
    else:
        raise UsageError(f"a private key is read from text, bytes or a path, not from {type(held).__name__}")
    if password is not None and not isinstance(password, Secret):
        raise UsageError("the password of a private key is a str or a Secret")
    if "\n" not in text.strip():
        text = text.replace("\\n", "\n")
    if _BEGINS in text:
        return _from_pem(text, password)
    if password is not None:
        raise UsageError("a password was given, and the private key is not an encrypted PEM: leave the password out")
    return _from_xml(text)


def _read_file(path: str) -> str:
    if len(path) > _LONGEST_PATH or "\n" in path or "\0" in path:
        raise UsageError(f"the private key is neither {_FORMS}, nor the path of a file")
    shown = f" {path!r}" if _FILE_NAME.fullmatch(path) else ""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror
        raise UsageError(f"cannot read the file{shown} with the private key: {reason}") from None
    text = _as_text(content)
    return text.removeprefix("\ufeff") if isinstance(text, str) else ""


def _from_pem(text: str, password: Secret | None) -> "RSAPrivateKey":
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - from an extra
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415 - from an extra
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - from an extra
    except ImportError:
        raise extra_is_missing("cryptography") from None

    if _PUBLIC_LABELS.search(text) and "PRIVATE KEY" not in text:
        raise UsageError("this is the public half of a key: signing needs the private key, which the portal shows once")
    is_encrypted = "ENCRYPTED" in text
    if is_encrypted and password is None:
        raise UsageError("the private key is encrypted: pass password=")
    if password is not None and not is_encrypted:
        raise UsageError("a password was given, and the private key is not encrypted: leave the password out")
    try:
        key = load_pem_private_key(text.encode(), password.reveal().encode() if password else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        reason = (
            "the password is wrong, or the key is damaged" if is_encrypted else "it is damaged, or has another form"
        )
        raise UsageError(f"the private key cannot be read: {reason}; {_FORMS} is read") from None
    if not isinstance(key, RSAPrivateKey):
        raise UsageError("the private key is not an RSA key: SuperOffice Online takes RSA keys alone")
    return key


def _from_xml(text: str) -> "RSAPrivateKey":
    """Read RSAKeyValue XML (W3C XML Signature, and .NET's private elements): big-endian numbers in base64."""
    try:
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - from an extra
    except ImportError:
        raise extra_is_missing("cryptography") from None

    numbers = _numbers(text)
    if not {"Modulus", "Exponent"} <= numbers.keys():
        raise UsageError(f"the private key is XML, but no RSAKeyValue with Modulus and Exponent; {_FORMS} is read")
    if "D" not in numbers:
        raise UsageError(
            "this RSAKeyValue is the public half of a key (it has no D): signing needs the private key, which the "
            "portal shows once"
        )
    n, e, d = numbers["Modulus"], numbers["Exponent"], numbers["D"]
    try:
        # P and Q may be missing: they follow from the others. So do DP, DQ and InverseQ, which are never read.
        p, q = (numbers["P"], numbers["Q"]) if {"P", "Q"} <= numbers.keys() else rsa.rsa_recover_prime_factors(n, e, d)
        return rsa.RSAPrivateNumbers(
            p=p,
            q=q,
            d=d,
            dmp1=rsa.rsa_crt_dmp1(d, p),
            dmq1=rsa.rsa_crt_dmq1(d, q),
            iqmp=rsa.rsa_crt_iqmp(p, q),
            public_numbers=rsa.RSAPublicNumbers(e=e, n=n),
        ).private_key()
    except (ValueError, ArithmeticError, AssertionError):  # the last: a check within cryptography's recovery of P and Q
        raise UsageError("the numbers of this RSAKeyValue do not belong together: the private key is damaged") from None


def _numbers(text: str) -> Mapping[str, int]:
    # The text is decoded already: what the document declares as its encoding no longer holds.
    document = re.sub(r"\A\s*<\?xml.*?\?>", "", text, flags=re.DOTALL).strip()
    try:
        texts = texts_of(document.encode())
        return {
            name: int.from_bytes(b64decode("".join((value or "").split()), validate=True))
            for name, value in texts.items()
            if name != "RSAKeyValue"
        }
    except (ValueError, binascii.Error):
        raise UsageError(
            f"the private key is XML that cannot be read, or not base64 inside; {_FORMS} is read"
        ) from None
