"""What another process needs to take over a job: a small value, a plain dictionary, or a line of text."""

from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import attrs

from soapbatch.errors import UsageError
from soapbatch.jobs.checks import require, require_text, task_id
from soapbatch.jobs.marker import Key
from soapbatch.model import ServiceVersion

_SCHEME: Final = "soapbatch:"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_FIELDS: Final = ("server", "version", "id", "key")


@attrs.frozen(kw_only=True)
class JobReference:
    """A job of a server: what `client.jobs.attach` makes a handle of, in any process. It holds no secret.

        text = str(job.reference)  # soapbatch:https://crm.example.com/SuperOffice?version=88&id=42&key=acme%2Fnightly
        job = client.jobs.attach(JobReference.parse(text))

    Attributes:
        server: the base URL of the server, or the tenant, for example "Cust12345".
        version: the service version of the client that made the reference.
        id: the task's number.
        key: the key of the start; None: the job was started without one, or the handle does not know it.
    """

    server: str
    version: ServiceVersion
    id: int = attrs.field(converter=task_id)
    key: str | None = None

    def __attrs_post_init__(self) -> None:
        """Raise UsageError for values that refer to no job."""
        require(isinstance(self.server, str) and self.server, "server is the base URL of a server, or a tenant")
        require(isinstance(self.version, ServiceVersion), "version is a ServiceVersion")
        require_text("key", self.key)
        if self.key is not None:
            Key(self.key)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON has; the version is a number."""
        return {"server": self.server, "version": int(self.version), "id": self.id, "key": self.key}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the reference that `to_dict` gave these fields. Raises UsageError."""
        require(isinstance(fields, Mapping), "a reference is made of a dictionary, as to_dict returns it")
        require(fields.keys() | {"key"} == set(_FIELDS), f"the fields of a reference are {', '.join(_FIELDS)}")
        try:
            version = ServiceVersion(fields["version"])
        except ValueError:
            raise UsageError(f"there is no service version {fields['version']!r}") from None
        return cls(server=fields["server"], version=version, id=fields["id"], key=fields.get("key"))

    def __str__(self) -> str:
        """Return one line of text, a URI; `parse` reads it."""
        fields = {"version": int(self.version), "id": self.id} | ({} if self.key is None else {"key": self.key})
        return f"{_SCHEME}{quote(self.server, safe=':/[]')}?{urlencode(fields)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the reference that `str` gave this text. Raises UsageError."""
        require(isinstance(text, str) and text.startswith(_SCHEME), f"a reference as text begins with {_SCHEME!r}")
        server, _, query = text.removeprefix(_SCHEME).partition("?")
        try:
            fields: dict[str, Any] = {name: value for name, (value,) in parse_qs(query, strict_parsing=True).items()}
            numbers = {name: int(fields[name]) for name in ("version", "id")}
        except (KeyError, ValueError):
            raise UsageError("a reference as text ends in ?version=...&id=..., and &key=... if there is one") from None
        return cls.from_dict({"server": unquote(server)} | fields | numbers)


def same_server(one: str, other: str) -> bool:
    """Return whether two base URLs, or tenants, are those of one server.

    Letter case does not matter, because IIS ignores it; neither do a port that is the default one, and a slash at the
    end.
    """
    return _normalised(one) == _normalised(other)


def _normalised(server: str) -> tuple[str, ...]:
    parts = urlsplit(server.casefold())
    port = _DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    return (parts.scheme, parts.hostname or "", str(port), parts.path.rstrip("/"))
