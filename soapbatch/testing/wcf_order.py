"""How WCF reads a request: members in their order or not at all, and nothing in a wrong namespace.

Its serialiser goes through the members of a type in wire order and never back: a member that comes too late, or
twice, is passed over without a word. Seen with Mono's WCF; a NetServer is built on the same.
"""

from typing import Any

from lxml import etree

from soapbatch.model import Array, Field, Record, ServiceVersion, WireType
from soapbatch.operations import Operation
from soapbatch.soap import local_name


class BadMember(ValueError):
    """Something that the serialiser does not pass over."""


def as_wcf_reads(operation: Operation[Any], version: ServiceVersion, call: etree._Element) -> bytes:
    """Return the envelope that holds `call` without the members that WCF would lose.

    Raises:
        BadMember: an array holds something else than its items.
    """
    _drop_misordered(call, operation.parameters, version.namespace)
    return etree.tostring(call.getroottree())


def _drop_misordered(parent: etree._Element, rows: tuple[Field, ...], tns: str) -> None:
    order = {f"{{{row.namespace or tns}}}{row.name}": index for index, row in enumerate(rows)}
    reached = -1
    for child in list(parent):
        index = order.get(str(child.tag), -1)
        if index <= reached:
            parent.remove(child)
        else:
            reached = index
            _read(child, rows[index].type, tns)


def _read(element: etree._Element, type_: WireType, tns: str) -> None:
    if isinstance(type_, Record):
        _drop_misordered(element, type_.fields, tns)
    elif isinstance(type_, Array):
        expected = f"{{{type_.namespace or tns}}}{type_.item_name}"
        for item in element:
            if item.tag != expected:
                raise BadMember(f"expecting element '{type_.item_name}', encountered '{local_name(item)}'")
