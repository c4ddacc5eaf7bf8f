"""Private keys in every form, and what is said about everything that is none."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from soapbatch import Secret, UsageError
from soapbatch.online import PrivateKey, sign_system_token
from tests.support.online import NOW, VECTORS, app_key, raised, read_vector

XML = (VECTORS / "app_private.xml").read_text(encoding="utf-8")
CASE = read_vector("signed_tokens.json")[0]
PASSWORD = "correct horse battery staple"
PKCS1, PKCS8 = PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8


def pem(form: PrivateFormat = PKCS8, encryption: KeySerializationEncryption | None = None) -> str:
    """Return the app's key as PEM."""
    return app_key()._key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


ENCRYPTED = pem(PKCS8, BestAvailableEncryption(PASSWORD.encode()))
ENCRYPTED_PKCS1 = pem(PKCS1, BestAvailableEncryption(PASSWORD.encode()))
BARE_BASE64 = "".join(pem().splitlines()[1:-1])


def is_the_key(key: PrivateKey) -> bool:
    """Return whether a key signs as the app's does."""
    signed = sign_system_token(CASE["system_user_token"], key, at=NOW)
    return bool(signed == CASE["signed_token"])


def with_numbers(**numbers: str | None) -> str:
    """Return the app's key as XML with other numbers, or with some of them left out."""
    text = XML
    for name, value in numbers.items():
        head, _, rest = text.partition(f"<{name}>")
        tail = rest.partition(f"</{name}>")[2]
        text = head + ("" if value is None else f"<{name}>{value}</{name}>") + tail
    return text


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(XML, id="XML"),
        pytest.param(XML.encode(), id="XML as bytes"),
        pytest.param(bytearray(XML.encode()), id="XML as a bytearray"),
        pytest.param(f"\n  {XML}\n", id="XML with space around"),
        pytest.param((VECTORS / "app_private_pretty.xml").read_bytes(), id="XML with a BOM, declared and folded"),
        pytest.param((VECTORS / "app_private_pretty.xml").read_text(encoding="utf-8"), id="the same as text"),
        pytest.param(f'<?xml version="1.0" encoding="utf-16"?>\n{XML}'.encode("utf-16"), id="XML in UTF-16"),
        pytest.param((VECTORS / "app_private_no_crt.xml").read_text(encoding="utf-8"), id="XML without primes"),
        pytest.param(with_numbers(DP=None, DQ=None, InverseQ=None), id="XML without CRT parameters"),
        pytest.param(with_numbers(Q=None), id="XML with one of two primes"),
        pytest.param(VECTORS / "app_private.xml", id="a path"),
        pytest.param(str(VECTORS / "app_private_pretty.xml"), id="a path as text"),
        pytest.param(pem(PKCS1), id="PKCS#1"),
        pytest.param(pem(PKCS8), id="PKCS#8"),
        pytest.param(pem(PKCS8).encode(), id="PKCS#8 as bytes"),
        pytest.param(pem(PKCS8).replace("\n", "\r\n"), id="PKCS#8 with CRLF"),
        pytest.param(pem(PKCS8).replace("\n", "\\n"), id="PKCS#8 with the two characters \\n"),
        pytest.param(f"\ufeffBag Attributes\n{pem(PKCS8)}", id="PKCS#8 with a BOM and words before"),
    ],
)
def test_every_form_is_read(source: Any) -> None:
    """Each form gives the same key, which makes the same signatures."""
    assert is_the_key(PrivateKey.read(source))


@pytest.mark.parametrize("source", [ENCRYPTED, ENCRYPTED_PKCS1, ENCRYPTED.encode()], ids=["PKCS#8", "PKCS#1", "bytes"])
@pytest.mark.parametrize("password", [PASSWORD, Secret(PASSWORD)], ids=["str", "Secret"])
def test_an_encrypted_key_is_read_with_its_password(source: str | bytes, password: str | Secret) -> None:
    """The password may be masked already."""
    assert is_the_key(PrivateKey.read(source, password=password))


def test_a_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable holds the text or a path; one that is not set is named."""
    monkeypatch.setenv("APP_KEY", pem(PKCS8).replace("\n", "\\n"))
    assert is_the_key(PrivateKey.from_environment("APP_KEY"))
    file = tmp_path / "app.pem"
    file.write_text(ENCRYPTED)
    monkeypatch.setenv("APP_KEY", str(file))
    assert is_the_key(PrivateKey.from_environment("APP_KEY", password=PASSWORD))
    monkeypatch.setenv("APP_KEY", BARE_BASE64)
    with pytest.raises(UsageError, match="is neither RSAKeyValue XML, or PEM") as raising:
        PrivateKey.from_environment("APP_KEY", password=PASSWORD)
    raised(raising, BARE_BASE64, PASSWORD)
    with pytest.raises(UsageError, match="the environment variable NO_KEY is to hold a private key"):
        PrivateKey.from_environment("NO_KEY")


def foreign_pem() -> str:
    """Return a private key that is not RSA."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PKCS8, NoEncryption()).decode()


