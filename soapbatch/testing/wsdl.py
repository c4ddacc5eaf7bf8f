"""The WSDL of an agent in a service version, made from the rows of `operations` and the fields of the carriers.

The WSDL describes SOAP 1.1, document/literal, with the header blocks as header messages. It is complete: a client that
is driven by a WSDL can call every operation. It follows the published WSDLs, without WCF's policy and without the base
type of the carriers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
from lxml import etree

from soapbatch.model import (
    ARRAYS,
    BASE64,
    CREDENTIALS,
    CRYPTOGRAPHY,
    DSA_PARAMETERS,
    REPLY_HEADER,
    REQUEST_HEADER,
    STRING,
    TIME_ZONE,
    XSD,
    Agent,
    Array,
    Dictionary,
    Enumeration,
    Field,
    Record,
    Scalar,
    ServiceVersion,
    WireType,
)
from soapbatch.operations import Operation

_WSDL: Final = "http://schemas.xmlsoap.org/wsdl/"
_SOAP: Final = "http://schemas.xmlsoap.org/wsdl/soap/"
_HTTP: Final = "http://schemas.xmlsoap.org/soap/http"
_REFERENCES: Final = (STRING, BASE64)  # the scalars that can be null in .NET; the record DSAParameters cannot


def wsdl(agent: Agent, version: ServiceVersion, operations: Sequence[Operation[Any]], location: str) -> bytes:
    """Return the WSDL of an agent.

    Args:
        agent: the agent.
        version: the service version.
        operations: those to describe.
        location: the URL of the agent's endpoint.
    """
    prefixes = {"wsdl": _WSDL, "soap": _SOAP, "xsd": XSD, "tns": version.namespace, "a": ARRAYS, "c": CRYPTOGRAPHY}
    root = etree.Element(_wsdl("definitions"), nsmap=prefixes, name=agent.name, targetNamespace=version.namespace)
    types = etree.SubElement(root, _wsdl("types"))
    port_type = etree.Element(_wsdl("portType"), name=agent.name)
    binding = etree.Element(_wsdl("binding"), name=f"BasicHttpBinding_{agent.name}", type=f"tns:{agent.name}")
    etree.SubElement(binding, _soap("binding"), transport=_HTTP)
    request_rows = [
        row
        for row in REQUEST_HEADER.fields
        if (row.type is not CREDENTIALS or agent.takes_ticket) and (row.type is not TIME_ZONE or agent.takes_time_zone)
    ]
    _Schemas(types, version).describe(operations, (*request_rows, *REPLY_HEADER.fields))
    request_blocks, reply_blocks = ([row.name for row in rows] for rows in (request_rows, REPLY_HEADER.fields))
    for row in operations:
        abstract = etree.SubElement(port_type, _wsdl("operation"), name=row.name)
        concrete = etree.SubElement(binding, _wsdl("operation"), name=row.name)
        action = agent.action(version, row.name)
        etree.SubElement(concrete, _soap("operation"), soapAction=action, style="document")
        for direction, element, blocks in (
            ("input", row.name, request_blocks),
            ("output", row.response_name, reply_blocks),
        ):
            message = f"{row.name}_{direction}"
            _message(root, message, {"parameters": element})
            _message(root, f"{message}_Headers", {block: block for block in blocks})
            etree.SubElement(abstract, _wsdl(direction), message=f"tns:{message}")
            parts = etree.SubElement(concrete, _wsdl(direction))
            for block in blocks:
                etree.SubElement(parts, _soap("header"), message=f"tns:{message}_Headers", part=block, use="literal")
            etree.SubElement(parts, _soap("body"), use="literal")
    service = etree.Element(_wsdl("service"), name=agent.name)
    name = f"BasicHttpBinding_{agent.name}"
    port = etree.SubElement(service, _wsdl("port"), name=name, binding=f"tns:{name}")
    etree.SubElement(port, _soap("address"), location=location)
    root.extend((port_type, binding, service))
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _wsdl(name: str) -> etree.QName:
    return etree.QName(_WSDL, name)


def _soap(name: str) -> etree.QName:
    return etree.QName(_SOAP, name)


def _xsd(name: str) -> etree.QName:
    return etree.QName(XSD, name)


def _message(root: etree._Element, name: str, parts: Mapping[str, str]) -> None:
    message = etree.SubElement(root, _wsdl("message"), name=name)
    for part, element in parts.items():
        etree.SubElement(message, _wsdl("part"), name=part, element=f"tns:{element}")


def _result(operation: Operation[Any]) -> tuple[Field, ...]:
    """Return the fields of the response element."""
    if operation.result is None:
        return ()
    if isinstance(operation.result, Record) and not operation.result_name:
        return operation.result.fields
    return (Field(operation.result_name, operation.result),)


@attrs.define
class _Schemas:
    """The schemas inside a WSDL: one for each namespace, with each type once.

    Attributes:
        types: the element of the WSDL that holds the schemas.
        version: the service version.
        schemas: by namespace.
        described: the names of the types that have been added.
    """

    types: etree._Element
    version: ServiceVersion
    schemas: dict[str, etree._Element] = attrs.field(factory=dict, init=False)
    described: set[str] = attrs.field(factory=set, init=False)

    def describe(self, operations: Iterable[Operation[Any]], blocks: Iterable[Field]) -> None:
        """Add the elements of operations, responses and header blocks, and the types of these elements."""
        tns = self.schema(self.version.namespace)
        elements = {row.name: row.parameters for row in operations}
        elements |= {row.response_name: _result(row) for row in operations}
        for name, rows in elements.items():
            content = etree.SubElement(etree.SubElement(tns, _xsd("element"), name=name), _xsd("complexType"))
            self.members(content, rows)
        for name, row in {row.name: row for row in blocks}.items():
            etree.SubElement(tns, _xsd("element"), name=name, type=self.type_name(row.type), nillable="true")
        for namespace in self.schemas.keys() - {self.version.namespace}:
            tns.insert(0, etree.Element(_xsd("import"), namespace=namespace))

    def schema(self, namespace: str) -> etree._Element:
        """Return the schema of a namespace, which is made when it is first asked for."""
        if namespace not in self.schemas:
            self.schemas[namespace] = etree.SubElement(
                self.types, _xsd("schema"), elementFormDefault="qualified", targetNamespace=namespace
            )
        return self.schemas[namespace]

    def members(self, content: etree._Element, rows: Iterable[Field], occurs: str = "1") -> None:
        """Add a sequence of optional elements to a complex type."""
        sequence = etree.SubElement(content, _xsd("sequence"))
        for row in rows:
            if row.since <= self.version:
                type_name = self.type_name(row.type)
                element = etree.SubElement(sequence, _xsd("element"), minOccurs="0", maxOccurs=occurs, name=row.name)
                element.set("type", type_name)
                if row.type in _REFERENCES or (not isinstance(row.type, Scalar) and row.type is not DSA_PARAMETERS):
                    element.set("nillable", "true")

    def type_name(self, type_: WireType) -> str:
        """Return the prefixed name of a type, which is added when it is first asked for."""
        namespace = type_.namespace or self.version.namespace
        prefix = next(prefix for prefix, uri in self.types.nsmap.items() if uri == namespace)
        name = f"{prefix}:{type_.name}"
        if namespace != XSD and name not in self.described:
            self.described.add(name)
            self.describe_type(self.schema(namespace), type_)
        return name

    def describe_type(self, schema: etree._Element, type_: WireType) -> None:
        """Add one type to its schema."""
        if isinstance(type_, Enumeration):
            simple = etree.SubElement(schema, _xsd("simpleType"), name=type_.name)
            restriction = etree.SubElement(simple, _xsd("restriction"), base="xsd:string")
            for value in type_.members:
                if type_.since.get(value, self.version) <= self.version:
                    etree.SubElement(restriction, _xsd("enumeration"), value=value)
            return
        content = etree.SubElement(schema, _xsd("complexType"), name=type_.name)
        match type_:
            case Record():
                self.members(content, type_.fields)
            case Array():
                self.members(content, [Field(type_.item_name, type_.item)], "unbounded")
            case _:
                assert isinstance(type_, Dictionary)  # noqa: S101 - every other type of the services is handled above
                sequence = etree.SubElement(content, _xsd("sequence"))
                pair = etree.SubElement(sequence, _xsd("element"), minOccurs="0", maxOccurs="unbounded")
                pair.set("name", type_.pair_name)
                self.members(
                    etree.SubElement(pair, _xsd("complexType")), [Field("Key", STRING), Field("Value", STRING)]
                )
