"""Request bytes to arguments and header blocks: the opposite of `build_request`.

WCF, which NetServer is built on, reads a type's members in wire order and never goes back: it skips a member that
comes too late, or twice, without an error. `drop_members_that_wcf_skips` does the same. Source: Mono's WCF.
"""

from typing import Any

from lxml import etree

from soapbatch.errors import UnexpectedResponse
from soapbatch.model import REQUEST_HEADER, Array, Field, Limits, Record, RequestHeader, ServiceVersion, WireType
from soapbatch.operations import Operation
from soapbatch.soap import (
    BODY,
    HEADER,
    SafeXmlParser,
    Utf8Transcoder,
    fields_decoder,
    ignore_unknown,
    local_name,
    names_of,
)


def parse_request(
    operation: Operation[Any], body: bytes, *, version: ServiceVersion, limits: Limits | None = None
) -> tuple[dict[str, Any], RequestHeader]:
    """Read a request of `operation`, in any binding. Pure.

    Returns:
        The arguments that were sent, by parameter name, and the header blocks.

    Raises:
        UnreadableResponse: `body` is not XML.
        LimitExceeded: `body` exceeds `limits`.
        UnexpectedResponse: `body` is not a request of this operation.
    """
    return read_envelope(operation, parse_xml(body, limits or Limits()), version=version)


def parse_xml(body: bytes, limits: Limits) -> etree._Element:
    """Return the root element of a whole XML document.

    Raises:
        UnreadableResponse: `body` is not XML.
        LimitExceeded: `body` exceeds `limits`.
    """
    transcoder, parser = (
        Utf8Transcoder(limits, streamed=False, content_type=None),
        SafeXmlParser(limits, ("{*}Envelope",), names_of("clients of an embedded server")),
    )
    parser.feed(transcoder.feed(body, final=True))
    return parser.close()


def read_envelope(
    operation: Operation[Any], envelope: etree._Element, *, version: ServiceVersion
) -> tuple[dict[str, Any], RequestHeader]:
    """Read the envelope of a request of `operation`; see `parse_request`.

    Raises:
        UnexpectedResponse: the envelope is not a request of this operation.
    """
    namespace = version.namespace
    call: etree._Element | None = None
    blocks = envelope  # the documented form has no Header: its blocks stand beside the Body
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


def drop_members_that_wcf_skips(operation: Operation[Any], version: ServiceVersion, call: etree._Element) -> None:
    """Remove from `call` each member that WCF would skip: unknown, out of order, repeated, or in a wrong namespace.

    Raises:
        UnexpectedResponse: an array holds an element that is none of its items, which WCF refuses.
    """
    _drop_members(call, operation.parameters, version.namespace)


def _drop_members(parent: etree._Element, fields: tuple[Field, ...], tns: str) -> None:
    order = {f"{{{field.namespace or tns}}}{field.name}": index for index, field in enumerate(fields)}
    last = -1
    for child in list(parent):
        index = order.get(str(child.tag), -1)
        if index <= last:
            parent.remove(child)
        else:
            last = index
            _drop_members_inside(child, fields[index].type, tns)


def _drop_members_inside(element: etree._Element, type_: WireType, tns: str) -> None:
    if isinstance(type_, Record):
        _drop_members(element, type_.fields, tns)
    elif isinstance(type_, Array):
        expected = f"{{{type_.namespace or tns}}}{type_.item_name}"
        for item in element:
            if item.tag != expected:
                raise UnexpectedResponse(f"expecting element '{type_.item_name}', encountered '{local_name(item)}'")