def public_pem(form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> str:
    """Return the public half of the app's key."""
    return app_key()._key.public_key().public_bytes(Encoding.PEM, form).decode()


def text_of(name: str) -> str:
    """Return a file of the vectors as text."""
    return (VECTORS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("source", "password", "message"),
    [
        pytest.param(text_of("app_public.xml"), None, "the public half of a key", id="public XML"),
        pytest.param(public_pem(), None, "the public half of a key", id="public PEM"),
        pytest.param(public_pem(PublicFormat.PKCS1), None, "the public half of a key", id="public PKCS#1"),
        pytest.param(foreign_pem(), None, "not an RSA key", id="EC"),
        pytest.param(ENCRYPTED, None, "is encrypted: pass password=", id="no password"),
        pytest.param(ENCRYPTED_PKCS1, None, "is encrypted: pass password=", id="no password, PKCS#1"),
        pytest.param(ENCRYPTED, "wrong", "the password is wrong, or the key is damaged", id="wrong password"),
        pytest.param(ENCRYPTED, "", "the password is wrong, or the key is damaged", id="empty password"),
        pytest.param(ENCRYPTED_PKCS1, "wrong", "the password is wrong", id="wrong password, PKCS#1"),
        pytest.param(ENCRYPTED, 5, "the password of a private key is a str or a Secret", id="a number as password"),
        pytest.param(pem(), PASSWORD, "is not encrypted: leave the password out", id="needless password"),
        pytest.param(XML, PASSWORD, "is not an encrypted PEM: leave the password out", id="password for XML"),
        pytest.param(pem()[:700], None, "it is damaged, or has another form", id="cut PEM"),
        pytest.param(pem().replace("PRIVATE", "OPENSSH PRIVATE"), None, "it is damaged", id="another label"),
        pytest.param("", None, "the private key is empty", id="empty"),
        pytest.param(b"\xff\x00\x80", None, "is neither", id="binary junk"),
        pytest.param(b"", None, "the private key is empty", id="empty bytes"),
        pytest.param(BARE_BASE64, None, "is neither RSAKeyValue XML, or PEM", id="base64 alone"),
        pytest.param(f"{BARE_BASE64[:64]}\n{BARE_BASE64[64:]}", None, "is neither", id="lines of base64"),
        pytest.param(BARE_BASE64[:60], None, "cannot read the file with the private key", id="some base64"),
        pytest.param("app\0.pem", None, "is neither", id="NUL"),
        pytest.param(
            "nowhere/app.pem",
            None,
            "cannot read the file 'nowhere/app.pem' with the private key: No such",
            id="no file",
        ),
        pytest.param(Path("nowhere/app.xml"), None, "cannot read the file 'nowhere/app.xml'", id="no file, a path"),
        pytest.param(Path(), None, "cannot read the file with the private key: Is a directory", id="a folder"),
        pytest.param(12, None, "from text, bytes or a path, not from int", id="a number"),
        pytest.param("<a/>", None, "no RSAKeyValue with Modulus and Exponent", id="other XML"),
        pytest.param(XML[:900], None, "XML that cannot be read", id="cut XML"),
        pytest.param(f"<!DOCTYPE a [<!ENTITY b 'c'>]>{XML}", None, "XML that cannot be read", id="DOCTYPE"),
        pytest.param(with_numbers(D="***"), None, "not base64 inside", id="no base64"),
        pytest.param(with_numbers(D=""), None, "do not belong together", id="empty D"),
        pytest.param(with_numbers(P="AQAB"), None, "do not belong together", id="another P"),
        pytest.param(with_numbers(P="", Q=""), None, "do not belong together", id="empty primes"),
        pytest.param(with_numbers(D="AQAB"), None, "do not belong together", id="another D"),
        pytest.param(with_numbers(D="AQAB", P=None), None, "do not belong together", id="another D, no P"),
        pytest.param(with_numbers(D="AQ==", P=None, Exponent="AQ=="), None, "do not belong together", id="all ones"),
        pytest.param(with_numbers(Modulus="AA==", P=None), None, "do not belong together", id="modulus zero"),
    ],
)
def test_anything_else_is_refused(source: Any, password: Any, message: str) -> None:
    """A UsageError says what is wrong with it, and no part of the key or the password is shown."""
    with pytest.raises(UsageError, match=message) as raising:
        PrivateKey.read(source, password=password)
    text = source if isinstance(source, str) else ""
    body = [line for line in text.splitlines() if len(line) >= 32 and "/" not in line]
    raised(raising, *body, *([PASSWORD] if password == PASSWORD else []), BARE_BASE64)


def test_a_key_shows_nothing_and_cannot_be_pickled() -> None:
    """Its repr has the length alone."""
    key = app_key()
    assert repr(key) == str(key) == "PrivateKey(2048 bits)"
    assert key.bits == 2048
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            leak(key)


def test_the_public_half_is_what_the_portal_keeps() -> None:
    """It is the public key of the vectors."""
    public = load_pem_public_key(app_key().public_pem())
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.public_numbers() == app_key()._key.public_key().public_numbers()
    assert b"PRIVATE" not in app_key().public_pem()


@pytest.mark.parametrize("source", [XML, pem()], ids=["XML", "PEM"])
def test_without_the_extra_it_says_what_to_install(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No ImportError reaches the caller."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(UsageError, match=r"needs cryptography: install soapbatch\[online\]") as raising:
        PrivateKey.read(source)
    raised(raising, source)


def test_importing_the_wing_does_not_import_the_extra() -> None:
    """Both packages are imported when they are first used."""
    code = "import sys, soapbatch.online; print({'cryptography', 'jwt'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout.strip() == "set()"
