"""Request bytes -> arguments and header blocks: what a server does with the bytes that `build_request` makes."""

from typing import Any

from lxml import etree

from soapbatch.carriers import REQUEST_HEADER, RequestHeader
from soapbatch.errors import UnexpectedResponse
from soapbatch.feed import document
from soapbatch.limits import Limits
from soapbatch.operations import Operation
from soapbatch.reader import BODY, HEADER, BadValue, fields_reader, ignore
from soapbatch.services import ServiceVersion


def parse_request(
    operation: Operation[Any], body: bytes, *, version: ServiceVersion, limits: Limits | None = None
) -> tuple[dict[str, Any], RequestHeader]:
    """Read a request, in any binding: what a server does with the bytes that `build_request` makes. Pure.

    Returns:
        The arguments by parameter name (those sent), and the header blocks.

    Raises:
        UnreadableResponse: it is not XML.
        UnexpectedResponse: it is not this operation's request.
    """
    namespace = version.namespace
    envelope = document(body, limits or Limits())
    call: etree._Element | None = None
    blocks = envelope
    for child in envelope:
        if child.tag in BODY and len(child):
            call = child[0]
        elif child.tag in HEADER:
            blocks = child
    if call is None or call.tag != f"{{{namespace}}}{operation.name}":
        message = f"the Body holds no <{operation.name}> of {namespace}"
        raise UnexpectedResponse(message)
    try:
        header = fields_reader(REQUEST_HEADER.fields, namespace, "Header")(blocks, ignore)
        return fields_reader(operation.parameters, namespace, operation.name)(call, ignore), RequestHeader(**header)
    except BadValue as error:
        message = f"{error.path}: {error.reason}"
        raise UnexpectedResponse(message) from None
