"""The plain twin of the compiled builder: each envelope is built as a tree by lxml, element by element.

Slow and obvious on purpose. It shares the rows of the contract with the builder, and nothing of its layout code.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from soapbatch.model.headers import REPLY_HEADER, REQUEST_HEADER, ReplyHeader, RequestHeader
from soapbatch.model.schema import Array, Dictionary, Field, Record, WireType
from soapbatch.model.secret import Secret
from soapbatch.model.services import ARRAYS, CRYPTOGRAPHY, SOAP12_ENCODING, XSD, XSI, Binding, ServiceVersion
from soapbatch.operations import Operation

Element = etree._Element
Content = list[tuple[Field, Any]]


class PlainBuilder:
    """Builds the envelopes of one operation, version and binding."""

    def __init__(self, operation: Operation[Any], version: ServiceVersion, binding: Binding) -> None:
        """Take note of what makes an envelope's shape."""
        self._operation, self._tns, self._binding = operation, version.namespace, binding
        self._documented = binding.is_documented
        suffixes = {f"NetServer{version}{suffix}": uri for suffix, uri in operation.agent.namespaces}
        self._prefixes = {
            "SOAP-ENV": binding.envelope,
            "SOAP-ENC": SOAP12_ENCODING,
            "xsi": XSI,
            "xsd": XSD,
            **suffixes,
            operation.agent.name: self._tns,
        }

    def request(self, header: RequestHeader, arguments: Mapping[str, Any]) -> bytes:
        """Return the request with these header blocks and arguments."""
        blocks = [(row, getattr(header, row.attribute)) for row in REQUEST_HEADER.fields]
        body = [(row, arguments[row.attribute]) for row in self._operation.parameters]
        return self._envelope(self._operation.name, blocks, body, is_response=False)

    def response(self, header: ReplyHeader | None, result: object) -> bytes:
        """Return the response with these header blocks and result."""
        blocks = None
        if header is not None:
            blocks = [(row, getattr(header, row.attribute)) for row in REPLY_HEADER.fields]
        type_ = self._operation.result
        body: Content = []
        if isinstance(type_, Record) and not self._operation.result_name:
            body = [(row, getattr(result, row.attribute)) for row in type_.fields]
        elif type_ is not None:
            body = [(Field(self._operation.result_name, type_), result)]
        return self._envelope(self._operation.response_name, blocks, body, is_response=True)

    def _envelope(self, name: str, blocks: Content | None, body: Content, *, is_response: bool) -> bytes:
        soap = self._binding.envelope
        envelope = etree.Element(etree.QName(soap, "Envelope"), nsmap=self._namespaces(body, is_response=is_response))
        has_header_element = blocks is not None and (is_response or self._binding.has_header)
        header = etree.SubElement(envelope, etree.QName(soap, "Header")) if has_header_element else envelope
        for row, value in blocks or ():
            self._add(header, row, value, 2, 2, typed=False)
        if has_header_element:
            self._indent(header, 1, 2)
        soap_body = etree.SubElement(envelope, etree.QName(soap, "Body"))
        call = etree.SubElement(soap_body, etree.QName(self._tns, name))
        depth = 2 if is_response else 3
        for row, value in body:
            self._add(call, row, value, depth + 1, 1, typed=self._documented)
        if body:
            self._indent(call, depth, depth + 1)
        if self._documented:
            call.text = call.text or f"\n{' ' * depth}"
            soap_body.text, call.tail = f"\n{' ' * depth}", "\n " if is_response else "\n\n "
            envelope.text = "\n"
            for child in envelope:
                child.tail = "\n"
            for child in (soap_body, header) if has_header_element else envelope:
                previous = child.getprevious()
                indent = " " if child.tag in {f"{{{soap}}}Body", f"{{{soap}}}Header"} else "  "
                if previous is None:
                    envelope.text = f"\n{indent}"
                else:
                    previous.tail = f"\n{indent}"
        return self._serialised(envelope)

    def _serialised(self, envelope: Element) -> bytes:
        text = etree.tostring(envelope, encoding="unicode")
        if not self._documented:
            return f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
        _, _, rest = text.partition(">")
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<SOAP-ENV:Envelope"]
        lines += [f' xmlns:{prefix}="{uri}"' for prefix, uri in self._prefixes.items()]
        return "\n".join([*lines[:-1], f"{lines[-1]}>{rest}\n"]).encode()

    def _add(
        self,
        parent: Element,
        row: Field,
        value: Any,
        depth: int,
        step: int,
        *,
        typed: bool,
        inside: WireType | None = None,
    ) -> None:
        if value is None:
            return
        element = etree.SubElement(parent, etree.QName(row.namespace or self._tns, row.name))
        if typed:
            uri = row.type.namespace or self._tns
            prefix = next(prefix for prefix, namespace in self._prefixes.items() if namespace == uri)
            element.set(etree.QName(XSI, "type"), f"{prefix}:{row.type.name}")
        below = depth if row.type is inside else depth + step
        match row.type:
            case Record() as type_:
                for field in type_.fields:
                    self._add(element, field, getattr(value, field.attribute), below, step, typed=typed, inside=type_)
            case Array(item_name=name, item=item, namespace=namespace):
                for each in value:
                    self._add(element, Field(name, item, namespace=namespace), each, depth + step, step, typed=typed)
            case Dictionary(pair_name=name):
                for pair in value.items():
                    self._add_pair(element, name, pair, depth + step, step, typed=typed)
            case scalar:
                element.text = value.reveal() if isinstance(value, Secret) else scalar.encode(value)
                return
        self._indent(element, depth, below)

    def _add_pair(
        self, parent: Element, name: str, pair: tuple[str, str | None], depth: int, step: int, *, typed: bool
    ) -> None:
        element = etree.SubElement(parent, etree.QName(self._tns, name))
        for child_name, value in zip(("Key", "Value"), pair, strict=True):
            child = etree.SubElement(element, etree.QName(self._tns, child_name))
            if value is None:
                child.set(etree.QName(XSI, "nil"), "true")
                continue
            if typed:
                child.set(etree.QName(XSI, "type"), "xsd:string")
            child.text = value
        self._indent(element, depth, depth + step)

    def _indent(self, element: Element, depth: int, child_depth: int) -> None:
        """Lay out an element that may have children: in the compact bindings it is an open and a close tag."""
        element.text = ""
        if self._documented:
            element.text = f"\n{' ' * (child_depth if len(element) else depth)}"
            for child in element:
                child.tail = f"\n{' ' * (depth if child.getnext() is None else child_depth)}"

    def _namespaces(self, body: Content, *, is_response: bool) -> dict[str | None, str]:
        if self._documented:
            return dict(self._prefixes.items())
        types = [type_ for row, _ in body for type_ in _reachable(row.type, ())]
        namespaces: dict[str | None, str] = {"s": self._binding.envelope}
        if is_response or any(isinstance(type_, Dictionary) for type_ in types):
            namespaces["i"] = XSI
        if any(isinstance(type_, Array) and type_.namespace == ARRAYS for type_ in types):
            namespaces["a"] = ARRAYS
        if any(type_.namespace == CRYPTOGRAPHY for type_ in types):
            namespaces["c"] = CRYPTOGRAPHY
        return {**namespaces, None: self._tns}


def _reachable(type_: WireType, above: tuple[WireType, ...]) -> Iterator[WireType]:
    yield type_
    if isinstance(type_, Array):
        yield from _reachable(type_.item, (*above, type_))
    elif isinstance(type_, Record) and type_ not in above:
        for field in type_.fields:
            yield from _reachable(field.type, (*above, type_))
