"""The keys of the embedded Online: those that it signs JWTs with, and those that its apps sign with.

Everything here needs the extra `soapbatch[online]`. Keys are made when they are first needed: one takes about 0.1 s.
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from soapbatch.online import PrivateKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_BITS = 2048
_EXPONENT = 65537


@attrs.frozen
class SigningKey:
    """A key that JWTs are signed with, and what a key set says about it.

    Attributes:
        jwk: the public half, with the thumbprints of its certificate.
    """

    _key: "RSAPrivateKey" = attrs.field(repr=False)
    jwk: Mapping[str, Any]

    @classmethod
    def generate(cls) -> "SigningKey":
        """Return a new key with a certificate that it signed itself."""
        from cryptography import x509  # noqa: PLC0415 - from an extra
        from cryptography.hazmat.primitives.hashes import SHA1, SHA256  # noqa: PLC0415 - from an extra
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - from an extra

        key = _generate()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "soapbatch embedded Online")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2114, 1, 1, tzinfo=UTC))
            .sign(key, SHA256())
        )
        thumbprint = certificate.fingerprint(SHA1())  # noqa: S303 - the vendor's key sets name keys by it
        numbers = key.public_key().public_numbers()
        jwk = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": thumbprint.hex().upper(),
            "x5t": _base64url(thumbprint),
            "n": _base64url(numbers.n.to_bytes(_BITS // 8)),
            "e": _base64url(numbers.e.to_bytes(3)),
            "x5c": [b64encode(certificate.public_bytes(Encoding.DER)).decode()],
        }
        return cls(key, jwk)

    def sign(self, claims: Mapping[str, Any], names: Collection[str] = ("kid", "x5t")) -> str:
        """Return a JWT with `claims`; `names` says which of "kid" and "x5t" its header has."""
        import jwt  # noqa: PLC0415 - from an extra

        headers = {name: self.jwk[name] for name in names}
        return jwt.encode(dict(claims), self._key, algorithm="RS256", headers=headers)


def generate_private_key() -> PrivateKey:
    """Return a new key for an app."""
    return PrivateKey(_generate())


def verifies(key: PrivateKey, data: bytes, signature: bytes) -> bool:
    """Return whether `signature` was made with the private half of `key`, by its public half alone."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - from an extra
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415 - from an extra
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415 - from an extra
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - from an extra
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - from an extra

    public = load_pem_public_key(key.public_pem())
    try:
        assert isinstance(public, RSAPublicKey)  # noqa: S101 - an RSA key's half
        public.verify(signature, data, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _generate() -> "RSAPrivateKey":
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - from an extra

    return rsa.generate_private_key(public_exponent=_EXPONENT, key_size=_BITS)


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
