"""How the embedded server fails: by an exception inside an operation, by a SOAP fault, or by a dropped connection."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from lxml import etree

from soapbatch.model import EXCEPTION_INFO, SOAP11_ENVELOPE, XSI, Dictionary, ExceptionInfo, ServiceVersion
from soapbatch.testing.responses import Answer
from soapbatch.testing.stacks import StackStyle

ENTITY_NOT_FOUND: Final = "SuperOffice.Exceptions.SoEntityNotFoundException"
SESSION_EXCEPTION: Final = "SuperOffice.Exceptions.SoSessionException"
ARGUMENT_EXCEPTION: Final = "System.ArgumentException"
SECURITY_EXCEPTION: Final = "SuperOffice.Exceptions.SoSecurityException"  # inferred: not documented

_WCF_CODES: Final = "http://schemas.microsoft.com/ws/2005/05/addressing/none"  # the namespace of WCF's own fault codes
_XML_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_SOAP12_CODES: Final = {"Client": "Sender", "Server": "Receiver"}

FaultCode = Literal["Client", "Server", "VersionMismatch", "Client.SoapError"]


class ServerException(Exception):
    """An exception inside NetServer. The server sends it as the header block `ExceptionInfo`, or as a fault.

    An interceptor that raises one makes an operation fail as a real server would.

    Attributes:
        info: the `ExceptionInfo` that the client reads.
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
        """Take the fields of `ExceptionInfo`.

        Args:
            exception_type: the full .NET name, for example `System.ArgumentException`.
            message: for developers.
            friendly_text: for users.
            parameters: names and values that belong to the message.
            inner: the exception that led to this one.
        """
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
        """Take the message for developers."""
        super().__init__(SESSION_EXCEPTION, message, "Your session has expired")


class ConnectionDropped(ConnectionResetError):
    """The server drops the connection, before it answers or in the middle of its answer."""


class Refusal(Exception):
    """The server answers a request at once, without running an operation.

    Attributes:
        answer: the HTTP response.
    """

    def __init__(self, answer: Answer) -> None:
        """Take the response to send."""
        super().__init__(answer.status)
        self.answer = answer


def not_found(id: int) -> ServerException:
    """Return the exception for a task id that the server does not know."""
    return ServerException(ENTITY_NOT_FOUND, f"BatchTask {id} does not exist", "Not found")


def fault(
    envelope: str,
    code: FaultCode,
    reason: str,
    *,
    subcode: str | None = None,
    info: ExceptionInfo | None = None,
    version: ServiceVersion | None = None,
    style: StackStyle | None = None,
) -> Answer:
    """Return HTTP 500, or with gSOAP 400, and a SOAP fault.

    Args:
        envelope: the envelope namespace, of SOAP 1.1 or SOAP 1.2.
        code: the fault code, as SOAP 1.1 names it.
        reason: the text for people.
        subcode: one of WCF's own codes. SOAP 1.1 has no subcodes, so that it takes the place of the code there.
        info: the content of the detail element; None: no detail element.
        version: the service version, whose namespace the detail has; None: no detail element.
        style: of the stack that answers, which decides prefixes and the form; None: WCF's.
    """
    prefix, form, nsmap = "s", "", dict[str, str]()
    if style is not None:
        prefix, form = style.prefix, style.fault_form
        if form and style.keeps_soap11:
            envelope = SOAP11_ENVELOPE
        if form == "soap12" and version is not None:
            nsmap = style.namespaces_of(version)
    is_soap11 = form == "soap11" or (not form and envelope == SOAP11_ENVELOPE)
    root = etree.Element(etree.QName(envelope, "Envelope"), nsmap={prefix: envelope, **nsmap})
    block = etree.SubElement(etree.SubElement(root, etree.QName(envelope, "Body")), etree.QName(envelope, "Fault"))
    wcf_prefix = {"a": _WCF_CODES}
    if is_soap11:
        code_prefix = {} if form else wcf_prefix
        etree.SubElement(block, "faultcode", nsmap=code_prefix).text = f"a:{subcode}" if subcode else f"{prefix}:{code}"
        text = etree.SubElement(block, "faultstring")
        if form:
            etree.SubElement(block, "faultactor").text = ""
        else:
            text.set(_XML_LANG, "")
        detail_name = etree.QName("detail")
    else:
        value = etree.SubElement(block, etree.QName(envelope, "Code"))
        etree.SubElement(value, etree.QName(envelope, "Value")).text = f"{prefix}:{_SOAP12_CODES.get(code, code)}"
        if subcode:
            value = etree.SubElement(value, etree.QName(envelope, "Subcode"))
            etree.SubElement(value, etree.QName(envelope, "Value"), nsmap=wcf_prefix).text = f"a:{subcode}"
        text = etree.SubElement(etree.SubElement(block, etree.QName(envelope, "Reason")), etree.QName(envelope, "Text"))
        text.set(_XML_LANG, "en")
        detail_name = etree.QName(envelope, "Detail")
    text.text = reason
    if info is not None and version is not None:
        _add_info(etree.SubElement(block, detail_name), "SoExceptionInfo", info, version.namespace, style)
    if style is None:
        body = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    else:
        body = f"{style.declaration}{etree.tostring(root, encoding='unicode')}{style.end}".encode()
    media_type = "text/xml" if is_soap11 else "application/soap+xml"
    headers = {"Content-Type": f"{media_type}; charset=utf-8"} | dict(style.http_headers if style else {})
    status = 400 if form == "soap12" and code == "Client" else 500
    return Answer(status, headers, [body] if style and style.is_chunked else (body,))


def _add_info(parent: etree._Element, name: str, info: ExceptionInfo, tns: str, style: StackStyle | None) -> None:
    prefix = style.element_prefix if style else ""
    nsmap: dict[Any, str] = {prefix: tns} if prefix else {None: tns, "i": XSI}
    element = etree.SubElement(parent, etree.QName(tns, name), nsmap=nsmap)
    leaves_nil_out = bool(style and style.fault_form)
    for row in EXCEPTION_INFO.fields:
        value = getattr(info, row.attribute)
        if isinstance(value, ExceptionInfo):
            _add_info(element, row.name, value, tns, style)
        elif isinstance(row.type, Dictionary):
            pairs = etree.SubElement(element, etree.QName(tns, row.name))
            texts: Mapping[str, str | None] = value or {}
            for key, text in texts.items():
                pair = etree.SubElement(pairs, etree.QName(tns, row.type.pair_name))
                _add_text(pair, "Key", key, tns)
                _add_text(pair, "Value", text, tns)
        elif value is not None or not leaves_nil_out:
            _add_text(element, row.name, value, tns)


def _add_text(parent: etree._Element, name: str, text: str | None, tns: str) -> None:
    child = etree.SubElement(parent, etree.QName(tns, name))
    child.text = text
    if text is None:
        child.set(etree.QName(XSI, "nil"), "true")
