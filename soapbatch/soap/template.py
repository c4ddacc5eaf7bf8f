"""The envelope of an operation as literal pieces of text, with cuts where values go.

An lxml tree is built once for each operation. It has a `<?cut here?>` mark at the start and the end of each value,
optional element and repeated item. The tree is serialised and split at the marks; `Pieces` yields the pieces in
document order. This module alone decides on the layout:

- DOCUMENTED: exactly like the published examples. One namespace declaration a line; header blocks indented 2
  and 4 below the envelope; Body 1; the operation 3 (in a response 2) and each level below it one more; an
  xsi:type on every parameter and field but not on pairs; one blank line after the operation of a request.
- the other bindings: no white space, no xsi:type, the service's namespace as default namespace.
"""

from collections.abc import Container, Iterator

import attrs
from lxml import etree

from soapbatch.model import (
    ARRAYS,
    CRYPTOGRAPHY,
    SOAP12_ENCODING,
    XSD,
    XSI,
    Array,
    Binding,
    Dictionary,
    Field,
    Record,
    Scalar,
    ServiceVersion,
    WireType,
)
from soapbatch.operations import Operation

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


class Pieces(Iterator[str]):
    """The literal text between the cuts of a template, in document order."""

    def __init__(self, text: str) -> None:
        """Split `text` at its cuts."""
        self._pieces = iter(text.split("<?cut here?>"))

    def __next__(self) -> str:
        """Return the text up to the next cut."""
        return next(self._pieces)


def is_hole(type_: WireType, enclosing: Container[WireType]) -> bool:
    """Return whether a value is inserted as one text: a scalar, or a record inside itself, which recursion writes."""
    return isinstance(type_, Scalar) or type_ in enclosing


@attrs.frozen
class _Layout:
    """The layout for an (agent, version, binding): namespaces, prefixes, and the white space between elements."""

    binding: Binding
    tns: str
    prefixes: dict[str | None, str]
    enclosing: list[Record] = attrs.field(factory=list, init=False)

    def qualified(self, namespace: str | None, name: str) -> etree.QName:
        return etree.QName(namespace or self.tns, name)

    def type_name(self, namespace: str | None, name: str) -> str:
        prefix = next(prefix for prefix, uri in self.prefixes.items() if uri == (namespace or self.tns))
        return f"{prefix}:{name}"

    def line(self, parent: etree._Element, depth: int) -> None:
        """Indent the next tag to `depth`."""
        if self.binding.is_documented:
            _add_text(parent, " " * depth)

    def end_line(self, parent: etree._Element) -> None:
        if self.binding.is_documented:
            _add_text(parent, "\n")

    def open(self, parent: etree._Element, depth: int, namespace: str | None, name: str) -> etree._Element:
        self.line(parent, depth)
        return etree.SubElement(parent, self.qualified(namespace, name))

    def close(self, element: etree._Element, depth: int) -> None:
        """Indent the close tag of an element with children, and end its line."""
        self.line(element, depth)
        parent = element.getparent()
        assert parent is not None  # noqa: S101 - `open` gave it one
        self.end_line(parent)

    def value(self, parent: etree._Element, row: Field, depth: int, step: int, *, typed: bool) -> None:
        """Add an optional element for the value of `row`: cut, element with its own cuts, cut."""
        _add_cut(parent)
        element = self.open(parent, depth, row.namespace, row.name)
        if typed:
            element.set(etree.QName(XSI, "type"), self.type_name(row.type.namespace, row.type.name))
        self.content(element, row.type, depth, step, typed=typed)
        self.end_line(parent)
        _add_cut(parent)

    def content(self, element: etree._Element, type_: WireType, depth: int, step: int, *, typed: bool) -> None:
        if is_hole(type_, self.enclosing):
            if isinstance(type_, Record):  # its fields have the same indent as the record's own
                self.end_line(element)
            _add_cut(element)
            if isinstance(type_, Record):
                self.line(element, depth)
            return
        match type_:
            case Record():
                self.enclosing.append(type_)
                rows = type_.fields
            case Array():
                rows = (Field(type_.item_name, type_.item, namespace=type_.namespace),)
            case _:
                rows = ()
        self.end_line(element)
        for row in rows:
            self.value(element, row, depth + step, step, typed=typed)
        if isinstance(type_, Dictionary):
            self.pair(element, type_, depth + step, step, typed=typed)
        elif isinstance(type_, Record):
            self.enclosing.remove(type_)
        self.line(element, depth)

    def pair(self, parent: etree._Element, type_: Dictionary, depth: int, step: int, *, typed: bool) -> None:
        """Add a pair: a repeated item with a key, and a value that is a text or nil."""
        _add_cut(parent)
        pair = self.open(parent, depth, type_.namespace, type_.pair_name)
        self.end_line(pair)
        for name in ("Key", "Value"):
            _add_cut(pair)
            element = self.open(pair, depth + step, type_.namespace, name)
            if typed:
                element.set(etree.QName(XSI, "type"), self.type_name(XSD, "string"))
            _add_cut(element)
            self.end_line(pair)
        _add_cut(pair)
        nil = self.open(pair, depth + step, type_.namespace, "Value")
        nil.set(etree.QName(XSI, "nil"), "true")
        self.end_line(pair)
        _add_cut(pair)
        self.close(pair, depth)
        _add_cut(parent)


