"""Request bytes -> arguments and header blocks: what a server does with the bytes that `build_request` makes."""

from typing import Any

from lxml import etree

from soapbatch.errors import UnexpectedResponse
from soapbatch.model import REQUEST_HEADER, Limits, RequestHeader, ServiceVersion
from soapbatch.operations import Operation
from soapbatch.soap import BODY, HEADER, document, fields_decoder, ignore_unknown


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
        raise UnexpectedResponse(f"the Body holds no <{operation.name}> of {namespace}")
    try:
        header = fields_decoder(REQUEST_HEADER.fields, namespace, "Header")(blocks, ignore_unknown)
        arguments = fields_decoder(operation.parameters, namespace, operation.name)(call, ignore_unknown)
    except ValueError as error:
        raise UnexpectedResponse(str(error)) from None
    return arguments, RequestHeader(**header)
