"""Service versions, agents and bindings, with their paths, actions and namespaces.

These are values: no code branches on a version or a binding.

Source: the published pages and WSDLs of NetServer Services75 to Services88.
"""

from enum import Enum, IntEnum

import attrs

ARRAYS = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"
CRYPTOGRAPHY = "http://schemas.datacontract.org/2004/07/System.Security.Cryptography"
SERIALIZATION = "http://schemas.microsoft.com/2003/10/Serialization/"
SOAP11_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12_ENVELOPE = "http://www.w3.org/2003/05/soap-envelope"
SOAP12_ENCODING = "http://www.w3.org/2003/05/soap-encoding"
XSD = "http://www.w3.org/2001/XMLSchema"
XSI = "http://www.w3.org/2001/XMLSchema-instance"


class ServiceVersion(IntEnum):
    """A published version of the NetServer services. Versions are ordered; `V88` is the newest.

    `V88` is a rolling version: an older Services88 server may lack its newest operations and fields.
    """

    V75 = 75
    V80 = 80
    V81 = 81
    V82 = 82
    V83 = 83
    V84 = 84
    V85 = 85
    V86 = 86
    V87 = 87
    V88 = 88

    @classmethod
    def of(cls, version: "ServiceVersion | int | str") -> "ServiceVersion":
        """Return the version that is meant by a member, a number (88), or a text ("88", "Services88").

        Raises:
            ValueError: there is no such version.
        """
        number = version.lower().removeprefix("services") if isinstance(version, str) else version
        try:
            return cls(int(number))
        except (TypeError, ValueError):
            raise ValueError(f"there is no such version; there are {', '.join(map(str, cls))}") from None

    @property
    def namespace(self) -> str:
        """The XML namespace of this version's operations and types: `tns` in the WSDLs."""
        return f"http://www.superoffice.net/ws/crm/NetServer/Services{self:d}"

    def __str__(self) -> str:
        """Return the version's name in URLs, for example `Services88`."""
        return f"Services{self:d}"


@attrs.frozen
class Agent:
    """One SOAP service of NetServer.

    Attributes:
        name: in the endpoint path, the action, and the documented prefix.
        namespaces: further declarations in documented envelopes: prefix suffix and URI, in the order of the pages.
        takes_ticket: whether its requests carry `Credentials`.
        takes_time_zone: whether its requests may carry `TimeZone`.
    """

    name: str
    namespaces: tuple[tuple[str, str], ...]
    takes_ticket: bool = True
    takes_time_zone: bool = False

    def path(self, version: ServiceVersion, prefix: str = "/Remote") -> str:
        """Return the endpoint path below a base URL; `prefix` is empty on a NetServer without `Remote`."""
        return f"{prefix}/{version}/{self.name}.svc"

    def action(self, version: ServiceVersion, operation: str) -> str:
        """Return the SOAP action of an operation of this agent."""
        return f"{version.namespace}/{self.name}/{operation}"


BATCH = Agent("Batch", (("2", ARRAYS), ("1", SERIALIZATION)), takes_time_zone=True)
SO_PRINCIPAL = Agent("SoPrincipal", (("2", CRYPTOGRAPHY), ("3", ARRAYS), ("1", SERIALIZATION)), takes_ticket=False)
BLOB = Agent("BLOB", (("1", SERIALIZATION),))
AGENTS = (BATCH, SO_PRINCIPAL, BLOB)


class Binding(Enum):
    """The layout of an envelope, and its HTTP headers.

    Columns: envelope namespace, whether header blocks stand inside a `Header` element, whether the
    envelope looks exactly like the documented examples (indented, with xsi:type), media type, and whether
    the action travels in a `SOAPAction` header or as a parameter of the media type.
    """

    DOCUMENTED = ("documented", SOAP12_ENVELOPE, False, True, "application/soap+xml", False)
    SOAP11 = ("soap11", SOAP11_ENVELOPE, True, False, "text/xml", True)
    SOAP12 = ("soap12", SOAP12_ENVELOPE, True, False, "application/soap+xml", False)

    def __init__(  # noqa: PLR0917 - the columns of the table above
        self,
        label: str,
        envelope: str,
        has_header: bool,  # noqa: FBT001 - a column
        is_documented: bool,  # noqa: FBT001 - a column
        media_type: str,
        has_soap_action: bool,  # noqa: FBT001 - a column
    ) -> None:
        """Set one attribute for each column."""
        self.label = label
        self.envelope = envelope
        self.has_header = has_header
        self.is_documented = is_documented
        self.media_type = media_type
        self.has_soap_action = has_soap_action

    @classmethod
    def labelled(cls, label: str) -> "Binding":
        """Return the binding with this label, in any case.

        Raises:
            ValueError: there is none.
        """
        by_label = {binding.label: binding for binding in cls}
        if label.lower() not in by_label:
            raise ValueError(f"binding is one of {', '.join(by_label)}")
        return by_label[label.lower()]

    def http_headers(self, action: str) -> dict[str, str]:
        """Return the HTTP headers of a request in this binding."""
        content_type = f"{self.media_type}; charset=utf-8"
        if self.has_soap_action:
            return {"Content-Type": content_type, "SOAPAction": f'"{action}"'}
        return {"Content-Type": f'{content_type}; action="{action}"'}