def template(
    operation: Operation[object],
    version: ServiceVersion,
    binding: Binding,
    header: tuple[Field, ...],
    body: tuple[Field, ...],
    *,
    is_response: bool,
) -> Pieces:
    """Return the pieces of the envelope of `operation`.

    Args:
        operation: the row.
        version: the version of the namespace.
        binding: the layout.
        header: the rows of the header blocks, in wire order.
        body: the rows of the elements inside the operation's element.
        is_response: whether the envelope is a response.
    """
    agent, documented = operation.agent, binding.is_documented
    service = {f"NetServer{version}{suffix}": uri for suffix, uri in agent.namespaces}
    prefixes: dict[str | None, str]
    if documented:
        prefixes = {"SOAP-ENV": binding.envelope, "SOAP-ENC": SOAP12_ENCODING, "xsi": XSI, "xsd": XSD}
        prefixes.update(service)
        prefixes[agent.name] = version.namespace
    else:
        prefixes = {"s": binding.envelope, "i": XSI, "a": ARRAYS, "c": CRYPTOGRAPHY, None: version.namespace}
    layout = _Layout(binding, version.namespace, prefixes)
    envelope = etree.Element(etree.QName(binding.envelope, "Envelope"), nsmap=prefixes)
    layout.end_line(envelope)

    _add_cut(envelope)
    has_header = binding.has_header or is_response
    blocks = layout.open(envelope, 1, binding.envelope, "Header") if has_header else envelope
    if has_header:
        layout.end_line(blocks)
    for row in header:
        layout.value(blocks, row, 2, 2, typed=False)
    if has_header:
        layout.close(blocks, 1)
    _add_cut(envelope)

    soap_body = layout.open(envelope, 1, binding.envelope, "Body")
    layout.end_line(soap_body)
    depth = 2 if is_response else 3
    call = layout.open(soap_body, depth, None, operation.response_name if is_response else operation.name)
    layout.end_line(call)
    for row in body:
        layout.value(call, row, depth + 1, 1, typed=documented)
    layout.close(call, depth)
    if not is_response:
        layout.end_line(soap_body)
    layout.close(soap_body, 1)

    if not documented:
        etree.cleanup_namespaces(envelope)
    text = etree.tostring(envelope, encoding="unicode")
    if documented:
        start, end, rest = text.partition(">")
        text = f"{start.replace(' xmlns:', chr(10) + ' xmlns:')}{end}{rest}\n"
    return Pieces(f"{_DECLARATION}\n{text}" if documented else f"{_DECLARATION}{text}")


def _add_text(parent: etree._Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def _add_cut(parent: etree._Element) -> None:
    parent.append(etree.ProcessingInstruction("cut", "here"))
