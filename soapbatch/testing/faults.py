"""How the embedded server says no: with an exception of NetServer's, or as a stack that refuses a message."""

from collections.abc import Mapping
from typing import Final, Literal

from lxml import etree

from soapbatch.model import EXCEPTION_INFO, SOAP11_ENVELOPE, XSI, Dictionary, ExceptionInfo, ServiceVersion
from soapbatch.testing.responses import Answer

NOT_FOUND: Final = "SuperOffice.Exceptions.SoEntityNotFoundException"
SESSION: Final = "SuperOffice.Exceptions.SoSessionException"
ARGUMENT: Final = "System.ArgumentException"

_NONE_ADDRESSING = "http://schemas.microsoft.com/ws/2005/05/addressing/none"  # where WCF's own codes live
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_CODES_12 = {"Client": "Sender", "Server": "Receiver"}

FaultCode = Literal["Client", "Server", "VersionMismatch"]


class ServerException(Exception):
    """An exception inside NetServer: it becomes the reply header block `ExceptionInfo`, or a fault.

    Raise one from an interceptor to make an operation fail as a server would.

    Attributes:
        info: what the client gets to read.
    """

    def __init__(
        self,
        exception_type: str,
        message: str,
        friendly_text: str = "",
        *,
        parameters: Mapping[str, str | None] | None = None,
        inner: ExceptionInfo | None = None,
    ) -> None:
        """Fail with the full .NET name `exception_type`; the others are fields of `ExceptionInfo`."""
        super().__init__(exception_type, message, friendly_text)
        self.info = ExceptionInfo(
            message=message,
            stack_trace="   at SuperOffice.NetServer.Service.Invoke()",
            friendly_text=friendly_text,
            exception_type=exception_type,
            source="NetServer",
            inner_exception=inner,
            parameters={} if parameters is None else parameters,
        )


class SessionRefused(ServerException):
    """The ticket of a call is missing, unknown, revoked or expired."""

    def __init__(self, message: str) -> None:
        """Refuse with `message`."""
        super().__init__(SESSION, message, "Your session has expired")


class ConnectionDropped(ConnectionResetError):
    """The connection dies without an answer, or in the middle of one."""


class Refusal(Exception):
    """A message is answered before any operation sees it.

    Attributes:
        answer: with what.
    """

    def __init__(self, answer: Answer) -> None:
        """Refuse with `answer`."""
        super().__init__(answer.status)
        self.answer = answer


def not_found(id: int) -> ServerException:
    """Return what an unknown task id leads to."""
    return ServerException(NOT_FOUND, f"BatchTask {id} does not exist", "Not found")


def fault(
    envelope: str,
    code: FaultCode,
    reason: str,
    *,
    subcode: str | None = None,
    info: ExceptionInfo | None = None,
    version: ServiceVersion | None = None,
) -> Answer:
    """Return HTTP 500 with a SOAP fault.

    Args:
        envelope: the envelope namespace, 1.1 or 1.2.
        code: in SOAP 1.1's words.
        reason: for people.
        subcode: one of WCF's own codes; in 1.1, which has no subcodes, it stands in the code's place.
        info: becomes the detail, in the namespace of `version`.
        version: of the services.
    """
    root = etree.Element(etree.QName(envelope, "Envelope"), nsmap={"s": envelope})
    block = etree.SubElement(etree.SubElement(root, etree.QName(envelope, "Body")), etree.QName(envelope, "Fault"))
    own = {"a": _NONE_ADDRESSING}
    if envelope == SOAP11_ENVELOPE:
        etree.SubElement(block, "faultcode", nsmap=own).text = f"a:{subcode}" if subcode else f"s:{code}"
        text = etree.SubElement(block, "faultstring")
        text.set(_XML_LANG, "")
        detail_name = etree.QName("detail")
        media_type = "text/xml"
    else:
        value = etree.SubElement(block, etree.QName(envelope, "Code"))
        etree.SubElement(value, etree.QName(envelope, "Value")).text = f"s:{_CODES_12.get(code, code)}"
        if subcode:
            value = etree.SubElement(value, etree.QName(envelope, "Subcode"))
            etree.SubElement(value, etree.QName(envelope, "Value"), nsmap=own).text = f"a:{subcode}"
        text = etree.SubElement(etree.SubElement(block, etree.QName(envelope, "Reason")), etree.QName(envelope, "Text"))
        text.set(_XML_LANG, "en")
        detail_name = etree.QName(envelope, "Detail")
        media_type = "application/soap+xml"
    text.text = reason
    if info is not None and version is not None:
        _add_info(etree.SubElement(block, detail_name), "SoExceptionInfo", info, version.namespace)
    body = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return Answer(500, {"Content-Type": f"{media_type}; charset=utf-8"}, (body,))


def _add_info(parent: etree._Element, name: str, info: ExceptionInfo, tns: str) -> None:
    element = etree.SubElement(parent, etree.QName(tns, name), nsmap={None: tns, "i": XSI})
    for row in EXCEPTION_INFO.fields:
        value = getattr(info, row.attribute)
        if isinstance(value, ExceptionInfo):
            _add_info(element, row.name, value, tns)
        elif isinstance(row.type, Dictionary):
            pairs = etree.SubElement(element, etree.QName(tns, row.name))
            texts: Mapping[str, str | None] = value or {}
            for key, text in texts.items():
                pair = etree.SubElement(pairs, etree.QName(tns, row.type.pair_name))
                _add_text(pair, "Key", key, tns)
                _add_text(pair, "Value", text, tns)
        else:
            _add_text(element, row.name, value, tns)


def _add_text(parent: etree._Element, name: str, text: str | None, tns: str) -> None:
    child = etree.SubElement(parent, etree.QName(tns, name))
    child.text = text
    if text is None:
        child.set(etree.QName(XSI, "nil"), "true")
